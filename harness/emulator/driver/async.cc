// copy_async: the bytes are taken at the issue and appear only in the wait, so that a kernel which reads early gets poison.
#include <string.h>

#include "check.h"
#include "launch.h"

namespace antkv_emu {

void copy_issue(void* to, const void* from, bool valid, const char* file, int line) {
  const uint64_t at = uintptr_t(to) - uintptr_t(machine.shared);
  if (at > machine.shared_bytes || at + 16 > machine.shared_bytes || at % 16) bad_shared(to, 16, Access::copy, file, line);
  const uint64_t source = uintptr_t(from) - machine.arena;
  if (source >= machine.arena_bytes || source % 16 || machine.valid[source >> 4] != 16) bad_global(from, 16, Access::copy, file, line);
  if (valid && machine.watch_global) on_global(from, 16, Access::copy, file, line);
  if (machine.watch_shared) on_shared(at, 16, Access::copy, file, line);
  Thread& t = thread_at(machine.thread);
  t.copies.push_back({uint32_t(at), t.group, valid ? from : nullptr, line, file, {}});
  if (valid) memcpy(t.copies.back().bytes, from, 16);
  memset(to, 0xff, 16);
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
    if (settings.race && c.from && memcmp(c.bytes, c.from, 16)) {
      stop(CUDA_ERROR_LAUNCH_FAILED, "async-source-changed: the 16 bytes that copy_async reads were overwritten before its wait", c.file, c.line);
    }
    memcpy(machine.shared + c.to, c.bytes, 16);
    if (settings.race) copy_arrived(c.to, c.line);
  }
  t.copies.resize(kept);
}

}  // namespace antkv_emu
