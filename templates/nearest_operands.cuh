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
