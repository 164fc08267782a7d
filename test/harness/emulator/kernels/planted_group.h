// Cases of planted.cu about groups of four warps on the matrix unit of sm_90a: what must stand between columns in shared memory, a product and the reader of its sums. 128 threads.
#pragma once
#include "planted_blocks.h"

namespace emu_planted_ {
using namespace antkv;

/// A product as a kernel makes it, and what a case does otherwise.
struct group_steps {
  bool publish = true, fence = true, commit = true, wait = true;
  int aside = 0;                 // halves between the operand and where it should begin
  uint32_t late_a = 0;           // added to a register of A while the product is under way
  int idle_warp = -1;            // leaves the product out
  bool add_differs = false;      // among lanes
};

/// 48 columns of 128 bytes, all written by this thread's share of the block.
__device__ inline f16* write_columns() {
  auto* pieces = reinterpret_cast<bytes16*>(shared_memory_1024());
  for (int i = thread_index(); i < 48 * 8; i += 128) store_shared(pieces + i, bytes16{{0x3c003c00u, 0, 0, 0}});
  return reinterpret_cast<f16*>(pieces);
}

__device__ inline void group_product(const emu_test_params& p, const group_steps& steps) {
  f16* columns = write_columns();
  if (steps.publish) group_mma_publish();
  block_barrier();
  float d[24] = {};
  uint32_t a[4] = {0x3c003c00u, 0, 0, 0};
  if (warp_index() != steps.idle_warp) {
    if (steps.fence) group_mma_fence(d);
    group_mma_64x48x16(d, a, group_operand(columns + steps.aside), steps.add_differs && lane_index() == 3);
    if (steps.commit) group_mma_commit();
    a[1] += steps.late_a;
    if (steps.wait) group_mma_wait<0>(d);
  }
  block_barrier();
  store_global(p.out + thread_index(), steps.wait ? float_bits(d[0]) : a[1]);
}

__device__ inline void group_unpublished(const emu_test_params& p) { group_steps s; s.publish = false; group_product(p, s); }
__device__ inline void group_unfenced(const emu_test_params& p) { group_steps s; s.fence = false; group_product(p, s); }
__device__ inline void group_uncommitted(const emu_test_params& p) { group_steps s; s.commit = false; group_product(p, s); }
__device__ inline void group_unfinished(const emu_test_params& p) { group_steps s; s.wait = false; group_product(p, s); }
__device__ inline void group_operand_aside(const emu_test_params& p) { group_steps s; s.aside = 8; group_product(p, s); }
__device__ inline void group_operand_overwritten(const emu_test_params& p) { group_steps s; s.late_a = 1; group_product(p, s); }
__device__ inline void group_without_a_warp(const emu_test_params& p) { group_steps s; s.idle_warp = 2; group_product(p, s); }
__device__ inline void group_add_differs(const emu_test_params& p) { group_steps s; s.add_differs = true; group_product(p, s); }

__device__ inline void group_of_two_warps(const emu_test_params& p) { group_product(p, {}); }  // launched with 64 threads

__device__ inline void group_wait_too_lax(const emu_test_params& p) {  // two sets, and the second one's sums after a wait for the first
  f16* columns = write_columns();
  group_mma_publish();
  block_barrier();
  float first[24] = {}, second[24] = {};
  const uint32_t a[4] = {0x3c003c00u, 0, 0, 0};
  group_mma_fence(first);
  group_mma_64x48x16(first, a, group_operand(columns), false);
  group_mma_commit();
  group_mma_64x48x16(second, a, group_operand(columns), false);
  group_mma_commit();
  group_mma_wait<1>(second);
  finish(p, float_bits(second[0]));
}

__device__ inline void group_columns_replaced(const emu_test_params& p) {  // the next tile comes while the last one's product is under way
  f16* columns = write_columns();
  group_mma_publish();
  block_barrier();
  float d[24] = {};
  const uint32_t a[4] = {0x3c003c00u, 0, 0, 0};
  group_mma_fence(d);
  group_mma_64x48x16(d, a, group_operand(columns), false);
  group_mma_commit();
  block_barrier();
  store_shared(reinterpret_cast<uint32_t*>(columns) + thread_index() * 4, 0u);
  group_mma_wait<0>(d);
  finish(p, float_bits(d[0]));
}

// --- correct -------------------------------------------------------------------------------------------------------
__device__ inline void good_group(const emu_test_params& p) { group_product(p, {}); }
}  // namespace emu_planted_
