// Generated file. Do not edit.
//   template  templates/combine.cu.hbs
//   kernel    antkv_combine_d64_f16__sm80_w4
//   inputs    3b676df250bfaa95
//   remake    npx gen --only antkv_combine_d64_f16__sm80_w4
#include "antkv.h"
#include "antkv_device.cuh"

namespace antkv_combine_d64_f16__sm80_w4_ {  // its own: device linking would merge equal names
using namespace antkv;

struct K {
  using Element = f16;  // of queries, exact rows and output
  static constexpr int kHeadDim = 64;
  static constexpr int kWarps = 4;
};

// The 16-bit type of a contract's queries, exact rows and output, f16 or bf16: what the two do differently, by one set of names.

template <class T>
constexpr bool kIsBf16 = false;
template <>
constexpr bool kIsBf16<bf16> = true;

/// The nearest T, ties to even.
template <class T>
__device__ __forceinline__ T round_to(float x) {
  if constexpr (kIsBf16<T>) return to_bf16(x);
  else return to_f16(x);
}
/// Two of them in a register, `lo` in the low 16 bits.
template <class T>
__device__ __forceinline__ uint32_t round_pair(float lo, float hi) {
  if constexpr (kIsBf16<T>) return pack_bf16(lo, hi);
  else return pack_halves(lo, hi);
}
/// d += A * B of 16 x 16 and 16 x 8 elements of T.
template <class T>
__device__ __forceinline__ void multiply_add(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  if constexpr (kIsBf16<T>) mma_16x8x16_bf16(d, a, b);
  else mma_16x8x16(d, a, b);
}
/// A channel of a query, within what halves can be: those have more digits than bf16, but not room for all of its sizes. What is no number stays none.
template <class T>
__device__ __forceinline__ float float_of_query(uint32_t bits) {
  const float x = to_float(T{uint16_t(bits)});
  if constexpr (!kIsBf16<T>) return x;
  return x != x ? x : fminf(fmaxf(x, -65504.0f), 65504.0f);
}
/// A pair of a query's channels as halves, for keys that were codes.
template <class T>
__device__ __forceinline__ uint32_t halves_of_query(uint32_t pair) {
  if constexpr (!kIsBf16<T>) return pair;
  return pack_halves(float_of_query<T>(pair), float_of_query<T>(pair >> 16));
}

// Where things lie: coded pages, anchor pages, per-sequence state. P is any parameter struct with these fields.

__device__ __forceinline__ const unsigned char* byte_pointer(const void* p) { return static_cast<const unsigned char*>(p); }
__device__ __forceinline__ unsigned char* byte_pointer(void* p) { return static_cast<unsigned char*>(p); }
__device__ __forceinline__ int min_int(int a, int b) { return a < b ? a : b; }

/// An optional array: its element `i`, or `otherwise` where the array is null.
template <class T>
__device__ __forceinline__ T element_or(const T* array, int i, T otherwise) {
  return array ? load_global(array + i) : otherwise;
}

/// The block of the page that holds logical token `token` of sequence `b`, for one KV head.
template <class P>
__device__ __forceinline__ auto page_block(const P& p, int b, int head, int token) {
  const int run = token / p.page_size;
  const int32_t* pages = p.block_table ? p.block_table + int64_t(b) * p.max_pages : p.page_indices + load_global(p.page_indptr + b);
  const int64_t page = load_global(pages + run);
  return byte_pointer(p.pages) + page * p.page_stride + head * p.page_head_stride;
}

/// The block of anchor page number `page`, for one KV head.
template <class P>
__device__ __forceinline__ auto anchor_block(const P& p, int page, int head) {
  return byte_pointer(p.anchors) + int64_t(page) * p.anchor_page_stride + head * p.anchor_head_stride;
}

/// Sequence `b`'s list of anchor pages; -1 ends it early.
template <class P>
__device__ __forceinline__ const int32_t* anchor_pages(const P& p, int b) {
  return p.anchor_table + int64_t(element_or(p.state_slot, b, b)) * p.max_anchor_pages;
}

/// Entries of a list of anchor pages before its end. All lanes must call it; all get the answer.
__device__ __forceinline__ int count_anchor_pages(const int32_t* pages, int max_pages) {
  for (int base = 0; base < max_pages; base += 128) {  // four loads are under way together
    bool ends[4];
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      const int i = base + j * 32 + lane_index();
      ends[j] = load_global(pages + (i < max_pages ? i : max_pages - 1)) < 0 || i >= max_pages;
    }
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      const uint32_t ended = vote_ballot(ends[j]);
      if (ended) return base + j * 32 + count_bits((ended & (0u - ended)) - 1);
    }
  }
  return max_pages;
}

/// Whether the row of `token`, found in entry `entry` of a list of anchor pages, belongs to the sequence: emptied rows
/// do not, nor do inherited rows at or beyond the shared prefix (CACHE.md, "Sharing").
__device__ __forceinline__ bool is_anchor(int token, int entry, int end, int frozen_pages, int frozen_len) {
  return token >= 0 && token < end && (entry >= frozen_pages || token < frozen_len);
}

// Merges the splits of decode, always in the order 0, 1, ...: one warp per query row and head. grid (rows, ceil(q_heads / warps)).
// A decode with counters has merged already, and so has one with one split: only ring scores are left then.

constexpr float kLog2e = 1.44269504f;
constexpr float kLn2 = 0.693147181f;

template <class K, class P>
__device__ __forceinline__ void combine(const P& p) {
  const int row = block_index().x, head = block_index().y * K::kWarps + warp_index(), lane = lane_index();
  if (head >= p.q_heads) return;
  const int64_t column = int64_t(row) * p.q_heads + head, columns = int64_t(p.rows) * p.q_heads;

  float lse;
  if (p.partial_o) {
    // Lanes look at a split each for the weights, then all at one split after another, eight under way together.
    float top = minus_infinity();
    for (int split = lane; split < p.splits; split += 32) top = fmaxf(top, load_global(p.partial_lse + split * columns + column));
#pragma unroll
    for (int mask = 1; mask < 32; mask *= 2) top = fmaxf(top, shuffle_xor(top, mask));
    constexpr int kMine = K::kHeadDim / 32, kAtOnce = 8;
    float sum[kMine] = {};
    float total = 0;
    for (int base = 0; base < p.splits && top > minus_infinity(); base += 32) {
      const bool exists = base + lane < p.splits;
      const float mine = exists ? exp2_fast((load_global(p.partial_lse + (base + lane) * columns + column) - top) * kLog2e) : 0.0f;
      for (int first = 0; first < 32 && base + first < p.splits; first += kAtOnce) {
        float weight[kAtOnce], o[kAtOnce][kMine];
#pragma unroll
        for (int j = 0; j < kAtOnce; ++j) {
          weight[j] = shuffle(mine, first + j);
          // A split that saw nothing may have left its output as it was: 0 * NaN is NaN.
#pragma unroll
          for (int i = 0; i < kMine; ++i)
            o[j][i] = weight[j] > 0 ? load_global(p.partial_o + ((base + first + j) * columns + column) * K::kHeadDim + i * 32 + lane) : 0.0f;
        }
#pragma unroll
        for (int j = 0; j < kAtOnce; ++j) {
          total += weight[j];
#pragma unroll
          for (int i = 0; i < kMine; ++i) sum[i] += weight[j] * o[j][i];
        }
      }
    }
    lse = total > 0 ? top + log2_fast(total) * kLn2 : minus_infinity();
    using T = typename K::Element;
    T* out = reinterpret_cast<T*>(byte_pointer(p.out) + row * p.out_row_stride + head * p.out_head_stride);
#pragma unroll
    for (int i = 0; i < kMine; ++i) store_global(out + i * 32 + lane, round_to<T>(total > 0 ? sum[i] / total : 0.0f));
    if (p.lse && lane == 0) store_global(p.lse + column, lse);
  } else {
    lse = load_global(p.lse + column);  // decode wrote output and lse itself
  }

  // Raw scores of ring rows become attention mass, which only the final log-sum-exp allows.
  if (p.ring_scores)
    for (int i = lane; i < p.ring_rows; i += 32) {
      float* score = p.ring_scores + column * p.ring_rows + i;
      const float raw = load_global(score);
      store_global(score, raw == minus_infinity() ? 0.0f : exp2_fast((raw - lse) * kLog2e));
    }
}

// At least one CTA per SM is all that is asked for: without the 1, ptxas may spill to fit more.
extern "C" __global__ void __launch_bounds__(128, 1)
antkv_combine_d64_f16__sm80_w4(const __grid_constant__ antkv_combine_params p) {
  combine<K>(p);
}

}  // namespace antkv_combine_d64_f16__sm80_w4_
