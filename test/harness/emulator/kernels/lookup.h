// Cases of clean.cu for what look-up kernels use: bytes on the matrix unit, packed halves, blocks that merge. host_lookup.cc knows the answers.
#pragma once
#include "antkv_device.cuh"
#include "emu_test.h"

namespace emu_clean_ {
using namespace antkv;

/// Three 16 x 8 x 32 products of bytes per kind of B; `in`: A [16][8] words, B [column][8] words, C [16][8]; `out`: D [2][16][8], B unsigned, then signed.
__device__ inline void bytes(const emu_test_params& p) {
  const int lane = lane_index(), g = lane / 4, t = lane % 4;
  uint32_t a[4], b[2];
  for (int i = 0; i < 4; i++) a[i] = load_global(p.in + (g + (i & 1) * 8) * 8 + t + (i >> 1) * 4);
  for (int i = 0; i < 2; i++) b[i] = load_global(p.in + 128 + g * 8 + t + i * 4);
  int d[2][4];
  for (int i = 0; i < 8; i++) d[i >> 2][i & 3] = int(load_global(p.in + 192 + (g + (i >> 1 & 1) * 8) * 8 + 2 * t + (i & 1)));
  for (int i = 0; i < 3; i++) {
    mma_16x8x32_s8u8(d[0], a, b);
    mma_16x8x32_s8s8(d[1], a, b);
  }
  if (warp_index() > 0) return;
  for (int i = 0; i < 8; i++) store_global(p.out + (i >> 2) * 128 + (g + (i >> 1 & 1) * 8) * 8 + 2 * t + (i & 1), uint32_t(d[i >> 2][i & 3]));
}

/// Three sparse 16 x 8 x 64 products per kind of B; `in`: what A keeps [16][8] words, B [column][16] words, C [16][8], places of each row's pair [16]; `out` as above.
__device__ inline void sparse(const emu_test_params& p) {
  const int lane = lane_index(), g = lane / 4, t = lane % 4;
  uint32_t a[4], b[4];
  for (int i = 0; i < 4; i++) a[i] = load_global(p.in + (g + (i & 1) * 8) * 8 + t + (i >> 1) * 4);
  for (int i = 0; i < 4; i++) b[i] = load_global(p.in + 128 + g * 16 + t + i * 4);
  const uint32_t places = load_global(p.in + 384 + g + t % 2 * 8) * 0x11111111u;
  int d[2][4];
  for (int i = 0; i < 8; i++) d[i >> 2][i & 3] = int(load_global(p.in + 256 + (g + (i >> 1 & 1) * 8) * 8 + 2 * t + (i & 1)));
  for (int i = 0; i < 3; i++) {
    mma_sparse_16x8x64_u8s8(d[0], a, b, places);
    mma_sparse_16x8x64_u8u8(d[1], a, b, places);
  }
  if (warp_index() > 0) return;
  for (int i = 0; i < 8; i++) store_global(p.out + (i >> 2) * 128 + (g + (i >> 1 & 1) * 8) * 8 + 2 * t + (i & 1), uint32_t(d[i >> 2][i & 3]));
}

/// Arithmetic on packed halves and bytes of a, b, c = in[3 * i ...].
__device__ inline void packed(const emu_test_params& p) {
  const int i = block_index().x * 128 + thread_index();
  const bool mine = i * 3 < p.n;
  const uint32_t a = load_global(p.in + (mine ? i * 3 : 0)), b = load_global(p.in + (mine ? i * 3 + 1 : 0)), c = load_global(p.in + (mine ? i * 3 + 2 : 0));
  const uint32_t same = opaque(a, uint32_t(p.n) >> 31);  // all lanes
  if (!mine) return;
  uint32_t* out = p.out + i * 8;
  store_global(out + 0, fused_multiply_add_halves(a, 0x3c003c00u, b));  // 1 a + b
  store_global(out + 1, multiply_halves(a, b));
  store_global(out + 2, fused_multiply_add_halves(a, b, c));
  store_global(out + 3, negate_halves(a));
  store_global(out + 4, pack_halves(float_of_bits(a), float_of_bits(b)));
  store_global(out + 5, dot_bytes(a, b, c));
  store_global(out + 6, permute_bytes(a, b, c));
  store_global(out + 7, same);
}

/// Each block writes one word per thread, and adds to a sum of 64 bits; the last one to arrive adds the words up. `in`: the counter, an unused word, the wide sum, 4 words per thread.
__device__ inline void merge(const emu_test_params& p) {
  const int thread = thread_index(), block = block_index().x, blocks = grid_size().x;
  uint32_t* counter = const_cast<uint32_t*>(p.in);
  uint32_t* old = reinterpret_cast<uint32_t*>(shared_memory());
  const uint32_t* mine = p.in + 4 + (block * 128 + thread) * 4;
  const bytes16 four = load_global_once(reinterpret_cast<const bytes16*>(mine));
  const bytes8 two = load_global_once(reinterpret_cast<const bytes8*>(mine + 2));
  store_global(p.out + block * 128 + thread, four.w[0] + 3 * load_global_once(mine + 1) + 5 * two.w[0] + 7 * four.w[3]);
  uint64_t* wide = reinterpret_cast<uint64_t*>(counter + 2);
  atomic_add_global(wide, uint64_t(four.w[0]) << 8);
  grid_fence();
  block_barrier();
  if (thread == 0 && block % 2) store_shared(old, atomic_add_acquire_release(counter, 1u));
  if (thread == 0 && block % 2 == 0) {  // the same in pieces
    store_shared(old, atomic_add_global(counter, 1u));
    grid_fence();
  }
  block_barrier();
  if (load_shared(old) != uint32_t(blocks - 1)) return;
  uint32_t sum = 0;
  for (int i = 0; i < blocks; i++) sum += load_global_coherent(p.out + i * 128 + thread);
  store_global(p.out + blocks * 128 + thread, sum);
  if (thread) return;
  store_global(counter, 0u);
  store_global(p.out + (blocks + 1) * 128, load_global(counter));
  const uint64_t all = load_global_coherent(wide);
  store_global(p.out + (blocks + 1) * 128 + 1, uint32_t(all));
  store_global(p.out + (blocks + 1) * 128 + 2, uint32_t(all >> 32));
}

constexpr int kTableRows = 256;  // of 128 bytes, one word per lane

/// Builds a table of 32 KB in shared memory, table[row][lane] = row * 32 + lane, and adds up 512 entries per thread in a random order. Also what `bench` measures.
__device__ inline void lookups(const emu_test_params& p) {
  const int thread = thread_index(), lane = lane_index();
  uint32_t* table = reinterpret_cast<uint32_t*>(shared_memory());
  for (int i = thread; i < kTableRows * 8; i += 128) {
    const uint32_t first = uint32_t(i) * 4;
    store_shared(reinterpret_cast<bytes16*>(table) + i, bytes16{{first, first + 1, first + 2, first + 3}});
  }
  block_barrier();
  uint32_t sum = 0;
  for (int i = 0; i < 128; i++) {
    const uint32_t codes = (uint32_t(thread) + 1) * 2654435761u * uint32_t(2 * i + 1);
    for (int k = 0; k < 4; k++) sum += load_shared(table + permute_bytes(codes, 0, 0x4440u + uint32_t(k)) * 32 + lane);
  }
  store_global(p.out + thread, sum);
}

constexpr int kTableBytes = 8192, kTableBegin = 1040;  // not where shared memory begins

/// Reads of 2, 4, 8 and 16 bytes by address. `in`: the table, then one word of index per thread and width; `out`: 1 + 1 + 2 + 4 words per thread.
__device__ inline void addresses(const emu_test_params& p) {
  const int thread = thread_index();
  prefetch_global(reinterpret_cast<const unsigned char*>(p.in) + thread * 13);  // of any alignment; nothing is read
  unsigned char* table = shared_memory() + kTableBegin;
  for (int i = thread; i < kTableBytes / 16; i += 128)
    store_shared(reinterpret_cast<bytes16*>(table) + i, load_global(reinterpret_cast<const bytes16*>(p.in) + i));
  block_barrier();
  const uint32_t at = opaque(shared_address(table), uint32_t(p.n) >> 31);
  uint32_t index[4];
  for (int i = 0; i < 4; i++) index[i] = load_global(p.in + kTableBytes / 4 + thread * 4 + i) % uint32_t(kTableBytes >> (i + 1));
  const bytes8 two = load_table_8(at + index[2] * 8);
  const bytes16 four = load_table_16(at + index[3] * 16);
  uint32_t* out = p.out + thread * 8;
  store_global(out, load_table_u16(at + index[0] * 2));
  store_global(out + 1, load_table_u32(at + index[1] * 4));
  for (int i = 0; i < 2; i++) store_global(out + 2 + i, two.w[i]);
  for (int i = 0; i < 4; i++) store_global(out + 4 + i, four.w[i]);
}
}  // namespace emu_clean_
