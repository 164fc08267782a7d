// Generated file. Do not edit.
//   template  templates/decode.cu.hbs
//   kernel    antkv_decode_d128_k8c8b_v8c8bq8_f16_gain__sm80_w4_t64_s2
//   inputs    d0adb61e22d342f0
//   remake    npx gen --only antkv_decode_d128_k8c8b_v8c8bq8_f16_gain__sm80_w4_t64_s2
#include "antkv.h"
#include "antkv_device.cuh"

namespace antkv_decode_d128_k8c8b_v8c8bq8_f16_gain__sm80_w4_t64_s2_ {  // its own: device linking would merge equal names
using namespace antkv;

struct K {
  static constexpr int kHeadDim = 128;
  struct Key {
    static constexpr bool kExact = false;
    static constexpr int kRowBytes = 16, kCodebookBytes = 81920;
    static constexpr int kChannels = 8, kBits = 8, kEntries = 256;
    static constexpr bool kQ8 = false;
    static constexpr int kScaleOffset = 65536, kHalfNormOffset = 65536;
  };
  struct Value {
    static constexpr bool kExact = false;
    static constexpr int kRowBytes = 16, kCodebookBytes = 49664;
    static constexpr int kChannels = 8, kBits = 8, kEntries = 256;
    static constexpr bool kQ8 = true;
    static constexpr int kScaleOffset = 32768, kHalfNormOffset = 33280;
  };
  static constexpr bool kCoded = true;  // a side is coded: pages carry a bitmap, and anchors exist
  static constexpr int kUnitBytes = 544, kValueOffset = 256, kKeyGainOffset = 512;
  static constexpr bool kPre = false, kKeyGain = true;
  static constexpr int kWarps = 4, kStages = 2;
  static constexpr int kWarpUnits = 1;  // units of 16 tokens that a warp takes per step
  static constexpr int kSharedBytes = 39168;
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
  for (int base = 0; base < max_pages; base += 32) {
    const int i = base + lane_index();
    const uint32_t ended = vote_ballot(i >= max_pages || load_global(pages + i) < 0);
    if (ended) return base + count_bits((ended & (0u - ended)) - 1);
  }
  return max_pages;
}

/// Whether the row of `token`, found in entry `entry` of a list of anchor pages, belongs to the sequence: emptied rows
/// do not, nor do inherited rows at or beyond the shared prefix (CACHE.md, "Sharing").
__device__ __forceinline__ bool is_anchor(int token, int entry, int end, int frozen_pages, int frozen_len) {
  return token >= 0 && token < end && (entry >= frozen_pages || token < frozen_len);
}

// Rotary position embedding, in fp32, from data: frequencies, pairing, rotated channels, factor on cos and sin.

/// sin and cos of position * inv_freq, good to about 1e-6 for 0 <= position < 2^23 and inv_freq <= 1.
/// The product keeps its rounding error, and 2 pi is subtracted in two parts (Cody and Waite), because at position
/// 10^6 an fp32 angle alone is off by 0.06 radians.
__device__ __forceinline__ void rope_angle(int position, float inv_freq, float& sine, float& cosine) {
  const float angle = float(position) * inv_freq;
  const float error = fused_multiply_add(float(position), inv_freq, -angle);
  const float turns = round_even(angle * 0.15915494f);                     // 1 / (2 pi)
  float reduced = fused_multiply_add(turns, -6.28318548f, angle);          // 2 pi = 6.28318548 - 1.7484556e-7 + ...
  reduced = fused_multiply_add(turns, 1.7484556e-7f, reduced);
  sine_cosine_fast(reduced + error, sine, cosine);
}

/// The two channels of pair `i`: (i, i + rotary_dim/2), or (2i, 2i + 1) when interleaved.
struct rope_pair {
  int first, second;
};
template <class P>
__device__ __forceinline__ rope_pair rope_channels(const P& p, int i) {
  return p.rope_interleaved ? rope_pair{2 * i, 2 * i + 1} : rope_pair{i, i + p.rotary_dim / 2};
}

/// Rotates `kRows` rows of f16 in shared memory in place, one warp; row r stands at position `position` + r.
/// `scale` holds one factor per channel that the rows still want, or is null.
template <int kRows, int kHeadDim, class P>
__device__ __forceinline__ void rotate_rows(const P& p, f16* rows, int row_stride, int position, const float* scale) {
  for (int i = lane_index(); i < p.rotary_dim / 2; i += 32) {
    const float inv_freq = load_global(p.inv_freq + i);
    const rope_pair pair = rope_channels(p, i);
    const float first_factor = p.attention_factor * (scale ? load_global(scale + pair.first) : 1.0f);
    const float second_factor = p.attention_factor * (scale ? load_global(scale + pair.second) : 1.0f);
    // The angle is taken exactly once per call; from row to row it grows by inv_freq, a rotation of its own. 15 steps lose less than 1e-5.
    float sine, cosine, step_sine, step_cosine;
    rope_angle(position, inv_freq, sine, cosine);
    rope_angle(1, inv_freq, step_sine, step_cosine);
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
      f16* first = rows + r * row_stride + pair.first;
      f16* second = rows + r * row_stride + pair.second;
      const float x = to_float(load_shared(first)) * first_factor, y = to_float(load_shared(second)) * second_factor;
      store_shared(first, to_f16(x * cosine - y * sine));
      store_shared(second, to_f16(x * sine + y * cosine));
      const float next = cosine * step_cosine - sine * step_sine;
      sine = sine * step_cosine + cosine * step_sine;
      cosine = next;
    }
  }
  if (!scale) return;
  for (int channel = p.rotary_dim + lane_index(); channel < kHeadDim; channel += 32)
    for (int r = 0; r < kRows; ++r) {
      f16* at = rows + r * row_stride + channel;
      store_shared(at, to_f16(to_float(load_shared(at)) * load_global(scale + channel)));
    }
}

// From codes to channels: one codebook entry becomes the f16 channels of one chunk. C is the traits struct of one side.

/// The code of `chunk` in a token's row of codes.
template <class C>
__device__ __forceinline__ int code_at(const unsigned char* row, int chunk) {
  static_assert(C::kBits == 8, "codes of whole bytes");
  return load_shared(row + chunk);
}

/// Bytes of one codebook entry, and how many of them move at once.
template <class C>
struct entry_bytes {
  static constexpr int kAll = C::kChannels * (C::kQ8 ? 1 : 2);
  static constexpr int kPiece = kAll < 16 ? kAll : 16;
  static constexpr int kPieces = kAll / kPiece;
};

/// Loads the entry at `entry` (global) as 32-bit words.
template <class C>
__device__ __forceinline__ void load_entry(uint32_t (&words)[entry_bytes<C>::kAll / 4], const unsigned char* entry) {
  using E = entry_bytes<C>;
#pragma unroll
  for (int i = 0; i < E::kPieces; ++i) {
    if constexpr (E::kPiece == 4) {
      words[i] = load_global(reinterpret_cast<const uint32_t*>(entry) + i);
    } else if constexpr (E::kPiece == 8) {
      const bytes8 piece = load_global(reinterpret_cast<const bytes8*>(entry) + i);
      words[2 * i] = piece.w[0], words[2 * i + 1] = piece.w[1];
    } else {
      const bytes16 piece = load_global(reinterpret_cast<const bytes16*>(entry) + i);
#pragma unroll
      for (int j = 0; j < 4; ++j) words[4 * i + j] = piece.w[j];
    }
  }
}

/// Channel `i` of a loaded entry as stored: the f16 centroid, or the int8 step count.
template <class C>
__device__ __forceinline__ float entry_channel(const uint32_t (&words)[entry_bytes<C>::kAll / 4], int i) {
  if constexpr (C::kQ8) return float(int8_t(words[i / 4] >> (8 * (i % 4)) & 0xff));
  return to_float(f16{uint16_t(words[i / 2] >> (16 * (i % 2)))});
}

/// Stores `kWords` pairs of channels in shared memory, in as few stores as their alignment allows.
template <int kWords>
__device__ __forceinline__ void store_channels(f16* to, const uint32_t (&words)[kWords]) {
  if constexpr (kWords == 1) {
    store_shared(reinterpret_cast<uint32_t*>(to), words[0]);
  } else if constexpr (kWords == 2) {
    store_shared(reinterpret_cast<bytes8*>(to), bytes8{{words[0], words[1]}});
  } else {
#pragma unroll
    for (int i = 0; i < kWords; i += 4)
      store_shared(reinterpret_cast<bytes16*>(to) + i / 4, bytes16{{words[i], words[i + 1], words[i + 2], words[i + 3]}});
  }
}

/// The factors of an int8 codebook's channels, null for an f16 codebook.
template <class C>
__device__ __forceinline__ const float* channel_scales(const unsigned char* codebook) {
  return C::kQ8 ? reinterpret_cast<const float*>(codebook + C::kScaleOffset) : nullptr;
}

/// Expands 16 rows of codes in shared memory to 16 rows of f16 in shared memory, one warp.
/// `codebook` is the packed codebook of this KV head (global). Without kScaled an int8 codebook's rows keep their whole
/// numbers, exact in f16, and whoever reads them next applies channel_scales: one rounding instead of two.
template <class C, int kHeadDim, bool kScaled>
__device__ __forceinline__ void expand_rows(f16* rows, int row_stride, const unsigned char* codes, const unsigned char* codebook) {
  constexpr int kChunks = kHeadDim / C::kChannels;
  // A lane keeps its chunk, so that scales are loaded once; its gathers for several rows are under way together.
  constexpr int kLanes = kChunks < 32 ? kChunks : 32, kRowsAtOnce = 32 / kLanes;
  const int lane = lane_index(), first_row = lane / kLanes;
  if (first_row >= kRowsAtOnce) return;
  for (int chunk = lane % kLanes; chunk < kChunks; chunk += kLanes) {
    const unsigned char* entries = codebook + int64_t(chunk) * C::kEntries * entry_bytes<C>::kAll;
    float scale[C::kChannels];
    if constexpr (C::kQ8 && kScaled) {
#pragma unroll
      for (int i = 0; i < C::kChannels; ++i) scale[i] = load_global(channel_scales<C>(codebook) + chunk * C::kChannels + i);
    }
#pragma unroll
    for (int row = first_row; row < 16; row += kRowsAtOnce) {
      uint32_t words[entry_bytes<C>::kAll / 4];
      load_entry<C>(words, entries + code_at<C>(codes + row * C::kRowBytes, chunk) * entry_bytes<C>::kAll);
      uint32_t channels[C::kChannels / 2];
#pragma unroll
      for (int i = 0; i < C::kChannels; i += 2) {
        if constexpr (C::kQ8) {
          float x = entry_channel<C>(words, i), y = entry_channel<C>(words, i + 1);
          if constexpr (kScaled) x *= scale[i], y *= scale[i + 1];
          channels[i / 2] = pack(to_f16(x), to_f16(y));
        } else {
          channels[i / 2] = words[i / 2];
        }
      }
      store_channels<C::kChannels / 2>(rows + row * row_stride + chunk * C::kChannels, channels);
    }
  }
}

/// Copies 16 exact rows inside shared memory, zeros from row `valid` on (they were never written: 0 * NaN is NaN), one warp.
template <int kHeadDim>
__device__ __forceinline__ void copy_rows(f16* rows, int row_stride, const unsigned char* from, int valid) {
  constexpr int kPieces = kHeadDim / 8;
  for (int task = lane_index(); task < 16 * kPieces; task += 32) {
    const int row = task / kPieces, piece = task % kPieces;
    bytes16 value = {};
    if (row < valid) value = load_shared(reinterpret_cast<const bytes16*>(from) + task);
    store_shared(reinterpret_cast<bytes16*>(rows + row * row_stride + piece * 8), value);
  }
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

// One coded unit of 16 tokens on its way from its page to rows: staged bytes, then channels.

/// Starts copying a coded unit as it lies in its page, one warp.
template <int kUnitBytes>
__device__ __forceinline__ void stage_unit(unsigned char* stage, const unsigned char* unit) {
  for (int at = lane_index() * 16; at < kUnitBytes; at += 32 * 16) copy_async(stage + at, unit + at, true);
}

/// Turns a staged coded unit into rows, one warp. `valid` tokens of it were ever written. Keys coded before RoPE still want
/// rotate_rows, which also scales them.
template <class K>
__device__ __forceinline__ void expand_unit(unit_rows<K::kHeadDim>& rows, const unsigned char* stage, const unsigned char* k_codebook,
                                            const unsigned char* v_codebook, int valid) {
  constexpr int kStride = unit_rows<K::kHeadDim>::kStride;
  if constexpr (K::Key::kExact) {
    copy_rows<K::kHeadDim>(rows.k, kStride, stage, valid);
  } else {
    expand_rows<typename K::Key, K::kHeadDim, !K::kPre>(rows.k, kStride, stage, k_codebook);
  }
  if constexpr (K::Value::kExact) {
    copy_rows<K::kHeadDim>(rows.v, kStride, stage + K::kValueOffset, valid);
  } else {
    expand_rows<typename K::Value, K::kHeadDim, true>(rows.v, kStride, stage + K::kValueOffset, v_codebook);
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

// One sequence as decode sees it: three segments as one list of units of 16 tokens, and what each query column may see.

/// The sequence as this CTA sees it.
struct decode_view {
  int coded_len, kv_len, first_pos, first_new;  // first_new: logical index of the first of this step's rows
  int coded_units, anchor_units, units;
  int frozen_pages, frozen_len;
  const int32_t* anchors;
  int slot;
};

template <class P>
__device__ __forceinline__ decode_view view_of(const P& p, int b, int q_len) {
  decode_view s;
  s.coded_len = load_global(p.coded_len + b);
  s.kv_len = load_global(p.kv_len + b);
  s.first_pos = element_or(p.first_pos, b, 0);
  s.first_new = s.kv_len - q_len;
  s.slot = element_or(p.state_slot, b, b);
  s.frozen_pages = element_or(p.frozen_anchor_pages, b, 0);
  s.frozen_len = element_or(p.frozen_len, b, 0);
  s.coded_units = p.segments & 1 ? (s.coded_len + 15) / 16 : 0;
  s.anchors = nullptr;
  s.anchor_units = 0;
  if (p.segments & 2 && p.anchor_table) {
    s.anchors = anchor_pages(p, b);
    s.anchor_units = count_anchor_pages(s.anchors, p.max_anchor_pages);
  }
  const int ring_units = p.segments & 4 ? (s.kv_len - s.coded_len + 15) / 16 : 0;
  s.units = s.coded_units + s.anchor_units + ring_units;
  return s;
}

/// A query column: which row of which head, and what it may see.
struct column {
  bool valid;
  int row, head, position;
  uint32_t new_rows;  // tree mask, or all ones
};

template <class P>
__device__ __forceinline__ column column_of(const P& p, const decode_view& s, int b, int first_row, int q_len, int kv_head, int flat) {
  const int ratio = p.q_heads / p.kv_heads;
  column c;
  c.valid = flat < q_len * ratio;
  const int row = c.valid ? flat / ratio : 0;
  c.row = first_row + row;
  c.head = kv_head * ratio + flat % ratio;
  c.position = element_or(p.q_pos, b, s.first_pos + s.first_new) + row;
  c.new_rows = c.valid && p.tree_mask ? load_global(p.tree_mask + c.row) : ~0u;
  return c;
}

/// Whether `c` sees logical token `token`. New rows obey the tree mask where there is one, all others their position.
__device__ __forceinline__ bool sees(const column& c, const decode_view& s, int token, bool has_tree) {
  if (!c.valid) return false;
  if (has_tree && token >= s.first_new) return c.new_rows >> (token - s.first_new) & 1;
  return s.first_pos + token <= c.position;
}

// Units of 16 tokens from the three segments to rows in one warp's shared memory.

/// One warp's part of shared memory: staged units, and the rows they become.
template <class K, bool kInPlace = K::Key::kExact && K::Value::kExact>
struct warp_memory {
  struct alignas(16) staged {
    unsigned char bytes[K::kUnitBytes];
  };
  staged stage[K::kStages][K::kWarpUnits];
  unit_rows<K::kHeadDim> rows[K::kWarpUnits];

  __device__ __forceinline__ const unsigned char* stage_of(int slot, int u) { return stage[slot][u].bytes; }
  __device__ __forceinline__ unit_rows<K::kHeadDim>& rows_of(int, int u) { return rows[u]; }
  __device__ __forceinline__ void prefetch(int slot, int u, const unsigned char* unit, int) {
    stage_unit<K::kUnitBytes>(stage[slot][u].bytes, unit);
  }
  /// `valid` tokens of the unit were ever written; the first stands at `position`.
  template <class P>
  __device__ __forceinline__ void expand(const P& p, int slot, int u, const unsigned char* k_codebook, const unsigned char* v_codebook, int valid, int position) {
    expand_unit<K>(rows[u], stage[slot][u].bytes, k_codebook, v_codebook, valid);
    if constexpr (K::kPre) {
      warp_barrier();
      rotate_rows<16, K::kHeadDim>(p, rows[u].k, unit_rows<K::kHeadDim>::kStride, position, channel_scales<typename K::Key>(k_codebook));
    }
  }
};

/// With exact rows on both sides, what is staged already is what the matrix unit reads.
template <class K>
struct warp_memory<K, true> {
  unit_rows<K::kHeadDim> rows[K::kStages][K::kWarpUnits];

  __device__ __forceinline__ const unsigned char* stage_of(int, int) { return nullptr; }
  __device__ __forceinline__ unit_rows<K::kHeadDim>& rows_of(int slot, int u) { return rows[slot][u]; }
  __device__ __forceinline__ void prefetch(int slot, int u, const unsigned char* unit, int valid) {
    stage_rows<K::kHeadDim>(rows[slot][u].k, unit, K::kHeadDim * 2, valid);
    stage_rows<K::kHeadDim>(rows[slot][u].v, unit + K::kValueOffset, K::kHeadDim * 2, valid);
  }
  template <class P>
  __device__ __forceinline__ void expand(const P&, int, int, const unsigned char*, const unsigned char*, int, int) {}
};

/// The pages' unit number `unit` of the sequence.
template <class K, class P>
__device__ __forceinline__ const unsigned char* coded_unit(const P& p, int b, int head, int unit) {
  return page_block(p, b, head, unit * 16) + unit * 16 % p.page_size / 16 * K::kUnitBytes;
}

/// What the lane knows of a fetched unit: logical token (-1: nobody sees it) and score factor of rows g and g + 8.
struct fetched {
  int token[2];
  float factor[2];
};

/// A coded unit whose bytes have arrived.
template <class K, class P>
__device__ __forceinline__ fetched fetch_coded(const P& p, const decode_view& s, warp_memory<K>& mem, int slot, int u, int b, int head, int unit,
                                               const unsigned char* k_codebook, const unsigned char* v_codebook) {
  const unsigned char* stage = mem.stage_of(slot, u);
  uint32_t anchored = 0;
  if constexpr (K::kCoded) {
    const uint32_t* bitmap = reinterpret_cast<const uint32_t*>(page_block(p, b, head, unit * 16) + p.page_size / 16 * K::kUnitBytes);
    const int in_page = unit * 16 % p.page_size;
    anchored = load_global(bitmap + in_page / 32) >> in_page % 32;
  }
  fetched f;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int row = lane_index() / 4 + 8 * half, token = unit * 16 + row;
    f.token[half] = token < s.coded_len && !(anchored >> row & 1) ? token : -1;
    f.factor[half] = p.scale;
    if constexpr (K::kKeyGain) f.factor[half] *= to_float(load_shared(reinterpret_cast<const f16*>(stage + K::kKeyGainOffset) + row));
  }
  mem.expand(p, slot, u, k_codebook, v_codebook, s.coded_len - unit * 16, s.first_pos + unit * 16);
  return f;
}

/// Copies row `row` of a unit, or zeros: what was never written may be NaN, and 0 * NaN is NaN.
template <int kHeadDim>
__device__ __forceinline__ void fetch_row(unit_rows<kHeadDim>& rows, int row, const unsigned char* k, const unsigned char* v, bool used) {
  const int piece = lane_index();
  if (piece < kHeadDim / 8) {
    copy_async(rows.k + row * unit_rows<kHeadDim>::kStride + piece * 8, k + piece * 16, used);
    copy_async(rows.v + row * unit_rows<kHeadDim>::kStride + piece * 8, v + piece * 16, used);
  }
}

/// Entry `entry` of the list of anchor pages.
template <class K, class P>
__device__ __forceinline__ fetched fetch_anchors(const P& p, const decode_view& s, unit_rows<K::kHeadDim>& rows, int head, int entry) {
  constexpr int kRowBytes = K::kHeadDim * 2;
  const unsigned char* page = anchor_block(p, load_global(s.anchors + entry), head);
  const int32_t* index = reinterpret_cast<const int32_t*>(page + 32 * kRowBytes);
  const auto used = [&](int token) { return is_anchor(token, entry, s.coded_len, s.frozen_pages, s.frozen_len); };
  for (int row = 0; row < 16; ++row)
    fetch_row<K::kHeadDim>(rows, row, page + row * kRowBytes, page + (16 + row) * kRowBytes, used(load_global(index + row)));
  fetched f;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int token = load_global(index + lane_index() / 4 + 8 * half);
    f.token[half] = used(token) ? token : -1;
    f.factor[half] = p.scale;
  }
  copy_async_commit();
  copy_async_wait<0>();
  return f;
}

/// The ring's tokens `first` ... `first` + 15.
template <class K, class P>
__device__ __forceinline__ fetched fetch_ring(const P& p, const decode_view& s, unit_rows<K::kHeadDim>& rows, int head, int first) {
  const int64_t block = s.slot * p.ring_slot_stride + head * p.ring_head_stride;
  for (int row = 0; row < 16; ++row) {
    const bool used = first + row < s.kv_len;
    const int64_t at = block + (used ? (first + row) % p.ring_rows * p.ring_row_stride : 0);
    fetch_row<K::kHeadDim>(rows, row, byte_pointer(p.ring_k) + at, byte_pointer(p.ring_v) + at, used);
  }
  fetched f;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int token = first + lane_index() / 4 + 8 * half;
    f.token[half] = token < s.kv_len ? token : -1;
    f.factor[half] = p.scale;
  }
  copy_async_commit();
  copy_async_wait<0>();
  return f;
}

// Attention of one KV head's query columns over coded pages, anchor pages and ring.
// grid (splits, column groups * kv_heads, batch). The three segments are one list of units of 16 tokens; a CTA owns a run of
// it, its warps take turns, and each warp keeps its own softmax state until the end. No block barrier in the loop.

constexpr float kLog2e = 1.44269504f;
constexpr float kLn2 = 0.693147181f;

/// Running softmax of a warp: lane 4g + t holds columns 2t and 2t + 1; channels 16 i + g and 16 i + g + 8 of o[i].
template <class K>
struct softmax_state {
  float o[K::kHeadDim / 16][4] = {};
  float maximum[2] = {minus_infinity(), minus_infinity()};  // log2 units
  float weight[2] = {0, 0};                                 // this lane's tokens only, until the merge

  /// Raises the maxima to cover `score` (log2 units) and turns the scores into weights.
  __device__ __forceinline__ void weigh(float (&score)[K::kWarpUnits][4]) {
#pragma unroll
    for (int c = 0; c < 2; ++c) {
      float top = maximum[c];
#pragma unroll
      for (int u = 0; u < K::kWarpUnits; ++u) top = fmaxf(top, fmaxf(score[u][c], score[u][c + 2]));
#pragma unroll
      for (int mask = 4; mask < 32; mask *= 2) top = fmaxf(top, shuffle_xor(top, mask));
      // A column that has seen nothing keeps a maximum of -inf, and -inf - -inf must not happen.
      const float shrink = maximum[c] == top ? 1.0f : exp2_fast(maximum[c] - top);
      maximum[c] = top;
      weight[c] *= shrink;
#pragma unroll
      for (int tile = 0; tile < K::kHeadDim / 16; ++tile) o[tile][c] *= shrink, o[tile][c + 2] *= shrink;
#pragma unroll
      for (int u = 0; u < K::kWarpUnits; ++u)
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          float& x = score[u][c + 2 * half];
          x = top == minus_infinity() ? 0.0f : exp2_fast(x - top);
          weight[c] += x;
        }
    }
  }
};

/// What a warp leaves for the merge: [8 columns, d] weighted sums, maxima (log2 units) and weights.
template <class K>
struct warp_result {
  static constexpr int kStride = K::kHeadDim + 4;  // lanes of one store hit 32 banks: 4 columns apart by 8, channels by 1
  float o[8 * kStride];
  float maximum[8];
  float weight[8];
};

template <class K>
__device__ __forceinline__ void store_result(warp_result<K>& r, softmax_state<K>& state) {
  const int g = lane_index() / 4, t = lane_index() % 4;
#pragma unroll
  for (int c = 0; c < 2; ++c) {
    float weight = state.weight[c];
#pragma unroll
    for (int mask = 4; mask < 32; mask *= 2) weight += shuffle_xor(weight, mask);
    if (g == 0) {
      store_shared(r.maximum + 2 * t + c, state.maximum[c]);
      store_shared(r.weight + 2 * t + c, weight);
    }
#pragma unroll
    for (int tile = 0; tile < K::kHeadDim / 16; ++tile)
#pragma unroll
      for (int half = 0; half < 2; ++half)
        store_shared(r.o + (2 * t + c) * warp_result<K>::kStride + tile * 16 + half * 8 + g, state.o[tile][c + 2 * half]);
  }
}

/// One channel of one column, the warps merged in order; `lse` in natural units.
template <class K>
__device__ __forceinline__ float merge_warps(const warp_result<K>* results, int column, int channel, float& lse) {
  float top = minus_infinity();
  for (int w = 0; w < K::kWarps; ++w) top = fmaxf(top, load_shared(results[w].maximum + column));
  float sum = 0, total = 0;
  for (int w = 0; w < K::kWarps; ++w) {
    const float maximum = load_shared(results[w].maximum + column);
    const float shrink = maximum == minus_infinity() ? 0.0f : exp2_fast(maximum - top);
    sum += shrink * load_shared(results[w].o + column * warp_result<K>::kStride + channel);
    total += shrink * load_shared(results[w].weight + column);
  }
  lse = total > 0 ? (top + log2_fast(total)) * kLn2 : minus_infinity();
  return total > 0 ? sum / total : 0.0f;
}

/// Writes -inf where the ring holds no token of the sequence: what the buffer held before would come out of combine as attention mass.
template <class K, class P, class F>
__device__ __forceinline__ void clear_ring_scores(const P& p, const decode_view& s, const F& column_at) {
  const int held = p.segments & 4 ? s.kv_len - s.coded_len : 0;
  for (int i = thread_index(); i < 8 * p.ring_rows; i += K::kWarps * 32) {
    const int row = i % p.ring_rows, after_coded = (row - s.coded_len % p.ring_rows + p.ring_rows) % p.ring_rows;
    const column c = column_at(i / p.ring_rows);
    if (c.valid && after_coded >= held) store_global(p.ring_scores + (int64_t(c.row) * p.q_heads + c.head) * p.ring_rows + row, minus_infinity());
  }
}

template <class K, class P>
__device__ __forceinline__ void decode(const P& p) {
  static_assert(K::kWarps * sizeof(warp_memory<K>) <= K::kSharedBytes && K::kWarps * sizeof(warp_result<K>) <= K::kSharedBytes, "generator/shared.ts is wrong");
  constexpr int kStride = unit_rows<K::kHeadDim>::kStride;
  constexpr int kStepUnits = K::kWarps * K::kWarpUnits;

  const index3 block = block_index();
  const int warp = warp_index(), g = lane_index() / 4, t = lane_index() % 4;
  const int b = block.z, kv_head = block.y % p.kv_heads, group = block.y / p.kv_heads;
  const int first_row = p.cu_q ? load_global(p.cu_q + b) : b;
  const int q_len = p.cu_q ? load_global(p.cu_q + b + 1) - first_row : 1;
  if (group * 8 >= q_len * (p.q_heads / p.kv_heads)) return;  // a shorter sequence than the host's bound

  const decode_view s = view_of(p, b, q_len);
  const auto column_at = [&](int c) { return column_of(p, s, b, first_row, q_len, kv_head, group * 8 + c); };
  const column mine[2] = {column_at(2 * t), column_at(2 * t + 1)};
  uint32_t q[K::kHeadDim / 16][2];
  {
    const column c = column_at(g);
    load_columns<K::kHeadDim>(q, byte_pointer(p.q) + c.row * p.q_row_stride + c.head * p.q_head_stride, c.valid);
  }
  const unsigned char* k_codebook = byte_pointer(p.k_codebook) + int64_t(kv_head) * K::Key::kCodebookBytes;
  const unsigned char* v_codebook = byte_pointer(p.v_codebook) + int64_t(kv_head) * K::Value::kCodebookBytes;

  // This CTA's run of units; a warp's step covers kWarpUnits of them.
  const int share = (s.units + p.splits - 1) / p.splits;
  const int begin = block.x * share, end = begin + share < s.units ? begin + share : s.units;
  const int first = begin + warp * K::kWarpUnits;
  const int steps = end > first ? (end - first + kStepUnits - 1) / kStepUnits : 0;

  warp_memory<K>& mem = reinterpret_cast<warp_memory<K>*>(shared_memory())[warp];
  const auto prefetch = [&](int step) {
    if (step < steps) {
#pragma unroll
      for (int u = 0; u < K::kWarpUnits; ++u) {
        const int unit = first + step * kStepUnits + u;
        if (unit >= end || unit >= s.coded_units) break;
        mem.prefetch(step % K::kStages, u, coded_unit<K>(p, b, kv_head, unit), s.coded_len - unit * 16);
      }
    }
    copy_async_commit();  // also when empty: the wait below counts groups
  };

  softmax_state<K> state;
  for (int step = 0; step < K::kStages - 1; ++step) prefetch(step);
  for (int step = 0; step < steps; ++step) {
    const int slot = step % K::kStages;
    prefetch(step + K::kStages - 1);
    copy_async_wait<K::kStages - 1>();
    warp_barrier();

    float score[K::kWarpUnits][4];
#pragma unroll
    for (int u = 0; u < K::kWarpUnits; ++u) {
      const int unit = first + step * kStepUnits + u;
      if (unit >= end) {
#pragma unroll
        for (int i = 0; i < 4; ++i) score[u][i] = minus_infinity();
        continue;
      }
      auto& rows = mem.rows_of(slot, u);
      const int anchor_entry = unit - s.coded_units, ring_unit = anchor_entry - s.anchor_units;
      fetched f;
      if (anchor_entry < 0) {
        f = fetch_coded<K>(p, s, mem, slot, u, b, kv_head, unit, k_codebook, v_codebook);
      } else if (ring_unit < 0) {
        f = fetch_anchors<K>(p, s, rows, kv_head, anchor_entry);
      } else {
        f = fetch_ring<K>(p, s, rows, kv_head, s.coded_len + ring_unit * 16);
      }
      warp_barrier();

      float dot[4] = {};
      multiply_rows<K::kHeadDim>(dot, rows.k, kStride, q);
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const column& c = mine[i % 2];
        const int token = f.token[i / 2];
        const float raw = token >= 0 && sees(c, s, token, p.tree_mask != nullptr) ? dot[i] * f.factor[i / 2] : minus_infinity();
        score[u][i] = raw * kLog2e;
        if (p.ring_scores && ring_unit >= 0 && token >= 0 && c.valid)
          store_global(p.ring_scores + (int64_t(c.row) * p.q_heads + c.head) * p.ring_rows + token % p.ring_rows, raw);
      }
    }

    state.weigh(score);
#pragma unroll
    for (int u = 0; u < K::kWarpUnits; ++u) {
      if (first + step * kStepUnits + u >= end) break;
      accumulate_rows<K::kHeadDim>(state.o, mem.rows_of(slot, u).v, kStride, score[u]);
    }
    warp_barrier();  // the rows and the stage are written again
  }
  copy_async_wait<0>();

  block_barrier();
  warp_result<K>* results = reinterpret_cast<warp_result<K>*>(shared_memory());
  store_result(results[warp], state);
  block_barrier();
  if (p.ring_scores && block.x == 0) clear_ring_scores<K>(p, s, column_at);
  for (int i = thread_index(); i < 8 * K::kHeadDim; i += K::kWarps * 32) {
    const int channel = i % K::kHeadDim;
    const column c = column_at(i / K::kHeadDim);
    if (!c.valid) continue;
    float lse;
    const float value = merge_warps(results, i / K::kHeadDim, channel, lse);
    if (p.splits == 1) {
      f16* out = reinterpret_cast<f16*>(byte_pointer(p.out) + c.row * p.out_row_stride + c.head * p.out_head_stride);
      store_global(out + channel, to_f16(value));
      if (p.lse && channel == 0) store_global(p.lse + int64_t(c.row) * p.q_heads + c.head, lse);
    } else {
      const int64_t at = (int64_t(block.x) * p.rows + c.row) * p.q_heads + c.head;
      store_global(p.partial_o + at * K::kHeadDim + channel, value);
      if (channel == 0) store_global(p.partial_lse + at, lse);
    }
  }
}

// At least one CTA per SM is all that is asked for: without the 1, ptxas may spill to fit more.
extern "C" __global__ void __launch_bounds__(128, 1)
antkv_decode_d128_k8c8b_v8c8bq8_f16_gain__sm80_w4_t64_s2(const __grid_constant__ antkv_decode_params p) {
  decode<K>(p);
}

}  // namespace antkv_decode_d128_k8c8b_v8c8bq8_f16_gain__sm80_w4_t64_s2_
