// Bounds, alignment, races: turns findings into reports.
#pragma GCC optimize("O3")  // the hot path of race checks, whatever the driver is built with
#include "check.h"

#include <deque>
#include <unordered_map>

#include "counters.h"
#include "group.h"
#include "memory.h"
#include "order.h"
#include "report.h"
#include "shadow.h"

namespace antkv_emu {
namespace {

constexpr uint32_t kSharedPages = (256 << 10) / ShadowPage::kBytes;

Record tick = 1;  // never goes back, so that shadows need no clearing from block to block
Clock now_shared, now_global;  // kept up to date by the barriers; clock_for() fills in the access
Record warp_start[1024 / kWarp];
std::unique_ptr<ShadowPage> shared_shadow[kSharedPages];
std::unordered_map<uint64_t, std::unique_ptr<ShadowPage>> global_shadow;  // by page number; for one launch
uint64_t newest_page;
ShadowPage* newest_shadow;
std::deque<std::pair<Record, long long>> blocks_by_tick;

/// The first uninitialised read since the last block barrier.
struct {
  bool is = false;
  int thread, line;
  const char* file;
  std::string story;
} pending;

const Clock& clock_for(Clock& c, int thread, Access how, int line) {
  const Access kind = how == Access::matrix || how == Access::once ? Access::load : how;
  c.now = tick << kTickShift | Record(thread) << 18 | Record(line > 0xffff ? 0xffff : line) << 2 | Record(kind);
  c.warp_start = warp_start[thread / kWarp];
  c.thread = thread;
  return c;
}

std::string who(Record r, int thread, bool shared) {
  const int t = record_thread(r);
  return text("%s by thread %d (warp %d, lane %d%s), line %d", access_name(record_access(r), shared), t, t / kWarp, t % kWarp, t == thread ? ", itself" : "", record_line(r));
}

std::string block_of(Record r) {
  long long block = 0;
  for (const auto& [first, b] : blocks_by_tick) {
    if (first <= r >> kTickShift) block = b;
  }
  const long long x = machine.grid[0], y = machine.grid[1];
  return text("block (%lld, %lld, %lld)", block % x, block / x % y, block / x / y);
}

[[noreturn]] void found(const Verdict& v, int thread, uint64_t at, uint32_t bytes, Access how, bool shared, const char* file, int line) {
  const std::string what = text("%s of %u bytes at %s%#llx", access_name(how, shared), bytes, shared ? "shared + " : "", static_cast<unsigned long long>(at));
  const Record r = v.earlier;
  std::string story;
  switch (v.finding) {
    case Finding::early_read:
      story = "async-early-read: " + what + " before the data arrived: " + who(r, thread, true) +
              ", is still under way; look for a missing or too lax copy_async_wait (each thread waits for its own copies), then a barrier for the others";
      break;
    case Finding::overwrite:
      story = "async-overwrite: " + what + " while " + who(r, thread, true) + ", is still under way; look for a stage that is reused before its copy_async_wait";
      break;
    case Finding::read_only:
      story = "global-race: " + what + " after " + who(r, thread, false) +
              ": the read-only path may hold what was there before; use load_global or load_global_coherent for what this launch writes";
      break;
    default:
      story = text("%s: ", shared ? "shared-race" : "global-race") + what + " and " + who(r, thread, shared);
      if (!shared && r < now_global.block_first) {
        story += " of " + block_of(r) + ": blocks of one launch are not ordered; look for overlapping outputs, or, where one block reads what others wrote, "
                                        "for grid_fence before and after the atomic_add_global of the counter, or an atomic_add_acquire_release, and barriers that bring the other threads of each block along";
      } else if (record_thread(r) / kWarp == thread / kWarp) {
        story += ": no warp_barrier lies between (shuffles, votes and matrix instructions do not order memory)";
      } else {
        story += ": no block_barrier lies between";
      }
      if (record_access(r) == Access::copy) story += "; copy_async_wait covers only the waiting thread's own copies";
  }
  pending.is &= v.finding != Finding::race;
  stop_at(thread, CUDA_ERROR_LAUNCH_FAILED, story, file, line);
}

void remember_uninitialised(int thread, uint64_t at, uint32_t bytes, Access how, const char* file, int line) {
  if (pending.is) return;
  pending.is = true;
  pending.thread = thread;
  pending.file = file;
  pending.line = line;
  pending.story = text("uninitialised-shared: %s of %u bytes at shared + %#llx: nothing was written there in this block; look for a fill that does not cover the tail, "
                       "or a wrong offset", access_name(how, true), bytes, static_cast<unsigned long long>(at));
}

__attribute__((noinline)) void shadow_shared(int thread, uint64_t offset, uint32_t bytes, Access how, const char* file, int line) {
  auto& page = shared_shadow[offset / ShadowPage::kBytes];
  if (!page) page.reset(new ShadowPage);
  const Verdict v = page->access(clock_for(now_shared, thread, how, line), uint32_t(offset % ShadowPage::kBytes), bytes, how);
  if (v.fatal()) found(v, thread, offset, bytes, how, true, file, line);
  if (v.finding == Finding::uninitialised) remember_uninitialised(thread, offset, bytes, how, file, line);
}

[[noreturn]] void bad_shared_at(int thread, const void* p, uint32_t bytes, Access how, const char* file, int line) {
  const int64_t at = int64_t(uintptr_t(p) - uintptr_t(machine.shared));
  const auto size = static_cast<unsigned long long>(machine.shared_bytes);
  const std::string what = text("%s of %u bytes at shared %c %#llx", access_name(how, true), bytes, at < 0 ? '-' : '+', static_cast<unsigned long long>(at < 0 ? -at : at));
  if (at >= 0 && uint64_t(at) + bytes <= machine.shared_bytes) {
    stop_at(thread, CUDA_ERROR_MISALIGNED_ADDRESS, "misaligned: " + what + text(", not a multiple of %u; look for a row pitch or a sub-buffer that is not padded", bytes), file, line);
  }
  if (at < -(1 << 24) || at > (1 << 24)) {
    stop_at(thread, CUDA_ERROR_ILLEGAL_ADDRESS, text("shared-out-of-bounds: %s of %u bytes at %p, which is not shared memory at all; look for a global pointer in a shared accessor",
                                          access_name(how, true), bytes, p), file, line);
  }
  stop_at(thread, CUDA_ERROR_ILLEGAL_ADDRESS, "shared-out-of-bounds: " + what + text(", with %llu bytes launched; look for an index past the end, or too small a launch size", size), file, line);
}

}  // namespace

void start_checks() {
  tick++;
  for (Clock* c : {&now_shared, &now_global}) c->launch_first = tick << kTickShift;
  now_global.global = true;
  start_order();
  blocks_by_tick.clear();
}

void start_block_checks(long long block) {
  pending.is = false;
  tick++;
  for (Clock* c : {&now_shared, &now_global}) c->block_first = c->block_start = tick << kTickShift;
  for (Record& w : warp_start) w = tick << kTickShift;
  if (settings.race < 2) return;
  blocks_by_tick.emplace_back(tick, block);
  start_block_order(thread_count());
}

void end_block_checks() {
  if (!settings.race) return;
  for (int i = 0; i < thread_count(); i++) {
    for (const Copy& c : thread_at(i).copies) shared_shadow[c.to / ShadowPage::kBytes]->drop(c.to % ShadowPage::kBytes, c.bytes);
  }
}

void end_checks() {
  global_shadow.clear();
  newest_shadow = nullptr;
}

void after_collective(int warp, Collective kind) {
  if (kind == Collective::warp_barrier || settings.warp_order) warp_start[warp] = ++tick << kTickShift;
}
void after_block_barrier() {
  if (pending.is) stop(CUDA_ERROR_LAUNCH_FAILED, "", "", 0);  // pending_finding() has the words
  tick++;
  for (Clock* c : {&now_shared, &now_global}) c->block_start = tick << kTickShift;
  if (settings.race > 1) after_barrier_order();
}
void before_block_end() {
  if (pending.is) stop(CUDA_ERROR_LAUNCH_FAILED, "", "", 0);
}
bool pending_finding(std::string& what, int& thread, const char*& file, int& line) {
  if (!pending.is) return false;
  what = pending.story;
  thread = pending.thread;
  file = pending.file;
  line = pending.line;
  pending.is = false;
  return true;
}

namespace {
/// on_shared() with race checks alone.
void on_shared_race(uint64_t offset, uint32_t bytes, Access how, const char* file, int line) {
  ShadowPage* page = shared_shadow[offset / ShadowPage::kBytes].get();
  const int thread = machine.thread;
  if (how == Access::store) group_written(thread, offset, bytes);
  if (__builtin_expect(page && page->quick(clock_for(now_shared, thread, how, line), uint32_t(offset % ShadowPage::kBytes), bytes, how), 1)) return;
  shadow_shared(thread, offset, bytes, how, file, line);
}
}  // namespace

SharedWatcher shared_watcher() { return settings.counters ? on_shared : on_shared_race; }

void on_shared(uint64_t offset, uint32_t bytes, Access how, const char* file, int line) {
  if (settings.counters) count_access(machine.thread, true, offset, bytes, how, file, line);
  if (!settings.race) return;
  if (how == Access::store) group_written(machine.thread, offset, bytes);
  shadow_shared(machine.thread, offset, bytes, how, file, line);
}

void on_global(const void* p, uint32_t bytes, Access how, const char* file, int line) {
  const uint64_t at = uintptr_t(p);
  if (settings.counters) count_access(machine.thread, false, at, bytes, how, file, line);
  if (settings.race < 2) return;
  const uint64_t number = at / ShadowPage::kBytes;
  if (!newest_shadow || number != newest_page) {
    auto& page = global_shadow[number];
    if (!page) page.reset(new ShadowPage);
    newest_page = number;
    newest_shadow = page.get();
  }
  if (how == Access::atomic) tick++;  // fences and additions are told from what the thread does before them
  const Access kind = how == Access::copy ? Access::load : how;
  const Verdict v = newest_shadow->access(clock_for(now_global, machine.thread, kind, line), uint32_t(at % ShadowPage::kBytes), bytes, kind);
  if (v.fatal()) found(v, machine.thread, at, bytes, how, false, file, line);
  if (how == Access::atomic) atomic_orders(now_global, at);
  if (how == Access::store) store_orders(at, bytes);
}

void grid_fence() {
  if (settings.race < 2) return;
  tick++;
  fence_orders(clock_for(now_global, machine.thread, Access::load, 0));
}

void check_matrix_row(int thread, const void* row, const char* file, int line) {
  const uint64_t at = uintptr_t(row) - uintptr_t(machine.shared);
  if (at > machine.shared_bytes || at + 16 > machine.shared_bytes || at % 16) {
    bad_shared_at(thread, row, 16, Access::matrix, file, line);
  }
  if (settings.counters) count_access(thread, true, at, 16, Access::matrix, file, line);
  if (settings.race) shadow_shared(thread, at, 16, Access::matrix, file, line);
}

void copy_arrived(uint32_t offset, uint32_t bytes, int line) {
  group_written(machine.thread, offset, bytes);
  shared_shadow[offset / ShadowPage::kBytes]->arrive(clock_for(now_shared, machine.thread, Access::copy, line), offset % ShadowPage::kBytes, bytes);
}

void bad_shared(const void* p, uint32_t bytes, Access how, const char* file, int line) { bad_shared_at(machine.thread, p, bytes, how, file, line); }

void bad_global(const void* p, uint32_t bytes, Access how, const char* file, int line) {
  if (uintptr_t(p) - uintptr_t(machine.shared) < machine.shared_bytes) {
    stop(CUDA_ERROR_ILLEGAL_ADDRESS, text("shared-as-global: %s of %u bytes at %p, which is shared memory; use the shared accessor", access_name(how, false), bytes, p), file, line);
  }
  const std::string story = explain(uintptr_t(p), bytes);
  const CUresult code = story.rfind("misaligned", 0) == 0 ? CUDA_ERROR_MISALIGNED_ADDRESS : CUDA_ERROR_ILLEGAL_ADDRESS;
  stop(code, story + text("; %s of %u bytes", access_name(how, false), bytes), file, line);
}

}  // namespace antkv_emu
