// Scores by look-up sums (ADC): a table of q . centroid per chunk and entry, so that a score is the sum of one look-up per chunk.
// Entries are unsigned 14-bit fixed point in 16 bits: four add up in plain integer instructions, two columns to a word, and the matrix
// unit adds the rest, a look-up's bytes being its B fragment and A picking columns and bytes. Sums are exact. Tokens are columns of B.

template <class K>
struct sum_keys {
  using C = typename K::Key;
  static constexpr int kColumns = K::kColumns;
  static constexpr int kChunks = K::kHeadDim / C::kChannels, kPerLane = kChunks / 4;  // look-ups of a lane per token
  static constexpr int kEntryBytes = 2 * kColumns, kSlots = 128 / kEntryBytes;        // chunks in a row of 128 bytes
  static constexpr int kCopies = kChunks < kSlots ? kSlots / kChunks : 1;
  static constexpr int kRow = 128, kSlice = 256 * kRow;
  static constexpr int kTableBytes = (kChunks + kSlots - 1) / kSlots * kSlice;
  static constexpr int kCodeWords = kChunks / 8;
  static constexpr bool kFour = kColumns == 4;
  static constexpr int kBlocks = kFour ? 2 : 1;  // of 8 tokens that share a product: the rows of 4 columns hold two
  static constexpr int kScores = 8 / kBlocks, kLaneColumns = 1;
  static constexpr int kAtOnce = kPerLane < 4 ? kPerLane : 4;    // look-ups added before the matrix unit adds
  static constexpr bool kTablePerPiece = true;
  static constexpr int kWarpBytes = 0;      // of shared memory beside the table
  static constexpr int kMiddle = 8191;      // what a dot product of 0 is in the table: entries are 0 ... 16382
  static constexpr int kMaximaBytes = K::kWarps * kColumns * 4;

  uint32_t address[kAtOnce];           // of the lane's look-ups, of code 0
  // A, of ones and zeros: rows 0 ... 7 pick the low bytes of the columns, rows 8 ... 15 the high ones. Of 4 columns, rows 0 ... 3 (8 ... 11) are
  // one block's, the others the next block's.
  uint32_t pick[4], places;
  float step;                          // score = sum * step + origin, log2 units, in lanes of that column

  /// What a score is before its bias is known to mean something: that of an empty sum, where no gain multiplies it.
  __device__ __forceinline__ float origin(int) const { return K::kKeyGain ? 0.0f : -step * float(kChunks * kMiddle); }

  /// Column of score `i`, token of score `i` in the tile of 32.
  static __device__ __forceinline__ int column(int) { return lane_index() / 4 % kColumns; }
  static __device__ __forceinline__ int token(int i) { return (i / 2 * kBlocks + (kFour ? lane_index() / 16 : 0)) * 8 + lane_index() % 4 * 2 + i % 2; }

  // The table is a matrix product: A has 16 entries and 16 channels (a slab), B the queries. A slab has one chunk or several, and B zeros where column and channel
  // are of different ones. k is permuted, so that lane 4g + t holds channels 4t ... 4t + 3 of rows g and g + 8.
  static constexpr int kSlabs = K::kHeadDim / 16, kOfSlab = 16 / C::kChannels > 0 ? 16 / C::kChannels : 1;  // chunks
  static constexpr bool kTwin = kFour && kCopies > 1;     // 4 columns come twice in a product's 8, for two copies
  static constexpr int kAbreast = kFour && !kTwin ? 2 : 1;  // chunks in a product's 8 columns
  static constexpr int kProducts = kOfSlab / kAbreast, kAll = kSlabs * kProducts;
  static constexpr int kTurns = (16 + K::kWarps - 1) / K::kWarps;  // blocks of 16 entries that a warp takes
  static_assert(kAll % 8 == 0, "steps of eight products");
  static_assert(C::kChannels <= 16, "a chunk lies in a slab");
  struct raw_table {
    uint32_t rows[kTurns][kSlabs][4];
    uint32_t q[kSlabs][2];
  };

  /// Starts loading what the table is made of, all threads; `columns(c)` is column c's row of q, null if it is idle.
  template <class F>
  static __device__ __forceinline__ void load(raw_table& raw, const unsigned char* codebook, const F& columns) {
    const int g = lane_index() / 4, t = lane_index() % 4, warp = warp_index();
#pragma unroll
    for (int turn = 0; turn < kTurns; ++turn)
#pragma unroll
      for (int slab = 0; slab < kSlabs; ++slab)
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          const int entry = min_int(warp + turn * K::kWarps, 15) * 16 + g + 8 * half;
          const auto at = [&](int channel) { return codebook + ((channel / C::kChannels * 256 + entry) * C::kChannels + channel % C::kChannels) * 2; };
          if constexpr (C::kChannels == 2) {
#pragma unroll
            for (int i = 0; i < 2; ++i) raw.rows[turn][slab][half + 2 * i] = load_global(reinterpret_cast<const uint32_t*>(at(slab * 16 + 4 * t + 2 * i)));
          } else {
            const bytes8 four = load_global(reinterpret_cast<const bytes8*>(at(slab * 16 + 4 * t)));
            raw.rows[turn][slab][half] = four.w[0], raw.rows[turn][slab][half + 2] = four.w[1];
          }
        }
    const unsigned char* row = columns(g % kColumns);
#pragma unroll
    for (int slab = 0; slab < kSlabs; ++slab) {
      const bytes8 four = row ? load_global(reinterpret_cast<const bytes8*>(row) + slab * 4 + t) : bytes8{};
      raw.q[slab][0] = halves_of_query<typename K::Element>(four.w[0]), raw.q[slab][1] = halves_of_query<typename K::Element>(four.w[1]);
    }
  }
  /// Product `u` of a turn's: dot products of entries g and g + 8 with columns 2t and 2t + 1 (of 4 columns, those of chunk 2u + t / 2 and 2t mod 4).
  static __device__ __forceinline__ void multiply(float (&d)[4], const raw_table& raw, int turn, int u) {
    const int g = lane_index() / 4, t = lane_index() % 4, slab = u / kProducts;
    const int wanted = u % kProducts * kAbreast + (kAbreast > 1 ? g / kColumns : 0);  // which of the slab's chunks
    uint32_t b[2];
#pragma unroll
    for (int i = 0; i < 2; ++i) b[i] = (4 * t + 2 * i) / C::kChannels == wanted ? raw.q[slab][i] : 0;
#pragma unroll
    for (int i = 0; i < 4; ++i) d[i] = 0;
    mma_16x8x16(d, raw.rows[turn][slab], b);
  }

  /// Builds the table, all threads. `maxima`: kMaximaBytes of shared memory, which holds each warp's largest |q . centroid| per column until the next call.
  static __device__ __forceinline__ void fill(unsigned char* table, const raw_table& raw, float* maxima) {
    const int g = lane_index() / 4, t = lane_index() % 4, warp = warp_index();
    float most[2] = {};
#pragma unroll
    for (int turn = 0; turn < kTurns; ++turn)
#pragma unroll
      for (int u = 0; u < kAll; ++u) {
        float d[4];
        multiply(d, raw, turn, u);
#pragma unroll
        for (int i = 0; i < 4; ++i) most[i % 2] = fmaxf(most[i % 2], fabsf(d[i]));
      }
#pragma unroll
    for (int i = 0; i < 2; ++i) {
#pragma unroll
      for (int mask = kFour ? 2 : 4; mask < 32; mask *= 2) most[i] = fmaxf(most[i], shuffle_xor(most[i], mask));
      if (lane_index() < kColumns / 2) store_shared(maxima + warp * kColumns + 2 * t + i, most[i]);
    }
    block_barrier();
    float steps[2];  // to the unit
#pragma unroll
    for (int i = 0; i < 2; ++i) steps[i] = kMiddle / largest(maxima, 2 * t % kColumns + i);
#pragma unroll
    for (int turn = 0; turn < kTurns; ++turn) {
      const int block = warp + turn * K::kWarps;
      if (block >= 16) break;
#pragma unroll
      for (int first = 0; first < kAll; first += 8) {
        uint32_t packed[2][8];
#pragma unroll
        for (int u = 0; u < 8; ++u) {
          float d[4];
          multiply(d, raw, turn, first + u);
#pragma unroll
          for (int half = 0; half < 2; ++half) {
            // 2^23 + x, rounded to a whole number, has x in its low bits.
            const uint32_t low = float_bits(fused_multiply_add(d[2 * half], steps[0], 8388608.0f + kMiddle));
            const uint32_t high = float_bits(fused_multiply_add(d[2 * half + 1], steps[1], 8388608.0f + kMiddle));
            packed[half][u] = permute_bytes(low, high, 0x5410);
          }
        }
        // Rows of the table share their banks: lane row g stores product (s + g) mod 8 in step s.
#pragma unroll
        for (int by = 1; by < 8; by *= 2)
#pragma unroll
          for (int half = 0; half < 2; ++half) {
            uint32_t turned[8];
#pragma unroll
            for (int u = 0; u < 8; ++u) turned[u] = g & by ? packed[half][(u + by) % 8] : packed[half][u];
#pragma unroll
            for (int u = 0; u < 8; ++u) packed[half][u] = turned[u];
          }
#pragma unroll
        for (int step = 0; step < 8; ++step) {
          const int u = first + (step + g) % 8;
          const int chunk = kAbreast * u + (kAbreast > 1 ? t / 2 : 0), copy = kTwin ? t / 2 : 0;
          unsigned char* to = table + (block * 16 + g) * kRow + chunk / kSlots * kSlice + (chunk % kSlots + copy * kChunks) * kEntryBytes + t * 2 % kColumns * 2;
#pragma unroll
          for (int half = 0; half < 2; ++half) store_shared(reinterpret_cast<uint32_t*>(to + half * 8 * kRow), packed[half][step]);
        }
      }
    }
  }
  /// The largest |q . centroid| of a column, never 0.
  static __device__ __forceinline__ float largest(const float* maxima, int column) {
    float most = 1e-30f;
#pragma unroll
    for (int w = 0; w < K::kWarps; ++w) most = fmaxf(most, load_shared(maxima + w * kColumns + column));
    return most;
  }

  template <class P, class F>
  __device__ __forceinline__ void begin(const P& p, const unsigned char* table, const F&, const float*, const float* maxima, unsigned char*) {
    const uint32_t zero = uint32_t(p.batch) >> 31;
    const int r = lane_index() / 4, t = lane_index() % 4;
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i) {
      const int chunk = 4 * (i ^ int(key_turn<C>(r))) + t;
      address[i] = opaque(shared_address(table) + chunk / kSlots * kSlice + chunk % kSlots * kEntryBytes + (kCopies > 1 ? r / 2 % kCopies * kChunks * kEntryBytes : 0), zero);
    }
    // B's register i holds word i % 2 of the entries of block (or quad of columns) i / 2: bytes 0 and 1 are one column's, 2 and 3 the next one's.
    const int g = lane_index() / 4, element = g % 2;
#pragma unroll
    for (int i = 0; i < 4; ++i) pick[i] = opaque(g / 4 == i / 2 && g % 4 / 2 == t / 2 ? (element ? 0x1000100u : 0x10001u) : 0u, zero);
    places = opaque(t % 2 ? 0xddddddddu : 0x88888888u, zero);  // rows g: bytes 0 and 2, the low ones; rows g + 8: bytes 1 and 3
    const int mine = column(0);
    step = float_of_bits(opaque(float_bits(largest(maxima, mine) / kMiddle * p.scale * kLog2e), zero));
  }

  // Gains of a unit, as loaded: tokens 2t, 8 + 2t, 2t + 1, 9 + 2t, two halves to a word.
  static constexpr int kGainWords = 2;
  static __device__ __forceinline__ const unsigned char* gains_at(const unsigned char* gains) { return gains + lane_index() % 4 * 8; }
  static __device__ __forceinline__ void load_gains(uint32_t (&words)[2], const unsigned char* gains) {
    const bytes8 four = load_global_once(reinterpret_cast<const bytes8*>(gains));
    words[0] = four.w[0], words[1] = four.w[1];
  }

  /// Scores of a tile, in log2 units, `bias` added. `meanwhile()`: what to do while the first look-ups are under way.
  template <class Meanwhile>
  __device__ __forceinline__ void scores(const row_places<K>& rows, float (&s)[kScores], const uint32_t (&codes)[2][kCodeWords],
                                         const uint32_t (&gains)[2][kGainWords], const float (&bias)[1], const Meanwhile& meanwhile) const {
    constexpr int kParts = kColumns / 2;  // words of an entry
    constexpr int kTogether = kPerLane * kParts <= 8 ? 4 : kPerLane * kParts <= 16 ? 2 : 1;  // blocks whose look-ups are under way together: 32 registers
    uint32_t sums[4][kPerLane / kAtOnce][kParts];  // [block]
#pragma unroll
    for (int first = 0; first < 4; first += kTogether) {
      uint32_t found[kTogether][kPerLane][kParts];
#pragma unroll
      for (int block = 0; block < kTogether; ++block)
#pragma unroll
        for (int i = 0; i < kPerLane; ++i) {
          const int byte = (first + block) % 2 * kPerLane + i;
          const uint32_t at = rows.at(codes[(first + block) / 2][byte / 4], byte % 4, address[i % kAtOnce]) + i / 4 * (16 / kSlots) * kSlice;
          if constexpr (kFour) {
            const bytes8 entry = load_table_8(at);
            found[block][i][0] = entry.w[0], found[block][i][1] = entry.w[1];
          } else {
            const bytes16 entry = load_table_16(at);
#pragma unroll
            for (int c = 0; c < kParts; ++c) found[block][i][c] = entry.w[c];
          }
        }
      if (first == 0) meanwhile();
#pragma unroll
      for (int block = 0; block < kTogether; ++block)
#pragma unroll
        for (int i = 0; i < kPerLane; i += kAtOnce)
#pragma unroll
          for (int c = 0; c < kParts; ++c) {
            uint32_t sum = found[block][i][c] + found[block][i + 1][c];  // of 4 at most: below 2^16, no carry into the other column
            if constexpr (kAtOnce == 4) sum = sum + found[block][i + kAtOnce - 2][c] + found[block][i + kAtOnce - 1][c];
            sums[first + block][i / kAtOnce][c] = sum;
          }
    }
#pragma unroll
    for (int pair = 0; pair < 4 / kBlocks; ++pair) {
      int d[4] = {};
#pragma unroll
      for (int i = 0; i < kPerLane / kAtOnce; ++i) {
        uint32_t b[4];
#pragma unroll
        for (int w = 0; w < 4; ++w) b[w] = sums[pair * kBlocks + w / kParts][i][w % kParts];
        mma_sparse_16x8x64_u8u8(d, pick, b, places);
      }
#pragma unroll
      for (int j = 0; j < 2; ++j) {
        const float sum = float(d[2 + j] * 256 + d[j]);
        float& score = s[2 * pair + j];
        if constexpr (!K::kKeyGain) {
          score = fused_multiply_add(sum, step, bias[0]);  // which begins as the origin
        } else {
          // Gains lie as tokens (2t, 8 + 2t), (2t + 1, 9 + 2t) of a unit.
          const uint32_t two = gains[kFour ? pair : pair / 2][j];
          const float gain = to_float(f16{uint16_t(kFour ? (lane_index() / 16 ? two >> 16 : two) : pair % 2 ? two >> 16 : two)});
          score = fused_multiply_add((sum - float(kChunks * kMiddle)) * step, gain, bias[0]);
        }
      }
    }
  }

  /// Of 4 columns: the one whose values this lane sums, which is that of its scores, and the place of its channels in a pair.
  static __device__ __forceinline__ int value_column() { return lane_index() / 4 % 4; }
  static __device__ __forceinline__ int value_element() { return lane_index() / 16; }
  /// The value that `mine` has in the lanes of the columns whose values this lane sums.
  static __device__ __forceinline__ void to_value_lanes(float (&theirs)[kColumns / 4], const float (&mine)[1]) {
#pragma unroll
    for (int c = 0; c < kColumns / 4; ++c) theirs[c] = kFour ? mine[0] : shuffle(mine[0], lane_index() % 4 * 8 + 4 * c);
  }
  /// Lanes that share columns differ in these bits.
  static constexpr int kSharedBits = 1 | 2 | (kFour ? 16 : 0);
  static __device__ __forceinline__ bool is_writer() { return lane_index() % 4 == 0 && (!kFour || lane_index() < 16); }

  /// Weights (fixed point in the low 16 bits) to operands of the values' product.
  static __device__ __forceinline__ void weights(uint32_t (&w)[value_sums<K>::kWeightSets][value_sums<K>::kWeightWords], const uint32_t (&x)[kScores]) {
#pragma unroll
    for (int unit = 0; unit < 2; ++unit) {
      if constexpr (kFour) {
        const uint32_t pair = permute_bytes(x[2 * unit], x[2 * unit + 1], 0x5410);
        pack_weights<K>(w, unit, shuffle_up(pair, 16), shuffle_down(pair, 16));  // each half of the warp keeps its own, where the other's would lie beyond
      } else {
        pack_weights<K>(w, unit, permute_bytes(x[4 * unit], x[4 * unit + 1], 0x5410), permute_bytes(x[4 * unit + 2], x[4 * unit + 3], 0x5410));
      }
    }
  }
};

/// How this kernel scores coded keys.
template <class K>
using key_method = sum_keys<K>;
