// Cases of planted.cu about blocks of one launch: what orders them, and what only seems to.
#pragma once
#include "antkv_device.cuh"
#include "emu_test.h"

namespace emu_planted_ {
using namespace antkv;

__device__ inline uint32_t* words() { return reinterpret_cast<uint32_t*>(shared_memory()); }
__device__ inline void finish(const emu_test_params& p, uint32_t value) { store_global(p.out + block_index().x * 64 + thread_index(), value); }

/// Every block writes 64 words and adds to a counter; the last one sums all of them. Each fence and barrier can be left out.
/// The counter, fresh memory, starts at -1.
struct merge_steps {
  bool fence_writes, barrier_before, fence_reads, one_counter;
};
__device__ __forceinline__ void merge(const emu_test_params& p, merge_steps steps) {
  const int thread = thread_index(), blocks = grid_size().x;
  store_global(p.out + block_index().x * 64 + thread, uint32_t(thread));
  if (steps.fence_writes) grid_fence();
  if (steps.barrier_before) block_barrier();
  uint32_t* counter = p.out + 1000 + (steps.one_counter ? 0 : int(block_index().x));
  if (thread == 0) store_shared(words(), atomic_add_global(counter, 1u));
  if (thread == 0 && steps.fence_reads) grid_fence();
  block_barrier();
  if (steps.one_counter && load_shared(words()) != uint32_t(blocks - 2)) return;
  uint32_t sum = 0;
  for (int i = 0; i < blocks; i++) sum += load_global_coherent(p.out + i * 64 + thread);
  if (thread == 0) store_global(counter, 0u);
  store_global(p.out + 512 + thread, sum);
}
__device__ inline void merge_without_release(const emu_test_params& p) { merge(p, {false, true, true, true}); }
__device__ inline void merge_without_barrier(const emu_test_params& p) { merge(p, {true, false, true, true}); }
__device__ inline void merge_without_acquire(const emu_test_params& p) { merge(p, {true, true, false, true}); }
__device__ inline void merge_by_two_counters(const emu_test_params& p) { merge(p, {true, true, true, false}); }

__device__ inline void merge_by_a_flag(const emu_test_params& p) {  // a plain store where an atomic should be
  const int thread = thread_index(), block = block_index().x;
  uint32_t* counter = p.out + 1000;
  store_global(p.out + block * 64 + thread, 1u);
  grid_fence();
  block_barrier();
  if (thread == 0) store_global(counter, load_global_coherent(counter) + 1);
}

__device__ inline void fence_before_the_store(const emu_test_params& p) {  // the fence comes too early
  const int thread = thread_index(), block = block_index().x;
  grid_fence();
  store_global(p.out + block * 64 + thread, 1u);
  block_barrier();
  if (thread == 0) store_shared(words(), atomic_add_global(p.out + 1000, 1u));
  if (thread == 0) grid_fence();
  block_barrier();
  if (load_shared(words()) == grid_size().x - 2u) load_global_coherent(p.out + thread + (block ? 0 : 64));
}

__device__ inline void counter_read_plainly(const emu_test_params& p) {
  if (thread_index() == 0) atomic_add_global(p.out + 1000, 1u);
  if (thread_index() == 32) load_global(p.out + 1000);
}

__device__ inline void once_after_a_store(const emu_test_params& p) {  // the read-only path, for what the block itself wrote
  store_global(p.out + thread_index(), 1u);
  block_barrier();
  load_global_once(p.out + (thread_index() ^ 32));
}

/// One addition that releases and acquires; all threads of a block after `barrier_before`.
__device__ __forceinline__ void merge_at_once(const emu_test_params& p, bool barrier_before) {
  const int thread = thread_index(), blocks = grid_size().x;
  store_global(p.out + block_index().x * 64 + thread, uint32_t(thread));
  if (barrier_before) block_barrier();
  if (thread == 5) store_shared(words(), atomic_add_acquire_release(p.out + 1000, 1u));
  block_barrier();
  if (load_shared(words()) != uint32_t(blocks - 2)) return;
  uint32_t sum = 0;
  for (int i = 0; i < blocks; i++) sum += load_global_coherent(p.out + i * 64 + thread);
  if (thread == 5) store_global(p.out + 1000, 0u);
  store_global(p.out + 512 + thread, sum);
}
__device__ inline void merge_at_once_without_barrier(const emu_test_params& p) { merge_at_once(p, false); }

// --- correct -------------------------------------------------------------------------------------------------------
__device__ inline void good_merge(const emu_test_params& p) { merge(p, {true, true, true, true}); }

__device__ inline void good_merge_at_once(const emu_test_params& p) { merge_at_once(p, true); }

__device__ inline void good_merge_by_one_thread(const emu_test_params& p) {  // barrier, then one thread fences for all; what was learned is passed on by a second counter
  const int thread = thread_index(), block = block_index().x;
  store_global(p.out + block * 64 + thread, uint32_t(thread));
  block_barrier();
  if (thread == 5) {
    grid_fence();
    store_shared(words(), atomic_add_global(p.out + 1000, 1u));
  }
  block_barrier();
  const bool last = load_shared(words()) == grid_size().x - 2u;
  if (!last) return;
  grid_fence();  // every thread for itself
  uint32_t sum = 0;
  for (int i = 0; i < int(grid_size().x); i++) sum += load_global_coherent(p.out + i * 64 + thread);
  store_global(p.out + 512 + thread, sum);
  if (thread == 40) store_global(p.out + thread, sum);  // over what another block wrote
}
}  // namespace emu_planted_
