// The state of "tally": where it lies in shared memory, and the reference that all warps form weights against.

/// What a sequence costs: a token's look-ups and additions against the entries that are read for each piece.
template <class K>
struct tally_cost {
  static constexpr int kCoded32 = chunk_stages<typename K::Key>::kTables + chunk_stages<typename K::Value>::kTables, kExact16 = 8 * kCoded32;
  static constexpr int kPiece = (score_table<K>::kRows + value_tally<K>::kRows) / 4, kSide = 0;
};

/// What a CTA keeps in shared memory beside tables and tallies.
template <class K>
struct tally_memory {
  alignas(16) warp_result<K> coded;  // what the coded tokens came to, of all passes
  piece_context<K> context;
  work_memory work;
  int largest[2][K::kWarps][K::kPass];     // by parity of the round: of a warp's scores, in_order
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

/// Floats as integers of the same order, and back.
__device__ __forceinline__ int in_order(float x) {
  const int bits = int(float_bits(x));
  return bits ^ (bits >> 31 & 0x7fffffff);
}
__device__ __forceinline__ float from_order(int x) { return float_of_bits(uint32_t(x ^ (x >> 31 & 0x7fffffff))); }

/// The largest of each warp's lanes, one per column, to shared memory; and that of column `c` of all warps, in all threads: lane w reads warp w's.
template <class K>
__device__ __forceinline__ void leave_largest(int (*largest)[K::kPass], const float (&mine)[K::kPass], int warp) {
#pragma unroll
  for (int c = 0; c < K::kPass; ++c) {
    const int most = reduce_max(in_order(mine[c]));
    if (lane_index() == 0) store_shared(largest[warp] + c, most);
  }
}
template <class K>
__device__ __forceinline__ float largest_of(const int (*largest)[K::kPass], int c) {
  return from_order(reduce_max(load_shared(largest[lane_index() % K::kWarps] + c)));
}
/// The same of sums.
template <class K>
__device__ __forceinline__ void leave_sum(uint32_t (*sums)[K::kPass], const uint32_t (&mine)[K::kPass], int warp) {
#pragma unroll
  for (int c = 0; c < K::kPass; ++c) {
    const uint32_t sum = reduce_add(mine[c]);
    if (lane_index() == 0) store_shared(sums[warp] + c, sum);
  }
}
template <class K>
__device__ __forceinline__ uint32_t sum_of(const uint32_t (*sums)[K::kPass], int c) {
  return reduce_add(lane_index() < K::kWarps ? load_shared(sums[lane_index()] + c) : 0u);
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
    float top[K::kPass];
#pragma unroll
    for (int c = 0; c < K::kPass; ++c) {
      top[c] = largest_of<K>(cta.largest[round % 2], c);
      total[c] += sum_of<K>(cta.added[(round + 1) % 2], c);
    }
    bool shifted = false;
#pragma unroll
    for (int c = 0; c < K::kPass; ++c) {
      const float least = total[c] >= kDue ? at[c] + 1 : at[c], wanted = fmaxf(least, ceilf(top[c]));
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

/// The lane's token of tile `j` of a warp's kTiles in round `round`; `first`: that of the first tile of the first round.
template <class K, int kTiles>
__device__ __forceinline__ int token_of(int first, int round, int j) {
  return first + (round * kTiles + j) * K::kWarps * 32;
}
