// The state of "tally": where it lies in shared memory, and the reference that all warps form weights against.

/// What a sequence costs: a token's look-ups and additions against the entries that are read for each piece.
template <class K>
struct tally_cost {
  static constexpr int kCoded32 = chunk_stages<typename K::Key>::kTables + chunk_stages<typename K::Value>::kTables, kExact16 = 8 * kCoded32;
  static constexpr int kPiece = (score_table<K>::kRows + value_tally<K>::kRows) / 4;
};

constexpr int log2_up(int n) { return n <= 1 ? 0 : 1 + log2_up((n + 1) / 2); }

/// What a CTA keeps in shared memory beside tables and tallies.
template <class K>
struct tally_memory {
  alignas(16) warp_result<K> coded;  // what the coded tokens came to, of all passes
  piece_context<K> context;
  work_memory work;
  float largest[2][K::kWarps][K::kPass];   // by parity of the round: of a warp's scores
  uint32_t added[2][K::kWarps][K::kPass];  // ... and what its weights add up to
  uint32_t broken[K::kWarps];              // bit c: column c met something that is no number
  uint32_t flag;
};

/// Where the parts of shared memory lie. Table and tallies are used up when the warps' results take their place.
template <class K>
struct tally_places {
  static constexpr int kTallyRows = score_table<K>::kRows > value_tally<K>::kRows ? score_table<K>::kRows : value_tally<K>::kRows;  // products lie in the tallies' place first
  static constexpr int kScores = score_table<K>::kRows * score_table<K>::kEntryBytes, kPartial = value_tally<K>::kPartialBytes;  // of which the last product's sums take the place
  static constexpr int kTable = kScores > kPartial ? kScores : kPartial, kTally = K::kPass * kTallyRows * 4;
  static constexpr int kResults = K::kWarps * int(sizeof(warp_result<K>));
  static constexpr int kFirst = kTable + kTally > kResults ? kTable + kTally : kResults;
  static_assert(kFirst + sizeof(tally_memory<K>) <= K::kSharedBytes, "generator/shared.ts is wrong");
};

/// Joins values of the lanes of each warp, one per column, and leaves them in shared memory.
template <class K, class T, class F>
__device__ __forceinline__ void to_warps(T (*values)[K::kPass], T (&mine)[K::kPass], const F& join) {
  const int warp = warp_index();
#pragma unroll
  for (int c = 0; c < K::kPass; ++c) {
#pragma unroll
    for (int mask = 1; mask < 32; mask *= 2) mine[c] = join(mine[c], shuffle_xor(mine[c], mask));
    if (lane_index() == 0) store_shared(values[warp] + c, mine[c]);
  }
}
/// Joins those of column `c` of all warps, in all threads: lane w reads warp w's.
template <class K, class T, class F>
__device__ __forceinline__ T over_warps(const T (*values)[K::kPass], int c, T none, const F& join) {
  T x = lane_index() < K::kWarps ? load_shared(values[lane_index()] + c) : none;
#pragma unroll
  for (int mask = 1; mask < K::kWarps; mask *= 2) x = join(x, shuffle_xor(x, mask));
  return shuffle(x, 0);  // of fewer lanes than the warp
}

/// The reference of each column of a pass, in all threads alike: a weight is 2^(score - reference + kPlaces), a whole number.
template <class K>
struct tally_reference {
  static constexpr int kPlaces = log2_up(K::kTokens) > 9 ? 31 - log2_up(K::kTokens) : 22;  // a round's weights add up to 2^31 at most, and one is below 2^23
  static constexpr uint32_t kDue = 0x7fff0000u;                          // a total from which on the next round's might overflow
  float at[K::kPass];        // log2 units, a whole number; -inf: nothing was seen
  uint32_t total[K::kPass];  // of the tallies of a chunk, but for rounding; below kDue when a round's are added

  __device__ __forceinline__ tally_reference() {
#pragma unroll
    for (int c = 0; c < K::kPass; ++c) at[c] = minus_infinity(), total[c] = 0;
  }
  /// The weight of a score of column `c`.
  __device__ __forceinline__ uint32_t weight(int c, float score) const {
    const float zero = at[c] > minus_infinity() ? at[c] - kPlaces : 0.0f;  // not -inf - -inf
    return float_bits(exp2_fast(score - zero) + 8388608.0f) - 0x4b000000u;
  }
  /// Raises references to cover the round's scores, and where tallies might overflow by one; shifts tallies accordingly. All threads, behind a barrier.
  __device__ __forceinline__ void raise(tally_memory<K>& cta, uint32_t* tally, int round) {
    bool shifted = false;
#pragma unroll
    for (int c = 0; c < K::kPass; ++c) {
      const float top = over_warps<K>(cta.largest[round % 2], c, minus_infinity(), [](float a, float b) { return fmaxf(a, b); });
      if (round > 0) total[c] += over_warps<K>(cta.added[(round - 1) % 2], c, 0u, [](uint32_t a, uint32_t b) { return a + b; });
      const float least = total[c] >= kDue ? at[c] + 1 : at[c], wanted = fmaxf(least, ceilf(top));
      if (wanted > at[c] && at[c] > minus_infinity()) {
        const int places = int(fminf(wanted - at[c], 32.0f));
        value_tally<K>::lower(tally, c, places);
        total[c] = places < 32 ? total[c] >> places : 0;
        shifted = true;
      }
      at[c] = wanted;
    }
    if (shifted) block_barrier();
  }
};

/// The lane's token of tile `j` of a warp's kTiles in round `round`.
template <class K, int kTiles, class Pass>
__device__ __forceinline__ int token_of(const Pass& pass, int round, int j) {
  return (pass.begin + (round * kTiles + j) * K::kWarps + warp_index()) * 32 + lane_index();
}
