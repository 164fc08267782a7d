// Generated file. Do not edit.
//   template  templates/encode.cu.hbs
//   kernel    antkv_encode_d128_k8c8b_v8c8bq8_f16_pre_gain__sm80_w4_t64
//   inputs    99761848db886613
//   remake    npx gen --only antkv_encode_d128_k8c8b_v8c8bq8_f16_pre_gain__sm80_w4_t64
#include "antkv.h"
#include "antkv_device.cuh"

namespace antkv_encode_d128_k8c8b_v8c8bq8_f16_pre_gain__sm80_w4_t64_ {  // its own: device linking would merge equal names
using namespace antkv;

struct K {
  using Element = f16;  // of queries, exact rows and output
  static constexpr int kHeadDim = 128;
  struct Key {
    static constexpr bool kExact = false;
    static constexpr int kRowBytes = 16, kCodebookBytes = 81920;
    static constexpr int kChannels = 8, kBits = 8, kCodeStages = 1, kEntries = 256;
    static constexpr bool kQ8 = false;
    static constexpr int kScaleOffset = 65536, kHalfNormOffset = 65536;
    static constexpr bool kKeys = true, kByLane = true;  // the order of codes in a unit
    static constexpr int kChunks = 16, kPiece = 8, kTurnHigh = 2, kTurnShift = 1, kTurnMask = 0;
  };
  struct Value {
    static constexpr bool kExact = false;
    static constexpr int kRowBytes = 16, kCodebookBytes = 49664;
    static constexpr int kChannels = 8, kBits = 8, kCodeStages = 1, kEntries = 256;
    static constexpr bool kQ8 = true;
    static constexpr int kScaleOffset = 32768, kHalfNormOffset = 33280;
    static constexpr bool kKeys = false, kByLane = true;
    static constexpr int kChunks = 16, kPiece = 8, kRowSpan = 4;
  };
  static constexpr bool kCoded = true;  // a side is coded: pages carry a bitmap, and anchors exist
  static constexpr int kUnitBytes = 544, kValueOffset = 256, kKeyGainOffset = 512;
  static constexpr bool kPre = true, kKeyGain = true;
  static constexpr int kCodeBytes = 16;  // of a token's codes in shared memory, on the side that has more
  static constexpr int kWarps = 4, kTokens = 64, kSharedBytes = 36864;
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

// Operands of the search in nearest.cuh: runs and steps of entries, and rows of tokens.

/// C is the traits struct of one side. Lane = 4g + t.
template <class C>
struct run_of {
  static constexpr int kChannels = C::kChannels;
  static constexpr bool kWide = kChannels >= 16;                       // hi and lo are products of their own
  static constexpr bool kShort = kChannels <= 4;                       // 8 of k hold both
  static constexpr int kPairs = kWide ? 8 : kChannels / 2;             // pairs of channels in k
  static constexpr int kSpans = kWide ? kChannels / 16 : 1;            // of 16 channels
  static constexpr int kOwned = kWide ? 2 * kSpans : 1;                // pairs that a lane holds of an entry or row
  static constexpr int kProducts = kWide ? 2 * kSpans : 1;             // of 16 x 8 x 16, or 16 x 8 x 8
  static constexpr int kWords = kShort ? 1 : 2;                        // of a B fragment; an A fragment has twice as many
  static constexpr int kAbreast = kChannels >= 8 ? 2 : 4;              // tiles of 8 entries whose sums are compared together
  static constexpr int kLength = 2 * kAbreast, kStep = 8 * kAbreast;   // entries of a lane's run, and of a step: 4 runs
  static constexpr int kSteps = C::kEntries / kStep;
  static_assert(chunk_stages<C>::kEntries % kStep == 0 && (kChannels <= 8 || kChannels % 16 == 0), "whole steps, whole spans; a step's codes differ in the first stage alone");

  /// The first channel of the lane's pair `i`.
  static __device__ __forceinline__ int channel(int i) { return i / 2 * 16 + i % 2 * 8 + lane_index() % 4 % kPairs * 2; }
  /// The entry, counted from its step's first, that this lane brings for the first tile: column 2t + i of tile j is entry t * kLength + 2j + i.
  static __device__ __forceinline__ int column() { return lane_index() / 8 * kLength + lane_index() / 4 % 2; }
};

/// What a lane loads for a step: pairs of channels as stored, those of the later stages, and the half norms of its run.
template <class C>
struct step_of {
  using R = run_of<C>;
  static constexpr int kChannelBytes = C::kQ8 ? 1 : 2;
  uint32_t pair[R::kAbreast][R::kOwned];
  uint32_t later[C::kCodeStages][R::kOwned];  // the same for all entries; the first stage's place is empty
  float half_norm[R::kLength];

  static __device__ __forceinline__ uint32_t load_pair(const unsigned char* entry, int i) {
    const unsigned char* at = entry + (i / 2 * 16 + i % 2 * 8) * kChannelBytes;
    if constexpr (C::kQ8) return load_global(reinterpret_cast<const uint16_t*>(at));
    else return load_global(reinterpret_cast<const uint32_t*>(at));
  }
  /// Loads the later stages' entries of the step that begins at `code`; `entries`: where the lane's channels begin in the chunk's codebooks.
  __device__ __forceinline__ void load_later(const unsigned char* entries, int code) {
#pragma unroll
    for (int stage = 1; stage < C::kCodeStages; ++stage)
#pragma unroll
      for (int i = 0; i < R::kOwned; ++i) later[stage][i] = load_pair(entries + chunk_stages<C>::offset(code, stage), i);
  }
  /// `entries` and `half_norms` are where the lane's own begin in the step.
  __device__ __forceinline__ void load(const unsigned char* entries, const float* half_norms) {
#pragma unroll
    for (int j = 0; j < R::kAbreast; ++j)
#pragma unroll
      for (int i = 0; i < R::kOwned; ++i) pair[j][i] = load_pair(entries + 2 * j * C::kChannels * kChannelBytes, i);
#pragma unroll
    for (int i = 0; i < R::kLength; i += 4) {
      const bytes16 four = load_global(reinterpret_cast<const bytes16*>(half_norms + i));
#pragma unroll
      for (int k = 0; k < 4; ++k) half_norm[i + k] = float_of_bits(four.w[k]);
    }
  }
  /// The halves of tile `j`'s pair `i`.
  __device__ __forceinline__ uint32_t halves(int j, int i) const {
    uint32_t sum = halves_of(pair[j][i]);
#pragma unroll
    for (int stage = 1; stage < C::kCodeStages; ++stage) sum = add_halves(sum, halves_of(later[stage][i]));
    return sum;
  }
  static __device__ __forceinline__ uint32_t halves_of(uint32_t pair) {
    if constexpr (C::kQ8) return halves_of_steps<0>(pair);
    return pair;
  }
};

/// x in two halves, of two channels each.
__device__ __forceinline__ void split_halves(float x, float y, uint32_t& high, uint32_t& low) {
  high = pack_halves(x, y);
  low = pack_halves(x - to_float(f16{uint16_t(high)}), y - to_float(f16{uint16_t(high >> 16)}));
}

/// The power of two that brings `largest` (of a warp, in all lanes) to [2^14, 2^15), at most 2^60: what is smaller stays smaller.
__device__ __forceinline__ float scale_of(float largest) {
  const uint32_t exponent = float_bits(largest) >> 23;
  return float_of_bits((268u - (exponent < 81 ? 81 : exponent)) << 23);
}

/// The token, counted from tile `m`'s first, that is row g (`half` 0) or g + 8 (1) of the tile: such that a lane group's loads of one row fragment meet in
/// no bank, nor those of search_run, where neighbouring lanes have the rows g and g + 8 of two neighbouring tiles.
__device__ __forceinline__ int token_of_row(int m, int half) { return ((lane_index() / 4) ^ (m % 2 * 2)) * 2 + half; }

/// Rows of 16 tokens as A fragments, for kTiles tiles.
template <class C, int kTiles>
struct row_fragments {
  using R = run_of<C>;
  uint32_t a[kTiles][R::kProducts][2 * R::kWords];

  /// Loads the rows of one chunk from `rows` on; returns the power of two that they are scaled by.
  template <int kStride>
  __device__ __forceinline__ float load(const float* rows, const float* scales) {
    float x[kTiles][2][R::kOwned][2];
    float largest = 0;
#pragma unroll
    for (int i = 0; i < R::kOwned; ++i) {
      float scale[2] = {1, 1};
      if constexpr (C::kQ8) scale[0] = load_global(scales + R::channel(i)), scale[1] = load_global(scales + R::channel(i) + 1);
#pragma unroll
      for (int m = 0; m < kTiles; ++m)
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          const bytes8 two = load_shared(reinterpret_cast<const bytes8*>(rows + (m * 16 + token_of_row(m, half)) * kStride + R::channel(i)));
#pragma unroll
          for (int k = 0; k < 2; ++k) {
            float& value = x[m][half][i][k];
            value = float_of_bits(two.w[k]) * scale[k];
            largest = fmaxf(largest, fabsf(value));
          }
        }
    }
#pragma unroll
    for (int mask = 1; mask < 32; mask *= 2) largest = fmaxf(largest, shuffle_xor(largest, mask));
    const float scale = scale_of(largest);
    const int part = lane_index() % 4 / R::kPairs;  // of short products: 0 holds hi, 1 lo, what is left nothing
#pragma unroll
    for (int m = 0; m < kTiles; ++m)
#pragma unroll
      for (int half = 0; half < 2; ++half)
#pragma unroll
        for (int i = 0; i < R::kOwned; ++i) {
          uint32_t high, low;
          split_halves(x[m][half][i][0] * scale, x[m][half][i][1] * scale, high, low);
          if constexpr (R::kWide) {
            a[m][i / 2][half + i % 2 * 2] = high, a[m][R::kSpans + i / 2][half + i % 2 * 2] = low;
          } else if constexpr (R::kShort) {
            a[m][0][half] = part == 0 ? high : part == 1 ? low : 0;
          } else {
            a[m][0][half] = high, a[m][0][half + 2] = low;
          }
        }
    return scale;
  }
};

// The nearest centroid of every chunk of fp32 rows in shared memory, on the matrix unit: the entry with the largest x.c - |c|^2/2, the lower one on a tie.
//
// Rows of tokens are A, entries are B, and sums begin at -|c|^2/2. A row is cut into two halves, hi + lo, which stand beside each other in k against the same
// centroid: products are good to about 2^-21. Beforehand rows are scaled by a power of two, so that neither half leaves the range of f16.
// A lane meets `run_of<C>::kLength` consecutive entries at a time, a run; of all runs it keeps the largest sum and the run's number. The four lanes of a row then
// agree on one run, and one of them compares its entries alone again in fp32. So most candidates cost one maximum, and no codebook is larger than what is read of it at once.

/// The larger of two values and its index, the lower index of equals.
__device__ __forceinline__ void take_larger(float& value, int& index, float other, int other_index) {
  const bool takes = (other > value) | ((other == value) & (other_index < index));  // no branches
  value = takes ? other : value, index = takes ? other_index : index;
}

/// What a lane knows of the rows g and g + 8 of a tile: its largest sum, and that sum's run.
struct row_best {
  float sum[2];
  int run[2];
};

/// The run that holds the largest sum of a row, of all four lanes: row g of tile `a` for lane t = 0, g + 8 for t = 1, those of tile `b` for t = 2, 3.
__device__ __forceinline__ int best_run(const row_best& a, const row_best& b) {
  const bool second = lane_index() & 2, upper = lane_index() & 1;
  float sum[2];
  int run[2];
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    sum[half] = second ? b.sum[half] : a.sum[half];
    run[half] = second ? b.run[half] : a.run[half];
    const float other = shuffle_xor(second ? a.sum[half] : b.sum[half], 2);
    take_larger(sum[half], run[half], other, shuffle_xor(second ? a.run[half] : b.run[half], 2));
  }
  const float other = shuffle_xor(upper ? sum[0] : sum[1], 1);
  const int other_run = shuffle_xor(upper ? run[0] : run[1], 1);
  float mine = upper ? sum[1] : sum[0];
  int best = upper ? run[1] : run[0];
  take_larger(mine, best, other, other_run);
  return best;
}

/// What was found for one chunk of one token.
struct nearest_entry {
  int code;
  float half_norm;  // |c|^2/2 of the entry
  float norm;       // |x|^2 of the chunk
};

/// Channels of a row that are loaded together.
template <int kChannels>
struct alignas(4 * kChannels) row_piece {
  uint32_t w[kChannels];
};

/// Adds the later stages' entries to those of a run that begins at `code`: its codes differ in the first stage alone.
template <class C, int kPairs>
__device__ __forceinline__ void add_later(uint32_t (&pairs)[kPairs], const unsigned char* entries, int code) {
#pragma unroll
  for (int stage = 1; stage < C::kCodeStages; ++stage) {
    uint32_t words[entry_bytes<C>::kWords];
    load_entry<C>(words, entries + chunk_stages<C>::offset(code, stage));
#pragma unroll
    for (int i = 0; i < kPairs; ++i) {
      const int pair = i % (C::kChannels / 2);
      uint32_t halves = words[C::kQ8 ? pair / 2 : pair];
      if constexpr (C::kQ8) halves = pair % 2 ? halves_of_steps<2>(halves) : halves_of_steps<0>(halves);
      pairs[i] = add_halves(pairs[i], halves);
    }
  }
}

/// Compares the entries of `run` in fp32, each lane for its row `x`. A run is a whole number of 16 bytes.
template <class C>
__device__ __forceinline__ nearest_entry search_run(const float* x, const unsigned char* entries, const float* half_norms, const float* scales, int run) {
  constexpr int kLength = run_of<C>::kLength, kBytes = kLength * entry_bytes<C>::kAll;
  constexpr int kPiece = C::kChannels < 4 ? 2 : 4;  // of 4: no bank conflicts
  uint32_t pairs[kLength * C::kChannels / 2];
  const unsigned char* first = entries + (C::kCodeStages == 1 ? run * kBytes : chunk_stages<C>::offset(run * kLength, 0));
#pragma unroll
  for (int i = 0; i < kBytes / 16; ++i) {
    const bytes16 piece = load_global(reinterpret_cast<const bytes16*>(first) + i);
#pragma unroll
    for (int k = 0; k < 4; ++k) {
      // Not an int8 to a float at once: conversions are rare and slow, an eighth of the rate.
      if constexpr (C::kQ8) pairs[8 * i + 2 * k] = halves_of_steps<0>(piece.w[k]), pairs[8 * i + 2 * k + 1] = halves_of_steps<2>(piece.w[k]);
      else pairs[4 * i + k] = piece.w[k];
    }
  }
  add_later<C>(pairs, entries, run * kLength);
  float half_norm[kLength], closeness[kLength];
#pragma unroll
  for (int i = 0; i < kLength; i += 4) {
    const bytes16 four = load_global(reinterpret_cast<const bytes16*>(half_norms + run * kLength + i));
#pragma unroll
    for (int k = 0; k < 4; ++k) half_norm[i + k] = float_of_bits(four.w[k]), closeness[i + k] = -half_norm[i + k];
  }
  nearest_entry found{run * kLength, half_norm[0], 0};
#pragma unroll
  for (int i = 0; i < C::kChannels; i += kPiece) {
    const auto piece = load_shared(reinterpret_cast<const row_piece<kPiece>*>(x + i));
#pragma unroll
    for (int k = 0; k < kPiece; ++k) {
      float value = float_of_bits(piece.w[k]);
      found.norm = fused_multiply_add(value, value, found.norm);
      if constexpr (C::kQ8) value *= load_global(scales + i + k);
#pragma unroll
      for (int e = 0; e < kLength; ++e) {
        const uint32_t pair = pairs[(e * C::kChannels + i + k) / 2];
        closeness[e] = fused_multiply_add(value, to_float(f16{uint16_t(k % 2 ? pair >> 16 : pair)}), closeness[e]);
      }
    }
  }
  float best = closeness[0];
#pragma unroll
  for (int e = 1; e < kLength; ++e)
    if (closeness[e] > best) best = closeness[e], found.code = run * kLength + e, found.half_norm = half_norm[e];
  return found;
}

/// Finds the nearest entries of all chunks of kTokens rows, of which `count` hold tokens; all threads. found(token, chunk, nearest_entry) is called once for each chunk of
/// each token, and of some behind `count`, by one lane; the calls for a token come in ascending order of chunks, and from one lane.
template <class K, class C, int kStride, class F>
__device__ __forceinline__ void find_nearest(const float* rows, const unsigned char* codebook, int count, const F& found) {
  using R = run_of<C>;
  constexpr int kUnits = K::kTokens / 16;
  constexpr int kTiles = kUnits % 4 == 0 ? 4 : kUnits % 3 == 0 ? 3 : kUnits % 2 == 0 ? 2 : 1;  // that share what a warp reads of a codebook
  constexpr int kBlocks = kUnits / kTiles;
  for (int job = warp_index(); job < C::kChunks * kBlocks; job += K::kWarps) {
    const int chunk = job / kBlocks, base = job % kBlocks * kTiles * 16;
    if (base >= count) continue;
    const unsigned char* entries = codebook + int64_t(chunk) * chunk_stages<C>::kStored * entry_bytes<C>::kAll;
    const float* half_norms = reinterpret_cast<const float*>(codebook + C::kHalfNormOffset) + chunk * C::kEntries;
    const float* scales = reinterpret_cast<const float*>(codebook + C::kScaleOffset) + chunk * C::kChannels;
    const float* chunk_rows = rows + base * kStride + chunk * C::kChannels;

    step_of<C> next;
    const unsigned char* my_entries = entries + (R::column() * C::kChannels + R::channel(0)) * step_of<C>::kChannelBytes;
    const float* my_norms = half_norms + lane_index() % 4 * R::kLength;
    next.load(my_entries, my_norms);
    const unsigned char* my_channels = entries + R::channel(0) * step_of<C>::kChannelBytes;
    next.load_later(my_channels, 0);
    row_fragments<C, kTiles> x;
    const float scale = x.template load<kStride>(chunk_rows, scales);
    // An operand that holds one value twice is two registers made in two ways: ptxas gives each use of one that it knows to be the same a copy of its own.
    const float again = float_of_bits(opaque(float_bits(scale), 0));
    const uint32_t zero = float_bits(scale) ^ float_bits(again);
    row_best best[kTiles];
#pragma unroll
    for (int m = 0; m < kTiles; ++m)
#pragma unroll
      for (int half = 0; half < 2; ++half) best[m].sum[half] = minus_infinity(), best[m].run[half] = lane_index() % 4;
#pragma unroll 2
    for (int step = 0; step < R::kSteps; ++step) {
      uint32_t b[R::kAbreast][R::kSpans][R::kWords];
      float start[R::kAbreast][4];
#pragma unroll
      for (int j = 0; j < R::kAbreast; ++j) {
#pragma unroll
        for (int s = 0; s < R::kSpans; ++s) {
          b[j][s][0] = next.halves(j, R::kWide ? 2 * s : 0);
          if constexpr (!R::kShort) b[j][s][1] = R::kWide ? next.halves(j, 2 * s + 1) : b[j][s][0] ^ zero;
        }
#pragma unroll
        for (int i = 0; i < 4; ++i) start[j][i] = next.half_norm[2 * j + i % 2] * -(i < 2 ? scale : again);
      }
      my_entries += R::kStep * C::kChannels * step_of<C>::kChannelBytes, my_norms += R::kStep;
      if constexpr (C::kCodeStages > 1)  // the first stage from its beginning again
        if ((step + 1) * R::kStep % chunk_stages<C>::kEntries == 0) my_entries -= chunk_stages<C>::kEntries * entry_bytes<C>::kAll;
      if (step + 1 < R::kSteps) next.load(my_entries, my_norms), next.load_later(my_channels, (step + 1) * R::kStep);
#pragma unroll
      for (int m = 0; m < kTiles; ++m) {
        float d[R::kAbreast][4];
#pragma unroll
        for (int j = 0; j < R::kAbreast; ++j) {
          if constexpr (R::kShort) {
            mma_16x8x8(d[j], x.a[m][0], b[j][0], start[j]);
          } else {
            mma_16x8x16(d[j], x.a[m][0], b[j][0], start[j]);
#pragma unroll
            for (int i = 1; i < R::kProducts; ++i) mma_16x8x16(d[j], x.a[m][i], b[j][i % R::kSpans]);
          }
        }
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          float largest = fmaxf(d[0][2 * half], d[0][2 * half + 1]);
#pragma unroll
          for (int j = 1; j < R::kAbreast; ++j) largest = fmaxf(largest, fmaxf(d[j][2 * half], d[j][2 * half + 1]));
          keep_larger(best[m].sum[half], best[m].run[half], largest, step * 4 + lane_index() % 4, zero);
        }
      }
    }
    // All are found before one is told, so that their loads are under way together. A tile without a neighbour is two lanes' of each row.
    nearest_entry entry[(kTiles + 1) / 2];
    int token[(kTiles + 1) / 2];
#pragma unroll
    for (int m = 0; m < kTiles; m += 2) {
      const int other = m + 1 < kTiles ? m + 1 : m, mine = lane_index() & 2 ? other : m;
      token[m / 2] = mine * 16 + token_of_row(mine, lane_index() % 2);
      entry[m / 2] = search_run<C>(chunk_rows + token[m / 2] * kStride, entries, half_norms, scales, best_run(best[m], best[other]));
    }
#pragma unroll
    for (int m = 0; m < kTiles; m += 2)
      if (m + 1 < kTiles || lane_index() % 4 < 2) found(base + token[m / 2], chunk, entry[m / 2]);
  }
}

// K/V rows to whole coded pages: nearest centroid per chunk, gains, bitmap; kept rows to anchor pages.
// grid (token tiles, then anchor pages; kv_heads; batch). A token tile is a CTA: it holds one side's rows in fp32 at a time, and each warp searches the codebooks of
// its share of the chunks for all of them (nearest.cuh), so that a CTA reads each codebook once.

/// Shared memory of a token tile: one side at a time.
template <class K>
struct encode_memory {
  static constexpr int kStride = K::kHeadDim + 4;  // of rows, in floats: nearest.cuh reads them without bank conflicts
  static constexpr int kSums = K::kKeyGain ? K::kWarps * K::kTokens : 1;
  alignas(16) float rows[K::kTokens * kStride];
  float norm[kSums];      // [warp][token]: |x|^2 of the chunks of a key that the warp has seen
  float estimate[kSums];  // |c|^2 of the centroids found for them
  alignas(16) unsigned char codes[K::kTokens * K::kCodeBytes];  // of 8 bits: units as their pages have them; else [token][chunk] 16-bit words
};

/// Rotates one row of fp32 channels in place, forwards (+1) or backwards (-1), by the threads of one warp.
template <class P>
__device__ __forceinline__ void rotate_row(const P& p, float* row, int position, float direction) {
  const float factor = direction > 0 ? p.attention_factor : 1.0f / p.attention_factor;
  for (int i = lane_index(); i < p.rotary_dim / 2; i += 32) {
    const rope_pair pair = rope_channels(p, i);
    float sine, cosine;
    rope_angle(position, load_global(p.inv_freq + i), sine, cosine);
    sine *= direction;
    const float x = load_shared(row + pair.first), y = load_shared(row + pair.second);
    store_shared(row + pair.first, (x * cosine - y * sine) * factor);
    store_shared(row + pair.second, (x * sine + y * cosine) * factor);
  }
}

/// Rotates the tile's rows in place, forwards (+1) or backwards (-1), all threads; row r stands at `position` + r.
template <class K, class P>
__device__ __forceinline__ void rotate_tile(const P& p, float* rows, int position, float direction) {
  constexpr int kRun = 8;  // rows from one exact angle to the next: between them the angle grows by inv_freq, and 7 steps lose less than 2e-6
  const float factor = direction > 0 ? p.attention_factor : 1.0f / p.attention_factor;
  const int warp = warp_index();
  for (int i = lane_index(); i < p.rotary_dim / 2; i += 32) {
    const rope_pair pair = rope_channels(p, i);
    const float inv_freq = load_global(p.inv_freq + i);
    float step_sine, step_cosine;
    rope_angle(1, inv_freq, step_sine, step_cosine);
    step_sine *= direction;
    for (int base = warp * kRun; base < K::kTokens; base += K::kWarps * kRun) {
      float sine, cosine;
      rope_angle(position + base, inv_freq, sine, cosine);
      sine *= direction * factor, cosine *= factor;
#pragma unroll
      for (int r = 0; r < kRun; ++r) {
        float* first = rows + (base + r) * encode_memory<K>::kStride + pair.first;
        float* second = rows + (base + r) * encode_memory<K>::kStride + pair.second;
        const float x = load_shared(first), y = load_shared(second);
        store_shared(first, x * cosine - y * sine);
        store_shared(second, x * sine + y * cosine);
        const float next = cosine * step_cosine - sine * step_sine;
        sine = sine * step_cosine + cosine * step_sine;
        cosine = next;
      }
    }
  }
}

/// Loads `count` rows of the tile as fp32, zeros behind them, all threads; row_at(i) is where row i lies, aligned to 8 bytes.
template <class K, class F>
__device__ __forceinline__ void load_tile(float* rows, int count, const F& row_at) {
  constexpr int kPieces = K::kHeadDim / 4, kLanes = kPieces < 32 ? kPieces : 32, kTogether = 32 / kLanes;  // rows that a warp loads at a time
  const int first = warp_index() * kTogether + lane_index() / kLanes;
  if (lane_index() >= kTogether * kLanes) return;
  for (int channel = lane_index() % kLanes * 4; channel < K::kHeadDim; channel += 128)
#pragma unroll 8  // loads under way together
    for (int row = first; row < K::kTokens; row += K::kWarps * kTogether) {
      bytes8 four = {};
      if (row < count) four = load_global(reinterpret_cast<const bytes8*>(row_at(row) + channel * 2));
      bytes16 wide;
#pragma unroll
      for (int i = 0; i < 4; ++i) wide.w[i] = float_bits(to_float(typename K::Element{uint16_t(four.w[i / 2] >> (16 * (i % 2)))}));
      store_shared(reinterpret_cast<bytes16*>(rows + row * encode_memory<K>::kStride + channel), wide);
    }
}

/// Finds the codes of one side of the tile, and of keys that have a gain the norms that it is made of; all threads.
template <class K, class C>
__device__ __forceinline__ void find_codes(encode_memory<K>& mem, const unsigned char* codebook, int count) {
  constexpr bool kSums = C::kKeys && K::kKeyGain;
  const int sums = warp_index() * K::kTokens;  // this warp's
  if constexpr (kSums) {
    for (int token = lane_index(); token < K::kTokens; token += 32) store_shared(mem.norm + sums + token, 0.0f), store_shared(mem.estimate + sums + token, 0.0f);
    warp_barrier();
  }
  find_nearest<K, C, encode_memory<K>::kStride>(mem.rows, codebook, count, [&](int token, int chunk, const nearest_entry& found) {
    const int code = token < count ? found.code : 0;
    if constexpr (C::kBits == 8) store_shared(mem.codes + token / 16 * 16 * C::kRowBytes + code_offset<C>(token % 16, chunk), (unsigned char)code);
    else store_shared(reinterpret_cast<uint16_t*>(mem.codes) + token * C::kChunks + chunk, uint16_t(code));
    if constexpr (kSums) {  // a token's are always the same lane's
      float* norm = mem.norm + sums + token;
      float* estimate = mem.estimate + sums + token;
      store_shared(norm, load_shared(norm) + found.norm);
      store_shared(estimate, load_shared(estimate) + 2.0f * found.half_norm);
    }
  });
}

/// The factor that gives the estimate its true norm: |x| / |x^|, 1 where the estimate is 0, 0 where there is no token.
template <class K>
__device__ __forceinline__ float gain_of(const encode_memory<K>& mem, int token, int count) {
  if (token >= count) return 0;
  float norm = 0, estimate = 0;
#pragma unroll
  for (int warp = 0; warp < K::kWarps; ++warp) {
    norm += load_shared(mem.norm + warp * K::kTokens + token);
    estimate += load_shared(mem.estimate + warp * K::kTokens + token);
  }
  return estimate > 0 ? fminf(square_root(norm / estimate), 65504.0f) : 1.0f;  // finite in f16: inf * 0 is NaN
}

/// The unit of logical token `token` in its page.
template <class K, class P>
__device__ __forceinline__ unsigned char* unit_of(const P& p, int b, int head, int token) {
  return page_block(p, b, head, token) + token % p.page_size / 16 * K::kUnitBytes;
}

/// Writes the keys' gains of the tile's units, from what the keys' store_side left; all threads.
template <class K, class P>
__device__ __forceinline__ void store_gains(const P& p, const encode_memory<K>& mem, int b, int head, int first, int count) {
  for (int token = thread_index(); token < (count + 15) / 16 * 16; token += K::kWarps * 32) {
    unsigned char* gains = unit_of<K>(p, b, head, first + token) + K::kKeyGainOffset;
    store_global(reinterpret_cast<f16*>(gains) + gain_index(token % 16), to_f16(gain_of<K>(mem, token, count)));
  }
}

/// 16 bytes of a unit's side of codes, from byte `at` on; codes of other than 8 bits are packed here, from the lowest bit on.
template <class K, class C>
__device__ __forceinline__ bytes16 code_piece(const encode_memory<K>& mem, int unit, int at) {
  if constexpr (C::kBits == 8) return load_shared(reinterpret_cast<const bytes16*>(mem.codes + unit * 16 * C::kRowBytes + at));
  bytes16 piece = {};
  if constexpr (C::kBits != 8) {
#pragma unroll
    for (int i = 0; i < 16; ++i) {
      const int token = unit * 16 + (at + i) / C::kRowBytes, bit = (at + i) % C::kRowBytes * 8, chunk = bit / C::kBits, shift = bit % C::kBits;
      const uint16_t* codes = reinterpret_cast<const uint16_t*>(mem.codes) + token * C::kChunks;
      uint32_t bits = load_shared(codes + chunk) >> shift;
      if (shift + 8 > C::kBits) bits |= uint32_t(load_shared(codes + chunk + 1)) << (C::kBits - shift);
      piece.w[i / 4] |= (bits & 255) << (i % 4 * 8);
    }
  }
  return piece;
}

/// Writes one side of the tile's units: codes, or the exact rows. The tile is `count` tokens from the sequence's logical token `first` on, a multiple of 16; all threads.
template <class K, class C, class P>
__device__ __forceinline__ void store_side(const P& p, encode_memory<K>& mem, const unsigned char* codebook, int b, int head, int first, int count,
                                           int side_offset) {
  using T = typename K::Element;
  if constexpr (!C::kExact) find_codes<K, C>(mem, codebook, count);
  block_barrier();
  constexpr int kPieces = C::kRowBytes;  // of 16 bytes in a unit
  for (int piece = thread_index(); piece < (count + 15) / 16 * kPieces; piece += K::kWarps * 32) {
    const int unit = piece / kPieces, at = piece % kPieces * 16;
    bytes16 bytes;
    if constexpr (C::kExact) {
      const float* from = mem.rows + (unit * 16 + at / C::kRowBytes) * encode_memory<K>::kStride + at % C::kRowBytes / 2;
#pragma unroll
      for (int i = 0; i < 4; ++i) bytes.w[i] = pack(round_to<T>(load_shared(from + 2 * i)), round_to<T>(load_shared(from + 2 * i + 1)));
    } else {
      bytes = code_piece<K, C>(mem, unit, at);
    }
    store_global(reinterpret_cast<bytes16*>(unit_of<K>(p, b, head, first + unit * 16) + side_offset + at), bytes);
  }
}

/// The anchor bitmap of the page whose first logical token is `first`: all its words, whatever a page held before.
template <class K, class P>
__device__ __forceinline__ void store_bitmap(const P& p, int b, int head, int first, int end) {
  uint32_t* bitmap = reinterpret_cast<uint32_t*>(page_block(p, b, head, first) + p.page_size / 16 * K::kUnitBytes);
  const uint32_t* keep = p.keep_bitmap ? p.keep_bitmap + (int64_t(b) * p.kv_heads + head) * p.keep_words : nullptr;
  for (int word = thread_index(); word * 32 < p.page_size; word += K::kWarps * 32) {
    uint32_t bits = 0;
    for (int half = 0; half < 2 && keep; ++half) {
      // By halves: a page of 16 tokens may begin in the middle of a word of keep_bitmap.
      const int token = first + word * 32 + half * 16;
      if (word * 32 + half * 16 >= p.page_size || token >= end) break;
      uint32_t sixteen = load_global(keep + token / 32) >> token % 32 & 0xffff;
      if (end - token < 16) sixteen &= (1u << (end - token)) - 1;
      bits |= sixteen << (16 * half);
    }
    store_global(bitmap + word, bits);
  }
}

/// Puts the score of `token` beside anchor row `at`: the mean over the rows that saw it, as the scores that it will compete with are.
template <class P>
__device__ __forceinline__ void freeze_score(const P& p, int b, int head, int at, int token) {
  float score = load_global(p.keep_scores + (int64_t(b) * p.kv_heads + head) * p.score_stride + token);
  if (p.score_rows) score /= float(load_global(p.score_rows + b) - token);
  store_global(p.anchor_score + (int64_t(element_or(p.state_slot, b, b)) * p.kv_heads + head) * p.max_anchor_pages * 16 + at, score);
}

/// Anchor page number `entry` of the sequence: the rows of its 16 kept tokens, exact.
template <class K, class P>
__device__ __forceinline__ void store_anchors(const P& p, int b, int head, int entry, int first_row, int first, int count) {
  using T = typename K::Element;
  if (!p.keep_indices || !p.anchor_table) return;
  const int32_t* list = anchor_pages(p, b);
  if (entry >= count_anchor_pages(list, p.max_anchor_pages)) return;  // what follows the list's -1 is no one's
  const int number = load_global(list + entry);
  unsigned char* page = anchor_block(p, number, head);
  float* row_memory = reinterpret_cast<encode_memory<K>*>(shared_memory())->rows;
  for (int row = warp_index(); row < 16; row += K::kWarps) {
    const int at = entry * 16 + row;
    const int token = at < p.max_anchors ? load_global(p.keep_indices + (int64_t(b) * p.kv_heads + head) * p.max_anchors + at) : -1;
    if (token >= 0 && (token < first || token >= first + count)) continue;  // stored by an earlier chunk of the prompt
    if (lane_index() == 0) store_global(reinterpret_cast<int32_t*>(page + 16 * K::kHeadDim * 2 * 2) + row, token);
    if (token < 0) continue;
    if (lane_index() == 0 && p.anchor_score) freeze_score(p, b, head, at, token);
    const int64_t from = first_row + token - first;
    const unsigned char* k = byte_pointer(p.k) + from * p.k_row_stride + head * p.k_head_stride;
    const unsigned char* v = byte_pointer(p.v) + from * p.v_row_stride + head * p.v_head_stride;
    float* memory = row_memory + row * encode_memory<K>::kStride;
    for (int channel = lane_index(); channel < K::kHeadDim; channel += 32) {
      store_shared(memory + channel, to_float(load_global(reinterpret_cast<const T*>(k) + channel)));
      store_global(reinterpret_cast<T*>(page) + (16 + row) * K::kHeadDim + channel, load_global(reinterpret_cast<const T*>(v) + channel));
    }
    warp_barrier();
    if (p.keys_unrotated) rotate_row(p, memory, element_or(p.first_pos, b, 0) + token, 1);
    warp_barrier();
    for (int channel = lane_index(); channel < K::kHeadDim; channel += 32)
      store_global(reinterpret_cast<T*>(page) + row * K::kHeadDim + channel, round_to<T>(load_shared(memory + channel)));
    warp_barrier();
  }
}

/// Encodes a tile: `count` tokens from the sequence's logical token `first` on, whose rows lie at key_at(i) and value_at(i). `direction`: which way keys must be rotated
/// to be what is coded, 0: they are. All threads; shared memory is free again behind the caller's next barrier.
template <class K, class P, class F, class G>
__device__ __forceinline__ void encode_tile(const P& p, encode_memory<K>& mem, int b, int head, int first, int count, float direction, const F& key_at, const G& value_at) {
  const unsigned char* k_codebook = byte_pointer(p.k_codebook) + int64_t(head) * K::Key::kCodebookBytes;
  const unsigned char* v_codebook = byte_pointer(p.v_codebook) + int64_t(head) * K::Value::kCodebookBytes;
  load_tile<K>(mem.rows, count, key_at);
  if (direction != 0) {
    block_barrier();
    rotate_tile<K>(p, mem.rows, element_or(p.first_pos, b, 0) + first, direction);
  }
  block_barrier();
  store_side<K, typename K::Key>(p, mem, k_codebook, b, head, first, count, 0);
  if constexpr (K::kKeyGain) store_gains<K>(p, mem, b, head, first, count);
  block_barrier();
  load_tile<K>(mem.rows, count, value_at);
  block_barrier();
  store_side<K, typename K::Value>(p, mem, v_codebook, b, head, first, count, K::kValueOffset);
}

template <class K, class P>
__device__ __forceinline__ void encode(const P& p) {
  static_assert(sizeof(encode_memory<K>) <= K::kSharedBytes && K::kTokens >= 16, "generator/shared.ts is wrong");
  const index3 block = block_index();
  const int head = block.y, b = block.z;
  const int first_row = load_global(p.cu_tokens + b), count = load_global(p.cu_tokens + b + 1) - first_row;
  const int first = element_or(p.first_token, b, 0);
  const int tiles = (p.max_tokens + K::kTokens - 1) / K::kTokens;
  if (block.x >= tiles) {
    if constexpr (K::kCoded) store_anchors<K>(p, b, head, block.x - tiles, first_row, first, count);
    return;
  }

  const int tile = block.x * K::kTokens;  // of this call's rows
  if (tile >= count) return;
  const int mine = count - tile < K::kTokens ? count - tile : K::kTokens;
  const int64_t row = first_row + tile;
  const float direction = bool(p.keys_unrotated) != K::kPre ? (K::kPre ? -1.0f : 1.0f) : 0.0f;  // given as the codes do not want them
  encode_tile<K>(p, *reinterpret_cast<encode_memory<K>*>(shared_memory()), b, head, first + tile, mine, direction,
                 [&](int i) { return byte_pointer(p.k) + (row + i) * p.k_row_stride + head * p.k_head_stride; },
                 [&](int i) { return byte_pointer(p.v) + (row + i) * p.v_row_stride + head * p.v_head_stride; });
  if constexpr (K::kCoded) {
    // A page is marked by the tile that holds its first token.
    for (int token = (first + tile + p.page_size - 1) / p.page_size * p.page_size; token < first + tile + mine; token += p.page_size)
      store_bitmap<K>(p, b, head, token, first + count);
  }
}

// At least one CTA per SM is all that is asked for: without the 1, ptxas may spill to fit more.
extern "C" __global__ void __launch_bounds__(128, 1)
antkv_encode_d128_k8c8b_v8c8bq8_f16_pre_gain__sm80_w4_t64(const __grid_constant__ antkv_encode_params p) {
  encode<K>(p);
}

}  // namespace antkv_encode_d128_k8c8b_v8c8bq8_f16_pre_gain__sm80_w4_t64_
