// Cases of planted.cu about what a warp does together on the matrix unit and in votes, with the operands that only a GPU would have noticed.
#pragma once
#include "planted_blocks.h"

namespace emu_planted_ {
using namespace antkv;

__device__ __forceinline__ void sparse(const emu_test_params& p, uint32_t places) {
  int d[4] = {};
  const uint32_t a[4] = {1, 2, 3, 4}, b[4] = {5, 6, 7, 8};
  mma_sparse_16x8x64_u8s8(d, a, b, places);
  finish(p, uint32_t(d[0]));
}
__device__ inline void sparse_places_descend(const emu_test_params& p) { sparse(p, 0x11111111u); }  // the second byte, then the first
__device__ inline void sparse_places_repeat(const emu_test_params& p) { sparse(p, 0xaaaaaaaau); }   // one byte twice
__device__ inline void sparse_places_vary(const emu_test_params& p) { sparse(p, 0x44444448u); }     // other places for the first four of a row
__device__ inline void sparse_places_of_half_a_row(const emu_test_params& p) {                      // lanes 0 and 2 of four do not agree
  sparse(p, lane_index() % 4 == 2 ? 0xeeeeeeeeu : 0x44444444u);
}

__device__ inline void sparse_in_a_branch(const emu_test_params& p) {
  int d[4] = {};
  const uint32_t a[4] = {}, b[4] = {};
  if (lane_index() < 16) {
    mma_sparse_16x8x64_u8s8(d, a, b, 0x44444444u);
  } else {
    mma_sparse_16x8x64_u8u8(d, a, b, 0x44444444u);
  }
  finish(p, uint32_t(d[0]));
}

__device__ inline void vote_any_in_a_branch(const emu_test_params& p) {
  const bool odd = lane_index() % 2;
  finish(p, lane_index() < 24 && vote_any(odd));
}

__device__ inline void uniform_of_lanes(const emu_test_params& p) { finish(p, uniform(uint32_t(thread_index() / 16))); }

__device__ inline void shuffle_down_in_a_branch(const emu_test_params& p) {
  uint32_t x = uint32_t(thread_index());
  if (lane_index() < 31) x += shuffle_down(x, 1);  // the last lane has no one above it, and is needed all the same
  finish(p, x);
}

// --- correct -------------------------------------------------------------------------------------------------------
__device__ inline void good_sparse(const emu_test_params& p) {  // rows g and rows g + 8 have places of their own
  sparse(p, lane_index() % 2 ? 0xddddddddu : 0x88888888u);
}
}  // namespace emu_planted_
