// Generated file. Do not edit.
//   template  templates/score.cu.hbs
//   kernel    antkv_score_d64_f16_exact__sm80_w4_t64
//   inputs    278f11764defe05a
//   remake    npx gen --only antkv_score_d64_f16_exact__sm80_w4_t64
#include "antkv.h"
#include "antkv_device.cuh"

namespace antkv_score_d64_f16_exact__sm80_w4_t64_ {  // its own: device linking would merge equal names
using namespace antkv;

struct K {
  static constexpr int kHeadDim = 64;
  static constexpr bool kExactForm = true;
  static constexpr int kWarps = 4, kTokens = 64, kSharedBytes = 18432;
};

// Where things lie: coded pages, anchor pages, per-sequence state. P is any parameter struct with these fields.

__device__ __forceinline__ const unsigned char* byte_pointer(const void* p) { return static_cast<const unsigned char*>(p); }
__device__ __forceinline__ unsigned char* byte_pointer(void* p) { return static_cast<unsigned char*>(p); }

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

// 16 tokens as the matrix unit reads them: f16 rows of keys and values in shared memory.

/// Rows are padded by 16 bytes, so that the eight rows that one ldmatrix phase reads lie in different banks.
template <int kHeadDim>
struct unit_rows {
  static constexpr int kStride = kHeadDim + 8;
  f16 k[16 * kStride];
  f16 v[16 * kStride];
};

/// Starts copying 16 exact rows, zeros from row `valid` on, one warp. Row r lies at from + r * row_bytes.
template <int kHeadDim>
__device__ __forceinline__ void stage_rows(f16* rows, const unsigned char* from, int64_t row_bytes, int valid) {
  constexpr int kPieces = kHeadDim / 8;
  for (int task = lane_index(); task < 16 * kPieces; task += 32) {
    const int row = task / kPieces, piece = task % kPieces;
    copy_async(rows + row * unit_rows<kHeadDim>::kStride + piece * 8, row < valid ? from + row * row_bytes + piece * 16 : from, row < valid);
  }
}

// Attention's two products on the matrix unit, for 16 tokens and 8 query columns. Lane = 4 * g + t throughout.

/// The 8 columns of a row-major operand with `kHeadDim` channels as B fragments: column g of this lane at `column`, or zeros.
template <int kHeadDim>
__device__ __forceinline__ void load_columns(uint32_t (&fragment)[kHeadDim / 16][2], const void* column, bool valid) {
  const uint32_t* words = static_cast<const uint32_t*>(column) + lane_index() % 4;
#pragma unroll
  for (int step = 0; step < kHeadDim / 16; ++step) {
    fragment[step][0] = valid ? load_global(words + step * 8) : 0;
    fragment[step][1] = valid ? load_global(words + step * 8 + 4) : 0;
  }
}

/// d[token][column] = rows . columns over all channels; `rows` are 16 rows in shared memory.
template <int kHeadDim>
__device__ __forceinline__ void multiply_rows(float (&d)[4], const f16* rows, int row_stride, const uint32_t (&columns)[kHeadDim / 16][2]) {
  const int lane = lane_index();
  const f16* from = rows + (lane % 16) * row_stride + lane / 16 * 8;
#pragma unroll
  for (int step = 0; step < kHeadDim / 16; ++step) {
    uint32_t a[4];
    load_matrix_x4(a, from + step * 16);
    mma_16x8x16(d, a, columns[step]);
  }
}

/// d[channel][column] += rows^T . weights; `weights` holds token g (d[0], d[1]) and g + 8 (d[2], d[3]) of columns 2t, 2t + 1.
template <int kHeadDim>
__device__ __forceinline__ void accumulate_rows(float (&d)[kHeadDim / 16][4], const f16* rows, int row_stride, const float (&weights)[4]) {
  const int lane = lane_index();
  const f16* from = rows + (lane % 8 + lane / 16 * 8) * row_stride + lane / 8 % 2 * 8;
  // A product's result has its tokens on rows; as B operand the tokens belong on pairs of registers: one transpose per 8 x 8 block.
  const uint32_t b[2] = {transpose_matrix(pack(to_f16(weights[0]), to_f16(weights[1]))),
                         transpose_matrix(pack(to_f16(weights[2]), to_f16(weights[3])))};
#pragma unroll
  for (int tile = 0; tile < kHeadDim / 16; ++tile) {
    uint32_t a[4];
    load_matrix_x4_transposed(a, from + tile * 16);
    mma_16x8x16(d[tile], a, b);
  }
}

// Anchor score of every key: a second pass over QK^T, after any attention that returned the log-sum-exp.
// grid (key tiles, kv_heads, batch). A CTA owns its keys and walks over all query columns that may see them: no atomics, and
// the sums come out the same every time.
//   column  s_j = sum_i P_ij
//   exact   s_j = sum_i P_ij |v_j - o_i| |q_i| scale     (how far a change of key j moves the output; o_i is the attention output)
// over the rows i that see j and the query heads of the KV head.

constexpr float kLog2e = 1.44269504f;

template <class K>
struct score_memory {
  unit_rows<K::kHeadDim> unit[K::kTokens / 16];
};

/// |x|^2 of the column that each lane's fragment belongs to (column g), in all lanes of that column.
template <int kHeadDim>
__device__ __forceinline__ float column_norm(const uint32_t (&column)[kHeadDim / 16][2]) {
  float norm = 0;
#pragma unroll
  for (int step = 0; step < kHeadDim / 16; ++step)
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const float x = to_float(f16{uint16_t(column[step][i / 2] >> (16 * (i % 2)))});
      norm += x * x;
    }
  norm += shuffle_xor(norm, 1);
  return norm + shuffle_xor(norm, 2);
}

/// |x|^2 of row g and row g + 8 of 16 rows in shared memory.
template <int kHeadDim>
__device__ __forceinline__ void row_norms(float (&norm)[2], const f16* rows, int row_stride) {
  const int g = lane_index() / 4, t = lane_index() % 4;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    float sum = 0;
    for (int channel = t; channel < kHeadDim; channel += 4) {
      const float x = to_float(load_shared(rows + (g + 8 * half) * row_stride + channel));
      sum += x * x;
    }
    sum += shuffle_xor(sum, 1);
    norm[half] = sum + shuffle_xor(sum, 2);
  }
}

template <class K, class P>
__device__ __forceinline__ void score(const P& p) {
  static_assert(sizeof(score_memory<K>) <= K::kSharedBytes && K::kTokens % (16 * K::kWarps) == 0, "generator/shared.ts is wrong");
  constexpr int kStride = unit_rows<K::kHeadDim>::kStride;
  constexpr int kWarpUnits = K::kTokens / 16 / K::kWarps;
  const index3 block = block_index();
  const int lane = lane_index(), g = lane / 4, t = lane % 4;
  const int head = block.y, b = block.z, ratio = p.q_heads / p.kv_heads;
  const int first_key = load_global(p.cu_k + b), keys = load_global(p.cu_k + b + 1) - first_key;
  const int first_row = load_global(p.cu_q + b), rows = load_global(p.cu_q + b + 1) - first_row;
  const int first_pos = element_or(p.first_pos, b, 0), q_pos = element_or(p.q_pos, b, first_pos + keys - rows);
  if (block.x * K::kTokens >= keys) return;

  // This warp's keys, and for the exact form their values.
  const int mine = block.x * K::kTokens + warp_index() * kWarpUnits * 16;
  auto* units = reinterpret_cast<score_memory<K>*>(shared_memory())->unit + warp_index() * kWarpUnits;
#pragma unroll
  for (int u = 0; u < kWarpUnits; ++u) {
    const int key = mine + u * 16;
    const int64_t row = key < keys ? first_key + key : first_key;
    stage_rows<K::kHeadDim>(units[u].k, byte_pointer(p.k) + row * p.k_row_stride + head * p.k_head_stride, p.k_row_stride, keys - key);
    if constexpr (K::kExactForm)
      stage_rows<K::kHeadDim>(units[u].v, byte_pointer(p.v) + row * p.v_row_stride + head * p.v_head_stride, p.v_row_stride, keys - key);
  }
  copy_async_commit();
  copy_async_wait<0>();
  warp_barrier();

  float sum[kWarpUnits][2] = {};
  float v_norm[kWarpUnits][2] = {};
  if constexpr (K::kExactForm)
#pragma unroll
    for (int u = 0; u < kWarpUnits; ++u) row_norms<K::kHeadDim>(v_norm[u], units[u].v, kStride);

  // Rows before the warp's first key see none of its keys.
  const int first_seeing = first_pos + mine - q_pos;
  for (int flat = (first_seeing > 0 ? first_seeing : 0) * ratio; flat < rows * ratio; flat += 8) {
    uint32_t q[K::kHeadDim / 16][2], o[K::kExactForm ? K::kHeadDim / 16 : 1][2];
    const int loaded = flat + g;
    const bool valid = loaded < rows * ratio;
    const int64_t q_row = first_row + (valid ? loaded / ratio : 0), q_head = head * ratio + loaded % ratio;
    load_columns<K::kHeadDim>(q, byte_pointer(p.q) + q_row * p.q_row_stride + q_head * p.q_head_stride, valid);
    float o_norm = 0, q_norm = 0;
    if constexpr (K::kExactForm) {
      load_columns<K::kHeadDim>(o, byte_pointer(p.o) + q_row * p.o_row_stride + q_head * p.o_head_stride, valid);
      o_norm = column_norm<K::kHeadDim>(o);
      q_norm = square_root(column_norm<K::kHeadDim>(q));
    }
    // The products have columns 2t and 2t + 1 in this lane; what was loaded belongs to column g.
    float lse[2], column_o_norm[2], column_q_norm[2];
    int position[2];
#pragma unroll
    for (int c = 0; c < 2; ++c) {
      const int column = flat + 2 * t + c;
      const int row = column / ratio;
      const bool exists = column < rows * ratio;
      lse[c] = exists ? load_global(p.lse + int64_t(first_row + row) * p.q_heads + head * ratio + column % ratio) : minus_infinity();
      position[c] = q_pos + row;
      column_o_norm[c] = shuffle(o_norm, 4 * (2 * t + c));
      column_q_norm[c] = shuffle(q_norm, 4 * (2 * t + c));
    }
#pragma unroll
    for (int u = 0; u < kWarpUnits; ++u) {
      float dot[4] = {}, value_dot[4] = {};
      multiply_rows<K::kHeadDim>(dot, units[u].k, kStride, q);
      if constexpr (K::kExactForm) multiply_rows<K::kHeadDim>(value_dot, units[u].v, kStride, o);
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int c = i % 2, half = i / 2;
        const int key = mine + u * 16 + g + 8 * half;
        // A row that saw nothing has an lse of -inf and no weight to give.
        if (key >= keys || lse[c] == minus_infinity() || first_pos + key > position[c]) continue;
        float weight = exp2_fast((dot[i] * p.scale - lse[c]) * kLog2e);
        if constexpr (K::kExactForm) {
          const float distance = v_norm[u][half] + column_o_norm[c] - 2.0f * value_dot[i];
          weight *= square_root(fmaxf(distance, 0.0f)) * column_q_norm[c] * p.scale;
        }
        sum[u][half] += weight;
      }
    }
  }

#pragma unroll
  for (int u = 0; u < kWarpUnits; ++u)
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float total = sum[u][half];
      total += shuffle_xor(total, 1);
      total += shuffle_xor(total, 2);
      const int key = mine + u * 16 + g + 8 * half;
      if (t == 0 && key < keys) store_global(p.scores + (int64_t(b) * p.kv_heads + head) * p.score_stride + key, total);
    }
}

// At least one CTA per SM is all that is asked for: without the 1, ptxas may spill to fit more.
extern "C" __global__ void __launch_bounds__(128, 1)
antkv_score_d64_f16_exact__sm80_w4_t64(const __grid_constant__ antkv_score_params p) {
  score<K>(p);
}

}  // namespace antkv_score_d64_f16_exact__sm80_w4_t64_
