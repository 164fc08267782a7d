// Generated file. Do not edit.
//   template  templates/unpack.cu.hbs
//   kernel    antkv_unpack_d128_k2c8bq8_v2c8bq8_f16__sm90_w4_t32
//   inputs    fc769320f1e5681a
//   remake    npx gen --only antkv_unpack_d128_k2c8bq8_v2c8bq8_f16__sm90_w4_t32
#include "antkv.h"
#include "antkv_device.cuh"

namespace antkv_unpack_d128_k2c8bq8_v2c8bq8_f16__sm90_w4_t32_ {  // its own: device linking would merge equal names
using namespace antkv;

struct K {
  using Element = f16;  // of queries, exact rows and output
  static constexpr int kHeadDim = 128;
  struct Key {
    static constexpr bool kExact = false;
    static constexpr int kRowBytes = 64, kCodebookBytes = 98816;
    static constexpr int kChannels = 2, kBits = 8, kCodeStages = 1, kEntries = 256;
    static constexpr bool kQ8 = true;
    static constexpr int kScaleOffset = 32768, kHalfNormOffset = 33280;
    static constexpr bool kKeys = true, kByLane = true;  // the order of codes in a unit
    static constexpr int kChunks = 64, kPiece = 16, kTurnHigh = 0, kTurnShift = 0, kTurnMask = 3;
  };
  struct Value {
    static constexpr bool kExact = false;
    static constexpr int kRowBytes = 64, kCodebookBytes = 98816;
    static constexpr int kChannels = 2, kBits = 8, kCodeStages = 1, kEntries = 256;
    static constexpr bool kQ8 = true;
    static constexpr int kScaleOffset = 32768, kHalfNormOffset = 33280;
    static constexpr bool kKeys = false, kByLane = true;
    static constexpr int kChunks = 64, kPiece = 16, kRowSpan = 8;
  };
  static constexpr bool kCoded = true;  // a side is coded: pages carry a bitmap, and anchors exist
  static constexpr int kUnitBytes = 2048, kValueOffset = 1024, kKeyGainOffset = 2048;
  static constexpr bool kPre = false, kKeyGain = false;
  static constexpr int kWarps = 4, kTokens = 32, kSharedBytes = 43008;
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

// Where codes and gains lie inside a unit of 16 tokens: the device's codeOffset and gainOffset (generator/layout.ts, which also computes the constants).
// C is the traits struct of one side.

/// What the groups of 4 chunks of a key in row `row` (0 ... 7) are stored turned by: group i lies in place i ^ key_turn(row).
template <class C>
__device__ __forceinline__ constexpr uint32_t key_turn(uint32_t row) {
  return (row & 1) * C::kTurnHigh | (row >> C::kTurnShift & C::kTurnMask);
}

/// The place of group `group` in a row of a key. Groups turn within their part: powers of two from the largest on, so that part and number of groups differ first in the part's bit.
template <class C>
__device__ __forceinline__ constexpr uint32_t key_place(uint32_t row, uint32_t group) {
  constexpr uint32_t kGroups = C::kChunks / 4;
  if constexpr ((kGroups & (kGroups - 1)) == 0) {
    return group ^ key_turn<C>(row);
  } else {
    uint32_t below = (group ^ kGroups) >> 1;  // to all bits below the highest
    below |= below >> 1, below |= below >> 2, below |= below >> 4;
    return group ^ (key_turn<C>(row) & below);
  }
}

/// The byte in which the code of `chunk` of token `token` (0 ... 15) begins, from the start of the side.
template <class C>
__device__ __forceinline__ int code_offset(uint32_t token, uint32_t chunk) {
  if constexpr (!C::kByLane) {
    return int(token * C::kRowBytes + chunk * C::kBits / 8);
  } else {
    constexpr uint32_t kChunks = C::kKeys ? C::kChunks : C::kChunks / 8 * 8, kPiece = C::kPiece;
    uint32_t lane, position;  // position: among the lane's bytes
    if constexpr (C::kKeys) {
      const uint32_t row = token % 8;
      lane = row * 4 + chunk % 4;
      position = token / 8 * (kChunks / 4) + key_place<C>(row, chunk / 4);
    } else {
      // The last four of an odd number of fours: of half of the lanes.
      if (C::kChunks > kChunks && chunk >= kChunks) return int(16 * kChunks + (chunk % 4 * 4 + token % 4) * 4 + token / 4);
      const uint32_t span = chunk / C::kRowSpan;
      lane = (span / (kChunks / 8) * C::kRowSpan + chunk % C::kRowSpan) * 4 + token % 4;
      position = token / 4 * (kChunks / 8) + span % (kChunks / 8);
    }
    return int(position / kPiece * 32 * kPiece + lane * kPiece + position % kPiece);
  }
}

/// The index of token `token`'s gain among the 16 of its unit: a lane that holds tokens g and g + 8 reads one word.
__device__ __forceinline__ int gain_index(int token) { return token % 8 * 2 + token / 8; }

// From codes to channels: one codebook entry, or the sum of one of each stage, becomes the f16 channels of one chunk. C is the traits struct of one side.

/// The code of `chunk` of token `token` (0 ... 15); `codes` is one side of a unit in shared memory.
template <class C>
__device__ __forceinline__ int code_at(const unsigned char* codes, int token, int chunk) {
  const unsigned char* from = codes + code_offset<C>(token, chunk);
  if constexpr (C::kBits == 8) {
    return load_shared(from);
  } else {
    // A code begins at a multiple of its lowest power of two: 10 bits at the latest at bit 6 of a byte, 12 bits at bit 4.
    static_assert(C::kBits > 8 && 8 - (C::kBits & -C::kBits) + C::kBits <= 16, "codes that two bytes hold");
    return (load_shared(from) | load_shared(from + 1) << 8) >> chunk * C::kBits % 8 & (C::kEntries - 1);
  }
}

/// Bytes of one codebook entry, how many of them move at once, and the 32-bit words that hold them.
template <class C>
struct entry_bytes {
  static constexpr int kAll = C::kChannels * (C::kQ8 ? 1 : 2);
  static constexpr int kPiece = kAll < 16 ? kAll : 16;
  static constexpr int kPieces = kAll / kPiece;
  static constexpr int kWords = (kAll + 3) / 4;
};

/// The codebooks of a chunk: one for each stage, end to end, and an equal share of a code's bits for each.
template <class C>
struct chunk_stages {
  static constexpr int kBits = C::kBits / C::kCodeStages, kEntries = 1 << kBits;
  static constexpr int kStored = C::kCodeStages * kEntries;   // entries of the chunk
  static constexpr int kTables = C::kChunks * C::kCodeStages;  // of the row: the codebooks of its chunks, end to end, as the shares of its codes are
  static_assert(C::kBits % C::kCodeStages == 0, "equal shares");

  /// Where the entry lies that `code` names in stage `stage`: bytes from the beginning of the chunk's codebooks.
  static __device__ __forceinline__ int offset(int code, int stage) {
    if constexpr (C::kCodeStages == 1) return code * entry_bytes<C>::kAll;
    else return (stage * kEntries + (code >> stage * kBits & (kEntries - 1))) * entry_bytes<C>::kAll;
  }
};

/// Loads the entry at `entry` (global) as 32-bit words.
template <class C>
__device__ __forceinline__ void load_entry(uint32_t (&words)[entry_bytes<C>::kWords], const unsigned char* entry) {
  using E = entry_bytes<C>;
#pragma unroll
  for (int i = 0; i < E::kPieces; ++i) {
    if constexpr (E::kPiece == 2) {  // 2 channels of 8 bits
      words[i] = load_global(reinterpret_cast<const uint16_t*>(entry));
    } else if constexpr (E::kPiece == 4) {
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
__device__ __forceinline__ float entry_channel(const uint32_t (&words)[entry_bytes<C>::kWords], int i) {
  if constexpr (C::kQ8) return float(int8_t(words[i / 4] >> (8 * (i % 4)) & 0xff));
  return to_float(f16{uint16_t(words[i / 2] >> (16 * (i % 2)))});
}

/// Bytes `kFirst` and kFirst + 1 of `steps`, int8, as two halves: whole numbers, exact in f16.
template <int kFirst>
__device__ __forceinline__ uint32_t halves_of_steps(uint32_t steps) {
  // A byte u behind 0x64 is the half 1024 + u; with its sign bit turned, u is the step + 128.
  return fused_multiply_add_halves(permute_bytes(steps ^ 0x80808080u, 0x64646464u, kFirst ? 0x4342u : 0x4140u), 0x3c003c00u, 0xe480e480u);
}

/// Pairs of halves added: of stages exactly, as their sums are halves.
__device__ __forceinline__ uint32_t add_halves(uint32_t a, uint32_t b) { return fused_multiply_add_halves(a, 0x3c003c00u, b); }

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
/// `codes` is one side of a unit, `codebook` the packed codebook of this KV head (global). Without kScaled an int8 codebook's rows keep their whole
/// numbers, exact in f16, and whoever reads them next applies channel_scales: one rounding instead of two.
template <class C, int kHeadDim, bool kScaled>
__device__ __forceinline__ void expand_rows(f16* rows, int row_stride, const unsigned char* codes, const unsigned char* codebook) {
  constexpr int kChunks = kHeadDim / C::kChannels;
  // A lane keeps its chunk, so that scales are loaded once; its gathers for several rows are under way together.
  constexpr int kLanes = kChunks < 32 ? kChunks : 32, kRowsAtOnce = 32 / kLanes;
  const int lane = lane_index(), first_row = lane / kLanes;
  if (first_row >= kRowsAtOnce) return;
  for (int chunk = lane % kLanes; chunk < kChunks; chunk += kLanes) {
    const unsigned char* entries = codebook + int64_t(chunk) * chunk_stages<C>::kStored * entry_bytes<C>::kAll;
    float scale[C::kChannels];
    if constexpr (C::kQ8 && kScaled) {
#pragma unroll
      for (int i = 0; i < C::kChannels; ++i) scale[i] = load_global(channel_scales<C>(codebook) + chunk * C::kChannels + i);
    }
#pragma unroll
    for (int row = first_row; row < 16; row += kRowsAtOnce) {
      uint32_t words[entry_bytes<C>::kWords], later[C::kCodeStages][entry_bytes<C>::kWords];  // the first stage's place of the later ones is empty
      const int code = code_at<C>(codes, row, chunk);
      load_entry<C>(words, entries + chunk_stages<C>::offset(code, 0));
#pragma unroll
      for (int stage = 1; stage < C::kCodeStages; ++stage) load_entry<C>(later[stage], entries + chunk_stages<C>::offset(code, stage));
      uint32_t channels[C::kChannels / 2];
#pragma unroll
      for (int i = 0; i < C::kChannels; i += 2) {
        if constexpr (C::kQ8) {
          float x = entry_channel<C>(words, i), y = entry_channel<C>(words, i + 1);
#pragma unroll
          for (int stage = 1; stage < C::kCodeStages; ++stage) x += entry_channel<C>(later[stage], i), y += entry_channel<C>(later[stage], i + 1);
          if constexpr (kScaled) x *= scale[i], y *= scale[i + 1];
          channels[i / 2] = pack(to_f16(x), to_f16(y));
        } else {
          channels[i / 2] = words[i / 2];
#pragma unroll
          for (int stage = 1; stage < C::kCodeStages; ++stage) channels[i / 2] = add_halves(channels[i / 2], later[stage][i / 2]);
        }
      }
      store_channels<C::kChannels / 2>(rows + row * row_stride + chunk * C::kChannels, channels);
    }
  }
}

/// Copies 16 exact rows inside shared memory, zeros from row `valid` on (they were never written: 0 * NaN is NaN), one warp.
template <int kHeadDim, class T>
__device__ __forceinline__ void copy_rows(T* rows, int row_stride, const unsigned char* from, int valid) {
  constexpr int kPieces = kHeadDim / 8;
  for (int task = lane_index(); task < 16 * kPieces; task += 32) {
    const int row = task / kPieces, piece = task % kPieces;
    bytes16 value = {};
    if (row < valid) value = load_shared(reinterpret_cast<const bytes16*>(from) + task);
    store_shared(reinterpret_cast<bytes16*>(rows + row * row_stride + piece * 8), value);
  }
}

// 16 tokens as the matrix unit reads them: rows of keys and values in shared memory.

/// Rows are padded by 16 bytes, so that the eight rows that one ldmatrix phase reads lie in different banks.
template <class T, int kHeadDim>
struct unit_rows {
  static constexpr int kStride = kHeadDim + 8;
  T k[16 * kStride];
  T v[16 * kStride];
};

/// Starts copying 16 exact rows, zeros from row `valid` on, one warp. Row r lies at from + r * row_bytes.
template <int kHeadDim, class T>
__device__ __forceinline__ void stage_rows(T* rows, const unsigned char* from, int64_t row_bytes, int valid) {
  constexpr int kPieces = kHeadDim / 8;
  for (int task = lane_index(); task < 16 * kPieces; task += 32) {
    const int row = task / kPieces, piece = task % kPieces;
    copy_async(rows + row * unit_rows<T, kHeadDim>::kStride + piece * 8, row < valid ? from + row * row_bytes + piece * 16 : from, row < valid);
  }
}

// One coded unit of 16 tokens on its way from its page to rows: staged bytes, then channels.

/// Starts copying a coded unit as it lies in its page, one warp.
template <int kUnitBytes>
__device__ __forceinline__ void stage_unit(unsigned char* stage, const unsigned char* unit) {
  for (int at = lane_index() * 16; at < kUnitBytes; at += 32 * 16) copy_async(stage + at, unit + at, true);
}

/// Rows of one side of a coded unit: what codes become is f16, as their codebooks are, whatever the dtype; exact rows are elements.
template <class K, class C>
struct unit_row {
  static constexpr bool kElements = C::kExact || !kIsBf16<typename K::Element>;
};
/// The rows of a side of codes.
template <class T>
__device__ __forceinline__ f16* decoded_rows(T* rows) {
  return reinterpret_cast<f16*>(rows);
}

/// Turns a staged coded unit into rows, one warp. `valid` tokens of it were ever written. Keys coded before RoPE still want
/// rotate_rows, which also scales them.
template <class K>
__device__ __forceinline__ void expand_unit(unit_rows<typename K::Element, K::kHeadDim>& rows, const unsigned char* stage, const unsigned char* k_codebook,
                                            const unsigned char* v_codebook, int valid) {
  constexpr int kStride = unit_rows<typename K::Element, K::kHeadDim>::kStride;
  if constexpr (K::Key::kExact) {
    copy_rows<K::kHeadDim>(rows.k, kStride, stage, valid);
  } else {
    expand_rows<typename K::Key, K::kHeadDim, !K::kPre>(decoded_rows(rows.k), kStride, stage, k_codebook);
  }
  if constexpr (K::Value::kExact) {
    copy_rows<K::kHeadDim>(rows.v, kStride, stage + K::kValueOffset, valid);
  } else {
    expand_rows<typename K::Value, K::kHeadDim, true>(decoded_rows(rows.v), kStride, stage + K::kValueOffset, v_codebook);
  }
}

// A range of coded tokens as exact rows: codes expanded, keys rotated and scaled by their gain, anchors put in their places.
// grid (token tiles, then anchor pages; kv_heads; batch). Coded rows skip the anchors and anchor rows fill the gaps, so the two never meet.

template <class K>
struct unpack_memory {
  alignas(16) unsigned char stage[K::kUnitBytes];
  unit_rows<typename K::Element, K::kHeadDim> rows;
};

/// Copies 8 channels of one row to the output; what codes became is rounded to the dtype.
template <class K, class C, class T>
__device__ __forceinline__ void store_row(unsigned char* to, const T* from_shared, int piece) {
  bytes16 channels = load_shared(reinterpret_cast<const bytes16*>(from_shared) + piece);
  if constexpr (!unit_row<K, C>::kElements) {
#pragma unroll
    for (int i = 0; i < 4; ++i) channels.w[i] = round_pair<T>(to_float(f16{uint16_t(channels.w[i])}), to_float(f16{uint16_t(channels.w[i] >> 16)}));
  }
  store_global(reinterpret_cast<bytes16*>(to) + piece, channels);
}

template <class K, class P>
__device__ __forceinline__ void unpack(const P& p) {
  static_assert(K::kWarps * sizeof(unpack_memory<K>) <= K::kSharedBytes, "generator/shared.ts is wrong");
  constexpr int kStride = unit_rows<typename K::Element, K::kHeadDim>::kStride;
  constexpr int kPieces = K::kHeadDim / 8;
  const index3 block = block_index();
  const int head = block.y, b = block.z, lane = lane_index();
  const int first_row = load_global(p.cu_tokens + b), count = load_global(p.cu_tokens + b + 1) - first_row;
  const int first = element_or(p.first_token, b, 0), first_pos = element_or(p.first_pos, b, 0);
  unsigned char* k = byte_pointer(p.k) + first_row * p.k_row_stride + head * p.k_head_stride;
  unsigned char* v = byte_pointer(p.v) + first_row * p.v_row_stride + head * p.v_head_stride;
  const int tiles = (p.max_tokens + K::kTokens - 1) / K::kTokens;

  if (block.x >= tiles) {
    if constexpr (K::kCoded) {
      if (!p.anchor_table) return;
      const int entry = block.x - tiles;
      const int32_t* list = anchor_pages(p, b);
      if (entry >= count_anchor_pages(list, p.max_anchor_pages)) return;
      const unsigned char* page = anchor_block(p, load_global(list + entry), head);
      for (int row = warp_index(); row < 16; row += K::kWarps) {
        const int token = load_global(reinterpret_cast<const int32_t*>(page + 16 * K::kHeadDim * 2 * 2) + row);
        if (!is_anchor(token, entry, first + count, element_or(p.frozen_anchor_pages, b, 0), element_or(p.frozen_len, b, 0)) || token < first) continue;
        const bytes16* from = reinterpret_cast<const bytes16*>(page) + row * kPieces;
        for (int piece = lane; piece < kPieces; piece += 32) {
          store_global(reinterpret_cast<bytes16*>(k + (token - first) * p.k_row_stride) + piece, load_global(from + piece));
          store_global(reinterpret_cast<bytes16*>(v + (token - first) * p.v_row_stride) + piece, load_global(from + 16 * kPieces + piece));
        }
      }
    }
    return;
  }

  auto& mem = reinterpret_cast<unpack_memory<K>*>(shared_memory())[warp_index()];
  const unsigned char* k_codebook = byte_pointer(p.k_codebook) + int64_t(head) * K::Key::kCodebookBytes;
  const unsigned char* v_codebook = byte_pointer(p.v_codebook) + int64_t(head) * K::Value::kCodebookBytes;
  for (int unit = warp_index(); unit < K::kTokens / 16; unit += K::kWarps) {
    const int offset = block.x * K::kTokens + unit * 16;  // from the first token of the range
    if (offset >= count) break;
    const int token = first + offset, in_page = token % p.page_size;
    const unsigned char* page = page_block(p, b, head, token);
    stage_unit<K::kUnitBytes>(mem.stage, page + in_page / 16 * K::kUnitBytes);
    copy_async_commit();
    copy_async_wait<0>();
    warp_barrier();
    expand_unit<K>(mem.rows, mem.stage, k_codebook, v_codebook, count - offset);
    warp_barrier();
    if constexpr (K::kPre) rotate_rows<16, K::kHeadDim>(p, decoded_rows(mem.rows.k), kStride, first_pos + token, channel_scales<typename K::Key>(k_codebook));
    if constexpr (K::kPre) warp_barrier();
    if constexpr (K::kKeyGain) {
      for (int i = lane; i < 16 * K::kHeadDim; i += 32) {
        const float gain = to_float(load_shared(reinterpret_cast<const f16*>(mem.stage + K::kKeyGainOffset) + gain_index(i / K::kHeadDim)));
        f16* at = decoded_rows(mem.rows.k) + i / K::kHeadDim * kStride + i % K::kHeadDim;
        store_shared(at, to_f16(gain * to_float(load_shared(at))));
      }
      warp_barrier();
    }
    uint32_t anchored = 0;
    if constexpr (K::kCoded) anchored = load_global(reinterpret_cast<const uint32_t*>(page + p.page_size / 16 * K::kUnitBytes) + in_page / 32) >> in_page % 32;
    for (int task = lane; task < 16 * kPieces; task += 32) {
      const int row = task / kPieces, piece = task % kPieces;
      if (offset + row >= count || anchored >> row & 1) continue;
      store_row<K, typename K::Key>(k + (offset + row) * p.k_row_stride, mem.rows.k + row * kStride, piece);
      store_row<K, typename K::Value>(v + (offset + row) * p.v_row_stride, mem.rows.v + row * kStride, piece);
    }
    warp_barrier();  // the stage is written again
  }
}

// At least one CTA per SM is all that is asked for: without the 1, ptxas may spill to fit more.
extern "C" __global__ void __launch_bounds__(128, 1)
antkv_unpack_d128_k2c8bq8_v2c8bq8_f16__sm90_w4_t32(const __grid_constant__ antkv_unpack_params p) {
  unpack<K>(p);
}

}  // namespace antkv_unpack_d128_k2c8bq8_v2c8bq8_f16__sm90_w4_t32_
