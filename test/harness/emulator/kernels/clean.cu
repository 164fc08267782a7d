// Every accessor once, used as it should be: host.cc knows the answers. Each case fills its own words of `out`.
#include "antkv_device.cuh"
#include "emu_test.h"
#include "lookup.h"

namespace emu_clean_ {
using namespace antkv;

/// f16 -> f32 and back for the pattern `in`; f32 -> f16 for the bits `in`.
__device__ void halves(const emu_test_params& p, int i) {
  const uint32_t bits = load_global(p.in + i);
  const f16 h = {uint16_t(bits)};
  store_global(p.out + 3 * i, float_bits(to_float(h)));
  store_global(p.out + 3 * i + 1, uint32_t(to_f16(to_float(h)).bits));
  union {
    uint32_t u;
    float f;
  } x = {bits};
  store_global(p.out + 3 * i + 2, uint32_t(to_f16(x.f).bits));
}

/// One 16 x 8 x 16 product per warp; `in`: A [16][8] words, B [8][8] words ([k pair][column]); `out`: D [16][8] floats after two steps and the first half of k once more.
__device__ void matrix(const emu_test_params& p) {
  const int lane = lane_index(), g = lane / 4, t = lane % 4;
  float d[4];
  for (int i = 0; i < 4; i++) d[i] = float((g + (i >> 1) * 8) * 8 + 2 * t + (i & 1));
  uint32_t a[4], b[2];
  for (int i = 0; i < 4; i++) a[i] = load_global(p.in + (g + (i & 1) * 8) * 8 + t + (i >> 1) * 4);
  for (int i = 0; i < 2; i++) b[i] = load_global(p.in + 128 + (t + i * 4) * 8 + g);
  float e[4], f[4];
  mma_16x8x16(e, a, b, d);
  mma_16x8x16(e, a, b);
  const uint32_t half_a[2] = {a[0], a[1]}, half_b[1] = {b[0]};
  mma_16x8x8(f, half_a, half_b, e);
  uint32_t* out = p.out + warp_index() * 128;
  for (int i = 0; i < 4; i++) store_global(out + (g + (i >> 1) * 8) * 8 + 2 * t + (i & 1), float_bits(f[i]));
}

/// `in`: 32 rows of 4 words per warp; copied to shared memory, read back as fragments, plain, transposed, and transposed in registers.
__device__ void fragments(const emu_test_params& p) {
  const int warp = warp_index(), lane = lane_index();
  unsigned char* mine = shared_memory() + warp * 512;
  copy_async(mine + lane * 16, p.in + (warp * 32 + lane) * 4, true);
  copy_async_commit();
  copy_async_wait<0>();
  warp_barrier();
  uint32_t r[4], s[4];
  load_matrix_x4(r, mine + lane * 16);
  load_matrix_x4_transposed(s, mine + lane * 16);
  uint32_t* out = p.out + (warp * 32 + lane) * 12;
  for (int i = 0; i < 4; i++) {
    store_global(out + i, r[i]);
    store_global(out + 4 + i, s[i]);
    store_global(out + 8 + i, transpose_matrix(r[i]));
  }
}

/// Shuffles, votes and reductions of `in`, one word per thread.
__device__ void votes(const emu_test_params& p) {
  const int thread = thread_index(), lane = lane_index();
  const uint32_t mine = load_global(p.in + thread);
  uint32_t* out = p.out + thread * 14;
  store_global(out + 0, shuffle(mine, 5));
  store_global(out + 1, shuffle(mine, lane ^ 31));
  store_global(out + 2, shuffle_xor(mine, 9));
  store_global(out + 3, shuffle_up(mine, 3));
  store_global(out + 4, vote_ballot(mine & 1));
  uint32_t sum = mine;  // a butterfly: lanes that run ahead must not spoil slots that others still read
  for (int mask = 16; mask; mask >>= 1) sum += shuffle_xor(sum, mask);
  store_global(out + 5, sum);
  uint32_t scan = mine;
  for (int delta = 1; delta < 32; delta *= 2) {
    const uint32_t left = shuffle_up(scan, delta);
    scan += lane >= delta ? left : 0;
  }
  store_global(out + 6, scan);
  store_global(out + 7, uint32_t(count_bits(mine)));
  store_global(out + 8, shuffle_down(mine, 3));
  store_global(out + 9, uint32_t(vote_any(thread == 69)));  // a thread of one warp
  store_global(out + 10, uint32_t(vote_any(lane == 31)) + 2 * uint32_t(vote_any(lane > 31)));
  store_global(out + 11, uint32_t(thread_index_anew()));
  store_global(out + 12, reduce_add(mine));                 // modulo 2^32
  store_global(out + 13, uint32_t(reduce_max(int(mine))));  // signed
}

/// A pipeline of two stages over 8 tiles of one 16-byte row per thread, read by the next thread; the last two tiles are zero-filled.
__device__ void pipeline(const emu_test_params& p, int threads) {
  const int thread = thread_index();
  unsigned char* shared = shared_memory();
  auto start = [&](int tile) {
    if (tile < 8) {
      const bool valid = tile < 6;
      copy_async(shared + (tile % 2 * threads + thread) * 16, p.in + (valid ? tile * threads + thread : 0) * 4, valid);
    }
    copy_async_commit();
  };
  start(0);
  uint32_t sum = 0;
  for (int tile = 0; tile < 8; tile++) {
    start(tile + 1);
    copy_async_wait<1>();
    block_barrier();
    const bytes16 row = load_shared(reinterpret_cast<const bytes16*>(shared) + tile % 2 * threads + (thread + 1) % threads);
    for (int i = 0; i < 4; i++) sum = sum * 31 + row.w[i];
    block_barrier();
  }
  store_global(p.out + thread, sum);
}

/// All widths of loads and stores, atomics, several blocks, neighbours' bytes in one word.
__device__ void widths(const emu_test_params& p, int threads) {
  const int thread = thread_index();
  unsigned char* s = shared_memory();
  uint32_t* count = reinterpret_cast<uint32_t*>(s);  // [4], then bytes, f16s, 8 and 16 bytes per thread
  unsigned char* bytes = s + 16;
  f16* halfs = reinterpret_cast<f16*>(s + 16 + threads);
  bytes8* eights = reinterpret_cast<bytes8*>(s + 16 + 3 * threads);
  bytes16* sixteens = reinterpret_cast<bytes16*>(s + 16 + 11 * threads);
  if (thread < 4) store_shared(count + thread, 0u);
  store_shared(bytes + thread, static_cast<unsigned char>(thread * 3));
  store_shared(halfs + thread, to_f16(float(thread)));
  store_shared(eights + thread, bytes8{{uint32_t(thread), 1u}});
  store_shared(sixteens + thread, bytes16{{uint32_t(thread), 2u, 3u, 4u}});
  block_barrier();
  atomic_add_shared(count + thread % 4, uint32_t(thread));
  const int other = threads - 1 - thread;
  const index3 block = block_index(), grid = grid_size();
  uint32_t sum = load_shared(bytes + other) + uint32_t(to_float(load_shared(halfs + other)));
  sum += load_shared(eights + other).w[0] + load_shared(sixteens + other).w[3];
  block_barrier();
  sum += load_shared(count + thread % 4);
  const int at = (block.z * grid.y + block.y) * grid.x + block.x;
  store_global(p.out + at * threads + thread, sum);
}

/// The arithmetic functions at x = in[thread].
__device__ void arithmetic(const emu_test_params& p) {
  const int thread = thread_index();
  union {
    uint32_t u;
    float f;
  } x = {load_global(p.in + thread)};
  float sine, cosine;
  sine_cosine_fast(x.f, sine, cosine);
  uint32_t* out = p.out + thread * 9;
  store_global(out + 0, float_bits(exp2_fast(x.f)));
  store_global(out + 1, float_bits(log2_fast(x.f)));
  store_global(out + 2, float_bits(fused_multiply_add(x.f, x.f, -1.0f)));
  store_global(out + 3, float_bits(round_even(x.f)));
  store_global(out + 4, float_bits(square_root(x.f)));
  store_global(out + 5, float_bits(sine));
  store_global(out + 6, float_bits(cosine));
  store_global(out + 7, float_bits(minus_infinity()));
  store_global(out + 8, float_bits(reciprocal_fast(x.f)));
}

extern "C" __global__ void __launch_bounds__(128) emu_clean(const __grid_constant__ emu_test_params p) {
  const int threads = 128;
  switch (p.which) {
    case 0: {
      const int i = block_index().x * threads + thread_index();
      if (i < p.n) halves(p, i);
      return;
    }
    case 1: return matrix(p);
    case 2: return fragments(p);
    case 3: return votes(p);
    case 4: return pipeline(p, threads);
    case 5: return widths(p, threads);
    case 6: return arithmetic(p);
    case 7: return bytes(p);
    case 8: return packed(p);
    case 9: return merge(p);
    case 10: return lookups(p);
    case 11: return addresses(p);
    case 12: return sparse(p);
  }
}
}  // namespace emu_clean_
