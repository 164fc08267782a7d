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
  // A fragments: rows 0 ... 7 pick the low bytes of the columns, rows 8 ... 15 the high ones. Of 4 columns, rows 0 ... 3 (8 ... 11) are
  // one block's, the others the next block's: [block]. Of 8 columns: [quad of columns].
  uint32_t pick[2][4];
  float step, shift;                   // score = sum * step + shift, log2 units, in lanes of that column

  /// Column of score `i`, token of score `i` in the tile of 32.
  static __device__ __forceinline__ int column(int) { return lane_index() / 4 % kColumns; }
  static __device__ __forceinline__ int token(int i) { return (i / 2 * kBlocks + (kFour ? lane_index() / 16 : 0)) * 8 + lane_index() % 4 * 2 + i % 2; }

  /// Builds the table from this CTA's query columns, all threads; `columns(c)` is column c's row of q, null if it is idle. `maxima`: kMaximaBytes of
  /// shared memory, which holds each warp's largest |q . centroid| per column until the next call.
  template <class P, class F>
  static __device__ __forceinline__ void fill(const P& p, unsigned char* table, const unsigned char* codebook, const F& columns, float* maxima) {
    constexpr int kEntries = C::kChannels <= 16 ? 16 / C::kChannels : 1;  // of a task: 32 bytes, one sector, of the codebook
    constexpr int kThreads = K::kWarps * 32, kWords = C::kChannels / 2, kLines = 256 / kEntries, kStride = kThreads / kChunks;
    constexpr int kTurns = (kLines + kStride - 1) / kStride;
    constexpr bool kHold = kTurns * kEntries * kColumns <= 64;  // all of a thread's dot products in registers: else they are computed again
    static_assert(kThreads % kChunks == 0, "a thread keeps its chunk");
    const int warp = warp_index(), chunk = thread_index() % kChunks, first = thread_index() / kChunks;
    uint32_t q[kColumns][kWords];
#pragma unroll
    for (int c = 0; c < kColumns; ++c) {
      const unsigned char* row = columns(c);
#pragma unroll
      for (int i = 0; i < kWords; ++i) q[c][i] = row ? load_global(reinterpret_cast<const uint32_t*>(row) + chunk * kWords + i) : 0;
    }
    const auto load_line = [&](uint32_t (&words)[kEntries * kWords], int line) {
      const bytes16* from = reinterpret_cast<const bytes16*>(codebook + (chunk * 256 + line * kEntries) * C::kChannels * 2);
#pragma unroll
      for (int i = 0; i < kEntries * kWords / 4; ++i) {
        const bytes16 piece = load_global(from + i);
#pragma unroll
        for (int j = 0; j < 4; ++j) words[4 * i + j] = piece.w[j];
      }
    };
    const auto multiply = [&](float (&dot)[kEntries][kColumns], const uint32_t (&words)[kEntries * kWords]) {
#pragma unroll
      for (int e = 0; e < kEntries; ++e) {
#pragma unroll
        for (int c = 0; c < kColumns; ++c) dot[e][c] = 0;
#pragma unroll
        for (int i = 0; i < kWords; ++i) {
          const float x = to_float(f16{uint16_t(words[e * kWords + i])}), y = to_float(f16{uint16_t(words[e * kWords + i] >> 16)});
#pragma unroll
          for (int c = 0; c < kColumns; ++c)
            dot[e][c] = fused_multiply_add(y, to_float(f16{uint16_t(q[c][i] >> 16)}), fused_multiply_add(x, to_float(f16{uint16_t(q[c][i])}), dot[e][c]));
        }
      }
    };

    float held[kHold ? kTurns : 1][kEntries][kColumns], most[kColumns] = {};
    constexpr int kAhead = kTurns < 2 ? kTurns : 2;  // lines whose loads are under way together
#pragma unroll
    for (int group = 0; group < kTurns; group += kAhead) {
      uint32_t words[kAhead][kEntries * kWords];
#pragma unroll
      for (int i = 0; i < kAhead; ++i) load_line(words[i], min_int(first + (group + i) * kStride, kLines - 1));
#pragma unroll
      for (int i = 0; i < kAhead; ++i) {
        if (group + i >= kTurns) break;
        float(&dot)[kEntries][kColumns] = held[kHold ? group + i : 0];
        multiply(dot, words[i]);
#pragma unroll
        for (int e = 0; e < kEntries; ++e)
#pragma unroll
          for (int c = 0; c < kColumns; ++c) most[c] = fmaxf(most[c], fabsf(dot[e][c]));
      }
    }
#pragma unroll
    for (int c = 0; c < kColumns; ++c) {
#pragma unroll
      for (int mask = 1; mask < 32; mask *= 2) most[c] = fmaxf(most[c], shuffle_xor(most[c], mask));
      if (lane_index() == 0) store_shared(maxima + warp * kColumns + c, most[c]);
    }
    block_barrier();
    float steps[kColumns];  // to the unit
#pragma unroll
    for (int c = 0; c < kColumns; ++c) steps[c] = kMiddle / largest(maxima, c);
#pragma unroll
    for (int turn = 0; turn < kTurns; ++turn) {
      const int line = first + turn * kStride;
      if (line >= kLines) break;
      if constexpr (!kHold) {
        uint32_t words[kEntries * kWords];
        load_line(words, line);
        multiply(held[0], words);
      }
#pragma unroll
      for (int e = 0; e < kEntries; ++e) {
        uint32_t packed[kColumns / 2];
#pragma unroll
        for (int c = 0; c < kColumns; c += 2) {
          // 2^23 + x, rounded to a whole number, has x in its low bits.
          const float* dot = held[kHold ? turn : 0][e];
          const uint32_t low = float_bits(fused_multiply_add(dot[c], steps[c], 8388608.0f + kMiddle));
          const uint32_t high = float_bits(fused_multiply_add(dot[c + 1], steps[c + 1], 8388608.0f + kMiddle));
          packed[c / 2] = permute_bytes(low, high, 0x5410);
        }
        unsigned char* to = table + chunk / kSlots * kSlice + (line * kEntries + e) * kRow + chunk % kSlots * kEntryBytes;
#pragma unroll
        for (int copy = 0; copy < kCopies; ++copy) {
          if constexpr (kColumns == 4) store_shared(reinterpret_cast<bytes8*>(to + copy * kChunks * kEntryBytes), bytes8{{packed[0], packed[1]}});
          else store_shared(reinterpret_cast<bytes16*>(to + copy * kChunks * kEntryBytes), bytes16{{packed[0], packed[1], packed[kColumns / 2 - 2], packed[kColumns / 2 - 1]}});
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
    // k = 4 t + byte of lane t's look-up: byte 0 and 1 of a word are one column, 2 and 3 the next.
    const int mine = column(0);
#pragma unroll
    for (int part = 0; part < 2; ++part)
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int at = kFour ? (r / 4 == part ? mine - i / 2 * 2 : -1) : mine - 4 * part - i / 2 * 2;  // of the two columns in the word
        pick[part][i] = opaque(at == 0 ? (i % 2 ? 0x100u : 1u) : at == 1 ? (i % 2 ? 0x1000000u : 0x10000u) : 0u, zero);
      }
    step = float_of_bits(opaque(float_bits(largest(maxima, mine) / kMiddle * p.scale * kLog2e), zero));
    shift = float_of_bits(opaque(float_bits(-step * float(kChunks * kMiddle)), zero));
  }

  // Gains of a unit, as loaded: tokens 2t, 8 + 2t, 2t + 1, 9 + 2t, two halves to a word.
  static constexpr int kGainWords = 2;
  static __device__ __forceinline__ void load_gains(uint32_t (&words)[2], const unsigned char* gains) {
    const bytes8 four = load_global_once(reinterpret_cast<const bytes8*>(gains) + lane_index() % 4);
    words[0] = four.w[0], words[1] = four.w[1];
  }

  /// Scores of a tile, in log2 units, `bias` added.
  __device__ __forceinline__ void scores(float (&s)[kScores], const uint32_t (&codes)[2][kCodeWords],
                                         const uint32_t (&gains)[2][kGainWords], const float (&bias)[1]) const {
    const float shifted = shift + bias[0];
#pragma unroll
    for (int pair = 0; pair < 4 / kBlocks; ++pair) {
      int d[4] = {};
#pragma unroll
      for (int half = 0; half < kBlocks; ++half) {
        const int block = pair * kBlocks + half, unit = block / 2, v = block % 2;
#pragma unroll
        for (int i = 0; i < kPerLane; i += kAtOnce) {
          uint32_t found[kAtOnce][kColumns / 2];
#pragma unroll
          for (int j = 0; j < kAtOnce; ++j) {
            const int byte = v * kPerLane + i + j;
            const uint32_t at = row_of_byte(codes[unit][byte / 4], byte % 4, address[j]) + i / 4 * (16 / kSlots) * kSlice;
            if constexpr (kFour) {
              const bytes8 entry = load_table_8(at);
              found[j][0] = entry.w[0], found[j][1] = entry.w[1];
            } else {
              const bytes16 entry = load_table_16(at);
#pragma unroll
              for (int c = 0; c < kColumns / 2; ++c) found[j][c] = entry.w[c];
            }
          }
#pragma unroll
          for (int c = 0; c < kColumns / 2; ++c) {
            uint32_t sum = found[0][c] + found[1][c];  // of 4 at most: below 2^16, no carry into the other column
            if constexpr (kAtOnce == 4) sum = sum + found[kAtOnce - 2][c] + found[kAtOnce - 1][c];
            found[0][c] = sum;
          }
#pragma unroll
          for (int quad = 0; quad < kColumns / 4; ++quad) {
            mma_16x8x32_s8u8(d, pick[kFour ? half : quad], {found[0][2 * quad], found[0][2 * quad + 1]});
          }
        }
      }
#pragma unroll
      for (int j = 0; j < 2; ++j) {
        const float sum = float(d[2 + j] * 256 + d[j]);
        float& score = s[2 * pair + j];
        if constexpr (!K::kKeyGain) {
          score = fused_multiply_add(sum, step, shifted);
        } else {
          // Gains lie as tokens (2t, 8 + 2t), (2t + 1, 9 + 2t) of a unit.
          const uint32_t two = gains[kFour ? pair : pair / 2][j];
          const float gain = to_float(f16{uint16_t(kFour ? (lane_index() / 16 ? two >> 16 : two) : pair % 2 ? two >> 16 : two)});
          score = fused_multiply_add(fused_multiply_add(sum, step, shift), gain, bias[0]);
        }
      }
    }
  }

  /// The value that `mine` has in the lanes of the columns whose value sums this lane holds: column t, or 2t and 2t + 1.
  static __device__ __forceinline__ void to_value_lanes(float (&theirs)[kColumns / 4], const float (&mine)[1]) {
    const int t = lane_index() % 4;
#pragma unroll
    for (int c = 0; c < kColumns / 4; ++c) theirs[c] = shuffle(mine[0], kFour ? 4 * t : 8 * t + 4 * c);
  }
  /// Lanes that share columns differ in these bits.
  static constexpr int kSharedBits = 1 | 2 | (kFour ? 16 : 0);
  static __device__ __forceinline__ bool is_writer() { return lane_index() % 4 == 0 && (!kFour || lane_index() < 16); }

  /// Weights (fixed point in the low 16 bits) to B fragments of the values' product: bytes of tokens 2t, 2t + 1, 8 + 2t, 9 + 2t of column g,
  /// where 4 columns come twice, for the high and the low bytes.
  static __device__ __forceinline__ void weights(uint32_t (&b)[kColumns / 4][2], const uint32_t (&x)[kScores], const uint32_t (&select)[2]) {
    const int from = lane_index() / 8 * 4 + lane_index() % 4;
#pragma unroll
    for (int unit = 0; unit < 2; ++unit) {
      if constexpr (kFour) {
        const uint32_t pair = permute_bytes(x[2 * unit], x[2 * unit + 1], 0x5410);
        b[0][unit] = permute_bytes(shuffle(pair, from), shuffle(pair, from + 16), select[0]);
      } else {
        const uint32_t two = permute_bytes(x[4 * unit], x[4 * unit + 1], 0x5410), more = permute_bytes(x[4 * unit + 2], x[4 * unit + 3], 0x5410);
#pragma unroll
        for (int set = 0; set < kColumns / 4; ++set) b[set][unit] = permute_bytes(two, more, select[set]);
      }
    }
  }
};
