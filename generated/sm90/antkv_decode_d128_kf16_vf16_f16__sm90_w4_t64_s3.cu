// Generated file. Do not edit.
//   template  templates/decode.cu.hbs
//   kernel    antkv_decode_d128_kf16_vf16_f16__sm90_w4_t64_s3
//   inputs    0e182a48239e8e7a
//   remake    npx gen --only antkv_decode_d128_kf16_vf16_f16__sm90_w4_t64_s3
#include "antkv.h"
#include "antkv_device.cuh"

namespace antkv_decode_d128_kf16_vf16_f16__sm90_w4_t64_s3_ {  // its own: device linking would merge equal names
using namespace antkv;

struct K {
  using Element = f16;  // of queries, exact rows and output
  static constexpr int kHeadDim = 128;
  struct Key {
    static constexpr bool kExact = true;
    static constexpr int kRowBytes = 256, kCodebookBytes = 0;
    static constexpr int kChannels = 1, kBits = 0, kCodeStages = 1, kEntries = 0;
    static constexpr bool kQ8 = false;
    static constexpr int kScaleOffset = 0, kHalfNormOffset = 0;
    static constexpr bool kKeys = true, kByLane = false;  // the order of codes in a unit
    static constexpr int kChunks = 0, kPiece = 0, kTurnHigh = 0, kTurnShift = 0, kTurnMask = 0;
  };
  struct Value {
    static constexpr bool kExact = true;
    static constexpr int kRowBytes = 256, kCodebookBytes = 0;
    static constexpr int kChannels = 1, kBits = 0, kCodeStages = 1, kEntries = 0;
    static constexpr bool kQ8 = false;
    static constexpr int kScaleOffset = 0, kHalfNormOffset = 0;
    static constexpr bool kKeys = false, kByLane = false;
    static constexpr int kChunks = 0, kPiece = 0, kRowSpan = 0;
  };
  static constexpr bool kCoded = false;  // a side is coded: pages carry a bitmap, and anchors exist
  static constexpr int kUnitBytes = 8192, kValueOffset = 4096, kKeyGainOffset = 8192;
  static constexpr bool kPre = false, kKeyGain = false;
  static constexpr bool kSoftcap = false, kSink = false;
  static constexpr int kColumns = 8;  // query columns of a CTA
  static constexpr int kWarps = 4, kStages = 3;
  static constexpr int kWarpUnits = 1;  // units of 16 tokens that a warp takes per step
  static constexpr int kSharedBytes = 104512;
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

/// Columns of T as halves.
template <class T, int kSteps>
__device__ __forceinline__ void round_columns(uint32_t (&to)[kSteps][2], const uint32_t (&from)[kSteps][2]) {
#pragma unroll
  for (int i = 0; i < kSteps * 2; ++i) to[i / 2][i % 2] = halves_of_query<T>(from[i / 2][i % 2]);
}

/// d[token][column] = rows . columns over all channels; `rows` are 16 rows in shared memory.
template <int kHeadDim, class T>
__device__ __forceinline__ void multiply_rows(float (&d)[4], const T* rows, int row_stride, const uint32_t (&columns)[kHeadDim / 16][2]) {
  const int lane = lane_index();
  const T* from = rows + (lane % 16) * row_stride + lane / 16 * 8;
#pragma unroll
  for (int step = 0; step < kHeadDim / 16; ++step) {
    uint32_t a[4];
    load_matrix_x4(a, from + step * 16);
    multiply_add<T>(d, a, columns[step]);
  }
}

/// Weights as a B operand. A product's result has its tokens on rows; as B operand the tokens belong on pairs of registers: one transpose per 8 x 8 block.
template <class T>
__device__ __forceinline__ void transpose_weights(uint32_t (&b)[2], const float (&weights)[4]) {
  b[0] = transpose_matrix(pack(round_to<T>(weights[0]), round_to<T>(weights[1])));
  b[1] = transpose_matrix(pack(round_to<T>(weights[2]), round_to<T>(weights[3])));
}

/// d[channel][column] += rows^T . weights; `weights` holds token g (d[0], d[1]) and g + 8 (d[2], d[3]) of columns 2t, 2t + 1.
template <int kHeadDim, class T>
__device__ __forceinline__ void accumulate_rows(float (&d)[kHeadDim / 16][4], const T* rows, int row_stride, const float (&weights)[4]) {
  const int lane = lane_index();
  const T* from = rows + (lane % 8 + lane / 16 * 8) * row_stride + lane / 8 % 2 * 8;
  uint32_t b[2];
  transpose_weights<T>(b, weights);
#pragma unroll
  for (int tile = 0; tile < kHeadDim / 16; ++tile) {
    uint32_t a[4];
    load_matrix_x4_transposed(a, from + tile * 16);
    multiply_add<T>(d[tile], a, b);
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

/// The sequence without its anchors, whose list takes time to count.
template <class P>
__device__ __forceinline__ decode_view lengths_of(const P& p, int b, int q_len) {
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
  s.units = s.coded_units + (p.segments & 4 ? (s.kv_len - s.coded_len + 15) / 16 : 0);
  return s;
}
/// Counts the anchors in.
template <class P>
__device__ __forceinline__ void add_anchors(const P& p, int b, decode_view& s) {
  if (!(p.segments & 2 && p.anchor_table)) return;
  s.anchors = anchor_pages(p, b);
  s.anchor_units = count_anchor_pages(s.anchors, p.max_anchor_pages);
  s.units += s.anchor_units;
}
template <class P>
__device__ __forceinline__ decode_view view_of(const P& p, int b, int q_len) {
  decode_view s = lengths_of(p, b, q_len);
  add_anchors(p, b, s);
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
  const uint32_t ratio = uint32_t(p.q_heads) / uint32_t(p.kv_heads);
  column c;
  c.valid = flat < q_len * int(ratio);
  int row = 0;
  if (c.valid && q_len > 1) row = int(uint32_t(flat) / ratio);  // a branch: divisions are long
  c.row = first_row + row;
  c.head = kv_head * int(ratio) + (c.valid ? flat - row * int(ratio) : 0);
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
  unit_rows<typename K::Element, K::kHeadDim> rows[K::kWarpUnits];

  __device__ __forceinline__ const unsigned char* stage_of(int slot, int u) { return stage[slot][u].bytes; }
  __device__ __forceinline__ unit_rows<typename K::Element, K::kHeadDim>& rows_of(int, int u) { return rows[u]; }
  __device__ __forceinline__ void prefetch(int slot, int u, const unsigned char* unit, int) {
    stage_unit<K::kUnitBytes>(stage[slot][u].bytes, unit);
  }
  /// `valid` tokens of the unit were ever written; the first stands at `position`.
  template <class P>
  __device__ __forceinline__ void expand(const P& p, int slot, int u, const unsigned char* k_codebook, const unsigned char* v_codebook, int valid, int position) {
    expand_unit<K>(rows[u], stage[slot][u].bytes, k_codebook, v_codebook, valid);
    if constexpr (K::kPre) {
      warp_barrier();
      rotate_rows<16, K::kHeadDim>(p, decoded_rows(rows[u].k), unit_rows<typename K::Element, K::kHeadDim>::kStride, position, channel_scales<typename K::Key>(k_codebook));
    }
  }
};

/// With exact rows on both sides, what is staged already is what the matrix unit reads.
template <class K>
struct warp_memory<K, true> {
  unit_rows<typename K::Element, K::kHeadDim> rows[K::kStages][K::kWarpUnits];

  __device__ __forceinline__ const unsigned char* stage_of(int, int) { return nullptr; }
  __device__ __forceinline__ unit_rows<typename K::Element, K::kHeadDim>& rows_of(int slot, int u) { return rows[slot][u]; }
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
  uint32_t gains = 0;  // of rows g and g + 8
  if constexpr (K::kKeyGain) gains = load_shared(reinterpret_cast<const uint32_t*>(stage + K::kKeyGainOffset) + lane_index() / 4);
  fetched f;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int row = lane_index() / 4 + 8 * half, token = unit * 16 + row;
    f.token[half] = token < s.coded_len && !(anchored >> row & 1) ? token : -1;
    f.factor[half] = p.scale;
    if constexpr (K::kKeyGain) f.factor[half] *= to_float(f16{uint16_t(gains >> (16 * half))});
  }
  mem.expand(p, slot, u, k_codebook, v_codebook, s.coded_len - unit * 16, s.first_pos + unit * 16);
  return f;
}

/// Copies row `row` of a unit, or zeros: what was never written may be NaN, and 0 * NaN is NaN.
template <class T, int kHeadDim>
__device__ __forceinline__ void fetch_row(unit_rows<T, kHeadDim>& rows, int row, const unsigned char* k, const unsigned char* v, bool used) {
  const int piece = lane_index();
  if (piece < kHeadDim / 8) {
    copy_async(rows.k + row * unit_rows<T, kHeadDim>::kStride + piece * 8, k + piece * 16, used);
    copy_async(rows.v + row * unit_rows<T, kHeadDim>::kStride + piece * 8, v + piece * 16, used);
  }
}

/// Entry `entry` of the list of anchor pages.
template <class K, class P>
__device__ __forceinline__ fetched fetch_anchors(const P& p, const decode_view& s, unit_rows<typename K::Element, K::kHeadDim>& rows, int head, int entry) {
  constexpr int kRowBytes = K::kHeadDim * 2;
  const unsigned char* page = anchor_block(p, load_global(s.anchors + entry), head);
  const int32_t* index = reinterpret_cast<const int32_t*>(page + 32 * kRowBytes);
  const auto used = [&](int token) { return is_anchor(token, entry, s.coded_len, s.frozen_pages, s.frozen_len); };
  for (int row = 0; row < 16; ++row)
    fetch_row(rows, row, page + row * kRowBytes, page + (16 + row) * kRowBytes, used(load_global(index + row)));
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
__device__ __forceinline__ fetched fetch_ring(const P& p, const decode_view& s, unit_rows<typename K::Element, K::kHeadDim>& rows, int head, int first) {
  const int64_t block = s.slot * p.ring_slot_stride + head * p.ring_head_stride;
  for (int row = 0; row < 16; ++row) {
    const bool used = first + row < s.kv_len;
    const int64_t at = block + (used ? (first + row) % p.ring_rows * p.ring_row_stride : 0);
    fetch_row(rows, row, byte_pointer(p.ring_k) + at, byte_pointer(p.ring_v) + at, used);
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

// Which part of which sequence a CTA of decode works on. grid (splits, kv_heads * groups of query columns, spread ? 1 : batch).
// Static: a sequence is cut by its own length alone, so that what else is in the batch never changes its bits. Spread: the sequences
// lie end to end on one line of work, cut into equal shares, so that ragged batches fill the device.

/// A CTA's share [from / of, to / of) of sequence `b`. The CTAs first ... first + parts - 1 (x of the block) hold its shares, in this order.
struct piece {
  int b, from, to, of, parts, first;
};

/// The share of `n` things that lie along the sequence: begin ... end - 1. All shares together are all things, each once: a boundary is the same
/// for the CTAs on its two sides, and boundaries ascend. Floats, because 64-bit divisions are slow; being off by a thing does no harm.
__device__ __forceinline__ void cut(const piece& w, int n, int& begin, int& end) {
  const float things = float(n) / float(w.of);
  const auto boundary = [&](int at) {
    const int near = int(things * float(at));
    return at == w.of || near > n ? n : near;
  };
  begin = boundary(w.from);
  end = boundary(w.to);
}

// What a sequence costs, in one unit per algorithm: it decides where a line of work is cut, never what is computed. kPiece is the price of a piece, its start and its
// merge. Of it kSide units without tokens lie on the line before the sequence's tokens, and as many behind them: a CTA whose share begins or ends among them leaves the
// sequence to its neighbour, which has a piece of it anyhow. So no sequence is begun for a few tokens; a CTA pays for all its pieces but one.
// Look-up: 32 coded tokens; 16 exact ones take the slow path, 370 clocks. Where keys are scored by a table of sums a piece makes its own: start and merge take about
// 15,500 clocks of an SM, 32 tokens of a head 70 and 2 per look-up (H200, harness/bench/NOTES.md). A line cut without that leaves the CTAs with many short sequences behind.
template <class K>
struct lookup_cost {
  static constexpr int kPiece = K::kKeySum ? 15500 / (70 + 2 * K::kHeadDim / K::Key::kChannels) : 32, kSide = (kPiece - 1) / 2, kCoded32 = 1, kExact16 = 4;
};
struct rows_cost {  // units of 16 tokens, all alike; the start and the merge
  static constexpr int kPiece = 8, kSide = 0, kCoded32 = 2, kExact16 = 1;
};

/// First query row of sequence `b`, and how many it has.
struct query_rows {
  int first, count;
};
template <class P>
__device__ __forceinline__ query_rows query_rows_of(const P& p, int b) {
  if (!p.cu_q) return {b, 1};
  const int first = load_global(p.cu_q + b);
  return {first, load_global(p.cu_q + b + 1) - first};
}

/// Whether this CTA's group of query columns holds one of sequence `b`: others may have more rows.
template <class K, class P>
__device__ __forceinline__ bool has_columns(const P& p, int b) {
  const int count = query_rows_of(p, b).count;
  if (block_index().y < p.kv_heads) return count > 0;  // the first group: no division
  return block_index().y / p.kv_heads * K::kColumns < count * (p.q_heads / p.kv_heads);
}

/// Cost of sequence `b` for this CTA's group of query columns.
template <class K, class Cost, class P>
__device__ __forceinline__ int cost_of(const P& p, int b) {
  if (!has_columns<K>(p, b)) return 0;
  const int coded = load_global(p.coded_len + b), exact = load_global(p.kv_len + b) - coded;
  return Cost::kPiece + (p.segments & 1 ? (coded + 31) / 32 * Cost::kCoded32 : 0) + (p.segments & 4 ? (exact + 15) / 16 * Cost::kExact16 : 0);
}

/// This CTA's share of the line, and where it begins. Of the CTAs, the first `longer` get `share` + 1 units of the line, the others `share`.
/// Costs add up below 2^31, so a batch's coded tokens below 2^36 / Cost::kCoded32.
struct line_share {
  int begin, end, share, longer;
  int b, at;  // the first sequence that has tokens behind `begin`, and where on the line it begins
};

/// What a CTA keeps of its work in shared memory: in registers it would take room from the loop over tokens.
struct work_memory {
  line_share line;
  piece now;
};

template <class T>
__device__ __forceinline__ T load_words(const T* from) {
  uint32_t words[sizeof(T) / 4];
#pragma unroll
  for (int i = 0; i < int(sizeof(T) / 4); ++i) words[i] = load_shared(reinterpret_cast<const uint32_t*>(from) + i);
  T value;
  memcpy(&value, words, sizeof(T));
  return value;
}
template <class T>
__device__ __forceinline__ void store_words(T* to, const T& value) {
  uint32_t words[sizeof(T) / 4];
  memcpy(words, &value, sizeof(T));
#pragma unroll
  for (int i = 0; i < int(sizeof(T) / 4); ++i) store_shared(reinterpret_cast<uint32_t*>(to) + i, words[i]);
}

/// One warp works it out.
template <class K, class Cost, class P>
__device__ __forceinline__ line_share share_of_line(const P& p) {
  const int x = block_index().x, lane = lane_index();
  line_share s = {};
  int total = 0;
#pragma unroll 1
  for (int b = lane; b < p.batch; b += 32) total += cost_of<K, Cost>(p, b);
#pragma unroll
  for (int mask = 1; mask < 32; mask *= 2) total += shuffle_xor(total, mask);
  // No more CTAs than there is work, so that every CTA from a sequence's first to its last holds a share of it.
  const int ctas = p.splits < total ? p.splits : total;
  if (x >= ctas) return s;
  s.share = int(uint32_t(total) / uint32_t(ctas));
  s.longer = total - s.share * ctas;
  s.begin = x * s.share + (x < s.longer ? x : s.longer);
  s.end = s.begin + s.share + (x < s.longer ? 1 : 0);
#pragma unroll 1
  for (int base = 0;; base += 32) {
    const int cost = base + lane < p.batch ? cost_of<K, Cost>(p, base + lane) : 0;
    int after = cost;  // costs of the 32 sequences up to this lane's, added up
#pragma unroll
    for (int delta = 1; delta < 32; delta *= 2) {
      const int before = shuffle_up(after, delta);
      if (lane >= delta) after += before;
    }
    const uint32_t beyond = vote_ballot(s.at + after - Cost::kSide > s.begin);
    if (beyond) {
      const int holder = count_bits((beyond & (0u - beyond)) - 1);
      s.b = base + holder;
      s.at += shuffle(after - cost, holder);
      return s;
    }
    s.at += shuffle(after, 31);
    if (Cost::kSide > 0 && base + 32 >= p.batch) return s;  // the share lies behind the last tokens
  }
}

/// What combine reads for the CTAs that hold no share of a sequence; the pieces overwrite it for those that do.
template <class K, class P>
__device__ __forceinline__ void clear_partials(const P& p) {
  const index3 block = block_index();
  const int ratio = p.q_heads / p.kv_heads, kv_head = block.y % p.kv_heads, group = block.y / p.kv_heads;
  for (int i = thread_index(); i < p.batch * K::kColumns; i += K::kWarps * 32) {
    const query_rows rows = query_rows_of(p, i / K::kColumns);
    const int column = group * K::kColumns + i % K::kColumns;
    if (column < rows.count * ratio)
      store_global(p.partial_lse + (int64_t(block.x) * p.rows + rows.first + column / ratio) * p.q_heads + kv_head * ratio + column % ratio, minus_infinity());
  }
  block_barrier();
}

/// The next piece of the share; parts is 0 after the last.
template <class K, class Cost, class P>
__device__ __forceinline__ piece next_piece(const P& p, line_share& s) {
  if (s.at + Cost::kSide >= s.end) return {};
  int cost = cost_of<K, Cost>(p, s.b);
  while (cost == 0) cost = cost_of<K, Cost>(p, ++s.b);
  const auto owner = [&](int i) {  // the CTA that unit i of the line belongs to
    const int beyond = i - s.longer * (s.share + 1);
    return beyond < 0 ? int(uint32_t(i) / uint32_t(s.share + 1)) : s.longer + int(uint32_t(beyond) / uint32_t(s.share));
  };
  piece w;
  w.b = s.b++;
  const int tokens = s.at + Cost::kSide;
  w.from = s.begin > tokens ? s.begin - tokens : 0;
  w.of = cost - 2 * Cost::kSide;
  w.to = s.end - tokens < w.of ? s.end - tokens : w.of;
  w.first = owner(tokens);
  w.parts = owner(tokens + w.of - 1) - w.first + 1;
  s.at += cost;
  return w;
}

/// The piece under way: in a static launch from the block's place alone, else what advance() left in shared memory.
template <class P>
__device__ __forceinline__ piece piece_now(const P& p, const work_memory* memory) {
  const index3 block = block_index();
  if (p.spread) {
    piece now = load_words(&memory->now);
    now.b = uniform(now.b), now.parts = uniform(now.parts);  // what ends the loop over pieces
    return now;
  }
  return {block.z, block.x, block.x + 1, p.splits, p.splits, 0};
}

/// Before the first piece, all threads: where this CTA's share of the line lies, in a spread launch. False in all threads if the CTA has nothing to do.
template <class K, class Cost, class P>
__device__ __forceinline__ bool begin_pieces(const P& p, work_memory* memory) {
  if (!p.spread) return uniform(int(has_columns<K>(p, block_index().z)));
  if (!p.counters && p.splits > 1) clear_partials<K>(p);
  if (warp_index() == 0) {
    const line_share s = share_of_line<K, Cost>(p);
    if (thread_index() == 0) store_words(&memory->line, s);
  }
  return true;
}

/// Works out the next piece of a spread launch, one thread; all others see it after a block barrier.
template <class K, class Cost, class P>
__device__ __forceinline__ void advance(const P& p, work_memory* memory) {
  line_share s = load_words(&memory->line);
  store_words(&memory->now, next_piece<K, Cost>(p, s));
  store_words(&memory->line, s);
}

/// Calls body(const piece&) for each piece of this CTA, in order, all threads together; `memory` is shared. All threads of the block must call it.
/// A block barrier stands between two bodies.
template <class K, class Cost, class P, class Body>
__device__ __forceinline__ void for_each_piece(const P& p, work_memory* memory, Body&& body) {
  if (!begin_pieces<K, Cost>(p, memory)) return;
  // One call of `body`: it is large, and the compiler would inline a second one.
#pragma unroll 1
  while (true) {
    if (p.spread) {
      if (thread_index() == 0) advance<K, Cost>(p, memory);
      block_barrier();
    }
    const piece w = piece_now(p, memory);
    if (w.parts == 0) return;
    body(w);
    if (!p.spread) return;
    block_barrier();  // shared memory is the next piece's
  }
}

// From the results of a CTA's warps to output and log-sum-exp: warps in a fixed order, then the CTAs that share a sequence, also in a fixed order.

constexpr float kLog2e = 1.44269504f;
constexpr float kLn2 = 0.693147181f;

/// What a warp leaves for the merge: [columns, d] weighted sums (finite), maxima (log2 units, -inf: nothing seen) and weights.
template <class K>
struct alignas(16) warp_result {
  static constexpr int kStride = K::kHeadDim + 4;  // lanes of one store hit 32 banks: columns apart by 4, channels by 1
  float o[K::kColumns * kStride];
  float maximum[K::kColumns];
  float weight[K::kColumns];
};

/// The results of a CTA's warps, `stride` bytes apart in shared memory.
template <class K>
struct warp_results {
  unsigned char* first;
  int stride;
  __device__ __forceinline__ warp_result<K>& operator[](int i) const { return *reinterpret_cast<warp_result<K>*>(first + i * stride); }
};

/// What `merge_results` merges: the results of a CTA's warps. of(): four channels of a column, at(i) being those of result i.
template <class K>
struct results_of_warps {
  static constexpr float kToLog2 = 1;  // what a maximum is multiplied by
  warp_results<K> results;
  int count;
  struct fours {
    const unsigned char *o, *maximum, *weight;
    int stride;
    __device__ __forceinline__ float maximum_of(int i) const { return load_shared(reinterpret_cast<const float*>(maximum + i * stride)); }
    __device__ __forceinline__ float weight_of(int i) const { return load_shared(reinterpret_cast<const float*>(weight + i * stride)); }
    /// Of a result that saw nothing they may never have been written.
    __device__ __forceinline__ bytes16 sums_of(int i, float maximum) const {
      return maximum == minus_infinity() ? bytes16{} : load_shared(reinterpret_cast<const bytes16*>(o + i * stride));
    }
  };
  __device__ __forceinline__ fours of(const column&, int at, int channel) const {
    const warp_result<K>& r = results[0];
    return {byte_pointer(r.o + at * warp_result<K>::kStride + channel), byte_pointer(r.maximum + at), byte_pointer(r.weight + at), results.stride};
  }
};

/// The same of the parts of a sequence that CTAs have left in global memory, whose weights are 1.
template <class K, class P>
struct parts_of_ctas {
  static constexpr float kToLog2 = kLog2e;
  const P& p;
  int first, count;
  struct fours {
    const float *o, *lse;
    int64_t stride;  // in columns
    __device__ __forceinline__ float maximum_of(int i) const { return load_global_coherent(lse + i * stride); }
    __device__ __forceinline__ float weight_of(int) const { return 1; }
    __device__ __forceinline__ bytes16 sums_of(int i, float) const { return load_global_coherent(reinterpret_cast<const bytes16*>(o + i * stride * K::kHeadDim)); }
  };
  __device__ __forceinline__ fours of(const column& c, int, int channel) const {
    const int64_t stride = int64_t(p.rows) * p.q_heads, place = first * stride + c.row * p.q_heads + c.head;
    return {p.partial_o + place * K::kHeadDim + channel, p.partial_lse + place, stride};
  }
};

/// How merge_results shares its work: a thread has four channels of a column, of every kGroups-th part.
template <class K>
struct merge_groups {
  static constexpr int kFours = K::kHeadDim / 4, kMost = K::kWarps * 32 / (K::kColumns * kFours);
  static constexpr int kGroups = kMost >= 8 ? 8 : kMost >= 4 ? 4 : kMost >= 2 ? 2 : 1, kLanes = 32 / kGroups;  // the groups of a warp have the same kLanes fours
};

/// Merges `parts`, in a fixed order, and writes output and log-sum-exp, or this CTA's part of them. kAtOnce parts are under way together in each thread.
/// `sinks`: learned sink logits of contracts that have them join here, as one more key whose value is 0. All threads.
template <int kAtOnce, class K, class P, class Column, class Parts>
__device__ __forceinline__ void merge_results(const P& p, const Column& column_at, const Parts& parts, bool whole, bool sinks) {
  constexpr int kFours = merge_groups<K>::kFours, kGroups = merge_groups<K>::kGroups, kLanes = merge_groups<K>::kLanes;
  const int group = lane_index() / kLanes;
#pragma unroll 1
  for (int first = warp_index() * kLanes; first < K::kColumns * kFours; first += K::kWarps * kLanes) {
    const int flat = first + lane_index() % kLanes, at = flat / kFours, channel = flat % kFours * 4;
    const column c = column_at(at);
    float top = minus_infinity(), total = 0, sum[4] = {};  // log2 units
    if constexpr (K::kSink)
      if (sinks && c.valid && group == 0) top = load_global(p.sink_logits + c.head) * kLog2e, total = top == minus_infinity() ? 0.0f : 1.0f;
    // To what a maximum of `with` leads.
    const auto lower = [&](float with) {
      const float before = top;
      top = fmaxf(top, with);
      const float zero = top == minus_infinity() ? 0.0f : top;  // not -inf - -inf
      const float shrink = exp2_fast(before - zero);
      total *= shrink;
#pragma unroll
      for (int j = 0; j < 4; ++j) sum[j] *= shrink;
      return zero;
    };
    const auto fours = parts.of(c, at, channel);
#pragma unroll 1
    for (int base = group; base < (c.valid ? parts.count : 0); base += kAtOnce * kGroups) {
      // Instead of those behind the last part it is loaded again: a branch would wait for what is loaded in it.
      float maximum[kAtOnce], weight[kAtOnce];
      bytes16 o[kAtOnce];
#pragma unroll
      for (int i = 0; i < kAtOnce; ++i) {
        const int part = min_int(base + i * kGroups, parts.count - 1);
        maximum[i] = fours.maximum_of(part), weight[i] = fours.weight_of(part);
        o[i] = fours.sums_of(part, maximum[i]);
      }
      float most = minus_infinity();
#pragma unroll
      for (int i = 0; i < kAtOnce; ++i) {
        maximum[i] = base + i * kGroups < parts.count ? maximum[i] * Parts::kToLog2 : minus_infinity();
        most = fmaxf(most, maximum[i]);
      }
      const float zero = lower(most);
#pragma unroll
      for (int i = 0; i < kAtOnce; ++i) {
        const float factor = exp2_fast(maximum[i] - zero);
        total += weight[i] * factor;
#pragma unroll
        for (int j = 0; j < 4; ++j) sum[j] += factor * float_of_bits(o[i].w[j]);
      }
    }
#pragma unroll
    for (int mask = kLanes; mask < 32; mask *= 2) {
      lower(shuffle_xor(top, mask));
      total += shuffle_xor(total, mask);
#pragma unroll
      for (int j = 0; j < 4; ++j) sum[j] += shuffle_xor(sum[j], mask);
    }

    if (!c.valid || group > 0) continue;
    const float scale = total > 0 ? 1 / total : 0.0f, lse = total > 0 ? (top + log2_fast(total)) * kLn2 : minus_infinity();
#pragma unroll
    for (int j = 0; j < 4; ++j) sum[j] = total > 0 ? sum[j] * scale : 0.0f;
    if (whole) {
      bytes8* out = reinterpret_cast<bytes8*>(byte_pointer(p.out) + c.row * p.out_row_stride + c.head * p.out_head_stride + channel * 2);
      store_global(out, bytes8{{round_pair<typename K::Element>(sum[0], sum[1]), round_pair<typename K::Element>(sum[2], sum[3])}});
      if (p.lse && channel == 0) store_global(p.lse + int64_t(c.row) * p.q_heads + c.head, lse);
    } else {
      const int64_t place = (int64_t(block_index().x) * p.rows + c.row) * p.q_heads + c.head;
      store_global(reinterpret_cast<bytes16*>(p.partial_o + place * K::kHeadDim + channel), bytes16{{float_bits(sum[0]), float_bits(sum[1]), float_bits(sum[2]), float_bits(sum[3])}});
      if (channel == 0) store_global(p.partial_lse + place, lse);
    }
  }
}

/// Tells the CTAs of the piece's sequence that this one's part is written. True, in all threads, for the last one, which sees all parts.
template <class P>
__device__ __forceinline__ bool arrive_last(const P& p, const piece& w, uint32_t* flag) {
  block_barrier();  // what this puts before the addition, its release covers: one thread's is enough
  if (thread_index() == 0) {
    uint32_t* counter = p.counters + int64_t(w.b) * grid_size().y + block_index().y;
    const bool last = atomic_add_acquire_release(counter, 1) == uint32_t(w.parts - 1);
    store_shared(flag, uint32_t(last));
    if (last) store_global(counter, 0u);  // for the next launch
  }
  block_barrier();
  return uniform(load_shared(flag)) != 0;
}

/// Writes -inf where the ring holds no token of the sequence: what the buffer held before would come out of combine as attention mass.
template <class K, class P, class Column>
__device__ __forceinline__ void clear_ring_scores(const P& p, const decode_view& s, const Column& column_at) {
  const int held = p.segments & 4 ? s.kv_len - s.coded_len : 0;
  for (int i = thread_index(); i < K::kColumns * p.ring_rows; i += K::kWarps * 32) {
    const int row = i % p.ring_rows, after_coded = (row - s.coded_len % p.ring_rows + p.ring_rows) % p.ring_rows;
    const auto c = column_at(i / p.ring_rows);
    if (c.valid && after_coded >= held) store_global(p.ring_scores + (int64_t(c.row) * p.q_heads + c.head) * p.ring_rows + row, minus_infinity());
  }
}

/// Merges `count` results in shared memory, and with `counters` the parts of all CTAs if this one is the last, and writes what the piece owes. `flag`: a word of
/// shared memory beside them. All threads, after a block barrier.
template <class K, class P, class Column>
__device__ __forceinline__ void finish_piece(const P& p, const piece& w, const decode_view& s, const Column& column_at, const warp_results<K>& results, int count, uint32_t* flag) {
  if (p.ring_scores && w.from == 0) clear_ring_scores<K>(p, s, column_at);
  // Without counters combine follows, and reads the part even of a sequence that one CTA had to itself.
  const bool whole = p.splits == 1 || (p.counters && w.parts == 1);
  merge_results<4, K>(p, column_at, results_of_warps<K>{results, count}, whole, w.from == 0);
  if (whole || !p.counters || !arrive_last(p, w, flag)) return;
  merge_results<16 / merge_groups<K>::kGroups, K>(p, column_at, parts_of_ctas<K, P>{p, w.first, w.parts}, true, false);  // a part has brought the sinks
}

// The query columns of a CTA of "rows", in groups of eight, the width of the matrix instruction. Those of one group lie in registers; of several groups they lie in shared
// memory, where all warps read them, and a unit that was fetched once is multiplied by all of them.

template <class K>
constexpr bool kMany = K::kColumns > 8;
template <class K>
constexpr int column_groups = kMany<K> ? K::kColumns / 8 : 1;

/// Shared memory while the loop runs.
template <class K, bool = kMany<K>>
struct block_columns {
  warp_memory<K> warps[K::kWarps];
};

/// Of several groups: queries as ldmatrix reads them, rows padded by 16 bytes so that the eight of one phase lie in different banks; and what each column may see.
template <class K>
struct block_columns<K, true> {
  struct sight {
    int position;  // kSeesNothing of a column that does not exist
    uint32_t new_rows;
  };
  static constexpr int kStride = K::kHeadDim + 8, kSeesNothing = -0x7fffffff - 1;
  static constexpr bool kRounds = !unit_row<K, typename K::Key>::kElements;  // queries for keys that were codes are others
  warp_memory<K> warps[K::kWarps];
  alignas(16) typename K::Element q[K::kColumns * kStride];
  f16 decoded_q[kRounds ? K::kColumns * kStride : 8];
  sight sights[K::kColumns];
  int places[K::kColumns];  // row and head in [rows, q_heads]
};

/// Fills q, decoded_q, sights and places; `column_at`: column_of() of a column's number in the CTA. All threads, and a block barrier after it.
template <class K, class P, class Column>
__device__ __forceinline__ void store_columns(block_columns<K, true>& to, const P& p, const Column& column_at) {
  using memory = block_columns<K, true>;
  constexpr int kPieces = K::kHeadDim / 8, kTasks = K::kColumns * kPieces;
#pragma unroll 1
  for (int task = thread_index(); task < kTasks; task += K::kWarps * 32) {
    const int nth = task / kPieces, piece = task % kPieces;
    const column c = column_at(nth);
    // Columns that do not exist are zeros, and see nothing.
    copy_async(to.q + nth * memory::kStride + piece * 8, byte_pointer(p.q) + c.row * p.q_row_stride + c.head * p.q_head_stride + piece * 16, c.valid);
    if (piece > 0) continue;
    store_shared(&to.sights[nth].position, c.valid ? c.position : memory::kSeesNothing);
    store_shared(&to.sights[nth].new_rows, c.valid ? c.new_rows : 0u);
    store_shared(to.places + nth, c.row * p.q_heads + c.head);
  }
  copy_async_commit();
  copy_async_wait<0>();
  if constexpr (memory::kRounds) {
#pragma unroll 1
    for (int task = thread_index(); task < kTasks; task += K::kWarps * 32) {  // what this thread copied
      const int at = task / kPieces * memory::kStride + task % kPieces * 8;
      bytes16 x = load_shared(reinterpret_cast<const bytes16*>(to.q + at));
#pragma unroll
      for (int i = 0; i < 4; ++i) x.w[i] = halves_of_query<typename K::Element>(x.w[i]);
      store_shared(reinterpret_cast<bytes16*>(to.decoded_q + at), x);
    }
  }
}

/// Columns 2t and 2t + 1 of a group, without rows and heads: place_of knows those.
struct column_pair {
  column of[2];
};
template <class K>
__device__ __forceinline__ column_pair load_pair(const block_columns<K, true>& from, int group) {
  const bytes16 pair = load_shared(reinterpret_cast<const bytes16*>(from.sights + group * 8 + lane_index() % 4 * 2));
  column_pair to;
#pragma unroll
  for (int c = 0; c < 2; ++c) {
    const int position = int(pair.w[2 * c]);
    to.of[c] = {position != block_columns<K, true>::kSeesNothing, 0, 0, position, pair.w[2 * c + 1]};
  }
  return to;
}

/// Where the scores of `c`, this lane's column `which` (0 or 1) of a group, lie in [rows, q_heads]. Divisions would be unrolled with the loop over columns.
template <class K, class P>
__device__ __forceinline__ int64_t place_of(const P& p, const block_columns<K>& block, const column& c, int group, int which) {
  if constexpr (kMany<K>) return load_shared(block.places + group * 8 + lane_index() % 4 * 2 + which);
  else return int64_t(c.row) * p.q_heads + c.head;
}

/// d[group][token][column] = rows . columns; `rows`: 16 rows in shared memory, elements, or f16 that were codes; `one`: the columns, if they are one group.
template <class K, class T, class Memory, int kSteps>
__device__ __forceinline__ void multiply_groups(float (&d)[column_groups<K>][4], const T* rows, const Memory& block, const uint32_t (&one)[kSteps][2]) {
  constexpr int kStride = K::kHeadDim + 8;
  if constexpr (!kMany<K>) {
    multiply_rows<K::kHeadDim>(d[0], rows, kStride, one);
  } else {
    const int lane = lane_index();
    const T* from = rows + lane % 16 * kStride + lane / 16 * 8;
    const T* columns;
    if constexpr (kIsBf16<T> == kIsBf16<typename K::Element>) columns = block.q;
    else columns = block.decoded_q;
    columns += lane % 8 * kStride + lane / 8 * 8;
#pragma unroll
    for (int step = 0; step < K::kHeadDim / 16; step += 2) {
      uint32_t a[2][4];
      load_matrix_x4(a[0], from + step * 16);
      load_matrix_x4(a[1], from + step * 16 + 16);
#pragma unroll
      for (int group = 0; group < column_groups<K>; ++group) {
        uint32_t b[4];
        load_matrix_x4(b, columns + group * 8 * kStride + step * 16);
        multiply_add<T>(d[group], a[0], {b[0], b[1]});
        multiply_add<T>(d[group], a[1], {b[2], b[3]});
      }
    }
  }
}

/// o[group][channel][column] += rows^T . weights, as accumulate_rows.
template <class K, class T, class State>
__device__ __forceinline__ void accumulate_groups(State (&state)[column_groups<K>], const T* rows, const float (&weights)[column_groups<K>][K::kWarpUnits][4], int u) {
  constexpr int kStride = K::kHeadDim + 8;
  if constexpr (!kMany<K>) {
    accumulate_rows<K::kHeadDim>(state[0].o, rows, kStride, weights[0][u]);
  } else {
    const int lane = lane_index();
    const T* from = rows + (lane % 8 + lane / 16 * 8) * kStride + lane / 8 % 2 * 8;
    uint32_t b[column_groups<K>][2];
#pragma unroll
    for (int group = 0; group < column_groups<K>; ++group) transpose_weights<T>(b[group], weights[group][u]);
#pragma unroll
    for (int tile = 0; tile < K::kHeadDim / 16; ++tile) {
      uint32_t a[4];
      load_matrix_x4_transposed(a, from + tile * 16);
#pragma unroll
      for (int group = 0; group < column_groups<K>; ++group) multiply_add<T>(state[group].o[tile], a, b[group]);
    }
  }
}

// Algorithm "rows": codes become f16 rows in shared memory, and the matrix unit does the rest. Right for every contract, fast for exact rows.
// Attention of one KV head's query columns over coded pages, anchor pages and ring: one list of units of 16 tokens per sequence. A CTA owns a run
// of it (work.cuh), its warps take turns, and each warp keeps its own softmax state until the end. No block barrier in the loop.

/// Running softmax of a warp for eight columns: lane 4g + t holds columns 2t and 2t + 1; channels 16 i + g and 16 i + g + 8 of o[i].
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

/// A score (natural units) as the contract wants it: p.softcap * tanh(score / p.softcap) where it caps.
template <class K, class P>
__device__ __forceinline__ float capped(const P& p, float score) {
  if constexpr (!K::kSoftcap) return score;
  // 1 - 2 / (1 + e^2x): right to 2^-22 of the cap, which tanh.approx is not.
  else return p.softcap - 2.0f * p.softcap / (1.0f + exp2_fast(score * (2.0f * kLog2e / p.softcap)));
}

/// Leaves a warp's state of columns `first` ... for the merge. Columns beyond kColumns are padding of the matrix instruction.
template <class K>
__device__ __forceinline__ void store_result(warp_result<K>& r, softmax_state<K>& state, int first) {
  const int g = lane_index() / 4, t = lane_index() % 4;
#pragma unroll
  for (int c = 0; c < 2; ++c) {
    float weight = state.weight[c];
#pragma unroll
    for (int mask = 4; mask < 32; mask *= 2) weight += shuffle_xor(weight, mask);
    if (2 * t >= K::kColumns) continue;
    if (g == 0) {
      store_shared(r.maximum + first + 2 * t + c, state.maximum[c]);
      store_shared(r.weight + first + 2 * t + c, weight);
    }
#pragma unroll
    for (int tile = 0; tile < K::kHeadDim / 16; ++tile)
#pragma unroll
      for (int half = 0; half < 2; ++half)
        store_shared(r.o + (first + 2 * t + c) * warp_result<K>::kStride + tile * 16 + half * 8 + g, state.o[tile][c + 2 * half]);
  }
}

/// Shared memory: the warps' units while the loop runs, with the block's columns where those are many; then what it leaves.
template <class K>
struct rows_memory {
  union {
    block_columns<K> loop;
    warp_result<K> results[K::kWarps];
  };
  work_memory work;
  uint32_t flag;
};

/// The piece `w` of a sequence: its run of units, merged and written.
template <class K, class P>
__device__ __forceinline__ void decode_piece(const P& p, const piece& w) {
  constexpr int kStepUnits = K::kWarps * K::kWarpUnits;

  const int warp = warp_index(), g = lane_index() / 4, t = lane_index() % 4;
  const int b = w.b, kv_head = block_index().y % p.kv_heads, group = block_index().y / p.kv_heads;
  const query_rows rows_of_b = query_rows_of(p, b);
  const decode_view s = view_of(p, b, rows_of_b.count);
  const auto column_at = [&](int c) {
    const int beyond = rows_of_b.count * (p.q_heads / p.kv_heads);
    return column_of(p, s, b, rows_of_b.first, rows_of_b.count, kv_head, c < K::kColumns ? group * K::kColumns + c : beyond);
  };
  block_columns<K>& block = reinterpret_cast<rows_memory<K>*>(shared_memory())->loop;
  // Of one group a lane's columns and queries lie in registers.
  const column mine[2] = {column_at(2 * t), column_at(2 * t + 1)};
  uint32_t q[K::kHeadDim / 16][2];
  uint32_t decoded_q[unit_row<K, typename K::Key>::kElements ? 1 : K::kHeadDim / 16][2];  // for keys that were codes
  if constexpr (kMany<K>) {
    store_columns(block, p, column_at);
    block_barrier();
  } else {
    const column c = column_at(g);
    load_columns<K::kHeadDim>(q, byte_pointer(p.q) + c.row * p.q_row_stride + c.head * p.q_head_stride, c.valid);
    if constexpr (!unit_row<K, typename K::Key>::kElements) round_columns<typename K::Element>(decoded_q, q);
  }
  const unsigned char* k_codebook = byte_pointer(p.k_codebook) + int64_t(kv_head) * K::Key::kCodebookBytes;
  const unsigned char* v_codebook = byte_pointer(p.v_codebook) + int64_t(kv_head) * K::Value::kCodebookBytes;

  // A warp's step covers kWarpUnits units.
  int begin, end;
  cut(w, s.units, begin, end);
  const int first = begin + warp * K::kWarpUnits;
  const int steps = end > first ? (end - first + kStepUnits - 1) / kStepUnits : 0;

  warp_memory<K>& mem = block.warps[warp];
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

  constexpr int kGroups = column_groups<K>;
  softmax_state<K> state[kGroups];
  for (int step = 0; step < K::kStages - 1; ++step) prefetch(step);
  for (int step = 0; step < steps; ++step) {
    const int slot = step % K::kStages;
    prefetch(step + K::kStages - 1);
    copy_async_wait<K::kStages - 1>();
    warp_barrier();

    float score[kGroups][K::kWarpUnits][4];
#pragma unroll
    for (int u = 0; u < K::kWarpUnits; ++u) {
      const int unit = first + step * kStepUnits + u;
      if (unit >= end) {
#pragma unroll
        for (int i = 0; i < kGroups * 4; ++i) score[i / 4][u][i % 4] = minus_infinity();
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

      float dot[kGroups][4] = {};
      if constexpr (unit_row<K, typename K::Key>::kElements) multiply_groups<K>(dot, rows.k, block, q);
      else if (anchor_entry < 0) multiply_groups<K>(dot, decoded_rows(rows.k), block, decoded_q);
      else multiply_groups<K>(dot, rows.k, block, q);
#pragma unroll
      for (int group = 0; group < kGroups; ++group) {
        column_pair pair;
        if constexpr (kMany<K>) pair = load_pair(block, group);
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          const column& c = kMany<K> ? pair.of[i % 2] : mine[i % 2];
          const int token = f.token[i / 2];
          const float raw = token >= 0 && sees(c, s, token, p.tree_mask != nullptr) ? capped<K>(p, dot[group][i] * f.factor[i / 2]) : minus_infinity();
          score[group][u][i] = raw * kLog2e;
          if (p.ring_scores && ring_unit >= 0 && token >= 0 && c.valid)
            store_global(p.ring_scores + place_of<K>(p, block, c, group, i % 2) * p.ring_rows + token % p.ring_rows, raw);
        }
      }
    }

#pragma unroll
    for (int group = 0; group < kGroups; ++group) state[group].weigh(score[group]);
#pragma unroll
    for (int u = 0; u < K::kWarpUnits; ++u) {
      if (first + step * kStepUnits + u >= end) break;
      auto& rows = mem.rows_of(slot, u);
      if constexpr (unit_row<K, typename K::Value>::kElements) accumulate_groups<K>(state, rows.v, score, u);
      else if (first + step * kStepUnits + u < s.coded_units) accumulate_groups<K>(state, decoded_rows(rows.v), score, u);
      else accumulate_groups<K>(state, rows.v, score, u);
    }
    warp_barrier();  // the rows and the stage are written again
  }
  copy_async_wait<0>();

  block_barrier();
  rows_memory<K>& memory = *reinterpret_cast<rows_memory<K>*>(shared_memory());
#pragma unroll
  for (int group = 0; group < kGroups; ++group) store_result(memory.results[warp], state[group], group * 8);
  block_barrier();
  finish_piece<K>(p, w, s, column_at, {reinterpret_cast<unsigned char*>(memory.results), sizeof(warp_result<K>)}, K::kWarps, &memory.flag);
}

template <class K, class P>
__device__ __forceinline__ void decode(const P& p) {
  static_assert(sizeof(rows_memory<K>) <= K::kSharedBytes, "generator/shared.ts is wrong");
  work_memory* work = &reinterpret_cast<rows_memory<K>*>(shared_memory())->work;
  for_each_piece<K, rows_cost>(p, work, [&](const piece& w) { decode_piece<K>(p, w); });
}

// Three CTAs of four warps per SM: left alone, ptxas takes 200 registers for some contracts, and two fit.
// Of more warps, of more columns, or of rows whose sums alone take 64 registers, at least one CTA is all that is asked for: without the 1, ptxas may spill to fit more.
extern "C" __global__ void __launch_bounds__(128, 128 <= 128 && K::kHeadDim <= 128 && K::kColumns <= 8 ? 3 : 1)
antkv_decode_d128_kf16_vf16_f16__sm90_w4_t64_s3(const __grid_constant__ antkv_decode_params p) {
  decode<K>(p);
}

}  // namespace antkv_decode_d128_kf16_vf16_f16__sm90_w4_t64_s3_
