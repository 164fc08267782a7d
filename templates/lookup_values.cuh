// Values by look-up: int8 centroids in shared memory, so laid out that the 32 lanes of a look-up never meet in a bank, and the
// words they bring are transposed in registers to the matrix unit's fragments. Lane = 4r + t: r owns channels, t owns tokens.

__device__ __forceinline__ int min_int(int a, int b) { return a < b ? a : b; }

// Constant memory can be an operand where an immediate cannot, and registers are scarce in the loop.
__constant__ uint32_t kByteTimes128[4] = {0x80u, 0x8000u, 0x800000u, 0x80000000u};
/// 128 times byte `i` of `word`, plus c: the place of an entry in a table with rows of 128 bytes, in one instruction.
__device__ __forceinline__ uint32_t row_of_byte(uint32_t word, int i, uint32_t c) { return dot_bytes(word, kByteTimes128[i], c); }

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
  static constexpr int kGroupsPerRow = 4 / kCopies;               // groups of kSlots slots that a row has room for
  static constexpr int kWords = kSlotBytes / 4;
  static constexpr int kCodeWords = kChunks / 8;                  // 32-bit words of codes of a lane and unit: kChunks / 2 bytes
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
  /// The channel in half `j` of matrix tile `m` that lane row r owns.
  static __device__ __forceinline__ int channel(int r, int m, int j) {
    const int slot = m / 2 / kWords, word = m / 2 % kWords, k = m % 2;
    if constexpr (kPairs) return ((2 * slot + k) * 8 + r) * 2 + j;
    return ((r / kSlots * kPerLane + slot) * kSlots + r % kSlots) * C::kChannels + 4 * word + 2 * k + j;
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
#pragma unroll
    for (int turn = 0; turn < kTurns; ++turn) {
      const int task = thread_index() + turn * kThreads;
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

/// sums[set][tile] += values^T . weights for one tile of two units. `weights[set][unit]` holds the bytes of tokens
/// 2t, 2t + 1, 8 + 2t, 9 + 2t of column g; `lane_address` is the shared address that lane_offset leads to.
template <class K, int kSets>
__device__ __forceinline__ void accumulate_values(int (&sums)[kSets][K::kHeadDim / 16][4], uint32_t lane_address,
                                                  const uint32_t (&codes)[2][value_table<K>::kCodeWords], const uint32_t (&weights)[kSets][2]) {
  using T = value_table<K>;
#pragma unroll
  for (int slot = 0; slot < T::kPerLane; ++slot) {
    uint32_t words[2][T::kWords][4];  // [unit][word of the slot][token]
#pragma unroll
    for (int unit = 0; unit < 2; ++unit)
#pragma unroll
      for (int token = 0; token < 4; ++token) {
        const auto at = [&](int byte) { return row_of_byte(codes[unit][byte / 4], byte % 4, lane_address) + T::group_offset(slot); };
        if constexpr (T::kPairs) {
          const int byte = token * T::kPerLane * 2 + slot * 2;
          const uint32_t low = load_table_u16(at(byte)), high = load_table_u16(at(byte + 1) + 2);
          words[unit][0][token] = permute_bytes(low, high, 0x5410);
        } else if constexpr (T::kWords == 1) {
          words[unit][0][token] = load_table_u32(at(token * T::kPerLane + slot));
        } else if constexpr (T::kWords == 2) {
          const bytes8 entry = load_table_8(at(token * T::kPerLane + slot));
          words[unit][0][token] = entry.w[0], words[unit][T::kWords - 1][token] = entry.w[1];
        } else {
          const bytes16 entry = load_table_16(at(token * T::kPerLane + slot));
#pragma unroll
          for (int i = 0; i < T::kWords; ++i) words[unit][i][token] = entry.w[i];
        }
      }
#pragma unroll
    for (int word = 0; word < T::kWords; ++word) {
      transpose_bytes(words[0][word]);
      transpose_bytes(words[1][word]);
#pragma unroll
      for (int k = 0; k < 2; ++k) {
        const uint32_t a[4] = {words[0][word][2 * k], words[0][word][2 * k + 1], words[1][word][2 * k], words[1][word][2 * k + 1]};
#pragma unroll
        for (int set = 0; set < kSets; ++set) mma_16x8x32_s8u8(sums[set][(slot * T::kWords + word) * 2 + k], a, weights[set]);
      }
    }
  }
}
