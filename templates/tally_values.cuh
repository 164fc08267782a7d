// Values of "tally": weights are added up per entry of a codebook, as 32-bit fixed-point numbers in shared memory; each entry is read and multiplied once, at the end.

/// The tallies of a pass, `[kPass][codebooks * entries]`, or as tally_order says.
template <class K>
struct value_tally {
  using C = typename K::Value;
  using Order = tally_order<K, C>;
  static constexpr int kTables = chunk_stages<C>::kTables, kEntries = chunk_stages<C>::kEntries;
  static constexpr int kPass = K::kPass, kRows = kTables * kEntries, kThreads = K::kWarps * 32;
  static constexpr int kEntryPlaces = log2_up(kPass * kTables * 4);  // of an entry's bytes, if turned

  /// Where the tally of column `c` lies.
  static __device__ __forceinline__ int place_of(int c, int book, int entry) {
    return Order::kTurned ? (entry * kPass + c) * kTables + book : c * kRows + Order::row_of(book, entry);
  }
  static __device__ __forceinline__ void clear(uint32_t* tally) {
    for (int i = thread_index(); i < kPass * kRows; i += kThreads) store_shared(tally + i, 0u);
  }
  /// Divides the tallies of column `c` by 2^places, rounded; all threads.
  static __device__ __forceinline__ void lower(uint32_t* tally, int c, int places) {
    const uint32_t half = places < 32 ? 1u << places >> 1 : 0;
    for (int i = thread_index(); i < kRows; i += kThreads) {
      uint32_t* const one = tally + (Order::kTurned ? place_of(c, i % kTables, i / kTables) : c * kRows + i);
      const uint32_t before = load_shared(one);
      store_shared(one, places < 32 ? (before >> places) + ((before & half) != 0) : 0u);
    }
  }
  /// Adds a token's weights to the tallies of its entries.
  static __device__ __forceinline__ void add(uint32_t* tally, const token_row<C>& row, const uint32_t (&weights)[kPass]) {
    uint32_t any = 0;
#pragma unroll
    for (int c = 0; c < kPass; ++c) any |= weights[c];
    if (any == 0) return;
    if constexpr (Order::kTurned) {
      add_turned(tally, row, weights);
    } else {
#pragma unroll
      for (int i = 0; i < kTables; ++i) {
        uint32_t* const entry = tally + place_of(0, i, row.code(i));
#pragma unroll
        for (int c = 0; c < kPass; ++c) atomic_add_shared(entry + c * kRows, weights[c]);
      }
    }
  }
  /// The same, in the order of the lane: group m adds column c ^ m where the first adds c.
  static __device__ __forceinline__ void add_turned(uint32_t* tally, const token_row<C>& row, const uint32_t (&weights)[kPass]) {
    constexpr int kGroups = Order::kGroups;
    const int m = lane_index() / kTables;
    uint32_t mine[kPass];
    unsigned char* from[kGroups];  // of the tallies of a group's columns
#pragma unroll
    for (int c = 0; c < kPass; ++c) mine[c] = weights[c];
#pragma unroll
    for (int bit = 1; bit < kGroups; bit *= 2)
#pragma unroll
      for (int c = 0; c < kPass; ++c)
        if (!(c & bit)) {
          const uint32_t low = mine[c], high = mine[c | bit];
          mine[c] = m & bit ? high : low, mine[c | bit] = m & bit ? low : high;
        }
#pragma unroll
    for (int c = 0; c < kGroups; ++c) from[c] = reinterpret_cast<unsigned char*>(tally + (c ^ m) * kTables);
#pragma unroll
    for (int i = 0; i < kTables; ++i) {
      const uint32_t place = Order::template turned_place<kEntryPlaces, 4>(row, i);
#pragma unroll
      for (int c = 0; c < kPass; ++c) atomic_add_shared(reinterpret_cast<uint32_t*>(from[c % kGroups] + place) + c / kGroups * (kGroups * kTables), mine[c]);
    }
  }

  // The final product. A lane has a piece of an entry, its neighbours the other pieces and the next entries; warps share the entries of a codebook where there are more of them.
  static constexpr int kPieces = entry_bytes<C>::kPieces, kOwn = C::kChannels / kPieces, kAbreast = 32 / kPieces;
  static constexpr int kShares = K::kWarps / kTables > 0 ? K::kWarps / kTables : 1;  // of a codebook's entries
  static constexpr int kShare = (kEntries + kShares * kAbreast - 1) / (kShares * kAbreast) * kAbreast;
  static constexpr int kSlices = C::kCodeStages * kShares;  // of a chunk's entries
  /// Sums of a slice: `[kPass]` of d channels and a weight. A token is in a chunk's tallies once for each stage: its weight counts in the first.
  static constexpr int kStride = K::kHeadDim + 4, kPartialBytes = kSlices * kPass * kStride * 4;

  /// A lane's channels of an entry: a piece of its bytes, as floats (whole steps of an int8 codebook).
  static __device__ __forceinline__ void load_channels(float (&x)[kOwn], const unsigned char* piece) {
    constexpr int kBytes = entry_bytes<C>::kPiece, kWords = (kBytes + 3) / 4;
    uint32_t words[kWords];
    if constexpr (kBytes == 2) {
      words[0] = load_global(reinterpret_cast<const uint16_t*>(piece));
    } else if constexpr (kBytes == 4) {
      words[0] = load_global(reinterpret_cast<const uint32_t*>(piece));
    } else if constexpr (kBytes == 8) {
      const bytes8 two = load_global(reinterpret_cast<const bytes8*>(piece));
      words[0] = two.w[0], words[1] = two.w[1];
    } else {
      const bytes16 four = load_global(reinterpret_cast<const bytes16*>(piece));
#pragma unroll
      for (int i = 0; i < 4; ++i) words[i] = four.w[i];
    }
#pragma unroll
    for (int i = 0; i < kOwn; i += 2) {
      uint32_t pair;
      if constexpr (C::kQ8) pair = i % 4 ? halves_of_steps<2>(words[i / 4]) : halves_of_steps<0>(words[i / 4]);
      else pair = words[i / 2];
      x[i] = to_float(f16{uint16_t(pair)}), x[i + 1] = to_float(f16{uint16_t(pair >> 16)});
    }
  }

  /// Sums of tally times centroid, and of tallies, of each slice; all threads.
  static __device__ __forceinline__ void multiply(float* partial, const uint32_t* tally, const unsigned char* codebook) {
    const int piece = lane_index() % kPieces;
#pragma unroll 1
    for (int job = warp_index(); job < C::kChunks * kSlices; job += K::kWarps) {
      const int chunk = job / kSlices, slice = job % kSlices, stage = slice / kShares, first = slice % kShares * kShare, end = min_int(first + kShare, kEntries);
      float sum[kPass][kOwn] = {}, weight[kPass] = {};
#pragma unroll 8  // entries under way together
      for (int entry = first + lane_index() / kPieces; entry < end; entry += kAbreast) {
        const int book = chunk * C::kCodeStages + stage, row = book * kEntries + entry;
        float x[kOwn];
        load_channels(x, codebook + int64_t(row) * entry_bytes<C>::kAll + piece * entry_bytes<C>::kPiece);
#pragma unroll
        for (int c = 0; c < kPass; ++c) {
          const float m = float(load_shared(tally + place_of(c, book, entry)));
          weight[c] += m;
#pragma unroll
          for (int i = 0; i < kOwn; ++i) sum[c][i] = fused_multiply_add(m, x[i], sum[c][i]);
        }
      }
#pragma unroll
      for (int c = 0; c < kPass; ++c) {
#pragma unroll
        for (int mask = kPieces; mask < 32; mask *= 2) {
          weight[c] += shuffle_xor(weight[c], mask);
#pragma unroll
          for (int i = 0; i < kOwn; ++i) sum[c][i] += shuffle_xor(sum[c][i], mask);
        }
        float* to = partial + (slice * kPass + c) * kStride;
        if (lane_index() < kPieces) {
#pragma unroll
          for (int i = 0; i < kOwn; ++i) store_shared(to + chunk * C::kChannels + piece * kOwn + i, sum[c][i]);
        }
        if (chunk == 0 && lane_index() == 0) store_shared(to + K::kHeadDim, stage == 0 ? weight[c] : 0.0f);
      }
    }
  }
};
