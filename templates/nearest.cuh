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
