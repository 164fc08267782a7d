// Values by look-up: int8 centroids in shared memory, so laid out that (with 4 copies) the 32 lanes of a look-up never meet in a bank, and what they bring are operands of
// the matrix unit. Lane = 4r + t: r owns channels, t owns tokens t, 4 + t, 8 + t and 12 + t of a unit.

__constant__ uint32_t kByteTimes128[4] = {0x80u, 0x8000u, 0x800000u, 0x80000000u};
/// Places of entries in tables with rows of 128 bytes: 128 times byte `i` of `word`, plus c, in one instruction. Its factors are held in registers where there is room.
template <bool kHold>
struct byte_rows {
  uint32_t times[kHold ? 4 : 1];

  __device__ __forceinline__ byte_rows(uint32_t zero) {
#pragma unroll
    for (int i = 0; i < (kHold ? 4 : 0); ++i) times[i] = opaque(0x80u << (8 * i), zero);
  }
  __device__ __forceinline__ uint32_t at(uint32_t word, int i, uint32_t c) const { return dot_bytes(word, kHold ? times[kHold ? i : 0] : kByteTimes128[i], c); }
};
template <class K>
using row_places = byte_rows<K::kKeySum>;  // the other ways of scoring keys leave no room

/// The table. A row of 128 bytes holds, for one entry, a few chunks kCopies times: lane t reads copy t % kCopies, lane r its own chunk.
/// With 4 copies every bank serves one lane; with fewer, 2 or 4 lanes share one and their entries differ.
template <class K>
struct value_table {
  using C = typename K::Value;
  static_assert(C::kQ8 && C::kBits == 8, "generator/tile.ts let another value codec through");
  static constexpr int kCopies = K::kCopies;
  /// Bytes of a slot: one entry, or the entries of two chunks side by side where one alone would be half a word.
  static constexpr int kSlotBytes = C::kChannels < 4 ? 4 : C::kChannels;
  static constexpr bool kPairs = C::kChannels == 2;
  static constexpr int kChunks = K::kHeadDim / C::kChannels;
  static constexpr int kSlots = 32 / kSlotBytes;                  // that 4 copies leave room for in a row
  static constexpr int kPerLane = K::kHeadDim / 8 / kSlotBytes;   // slots that a lane reads per token
  /// An odd number of fours of chunks: of the last four, rows r and r + 4 look up half an entry each.
  static constexpr bool kHalved = kChunks % 8 == 4;
  static_assert(!kHalved || (C::kChannels == 8 && kSlots == 4), "generator/layout.ts let other halves through");
  static constexpr int kGroupsPerRow = 4 / kCopies;               // groups of kSlots slots that a row has room for
  static constexpr int kWords = kSlotBytes / 4;
  static constexpr int kOwnWords = kChunks / 8;                   // 32-bit words of codes of a lane and unit, of four bytes for every eight chunks
  static constexpr int kCodeWords = kOwnWords + (kHalved ? 1 : 0);
  static constexpr int kLaneWords = kPerLane * kWords + (kHalved ? 1 : 0);  // of entries that a lane reads per token
  static constexpr int kRow = 128, kSlice = 256 * kRow;
  static constexpr int kTableBytes = (K::kHeadDim / 32 + kGroupsPerRow - 1) / kGroupsPerRow * kSlice;

  /// Where group `g` of slots begins in a row, and in which slice of 32 KB.
  static __device__ __forceinline__ constexpr int group_offset(int g) {
    return g / kGroupsPerRow * kSlice + g % kGroupsPerRow * kSlots * kCopies * kSlotBytes;
  }
  /// The byte, from the table's begin, that lane 4r + t adds 128 * code to.
  static __device__ __forceinline__ int lane_offset(int r, int t) {
    return group_offset(r / kSlots * kPerLane) + (r % kSlots * kCopies + t % kCopies) * kSlotBytes;
  }
  /// The same of the half entries.
  static __device__ __forceinline__ int half_offset(int r, int t) { return group_offset(kChunks / kSlots - 1) + (r % 4 * kCopies + t % kCopies) * kSlotBytes + r / 4 * 4; }
  /// The channel in byte `byte` of word `word` (of a lane's kPerLane * kWords) that lane row r looks up.
  static __device__ __forceinline__ int channel(int r, int word, int byte) {
    const int slot = word / kWords, part = word % kWords;
    if (kHalved && slot == kPerLane) return (kChunks - 4 + r % 4) * C::kChannels + r / 4 * 4 + byte;
    if constexpr (kPairs) return ((2 * slot + byte / 2) * 8 + r) * 2 + byte % 2;
    return ((r / kSlots * kPerLane + slot) * kSlots + r % kSlots) * C::kChannels + 4 * part + byte;
  }

  /// Half `half` of a pair's slot, in the low half of the word.
  static __device__ __forceinline__ uint32_t look_up_half(const row_places<K>& rows, const uint32_t (&codes)[kCodeWords], uint32_t at, int token, int slot, int half) {
    const int byte = (token * kPerLane + slot) * 2 + half;
    return load_table_u16(rows.at(codes[byte / 4], byte % 4, at) + (group_offset(slot) + half * 2));
  }
  /// Slot `slot` of token `token` (of a lane's four in a unit); `at` is the shared address that lane_offset leads to.
  static __device__ __forceinline__ void look_up(uint32_t (&words)[kWords], const row_places<K>& rows, const uint32_t (&codes)[kCodeWords], uint32_t at, int token, int slot) {
    const auto row = [&](int byte) { return rows.at(codes[byte / 4], byte % 4, at) + group_offset(slot); };
    if constexpr (kPairs) {
      words[0] = permute_bytes(look_up_half(rows, codes, at, token, slot, 0), look_up_half(rows, codes, at, token, slot, 1), 0x5410);
    } else if constexpr (kWords == 1) {
      words[0] = load_table_u32(row(token * kPerLane + slot));
    } else if constexpr (kWords == 2) {
      const bytes8 entry = load_table_8(row(token * kPerLane + slot));
      words[0] = entry.w[0], words[kWords - 1] = entry.w[1];
    } else {
      const bytes16 entry = load_table_16(row(token * kPerLane + slot));
#pragma unroll
      for (int i = 0; i < kWords; ++i) words[i] = entry.w[i];
    }
  }

  /// Half of the entry of token `token`'s last chunk in this row; `half_at` is the shared address that half_offset leads to.
  static __device__ __forceinline__ uint32_t look_up_last(const row_places<K>& rows, const uint32_t (&codes)[kCodeWords], uint32_t half_at, int token) {
    return load_table_u32(rows.at(codes[kCodeWords - 1], token, half_at));
  }

  // A task is 32 bytes, one sector, of the codebook: some entries of one slot.
  static constexpr int kEntries = 32 / kSlotBytes, kLines = 256 / kEntries, kTasks = K::kHeadDim * 256 / 32;
  static constexpr int kThreads = K::kWarps * 32, kTurns = (kTasks + kThreads - 1) / kThreads;
  struct raw_entries {
    bytes16 piece[kTurns][2];
  };

  /// Starts loading the codebook of one KV head, all threads of the CTA.
  static __device__ __forceinline__ void load(raw_entries& raw, const unsigned char* codebook) {
#pragma unroll
    for (int turn = 0; turn < kTurns; ++turn) {
      const int task = min_int(thread_index() + turn * kThreads, kTasks - 1);
      const int slot = task % kSlots, entry = task / kSlots % kLines * kEntries, group = task / (kSlots * kLines);
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int chunk = kPairs ? (2 * group + half) * 8 + slot : group * kSlots + slot;
        raw.piece[turn][half] = load_global(reinterpret_cast<const bytes16*>(codebook + (chunk * 256 + entry) * C::kChannels) + (kPairs ? 0 : half));
      }
    }
  }
  /// Lays the table out, all threads.
  static __device__ __forceinline__ void store(unsigned char* table, const raw_entries& raw) {
    const int thread = thread_index_anew();
#pragma unroll
    for (int turn = 0; turn < kTurns; ++turn) {
      const int task = thread + turn * kThreads;
      if (task >= kTasks) break;
      const int slot = task % kSlots, line = task / kSlots, entry = line % kLines * kEntries, group = task / (kSlots * kLines);
      unsigned char* to = table + group_offset(group) + entry * kRow + slot * kCopies * kSlotBytes;
#pragma unroll
      for (int e = 0; e < kEntries; ++e) {
        uint32_t words[kWords];
        if constexpr (kPairs) {
          words[0] = permute_bytes(raw.piece[turn][0].w[e / 2], raw.piece[turn][1].w[e / 2], e % 2 ? 0x7632 : 0x5410);
        } else {
#pragma unroll
          for (int i = 0; i < kWords; ++i) words[i] = raw.piece[turn][(e * kWords + i) / 4].w[(e * kWords + i) % 4];
        }
        store_copies(to + e * kRow, words, line);
      }
    }
  }

  /// Stores an entry kCopies times, side by side. Lanes that share banks begin at different pieces.
  static __device__ __forceinline__ void store_copies(unsigned char* to, const uint32_t (&words)[kWords], int line) {
    constexpr int kBytes = kCopies * kSlotBytes;
    if constexpr (kBytes == 4) {
      store_shared(reinterpret_cast<uint32_t*>(to), words[0]);
    } else if constexpr (kBytes == 8) {
      store_shared(reinterpret_cast<bytes8*>(to), bytes8{{words[0], words[1 % kWords]}});
    } else if constexpr (kWords == 4) {
      const bytes16 entry = {{words[0], words[1 % kWords], words[2 % kWords], words[3 % kWords]}};
#pragma unroll
      for (int piece = 0; piece < kBytes / 16; ++piece) store_shared(reinterpret_cast<bytes16*>(to) + (piece + line) % (kBytes / 16), entry);
    } else {
      const bytes16 entries = {{words[0], words[1 % kWords], words[0], words[1 % kWords]}};
#pragma unroll
      for (int piece = 0; piece < kBytes / 16; ++piece) store_shared(reinterpret_cast<bytes16*>(to) + (piece + line) % (kBytes / 16), entries);
    }
  }
};

/// Four tokens x four channels of bytes, transposed: word i comes back as channel i of the four tokens.
__device__ __forceinline__ void transpose_bytes(uint32_t (&x)[4]) {
  const uint32_t even01 = permute_bytes(x[0], x[1], 0x5140), even23 = permute_bytes(x[2], x[3], 0x5140);
  const uint32_t odd01 = permute_bytes(x[0], x[1], 0x7362), odd23 = permute_bytes(x[2], x[3], 0x7362);
  x[0] = permute_bytes(even01, even23, 0x5410);
  x[1] = permute_bytes(even01, even23, 0x7632);
  x[2] = permute_bytes(odd01, odd23, 0x5410);
  x[3] = permute_bytes(odd01, odd23, 0x7632);
}

// Sums of weighted values, and which column and channel a lane's sums belong to. 4 columns: channels are on the narrow side of the product, a pair of them and a
// pair of tokens to a register of B, which one PRMT makes of two look-ups' words. A holds the weights, high and low bytes in rows of their own; a row sums one channel
// of each pair, so every second number of it is zero, which the sparse product need not be told. 8 columns would need twice the products for that: four tokens
// are brought together by transposing bytes instead, and channels are A's rows.
template <class K>
struct value_sums {
  using T = value_table<K>;
  static constexpr bool kSparse = K::kColumns == 4;
  static constexpr int kSets = K::kColumns / 4;
  /// Words of weights of a tile: high and low bytes of either unit, or a word of each unit for each set of bytes.
  static constexpr int kWeightSets = kSparse ? 1 : 2, kWeightWords = kSparse ? 4 : 2;
  static constexpr int kTiles = K::kHeadDim / 16;

  int sums[kSets][kTiles][4] = {};

  /// The table's copy and rows that this lane reads, from its begin; those of half entries.
  static __device__ __forceinline__ int lane_offset() { return T::lane_offset(lane_index() / 4, lane_index() % 4); }
  static __device__ __forceinline__ int half_offset() { return T::half_offset(lane_index() / 4, lane_index() % 4); }
  /// Which channel of a pair the lane's rows of A are for, as the sparse product is told; `element` is 0 or 1.
  static __device__ __forceinline__ uint32_t places_of(int element, uint32_t zero) { return opaque(element ? 0xddddddddu : 0x88888888u, zero); }

  /// Adds the words found(unit, i) that tokens t + 4 i of either unit look up in one place: `word` of a lane's.
  template <class F>
  __device__ __forceinline__ void add_word(const F& found, int word, const uint32_t (&weights)[kWeightSets][kWeightWords], uint32_t places) {
    const int tile = word * 2;
    if constexpr (kSparse) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        uint32_t b[4];  // tokens t and 8 + t, 4 + t and 12 + t of either unit
#pragma unroll
        for (int i = 0; i < 4; ++i) b[i] = permute_bytes(found(i / 2, i % 2), found(i / 2, i % 2 + 2), half ? 0x7632 : 0x5410);
        mma_sparse_16x8x64_u8s8(sums[0][tile + half], weights[0], b, places);
      }
    } else {
      uint32_t turned[2][4];
#pragma unroll
      for (int unit = 0; unit < 2; ++unit) {
#pragma unroll
        for (int token = 0; token < 4; ++token) turned[unit][token] = found(unit, token);
        transpose_bytes(turned[unit]);
      }
#pragma unroll
      for (int k = 0; k < 2; ++k)
#pragma unroll
        for (int set = 0; set < kSets; ++set)
          mma_16x8x32_s8u8(sums[set][tile + k], {turned[0][2 * k], turned[0][2 * k + 1], turned[1][2 * k], turned[1][2 * k + 1]}, weights[kSparse ? 0 : set]);
    }
  }

  /// Adds a tile of two units. `at` and `half_at` are the shared addresses that lane_offset and half_offset lead to.
  __device__ __forceinline__ void add(const row_places<K>& rows, uint32_t at, uint32_t half_at, const uint32_t (&codes)[2][T::kCodeWords], const uint32_t (&weights)[kWeightSets][kWeightWords],
                                      uint32_t places) {
#pragma unroll
    for (int slot = 0; slot < T::kPerLane; ++slot) {
      if constexpr (kSparse && T::kPairs) {  // a pair of channels is a look-up of its own
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          uint32_t b[4];
#pragma unroll
          for (int i = 0; i < 4; ++i)
            b[i] = permute_bytes(T::look_up_half(rows, codes[i / 2], at, i % 2, slot, half), T::look_up_half(rows, codes[i / 2], at, i % 2 + 2, slot, half), 0x5410);
          mma_sparse_16x8x64_u8s8(sums[0][slot * 2 + half], weights[0], b, places);
        }
      } else {
        uint32_t found[2][4][T::kWords];
#pragma unroll
        for (int unit = 0; unit < 2; ++unit)
#pragma unroll
          for (int token = 0; token < 4; ++token) T::look_up(found[unit][token], rows, codes[unit], at, token, slot);
#pragma unroll
        for (int word = 0; word < T::kWords; ++word) add_word([&](int unit, int token) { return found[unit][token][word]; }, slot * T::kWords + word, weights, places);
      }
    }
    if constexpr (T::kHalved) {
      uint32_t words[2][4];
#pragma unroll
      for (int i = 0; i < 8; ++i) words[i / 4][i % 4] = T::look_up_last(rows, codes[i / 4], half_at, i % 4);
      add_word([&](int unit, int token) { return words[unit][token]; }, T::kLaneWords - 1, weights, places);
    }
  }

  /// Shifts right by `places` (0 ... 31) of the columns, rounding: [0] of this lane's only one, or of 2t and 2t + 1.
  __device__ __forceinline__ void lower(const float (&places)[kSets]) {
    int by[kSets], half[kSets];
#pragma unroll
    for (int set = 0; set < kSets; ++set) by[set] = int(places[set]), half[set] = (1 << by[set]) / 2 & 0x1fffffff;  // more would overflow, and is nothing beside 2^30
#pragma unroll
    for (int set = 0; set < kSets; ++set)
#pragma unroll
      for (int tile = 0; tile < kTiles; ++tile)
#pragma unroll
        for (int i = 0; i < 4; ++i) sums[set][tile][i] = (sums[set][tile][i] + half[kSparse ? 0 : i % 2]) >> by[kSparse ? 0 : i % 2];
  }

  /// Of column `c` of this lane's: how many sums it has here, the sum of number `i`, and its channel; `row` is what tells the lanes of a column's weights apart.
  static constexpr int kSums = K::kHeadDim / 8;
  __device__ __forceinline__ float sum(int c, int i) const {
    if constexpr (kSparse) return float(sums[0][i / 2][i % 2]) * 256.0f + float(sums[0][i / 2][2 + i % 2]);
    else return float(sums[0][i / 2][i % 2 * 2 + c]) * 256.0f + float(sums[kSets - 1][i / 2][i % 2 * 2 + c]);
  }
  static __device__ __forceinline__ int channel(int row, int i) {
    if constexpr (kSparse) return T::channel(lane_index() % 4 * 2 + i % 2, i / 4, i / 2 % 2 * 2 + row);
    else return T::channel(lane_index() / 4, i / 4, i / 2 % 2 * 2 + i % 2);
  }
};

/// Weights of a unit to operands: `first` and `second` hold those of tokens 2t and 2t + 1 of its halves, 16 bits each.
template <class K>
__device__ __forceinline__ void pack_weights(uint32_t (&w)[value_sums<K>::kWeightSets][value_sums<K>::kWeightWords], int unit, uint32_t first, uint32_t second) {
  if constexpr (K::kColumns == 4) {
    w[0][2 * unit] = permute_bytes(first, second, 0x7351);  // tokens 2t, 8 + 2t, 2t + 1, 9 + 2t, as B has them in pairs
    w[0][2 * unit + 1] = permute_bytes(first, second, 0x6240);
  } else {
    // Of column g: tokens t, 4 + t, 8 + t, 12 + t.
    const int from = lane_index() / 4 * 4 + lane_index() % 4 / 2;
    const uint32_t merge = lane_index() % 2 ? 0x7351 : 0x6240;
#pragma unroll
    for (int set = 0; set < 2; ++set) {
      const uint32_t bytes = permute_bytes(first, second, set ? 0x6420 : 0x7531);
      w[value_sums<K>::kSparse ? 0 : set][unit] = permute_bytes(shuffle(bytes, from), shuffle(bytes, from + 2), merge);
    }
  }
}
