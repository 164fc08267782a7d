// Keys of "tally": a table of q . entry for the query columns of a pass, in 16-bit fixed point; a score is the sum over its chunks, and their stages.

/// The table, `[codebooks * entries][kPass]` numbers, rows as tally_order says. 14 bits each, so that four add up in 16, two columns to a word.
template <class K>
struct score_table {
  using C = typename K::Key;
  using Order = tally_order<K, C>;
  static constexpr int kTables = chunk_stages<C>::kTables, kEntries = chunk_stages<C>::kEntries;
  static constexpr int kPass = K::kPass, kRows = kTables * kEntries, kEntryBytes = 2 * kPass;
  static constexpr int kEntryPlaces = log2_up(kTables * kEntryBytes);  // if turned
  static constexpr int kMiddle = 8191;  // what a product of 0 is in the table: entries are 0 ... 16382
  static constexpr int kThreads = K::kWarps * 32;
  // A product's A is 16 entries, k channels, in an order of its own: lane 4g + t holds channels t * kOwn and the next of rows g and g + 8.
  static constexpr int kOwn = C::kChannels < 8 ? 2 : C::kChannels / 4, kWords = kOwn / 2, kSteps = (kWords + 1) / 2;

  /// A lane's channels of the entry at `entry`, as pairs of halves: the centroid, or whole steps of it.
  static __device__ __forceinline__ void load_channels(uint32_t (&pairs)[2 * kSteps], const unsigned char* entry) {
    const int t = lane_index() % 4;
    const bool mine = t * kOwn < C::kChannels;
#pragma unroll
    for (int i = 0; i < 2 * kSteps; ++i) pairs[i] = 0;
    if constexpr (!C::kQ8) {
      const uint32_t* from = reinterpret_cast<const uint32_t*>(entry) + t * kWords;
      if constexpr (kWords % 4 == 0) {
#pragma unroll
        for (int i = 0; i < kWords; i += 4) {
          const bytes16 four = load_global(reinterpret_cast<const bytes16*>(from + i));
#pragma unroll
          for (int j = 0; j < 4; ++j) pairs[i + j] = four.w[j];
        }
      } else if constexpr (kWords == 2) {
        const bytes8 two = load_global(reinterpret_cast<const bytes8*>(from));
        pairs[0] = two.w[0], pairs[1] = two.w[1];
      } else {
        pairs[0] = mine ? load_global(from) : 0;
      }
    } else if constexpr (kWords == 1) {
      pairs[0] = mine ? halves_of_steps<0>(load_global(reinterpret_cast<const uint16_t*>(entry) + t)) : 0;
    } else {
      const uint32_t* from = reinterpret_cast<const uint32_t*>(entry) + t * kWords / 2;
#pragma unroll
      for (int i = 0; i < kWords; i += 2) {
        const uint32_t steps = load_global(from + i / 2);
        pairs[i] = halves_of_steps<0>(steps), pairs[i + 1] = halves_of_steps<2>(steps);
      }
    }
  }

  /// The queries' channels of `chunk`, column g, in two halves where an int8 step's worth is multiplied in: high[], and what is left.
  static __device__ __forceinline__ void load_query(uint32_t (&high)[2 * kSteps], uint32_t (&low)[2 * kSteps], const unsigned char* row, const float* scales, int chunk) {
    const int first = lane_index() % 4 * kOwn;
#pragma unroll
    for (int i = 0; i < 2 * kSteps; ++i) {
      high[i] = low[i] = 0;
      if (!row || i >= kWords || first >= C::kChannels) continue;
      const int channel = chunk * C::kChannels + first + 2 * i;
      const uint32_t pair = load_global(reinterpret_cast<const uint32_t*>(row) + channel / 2);
      high[i] = pair;
      if constexpr (C::kQ8) {
        const float x = to_float(f16{uint16_t(pair)}) * load_global(scales + channel), y = to_float(f16{uint16_t(pair >> 16)}) * load_global(scales + channel + 1);
        high[i] = pack_halves(x, y);
        low[i] = pack_halves(x - to_float(f16{uint16_t(high[i])}), y - to_float(f16{uint16_t(high[i] >> 16)}));
      }
    }
  }

  /// Products of all entries with the pass's columns, to products[column][row]; all threads. `row`: where lane group g's query lies, null for columns beyond the pass.
  static __device__ __forceinline__ void multiply(float* products, const unsigned char* codebook, const unsigned char* row) {
    constexpr int kBlocks = kEntries / 16;
    const int g = lane_index() / 4, t = lane_index() % 4;
    const float* scales = reinterpret_cast<const float*>(codebook + C::kScaleOffset);
#pragma unroll 1
    for (int book = 0; book < kTables; ++book) {
      uint32_t high[2 * kSteps], low[2 * kSteps];
      load_query(high, low, row, scales, book / C::kCodeStages);
#pragma unroll 4
      for (int block = warp_index(); block < kBlocks; block += K::kWarps) {
        const int first = book * kEntries + block * 16 + g;
        uint32_t a[2][2 * kSteps];
#pragma unroll
        for (int half = 0; half < 2; ++half) load_channels(a[half], codebook + int64_t(first + 8 * half) * entry_bytes<C>::kAll);
        float d[4] = {};
#pragma unroll
        for (int s = 0; s < 2 * kSteps; s += 2) {
          mma_16x8x16(d, {a[0][s], a[1][s], a[0][s + 1], a[1][s + 1]}, {high[s], high[s + 1]});
          if constexpr (C::kQ8) mma_16x8x16(d, {a[0][s], a[1][s], a[0][s + 1], a[1][s + 1]}, {low[s], low[s + 1]});
        }
#pragma unroll
        for (int i = 0; i < 4; ++i)
          if (2 * t + i % 2 < kPass) store_shared(products + (2 * t + i % 2) * kRows + Order::row_of(book, block * 16 + g + i / 2 * 8), d[i]);
      }
    }
  }

  /// The largest |product| of each column, of this thread's share of the rows; kNoNumber if one is none.
  static __device__ __forceinline__ void find_largest(float (&most)[kPass], const float* products) {
#pragma unroll
    for (int c = 0; c < kPass; ++c) {
      most[c] = 1e-30f;  // never 0
#pragma unroll 4
      for (int row = thread_index(); row < kRows; row += kThreads) {
        const float size = fabsf(load_shared(products + c * kRows + row));
        most[c] = fmaxf(most[c], size < kNoNumber ? size : kNoNumber);
      }
    }
  }
  /// Rounds the products to the table; `most`: the largest of each column. All threads.
  static __device__ __forceinline__ void round(unsigned char* table, const float* products, const float (&most)[kPass]) {
#pragma unroll 4
    for (int row = thread_index(); row < kRows; row += kThreads) {
      uint32_t words[(kPass + 1) / 2] = {};
#pragma unroll
      for (int c = 0; c < kPass; ++c) {
        // 2^23 + x, rounded to a whole number, has x in its low bits.
        const float x = fused_multiply_add(load_shared(products + c * kRows + row), kMiddle / most[c], 8388608.0f + kMiddle);
        words[c / 2] |= (float_bits(x) & 0xffff) << c % 2 * 16;
      }
      if constexpr (kPass == 1) store_shared(reinterpret_cast<uint16_t*>(table) + row, uint16_t(words[0]));
      else if constexpr (kPass == 2) store_shared(reinterpret_cast<uint32_t*>(table) + row, words[0]);
      else store_shared(reinterpret_cast<bytes8*>(table) + row, bytes8{{words[0], words[1]}});
    }
  }

  /// One entry's words.
  static __device__ __forceinline__ void look_up(uint32_t (&words)[(kPass + 1) / 2], uint32_t at) {
    if constexpr (kPass == 1) {
      words[0] = load_table_u16(at);
    } else if constexpr (kPass == 2) {
      words[0] = load_table_u32(at);
    } else {
      const bytes8 two = load_table_8(at);
      words[0] = two.w[0], words[1] = two.w[1];
    }
  }
  /// Where code `i` of a row looks, in bytes.
  static __device__ __forceinline__ uint32_t place_of(const token_row<C>& row, int i) {
    if constexpr (Order::kTurned) return Order::template turned_place<kEntryPlaces, kEntryBytes>(row, i);
    else return (i * kEntries + row.code(i)) * kEntryBytes;
  }
  /// The products of a token's key and the columns, in steps of the table. `table`: its address.
  static __device__ __forceinline__ void add_up(float (&score)[kPass], uint32_t table, const token_row<C>& row) {
    uint32_t sums[kPass] = {};
#pragma unroll
    for (int first = 0; first < kTables; first += 4) {
      uint32_t four[(kPass + 1) / 2] = {};
#pragma unroll
      for (int i = first; i < first + 4 && i < kTables; ++i) {
        uint32_t words[(kPass + 1) / 2];
        look_up(words, table + place_of(row, i));
#pragma unroll
        for (int w = 0; w < (kPass + 1) / 2; ++w) four[w] += words[w];
      }
#pragma unroll
      for (int c = 0; c < kPass; ++c) sums[c] += c % 2 ? four[c / 2] >> 16 : four[c / 2] & 0xffff;
    }
#pragma unroll
    for (int c = 0; c < kPass; ++c) score[c] = float_of_bits(0x4b000000u | sums[c]) - (8388608.0f + kTables * kMiddle);
  }
};
