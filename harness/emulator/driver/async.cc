// copy_async: the bytes are taken at the issue and appear only in the wait, so that a kernel which reads early gets poison.
#include <string.h>

#include "check.h"
#include "launch.h"

namespace antkv_emu {

void copy_issue(void* to, const void* from, uint32_t bytes, bool valid, const char* file, int line) {
  const uint64_t at = uintptr_t(to) - uintptr_t(machine.shared);
  if (at > machine.shared_bytes || at + bytes > machine.shared_bytes || at % bytes) bad_shared(to, bytes, Access::copy, file, line);
  const uint64_t source = uintptr_t(from) - machine.arena;
  if (source >= machine.arena_bytes || source % bytes || source % 16 + bytes > machine.valid[source >> 4]) bad_global(from, bytes, Access::copy, file, line);
  if (valid && machine.watch_global) on_global(from, bytes, Access::copy, file, line);
  if (machine.watch_shared) on_shared(at, bytes, Access::copy, file, line);
  Thread& t = thread_at(machine.thread);
  t.copies.push_back({uint32_t(at), bytes, t.group, valid ? from : nullptr, line, file, {}});
  if (valid) memcpy(t.copies.back().content, from, bytes);
  memset(to, 0xff, bytes);
}

void copy_commit() { thread_at(machine.thread).group++; }

void copy_wait(int pending) {
  Thread& t = thread_at(machine.thread);
  size_t kept = 0;
  for (size_t i = 0; i < t.copies.size(); i++) {
    const Copy& c = t.copies[i];
    if (int64_t(c.group) >= int64_t(t.group) - pending) {
      if (kept != i) t.copies[kept] = c;
      kept++;
      continue;
    }
    if (settings.race && c.from && memcmp(c.content, c.from, c.bytes)) {
      stop(CUDA_ERROR_LAUNCH_FAILED, "async-source-changed: the bytes that copy_async reads were overwritten before its wait", c.file, c.line);
    }
    memcpy(machine.shared + c.to, c.content, c.bytes);
    if (settings.race) copy_arrived(c.to, c.bytes, c.line);
  }
  t.copies.resize(kept);
}

}  // namespace antkv_emu
