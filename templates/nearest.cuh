// The nearest centroid of every chunk of fp32 rows in shared memory, on the matrix unit: the entry with the largest x.c - |c|^2/2, the lower one on a tie.
//
// Rows of tokens are A, entries are B, and sums begin at -|c|^2/2. A row is cut into two halves, hi + lo, which stand beside each other in k against the same
// centroid: products are good to about 2^-21. Beforehand rows are scaled by a power of two, so that neither half leaves the range of f16.
// A lane meets `run_of<C>::kLength` consecutive entries at a time, a run; of all runs it keeps the largest sum and the run's number. The four lanes of a row then
// agree on one run, and its entries alone are compared again in fp32. So most candidates cost one maximum, and no codebook is larger than what is read of it at once.

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
  static_assert(C::kEntries % kStep == 0 && (kChannels <= 8 || kChannels % 16 == 0), "whole steps, whole spans");

  /// The first channel of the lane's pair `i`.
  static __device__ __forceinline__ int channel(int i) { return i / 2 * 16 + i % 2 * 8 + lane_index() % 4 % kPairs * 2; }
  /// The entry, counted from its step's first, that this lane brings for the first tile: column 2t + i of tile j is entry t * kLength + 2j + i.
  static __device__ __forceinline__ int column() { return lane_index() / 8 * kLength + lane_index() / 4 % 2; }
};

/// What a lane loads for a step: pairs of channels as stored, and the half norms of its run.
template <class C>
struct step_of {
  using R = run_of<C>;
  static constexpr int kChannelBytes = C::kQ8 ? 1 : 2;
  uint32_t pair[R::kAbreast][R::kOwned];
  float half_norm[R::kLength];

  /// `entries` and `half_norms` are where the lane's own begin in the step.
  __device__ __forceinline__ void load(const unsigned char* entries, const float* half_norms) {
#pragma unroll
    for (int j = 0; j < R::kAbreast; ++j)
#pragma unroll
      for (int i = 0; i < R::kOwned; ++i) {
        const unsigned char* at = entries + (2 * j * C::kChannels + i / 2 * 16 + i % 2 * 8) * kChannelBytes;
        if constexpr (C::kQ8) pair[j][i] = load_global(reinterpret_cast<const uint16_t*>(at));
        else pair[j][i] = load_global(reinterpret_cast<const uint32_t*>(at));
      }
#pragma unroll
    for (int i = 0; i < R::kLength; i += 4) {
      const bytes16 four = load_global(reinterpret_cast<const bytes16*>(half_norms + i));
#pragma unroll
      for (int k = 0; k < 4; ++k) half_norm[i + k] = float_of_bits(four.w[k]);
    }
  }
  /// The halves of tile `j`'s pair `i`; int8 steps are whole numbers, exact in f16.
  __device__ __forceinline__ uint32_t halves(int j, int i) const {
    if constexpr (!C::kQ8) return pair[j][i];
    // A byte u behind 0x64 is the half 1024 + u; with its sign bit turned, u is the step + 128.
    return fused_multiply_add_halves(permute_bytes(pair[j][i] ^ 0x8080u, 0x64646464u, 0x4140u), 0x3c003c00u, 0xe480e480u);
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

/// Rows of 16 tokens as A fragments, for kTiles tiles; row r < 8 is token 2r, row r + 8 token 2r + 1: neighbours in shared memory, and in different banks.
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
          const bytes8 two = load_shared(reinterpret_cast<const bytes8*>(rows + (m * 16 + lane_index() / 4 * 2 + half) * kStride + R::channel(i)));
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

/// The larger of two values and its index, the lower index of equals.
__device__ __forceinline__ void take_larger(float& value, int& index, float other, int other_index) {
  if (other > value || (other == value && other_index < index)) value = other, index = other_index;
}

/// The run that holds the largest sum of a row: of token 2g in lanes t < 2, of token 2g + 1 in the others. `best` and `step` are the lane's of both rows.
template <class C>
__device__ __forceinline__ int best_run(const float (&best)[2], const int (&step)[2]) {
  const bool upper = lane_index() & 2;
  float value = upper ? best[1] : best[0];
  int run = (upper ? step[1] : step[0]) * 4 + lane_index() % 4;
  const int theirs = (upper ? step[0] : step[1]) * 4 + lane_index() % 4;
  const float other = shuffle_xor(upper ? best[0] : best[1], 2);
  take_larger(value, run, other, shuffle_xor(theirs, 2));
  const float next = shuffle_xor(value, 1);
  take_larger(value, run, next, shuffle_xor(run, 1));
  return run;
}

/// What was found for one chunk of one token.
struct nearest_entry {
  int code;
  float half_norm;  // |c|^2/2 of the entry
  float norm;       // |x|^2 of the chunk
};

/// Compares the entries of `run` in fp32, two lanes (2n and 2n + 1, which both get the answer) for the row `x`.
template <class C>
__device__ __forceinline__ nearest_entry search_run(const float* x, const unsigned char* entries, const float* half_norms, const float* scales, int run) {
  constexpr int kMine = run_of<C>::kLength / 2;
  float scaled[C::kChannels];
  nearest_entry found{0, 0, 0};
#pragma unroll
  for (int i = 0; i < C::kChannels; i += 2) {
    const bytes8 two = load_shared(reinterpret_cast<const bytes8*>(x + i));
#pragma unroll
    for (int k = 0; k < 2; ++k) {
      const float value = float_of_bits(two.w[k]);
      found.norm = fused_multiply_add(value, value, found.norm);
      scaled[i + k] = value;
      if constexpr (C::kQ8) scaled[i + k] *= load_global(scales + i + k);
    }
  }
  const int first = run * run_of<C>::kLength + lane_index() % 2 * kMine;
  float best = minus_infinity();
  found.code = first;
#pragma unroll
  for (int e = 0; e < kMine; ++e) {
    uint32_t words[entry_bytes<C>::kWords];
    load_entry<C>(words, entries + (first + e) * entry_bytes<C>::kAll);
    const float half_norm = load_global(half_norms + first + e);
    float closeness = -half_norm;
#pragma unroll
    for (int i = 0; i < C::kChannels; ++i) closeness = fused_multiply_add(scaled[i], entry_channel<C>(words, i), closeness);
    if (closeness > best) best = closeness, found.code = first + e, found.half_norm = half_norm;
  }
  const float other = shuffle_xor(best, 1), other_norm = shuffle_xor(found.half_norm, 1);
  const int other_code = shuffle_xor(found.code, 1);
  if (other > best || (other == best && other_code < found.code)) found.code = other_code, found.half_norm = other_norm;
  return found;
}

/// Finds the nearest entries of all chunks of kTokens rows, of which `count` hold tokens; all threads. found(token, chunk, nearest_entry) is called once for each chunk of
/// each token that has a unit, by one lane; a warp's calls for a token come in ascending order of chunks.
template <class K, class C, int kStride, class F>
__device__ __forceinline__ void find_nearest(const float* rows, const unsigned char* codebook, int count, const F& found) {
  using R = run_of<C>;
  constexpr int kUnits = K::kTokens / 16;
  constexpr int kTiles = kUnits % 4 == 0 ? 4 : kUnits % 3 == 0 ? 3 : kUnits % 2 == 0 ? 2 : 1;  // that share what a warp reads of a codebook
  constexpr int kBlocks = kUnits / kTiles;
  for (int job = warp_index(); job < C::kChunks * kBlocks; job += K::kWarps) {
    const int chunk = job / kBlocks, base = job % kBlocks * kTiles * 16;
    if (base >= count) continue;
    const unsigned char* entries = codebook + int64_t(chunk) * C::kEntries * entry_bytes<C>::kAll;
    const float* half_norms = reinterpret_cast<const float*>(codebook + C::kHalfNormOffset) + chunk * C::kEntries;
    const float* scales = reinterpret_cast<const float*>(codebook + C::kScaleOffset) + chunk * C::kChannels;
    const float* chunk_rows = rows + base * kStride + chunk * C::kChannels;

    step_of<C> next;
    const unsigned char* my_entries = entries + (R::column() * C::kChannels + R::channel(0)) * step_of<C>::kChannelBytes;
    const float* my_norms = half_norms + lane_index() % 4 * R::kLength;
    next.load(my_entries, my_norms);
    row_fragments<C, kTiles> x;
    const float scale = x.template load<kStride>(chunk_rows, scales);
    // An operand that holds one value twice is two registers made in two ways: ptxas gives each use of one that it knows to be the same a copy of its own.
    const float again = float_of_bits(opaque(float_bits(scale), 0));
    const uint32_t zero = float_bits(scale) ^ float_bits(again);
    float best[kTiles][2];
    int from[kTiles][2];
#pragma unroll
    for (int m = 0; m < kTiles; ++m) best[m][0] = best[m][1] = minus_infinity(), from[m][0] = from[m][1] = 0;
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
      const int following = step + 1 < R::kSteps ? step + 1 : step;  // behind the last step, once more the same
      next.load(my_entries + following * (R::kStep * C::kChannels * step_of<C>::kChannelBytes), my_norms + following * R::kStep);
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
          if (largest > best[m][half]) best[m][half] = largest, from[m][half] = step;
        }
      }
    }
#pragma unroll
    for (int m = 0; m < kTiles; ++m) {
      if (base + m * 16 >= count) break;
      const int token = m * 16 + lane_index() / 2;
      const nearest_entry entry = search_run<C>(chunk_rows + token * kStride, entries, half_norms, scales, best_run<C>(best[m], from[m]));
      if (lane_index() % 2 == 0) found(base + token, chunk, entry);
    }
  }
}
