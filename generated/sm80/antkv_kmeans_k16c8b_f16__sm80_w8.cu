// Generated file. Do not edit.
//   template  templates/kmeans.cu.hbs
//   kernel    antkv_kmeans_k16c8b_f16__sm80_w8
//   inputs    f7fa4193e507b999
//   remake    npx gen --only antkv_kmeans_k16c8b_f16__sm80_w8
#include "antkv.h"
#include "antkv_device.cuh"

namespace antkv_kmeans_k16c8b_f16__sm80_w8_ {  // its own: device linking would merge equal names
using namespace antkv;

struct K {
  struct Key {  // one chunk, whose codebook is searched as if it were a whole head's
    static constexpr bool kExact = false, kQ8 = false;
    static constexpr int kChannels = 16, kBits = 8, kCodeStages = 1, kEntries = 256, kChunks = 1;
    static constexpr int kCodebookBytes = 9216, kScaleOffset = 0, kHalfNormOffset = 8192;
  };
  static constexpr int kWarps = 8, kTokens = 512, kSharedBytes = 75792;
};

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

// Exact sums of k-means. Whatever is added up is a whole number of 64 bits, so that the order of additions does not matter: a run has the same bits as
// any other, however its rows are cut, and adding needs no order. The caller's scales, powers of two, put 2^62 above any sum that can come.

/// value * scale as a whole number; `value` is exact or nearly so, and the scale leaves some 2^-46 of the largest one below the point.
__device__ __forceinline__ int64_t fixed_point(double value, float scale) { return int64_t(value * double(scale)); }

/// 64-bit values between the lanes of a warp; all lanes.
__device__ __forceinline__ uint64_t shuffle_wide(uint64_t value, int lane) {
  return uint64_t(shuffle(uint32_t(value >> 32), lane)) << 32 | shuffle(uint32_t(value), lane);
}
__device__ __forceinline__ uint64_t sum_of_warp(uint64_t value) {
#pragma unroll
  for (int mask = 16; mask > 0; mask /= 2) {
    const uint32_t high = shuffle_xor(uint32_t(value >> 32), mask), low = shuffle_xor(uint32_t(value), mask);
    value += uint64_t(high) << 32 | low;
  }
  return value;
}
/// The sum of the values of this lane and those before it.
__device__ __forceinline__ uint64_t sum_so_far(uint64_t value) {
#pragma unroll
  for (int step = 1; step < 32; step *= 2) {
    const uint32_t high = shuffle_up(uint32_t(value >> 32), step), low = shuffle_up(uint32_t(value), step);
    if (lane_index() >= step) value += uint64_t(high) << 32 | low;
  }
  return value;
}

/// Sums in shared memory, in two words each: 64-bit additions there would be loops. A carry is counted by the one addition that made it.
template <class K>
struct kmeans_sums {
  static constexpr int kStride = K::Key::kChannels + 1;  // channels of an entry, then its weight
  static constexpr int kCount = K::Key::kEntries * kStride;
  alignas(16) uint32_t low[kCount];
  uint32_t high[kCount];

  __device__ __forceinline__ void add(int at, int64_t value) {
    const uint32_t before = atomic_add_shared(low + at, uint32_t(value));
    const uint32_t carry = before + uint32_t(value) < before;
    atomic_add_shared(high + at, uint32_t(uint64_t(value) >> 32) + carry);
  }
  __device__ __forceinline__ uint64_t at(int i) const { return uint64_t(load_shared(high + i)) << 32 | load_shared(low + i); }
};

/// Where the (head, chunk) of a CTA has what it works on.
template <class K>
struct kmeans_problem {
  using C = typename K::Key;
  const unsigned char* x;  // the chunk of the head's first row
  const float* weights;    // null: 1
  float* centroids;
  unsigned char* codebook;
  uint64_t *row_loss, *sums, *loss, *energy;
  int32_t* status;
  const double* draws;

  template <class P>
  __device__ __forceinline__ explicit kmeans_problem(const P& p) {
    const index3 block = block_index();
    const int64_t number = int64_t(block.z) * p.chunks + block.y;
    x = static_cast<const unsigned char*>(p.x) + block.z * p.x_head_stride + block.y * C::kChannels * 2;
    weights = p.weights ? p.weights + int64_t(block.z) * p.tokens : nullptr;
    centroids = p.centroids + number * C::kEntries * C::kChannels;
    codebook = static_cast<unsigned char*>(p.codebook) + number * C::kCodebookBytes;
    row_loss = p.row_loss + number * p.tokens;
    sums = reinterpret_cast<uint64_t*>(p.sums) + number * kmeans_sums<K>::kCount;
    loss = p.loss + number * (p.max_steps + 1);
    energy = p.energy + number;
    status = p.status + number * 4;
    draws = p.draws ? p.draws + number * C::kEntries : nullptr;
  }
  __device__ __forceinline__ float weight(int row) const { return weights ? load_global(weights + row) : 1.0f; }
  /// Row `row` as loaded: pairs of channels.
  template <class P>
  __device__ __forceinline__ void load_row(const P& p, int row, uint32_t (&words)[C::kChannels / 2]) const {
    load_entry<C>(words, x + row * p.x_row_stride);
  }
  /// Centroid `entry` for those who search.
  __device__ __forceinline__ void store_searched(int entry, const float (&c)[C::kChannels]) const {
    float norm = 0;
#pragma unroll
    for (int i = 0; i < C::kChannels; i += 2) {
      const f16 a = to_f16(c[i]), b = to_f16(c[i + 1]);
      norm = fused_multiply_add(to_float(a), to_float(a), norm), norm = fused_multiply_add(to_float(b), to_float(b), norm);
      store_global(reinterpret_cast<uint32_t*>(codebook) + (entry * C::kChannels + i) / 2, pack(a, b));
    }
    store_global(reinterpret_cast<float*>(codebook + C::kHalfNormOffset) + entry, norm / 2);
  }
  /// Puts centroid `entry` where `c`, rounded to halves, is.
  __device__ __forceinline__ void store_centroid(int entry, const float (&c)[C::kChannels]) const {
#pragma unroll
    for (int i = 0; i < C::kChannels; ++i) store_global(centroids + entry * C::kChannels + i, to_float(to_f16(c[i])));
    store_searched(entry, c);
  }
  /// Puts it on row `row`.
  template <class P>
  __device__ __forceinline__ void store_centroid_at(const P& p, int entry, int row) const {
    uint32_t words[C::kChannels / 2];
    float c[C::kChannels];
    load_row(p, row, words);
#pragma unroll
    for (int i = 0; i < C::kChannels; ++i) c[i] = entry_channel<C>(words, i);
    store_centroid(entry, c);
  }
};

// Step 0: clears what is summed up, and starts the centroids, by k-means++ (Arthur and Vassilvitskii 2007) or as they are given. One CTA per (head, chunk).
//
// k-means++ draws each start with probability w |x - nearest start|^2. A pass over the rows lowers what the newest start lowers, and leaves the sums of up to
// kParts parts of the rows; one warp then finds the part, and in it the row, where the running sum passes draw * total.

/// Shared memory of a start.
struct start_memory {
  static constexpr int kParts = 512;
  alignas(16) uint64_t part[kParts];
  int pick;
};

/// Rows of a part, a multiple of 32.
__device__ __forceinline__ int part_rows(int tokens) { return (tokens + 32 * start_memory::kParts - 1) / (32 * start_memory::kParts) * 32; }

/// One pass over the rows: their mass by mass_of(row), in row_loss and summed by parts; all threads.
template <class K, class F>
__device__ __forceinline__ void weigh_rows(start_memory& mem, const kmeans_problem<K>& problem, int tokens, const F& mass_of) {
  const int rows = part_rows(tokens);
  for (int part = warp_index(); part * rows < tokens; part += K::kWarps) {
    uint64_t sum = 0;
#pragma unroll 4  // loads under way together
    for (int row = part * rows + lane_index(); row < (part + 1) * rows; row += 32) {
      if (row >= tokens) break;
      const uint64_t mass = mass_of(row);
      store_global(problem.row_loss + row, mass);
      sum += mass;
    }
    sum = sum_of_warp(sum);
    if (lane_index() == 0) store_shared(mem.part + part, sum);
  }
}

/// The first row whose running sum of masses exceeds `draw` times the total; by one warp. Rows are equally likely if none has mass.
template <class K>
__device__ __forceinline__ int draw_row(const start_memory& mem, const kmeans_problem<K>& problem, int tokens, double draw) {
  constexpr int kMine = start_memory::kParts / 32;  // parts of a lane
  uint64_t mine = 0;
#pragma unroll
  for (int i = 0; i < kMine; ++i) mine += load_shared(mem.part + lane_index() * kMine + i);
  const uint64_t so_far = sum_so_far(mine);
  const uint64_t total = shuffle_wide(so_far, 31);
  if (total == 0) return int(draw * tokens);
  uint64_t target = uint64_t(draw * double(total));
  if (target >= total) target = total - 1;  // the product may have been rounded up
  const int lane = count_bits(~vote_ballot(so_far > target));  // sums ascend: so many lanes are behind
  uint64_t before = shuffle_wide(so_far - mine, lane);
  int part = lane * kMine;
  for (;; ++part) {
    const uint64_t here = load_shared(mem.part + part);
    if (before + here > target) break;
    before += here;
  }
  const int rows = part_rows(tokens);
  for (int first = part * rows;; first += 32) {
    const int row = first + lane_index();
    const uint64_t sum = before + sum_so_far(row < tokens ? load_global(problem.row_loss + row) : 0);
    const uint32_t passed = vote_ballot(sum > target);
    if (passed) return first + count_bits(~passed);
    before = shuffle_wide(sum, 31);
  }
}

/// w |x - c|^2 of a row, c in registers.
template <class K, class P>
__device__ __forceinline__ uint64_t mass_of_row(const P& p, const kmeans_problem<K>& problem, int row, const double (&c)[K::Key::kChannels]) {
  uint32_t words[K::Key::kChannels / 2];
  problem.load_row(p, row, words);
  double sum = 0;
#pragma unroll
  for (int i = 0; i < K::Key::kChannels; ++i) {
    const double distance = double(entry_channel<typename K::Key>(words, i)) - c[i];
    sum += distance * distance;
  }
  return uint64_t(fixed_point(double(problem.weight(row)) * sum, p.loss_scale));
}

/// All starts, one after the other; all threads.
template <class K, class P>
__device__ __forceinline__ void seed_centroids(const P& p, start_memory& mem, const kmeans_problem<K>& problem) {
  using C = typename K::Key;
  weigh_rows<K>(mem, problem, p.tokens, [&](int row) { return uint64_t(fixed_point(problem.weight(row), p.weight_scale)); });  // the first is drawn by weight alone
  for (int entry = 0; entry < C::kEntries; ++entry) {
    block_barrier();
    if (warp_index() == 0) {
      const int row = draw_row<K>(mem, problem, p.tokens, load_global(problem.draws + entry));
      if (lane_index() == 0) store_shared(&mem.pick, row), problem.store_centroid_at(p, entry, row);
    }
    block_barrier();
    uint32_t words[C::kChannels / 2];
    problem.load_row(p, load_shared(&mem.pick), words);
    double c[C::kChannels];
#pragma unroll
    for (int i = 0; i < C::kChannels; ++i) c[i] = entry_channel<C>(words, i);
    weigh_rows<K>(mem, problem, p.tokens, [&](int row) {
      const uint64_t mass = mass_of_row<K>(p, problem, row, c), before = load_global(problem.row_loss + row);
      return entry == 0 || mass < before ? mass : before;
    });
  }
}

template <class K, class P>
__device__ __forceinline__ void start_clusters(const P& p, start_memory& mem, const kmeans_problem<K>& problem) {
  using C = typename K::Key;
  for (int i = thread_index(); i < kmeans_sums<K>::kCount; i += K::kWarps * 32) store_global(problem.sums + i, uint64_t(0));
  for (int i = thread_index(); i <= p.max_steps; i += K::kWarps * 32) store_global(problem.loss + i, uint64_t(0));
  if (thread_index() < 4) store_global(problem.status + thread_index(), 0);
  for (int i = thread_index(); i < start_memory::kParts; i += K::kWarps * 32) store_shared(mem.part + i, uint64_t(0));  // few rows have few parts
  block_barrier();
  const double origin[C::kChannels] = {};
  weigh_rows<K>(mem, problem, p.tokens, [&](int row) { return mass_of_row<K>(p, problem, row, origin); });
  block_barrier();
  if (warp_index() == 0) {
    uint64_t sum = 0;
    for (int i = lane_index(); i < start_memory::kParts; i += 32) sum += load_shared(mem.part + i);
    sum = sum_of_warp(sum);
    if (lane_index() == 0) store_global(problem.energy, sum);
  }
  block_barrier();
  if (problem.draws) return seed_centroids<K>(p, mem, problem);
  for (int entry = thread_index(); entry < C::kEntries; entry += K::kWarps * 32) {
    float c[C::kChannels];
#pragma unroll
    for (int i = 0; i < C::kChannels; ++i) c[i] = load_global(problem.centroids + entry * C::kChannels + i);
    problem.store_searched(entry, c);
  }
}

// The end of a Lloyd step, by the CTA of a (head, chunk) that arrives last: centroids move to the means of their rows, empty ones to the worst rows.

/// Shared memory of a move.
template <class K>
struct move_memory {
  alignas(16) uint64_t loss[K::kWarps];  // the worst row of each warp
  int row[K::kWarps];
  uint32_t empty[K::Key::kEntries];
};

/// A row and its loss. Worse: a larger loss; of equals, the lower row.
struct bad_row {
  uint64_t loss;
  int row;
  __device__ __forceinline__ bool worse_than(const bad_row& other) const { return loss > other.loss || (loss == other.loss && row < other.row); }
};

/// The worst row that is less bad than `last`; its loss is 0 if there is none. All threads.
template <class K>
__device__ __forceinline__ bad_row worst_row_after(move_memory<K>& mem, const kmeans_problem<K>& problem, int tokens, const bad_row& last) {
  bad_row worst{0, tokens};
  for (int row = thread_index(); row < tokens; row += K::kWarps * 32) {
    const bad_row here{load_global_coherent(problem.row_loss + row), row};
    if (last.worse_than(here) && here.worse_than(worst)) worst = here;
  }
#pragma unroll
  for (int mask = 16; mask > 0; mask /= 2) {
    const uint32_t high = shuffle_xor(uint32_t(worst.loss >> 32), mask), low = shuffle_xor(uint32_t(worst.loss), mask);
    const bad_row other{uint64_t(high) << 32 | low, shuffle_xor(worst.row, mask)};
    if (other.worse_than(worst)) worst = other;
  }
  block_barrier();  // the list of the search before has been read
  const int warp = warp_index();
  if (lane_index() == 0) store_shared(mem.loss + warp, worst.loss), store_shared(mem.row + warp, worst.row);
  block_barrier();
  for (int i = 0; i < K::kWarps; ++i) {
    const bad_row other{load_shared(mem.loss + i), load_shared(mem.row + i)};
    if (other.worse_than(worst)) worst = other;
  }
  return worst;
}

/// Moves each centroid to the mean of its rows, takes its sums back to 0, and marks those without rows.
template <class K, class P>
__device__ __forceinline__ void move_to_means(const P& p, move_memory<K>& mem, const kmeans_problem<K>& problem) {
  using C = typename K::Key;
  const double unit = double(p.weight_scale) / double(p.value_scale);
  for (int entry = thread_index(); entry < C::kEntries; entry += K::kWarps * 32) {
    uint64_t* sums = problem.sums + entry * kmeans_sums<K>::kStride;
    const int64_t weight = int64_t(load_global_coherent(sums + C::kChannels));
    float mean[C::kChannels];
#pragma unroll
    for (int i = 0; i < C::kChannels; ++i) {
      mean[i] = float(double(int64_t(load_global_coherent(sums + i))) / double(weight) * unit);
      store_global(sums + i, uint64_t(0));
    }
    store_global(sums + C::kChannels, uint64_t(0));
    store_shared(mem.empty + entry, uint32_t(weight == 0));
    if (weight != 0) problem.store_centroid(entry, mean);
  }
}

/// All threads of the last CTA. Rows' losses and sums of the whole problem are in global memory.
template <class K, class P>
__device__ __forceinline__ void move_centroids(const P& p, move_memory<K>& mem, const kmeans_problem<K>& problem, int step) {
  move_to_means<K>(p, mem, problem);
  block_barrier();
  bad_row last{~uint64_t(0), -1};
  int filled = 0;
  for (int entry = 0; entry < K::Key::kEntries; ++entry) {
    if (!load_shared(mem.empty + entry)) continue;
    last = worst_row_after<K>(mem, problem, p.tokens, last);
    if (last.loss == 0) break;  // every row lies on its centroid
    if (thread_index() == 0) problem.store_centroid_at(p, entry, last.row);
    ++filled;
  }
  if (thread_index() != 0) return;
  const double now = double(load_global_coherent(problem.loss + step));
  // A cluster that was re-seeded needs a step before its gain shows.
  const bool settled = filled == 0 && step > 0 && double(load_global(problem.loss + step - 1)) - now <= double(p.tolerance) * now;
  store_global(problem.status, step + 1);
  store_global(problem.status + 1, load_global(problem.status + 1) + filled);
  store_global(problem.status + 2, int(settled));
}

// Weighted k-means of many (head, chunk) at once: step 0 starts the centroids, each step 1 is a Lloyd iteration, step 2 measures.
// grid (splits, chunks, heads). A CTA takes a share of the rows of its (head, chunk), 64 per warp at a time: the nearest centroid by the matrix unit (nearest.cuh),
// then what the row adds to that centroid's sums, in shared memory. Shares meet in global memory; the CTA that arrives last moves the centroids.

/// Shared memory of a step.
template <class K>
struct kmeans_memory {
  using C = typename K::Key;
  // Rows of a chunk in fp32. Neighbours are an odd number of 16-byte pieces apart, so that nearest.cuh reads them without bank conflicts.
  static constexpr int kPieces = (C::kChannels + 3) / 4, kStride = (kPieces | 1) * 4;
  alignas(16) float rows[K::kTokens * kStride];
  kmeans_sums<K> sums;
  uint32_t last;
};

/// Loads this warp's 64 rows of a step, zeros behind `count`.
template <class K, class P>
__device__ __forceinline__ void load_rows(const P& p, kmeans_memory<K>& mem, const kmeans_problem<K>& problem, int first, int count) {
  using C = typename K::Key;
  constexpr int kStride = kmeans_memory<K>::kStride;
  const int warp = warp_index();
#pragma unroll
  for (int i = 0; i < 64; i += 32) {
    const int row = warp * 64 + i + lane_index();
    uint32_t words[C::kChannels / 2] = {};
    if (row < count) problem.load_row(p, first + row, words);
#pragma unroll
    for (int c = 0; c < C::kChannels; c += 2)
      store_shared(reinterpret_cast<bytes8*>(mem.rows + row * kStride + c), bytes8{float_bits(entry_channel<C>(words, c)), float_bits(entry_channel<C>(words, c + 1))});
  }
}

/// Adds a row to the sums of the centroid nearest to it; returns its loss.
template <class K, class P>
__device__ __forceinline__ uint64_t take_row(const P& p, kmeans_memory<K>& mem, const kmeans_problem<K>& problem, const float* row, float weight, int code, bool sums) {
  using C = typename K::Key;
  const int at = code * kmeans_sums<K>::kStride;
  double square = 0;
#pragma unroll
  for (int i = 0; i < C::kChannels; ++i) {
    const double x = load_shared(row + i);
    const double distance = x - double(load_global(problem.centroids + code * C::kChannels + i));
    square += distance * distance;
    if (sums) mem.sums.add(at + i, fixed_point(double(weight) * x, p.value_scale));
  }
  if (sums) mem.sums.add(at + C::kChannels, fixed_point(weight, p.weight_scale));
  return uint64_t(fixed_point(double(weight) * square, p.loss_scale));
}

/// Whether this CTA is the last of its (head, chunk) to come here; all threads. What the others wrote is then seen.
__device__ __forceinline__ bool arrive_last(int32_t* arrivals, int count, uint32_t* flag) {
  block_barrier();
  if (thread_index() == 0) {
    grid_fence();
    const bool last = atomic_add_global(reinterpret_cast<uint32_t*>(arrivals), 1) == uint32_t(count - 1);
    if (last) store_global(arrivals, 0);  // for the next launch
    grid_fence();
    store_shared(flag, uint32_t(last));
  }
  block_barrier();
  return load_shared(flag) != 0;
}

/// Assigns this CTA's share of the rows and adds up what `sums` wants; all threads.
template <class K, class P>
__device__ __forceinline__ uint64_t assign_rows(const P& p, kmeans_memory<K>& mem, const kmeans_problem<K>& problem, bool sums) {
  using C = typename K::Key;
  const int steps = (p.tokens + K::kTokens - 1) / K::kTokens;
  uint64_t loss = 0;  // of the rows that this lane was told of
  for (int step = block_index().x; step < steps; step += p.splits) {
    const int first = step * K::kTokens, count = p.tokens - first < K::kTokens ? p.tokens - first : K::kTokens;
    load_rows<K>(p, mem, problem, first, count);
    warp_barrier();
    find_nearest<K, C, kmeans_memory<K>::kStride>(mem.rows, problem.codebook, count, [&](int token, int, const nearest_entry& found) {
      if (token >= count) return;
      const uint64_t mine = take_row<K>(p, mem, problem, mem.rows + token * kmeans_memory<K>::kStride, problem.weight(first + token), found.code, sums);
      if (sums) store_global(problem.row_loss + first + token, mine);
      loss += mine;
    });
    warp_barrier();
  }
  return loss;
}

template <class K, class P>
__device__ __forceinline__ void kmeans(const P& p) {
  // One after the other; a move must leave `last` alone, which some threads may still read.
  static_assert(sizeof(kmeans_memory<K>) <= K::kSharedBytes && sizeof(start_memory) <= K::kSharedBytes && K::kTokens == 64 * K::kWarps, "generator/shared.ts is wrong");
  static_assert(sizeof(move_memory<K>) <= sizeof(kmeans_memory<K>) - 16, "no flag in a move's way");
  const kmeans_problem<K> problem(p);
  if (p.step == 0) {
    if (block_index().x == 0) start_clusters<K>(p, *reinterpret_cast<start_memory*>(shared_memory()), problem);
    return;
  }
  const bool moves = p.step == 1;
  const int step = moves ? load_global(problem.status) : p.max_steps;
  if (moves && (step >= p.max_steps || load_global(problem.status + 2))) return;

  kmeans_memory<K>& mem = *reinterpret_cast<kmeans_memory<K>*>(shared_memory());
  using S = kmeans_sums<K>;
  for (int i = thread_index(); i < S::kCount; i += K::kWarps * 32) store_shared(mem.sums.low + i, 0u), store_shared(mem.sums.high + i, 0u);
  block_barrier();
  const uint64_t loss = sum_of_warp(assign_rows<K>(p, mem, problem, moves));
  if (lane_index() == 0) atomic_add_global(problem.loss + step, loss);
  if (!moves) return;

  block_barrier();
  for (int i = thread_index(); i < S::kCount; i += K::kWarps * 32) {
    const uint64_t sum = mem.sums.at(i);
    if (sum) atomic_add_global(problem.sums + i, sum);
  }
  if (arrive_last(problem.status + 3, p.splits, &mem.last)) move_centroids<K>(p, *reinterpret_cast<move_memory<K>*>(shared_memory()), problem, step);
}

// At least one CTA per SM is all that is asked for: without the 1, ptxas may spill to fit more.
extern "C" __global__ void __launch_bounds__(256, 1)
antkv_kmeans_k16c8b_f16__sm80_w8(const __grid_constant__ antkv_kmeans_params p) {
  kmeans<K>(p);
}

}  // namespace antkv_kmeans_k16c8b_f16__sm80_w8_
