// Allocator and validity map of the emulated device memory.
#include "memory.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <deque>
#include <map>

#include "report.h"

namespace antkv_emu {
namespace {

constexpr uint64_t kArena = 256ull << 30;
constexpr uint64_t kPage = 4096;
constexpr uint64_t kOffset = 256;             // into the page: aligned as promised, not better
constexpr uint64_t kLeastGuard = 64 << 10;    // between allocations; as large as the allocation, so that a wild index rarely lands in another one
constexpr uint64_t kMostGuard = 64 << 20;
constexpr size_t kFreedKept = 4096;           // remembered for reports

struct Allocation {
  size_t bytes;
  uint64_t span;  // pages and guard
};

uintptr_t base = 0;
uint8_t* valid = nullptr;
uint64_t cursor = 0;
uint64_t used = 0;
std::map<uint64_t, Allocation> live;                    // by user address
std::deque<std::pair<uint64_t, size_t>> freed;          // newest last

uint64_t round_up(uint64_t n, uint64_t to) { return (n + to - 1) / to * to; }

void mark(uint64_t p, size_t bytes, bool on) {
  uint8_t* v = valid + ((p - base) >> 4);
  memset(v, on ? 16 : 0, bytes / 16);
  if (bytes % 16) v[bytes / 16] = on ? uint8_t(bytes % 16) : 0;
}

/// An unused range of `span` bytes: onwards from the last one, and only when the end is reached the first gap. 0: none.
uint64_t find_gap(uint64_t span) {
  if (cursor + span <= base + kArena) {
    const uint64_t at = cursor;
    cursor += span;
    return at;
  }
  uint64_t at = base + kMostGuard;
  for (const auto& [user, a] : live) {
    const uint64_t start = user - kOffset;
    if (start >= at && start - at >= span) return at;
    at = start + a.span;
  }
  return at + span <= base + kArena ? at : 0;
}

}  // namespace

bool reserve_memory() {
  if (base) return true;
  const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
  void* p = mmap(nullptr, kArena, PROT_READ | PROT_WRITE, flags, -1, 0);
  if (p == MAP_FAILED) return false;
  void* v = mmap(nullptr, kArena / 16, PROT_READ | PROT_WRITE, flags, -1, 0);
  if (v == MAP_FAILED) {
    munmap(p, kArena);
    return false;
  }
  base = uintptr_t(p);
  valid = static_cast<uint8_t*>(v);
  cursor = base + kMostGuard;
  return true;
}

uintptr_t arena_base() { return base; }
uint64_t arena_bytes() { return base ? kArena : 0; }
const uint8_t* validity() { return valid; }

uint64_t total_memory() {
  const char* set = getenv("ANTKV_EMU_MEMORY");
  const uint64_t bytes = set ? strtoull(set, nullptr, 0) : 0;
  return bytes ? bytes : 16ull << 30;
}
uint64_t free_memory() {
  const uint64_t total = total_memory();
  return used < total ? total - used : 0;
}

CUresult allocate(size_t bytes, CUdeviceptr* out) {
  if (!bytes) return fail(CUDA_ERROR_INVALID_VALUE, "cuMemAlloc of 0 bytes");
  if (bytes > free_memory()) {
    return fail(CUDA_ERROR_OUT_OF_MEMORY, text("out-of-memory: cuMemAlloc of %zu bytes with %llu of %llu free; ANTKV_EMU_MEMORY sets the total", bytes,
                                               static_cast<unsigned long long>(free_memory()), static_cast<unsigned long long>(total_memory())));
  }
  const uint64_t pages = round_up(bytes + kOffset, kPage);
  const uint64_t guard = pages < kLeastGuard ? kLeastGuard : pages > kMostGuard ? kMostGuard : pages;
  const uint64_t at = find_gap(pages + guard);
  if (!at) return fail(CUDA_ERROR_OUT_OF_MEMORY, "out-of-memory: no gap left between allocations; free some");
  const uint64_t user = at + kOffset;
  live[user] = {bytes, pages + guard};
  used += bytes;
  mark(user, bytes, true);
  memset(reinterpret_cast<void*>(user), 0xff, bytes);
  *out = user;
  return CUDA_SUCCESS;
}

CUresult release(CUdeviceptr p) {
  if (!p) return CUDA_SUCCESS;
  const auto found = live.find(p);
  if (found == live.end()) {
    for (const auto& [user, bytes] : freed) {
      if (user == p) return fail(CUDA_ERROR_INVALID_VALUE, text("double-free: cuMemFree of %#llx (%zu bytes), which was freed before", p, bytes));
    }
    return fail(CUDA_ERROR_INVALID_VALUE, text("bad-free: cuMemFree of %#llx, which is not what cuMemAlloc returned", p));
  }
  const size_t bytes = found->second.bytes;
  mark(p, bytes, false);
  madvise(reinterpret_cast<void*>(p - kOffset), round_up(bytes + kOffset, kPage), MADV_DONTNEED);
  used -= bytes;
  live.erase(found);
  freed.emplace_back(p, bytes);
  if (freed.size() > kFreedKept) freed.pop_front();
  return CUDA_SUCCESS;
}

bool in_arena(uint64_t p) { return base && p - base < kArena; }

bool owned(uint64_t p, size_t bytes) {
  auto next = live.upper_bound(p);
  if (next == live.begin()) return false;
  const auto& [user, a] = *--next;
  return p - user <= a.bytes && bytes <= a.bytes - (p - user);
}

std::string explain(uint64_t p, size_t bytes) {
  const auto at = static_cast<unsigned long long>(p);
  if (p < 4096) return text("null-pointer: address %#llx; look for an optional pointer that is not tested before use", at);
  if (!in_arena(p)) return text("host-pointer: %#llx is not device memory; look for a host pointer in the parameter struct, or an address made of garbage", at);
  for (auto f = freed.rbegin(); f != freed.rend(); ++f) {
    if (p >= f->first && p < f->first + f->second && !owned(p, 1)) {
      return text("use-after-free: %#llx is byte %llu of an allocation of %zu bytes that was freed", at, static_cast<unsigned long long>(p - f->first), f->second);
    }
  }
  if (owned(p, bytes)) return text("misaligned: %#llx is not a multiple of %zu; look for a stride or an offset that breaks the alignment of wide accesses", at, bytes);
  auto next = live.upper_bound(p);
  if (next != live.begin()) {
    const auto& [user, a] = *std::prev(next);
    if (p + bytes > user + a.bytes && (next == live.end() || p - (user + a.bytes) < next->first - p)) {
      return text("global-out-of-bounds: %#llx is byte %llu of an allocation of %zu bytes (%#llx); look for an index past the tail, or a wrong stride", at,
                  static_cast<unsigned long long>(p - user), a.bytes, static_cast<unsigned long long>(user));
    }
  }
  if (next != live.end()) {
    return text("global-out-of-bounds: %#llx is %llu bytes before an allocation of %zu bytes (%#llx); look for a negative index (-1 as \"none\"?)", at,
                static_cast<unsigned long long>(next->first - p), next->second.bytes, static_cast<unsigned long long>(next->first));
  }
  return text("global-out-of-bounds: %#llx belongs to no allocation", at);
}

}  // namespace antkv_emu
