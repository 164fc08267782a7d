// Scores by look-up sums (ADC): a table of q . centroid per chunk and entry, so that a score is the sum of one look-up per chunk.
// Entries are unsigned 14-bit fixed point in 16 bits: four add up in plain integer instructions, two columns to a word, and the matrix
// unit adds the rest, a look-up's bytes being its B fragment and A picking columns and bytes. Sums are exact. Tokens are columns of B.

template <class K>
struct sum_keys {
  using C = typename K::Key;
  static constexpr int kColumns = K::kColumns;
  static constexpr int kChunks = K::kHeadDim / C::kChannels, kPerLane = kChunks / 4;  // look-ups of a lane per token
  static constexpr int kEntryBytes = 2 * kColumns, kSlots = 128 / kEntryBytes;        // chunks in a row of 128 bytes
  static constexpr int kRow = 128, kSlice = 256 * kRow;
  static constexpr int kWordCodes = C::kPiece < 4 ? C::kPiece : 4;                    // in a word of a lane's
  static constexpr int kCodeWords = kChunks / 2 / kWordCodes;
  static constexpr bool kFour = kColumns == 4;
  static constexpr int kBlocks = kFour ? 2 : 1;  // of 8 tokens that share a product: the rows of 4 columns hold two
  static constexpr int kScores = 8 / kBlocks, kLaneColumns = 1;
  static constexpr int kSums = (kPerLane + 3) / 4, kAtOnce = kPerLane / kSums;  // look-ups added before the matrix unit adds: 4 at most
  static_assert(kPerLane % kSums == 0 && kAtOnce >= 2, "sums of equally many look-ups");
  static constexpr bool kTablePerPiece = true;
  static constexpr int kWarpBytes = 0;      // of shared memory beside the table
  static constexpr int kMiddle = 8191;      // what a dot product of 0 is in the table: entries are 0 ... 16382
  static constexpr int kMaximaBytes = K::kWarps * kColumns * 4;

  // The table is made of slices, whose rows are lines of banks. What fills no row is cut into parts, powers of two (CACHE.md, "Order of codes"), each in a slice of its own
  // and there as many times as it fits, so that rows of lanes that do not take turns read copies of their own.
  static constexpr int kFull = kChunks / kSlots * kSlots;  // chunks in full rows
  /// Groups of four chunks in the part of group `group`: the highest bit in which it differs from their number.
  static __device__ __forceinline__ constexpr int part_of(int group) {
    int bits = group ^ kPerLane;
    bits |= bits >> 1, bits |= bits >> 2, bits |= bits >> 4;
    return bits / 2 + 1;
  }
  /// Whether the part of group `group` begins behind another one that fills no row.
  static __device__ __forceinline__ constexpr bool is_behind(int group) { return 4 * group >= kFull && (kPerLane - kFull / 4) / part_of(group) > 1; }
  /// Chunks in a row of the slice of chunk `chunk`.
  static __device__ __forceinline__ constexpr int row_chunks(int chunk) { return chunk < kFull ? kSlots : 4 * part_of(chunk / 4); }
  static __device__ __forceinline__ constexpr int slice_of(int chunk) { return chunk / kSlots + (is_behind(chunk / 4) ? 1 : 0); }
  static constexpr int kSlices = K::kKeyTableBytes / kSlice, kTableBytes = kSlices * kSlice;  // generator/shared.ts counts them
  static_assert(kPerLane - kFull / 4 <= 3, "at most two parts fill no row");

  static constexpr int kWhole = kPerLane / 4 * 4, kAddresses = (kWhole > 0 ? 4 : 0) + kPerLane % 4;
  uint32_t address[kAddresses];        // of the lane's look-ups, of code 0: of four groups that take turns, and of what fills no four
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
  /// Of 4 columns: where chunks are there more than once, they come twice in a product's 8 columns, for two copies; else two chunks do.
  static __device__ __forceinline__ constexpr bool is_twin(int chunk) { return kFour && chunk >= kFull; }
  static __device__ __forceinline__ constexpr int abreast(int chunk) { return kFour && chunk < kFull ? 2 : 1; }
  static constexpr bool kAlike = kFull == kChunks || (kChunks < kSlots && (kChunks & (kChunks - 1)) == 0);  // all rows of the table
  static constexpr int kCopies = kChunks < kSlots ? kSlots / kChunks : 1, kAbreast = kFour && kCopies == 1 ? 2 : 1;  // of rows that are
  static constexpr bool kTwin = kFour && kCopies > 1;
  static constexpr int kSpan = kOfSlab > 1 ? 1 : 2;  // slabs that chunks abreast are of, at most
  /// The first chunk of slice `slice`, and products of 16 entries and its chunks: eight, or four that are there twice as often.
  static __device__ __forceinline__ constexpr int first_of(int slice) { return slice * kSlots <= kFull ? slice * kSlots : kFull + row_chunks(kFull); }
  static __device__ __forceinline__ constexpr int products_of(int slice) { return row_chunks(first_of(slice)) / abreast(first_of(slice)); }
  static constexpr int kTurns = (16 + K::kWarps - 1) / K::kWarps;  // blocks of 16 entries that a warp takes
  static_assert(C::kChannels <= 16, "a chunk lies in a slab");
  struct raw_table {
    uint32_t rows[kTurns][kSlabs][4];
    uint32_t q[kSlabs][2];
  };

  /// Starts loading the codebook of one KV head, all threads.
  static __device__ __forceinline__ void load(raw_table& raw, const unsigned char* codebook) {
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
  }
  /// Starts loading the queries; `columns(c)` is column c's row of q, null if it is idle.
  template <class P, class F>
  static __device__ __forceinline__ void load_queries(const P&, raw_table& raw, const F& columns, const unsigned char*) {
    const int g = lane_index() / 4, t = lane_index() % 4;
    const unsigned char* row = columns(g % kColumns);
#pragma unroll
    for (int slab = 0; slab < kSlabs; ++slab) {
      const bytes8 four = row ? load_global(reinterpret_cast<const bytes8*>(row) + slab * 4 + t) : bytes8{};
      raw.q[slab][0] = four.w[0], raw.q[slab][1] = four.w[1];
    }
  }
  /// A product of a turn's: dot products of entries g and g + 8 with columns 2t and 2t + 1 of chunk `chunk` (of two abreast, chunk + t / 2 and 2t mod 4).
  static __device__ __forceinline__ void multiply(float (&d)[4], const raw_table& raw, int turn, int chunk) {
    const int g = lane_index() / 4, t = lane_index() % 4;
#pragma unroll
    for (int i = 0; i < 4; ++i) d[i] = 0;
#pragma unroll
    for (int further = 0; further < kSpan; ++further) {
      if (further >= abreast(chunk)) continue;
      const int slab = chunk / kOfSlab + further;
      const int wanted = chunk - slab * kOfSlab + (abreast(chunk) > 1 ? g / kColumns : 0);  // which of the slab's chunks
      uint32_t b[2];
#pragma unroll
      for (int i = 0; i < 2; ++i) b[i] = (4 * t + 2 * i) / C::kChannels == wanted ? raw.q[slab][i] : 0;
      mma_16x8x16(d, raw.rows[turn][slab], b);
    }
  }

  /// The table's numbers before they are rounded. They take the place of what they are made of, where they fit; elsewhere they are made twice.
  static constexpr bool kKept = kTurns * kSlices * 8 * 4 <= kTurns * kSlabs * 4 + kSlabs * 2;
  struct dot_products {
    float d[kKept ? kTurns : 1][kKept ? kSlices * 8 : 1][4];
  };
  /// Calls use(turn, number, d) for each product of a warp: number 8 s + u is number u of slice s.
  template <class F>
  static __device__ __forceinline__ void each_product(const F& use) {
#pragma unroll
    for (int turn = 0; turn < kTurns; ++turn)
#pragma unroll
      for (int u = 0; u < kSlices * 8; ++u)
        if (u % 8 < products_of(u / 8)) use(turn, u);
  }
  static __device__ __forceinline__ void multiply_nth(float (&d)[4], const raw_table& raw, int turn, int u) { multiply(d, raw, turn, first_of(u / 8) + u % 8 * abreast(first_of(u / 8))); }

  /// Puts zeros in place of queries that are not finite, which no table holds. Gives the lanes that hold some of them: lanes 4c ... 4c + 3 are column c's.
  static __device__ __forceinline__ uint32_t without_infinite(raw_table& raw) {
    uint32_t sum = 0;  // of zeros, unless one is not finite
#pragma unroll
    for (int slab = 0; slab < kSlabs; ++slab)
#pragma unroll
      for (int i = 0; i < 2; ++i) sum = fused_multiply_add_halves(raw.q[slab][i], 0, sum);
    const uint32_t lanes = vote_ballot((sum & 0x7fff7fff) != 0);
    if (__builtin_expect(lanes >> lane_index() / 4 * 4 & 15, 0)) {
#pragma unroll
      for (int slab = 0; slab < kSlabs; ++slab) raw.q[slab][0] = raw.q[slab][1] = 0;
    }
    return lanes;
  }

  /// Multiplies, all threads, and leaves this warp's largest |q . centroid| per column in `maxima`, kMaximaBytes of shared memory; infinite if q is not finite, which
  /// makes a table of zeros and scores that are no numbers (coded_state::raise). A block barrier must follow, then fill().
  static __device__ __forceinline__ void multiply_all(dot_products& products, raw_table& raw, float* maxima) {
    const int warp = warp_index();
#pragma unroll
    for (int i = 0; i < 2 * kSlabs; ++i) raw.q[i / 2][i % 2] = halves_of_query<typename K::Element>(raw.q[i / 2][i % 2]);  // here: where they are asked for it would wait for them
    const uint32_t broken = without_infinite(raw);
    float most[2] = {};
    each_product([&](int turn, int u) {
      float again[4];
      float(&d)[4] = kKept ? products.d[kKept ? turn : 0][kKept ? u : 0] : again;
      multiply_nth(d, raw, turn, u);
#pragma unroll
      for (int i = 0; i < 4; ++i) most[i % 2] = fmaxf(most[i % 2], fabsf(d[i]));
    });
#pragma unroll
    for (int i = 0; i < 2; ++i)
#pragma unroll
      for (int mask = kColumns / 2; mask < 32; mask *= 2) most[i] = fmaxf(most[i], shuffle_xor(most[i], mask));
#pragma unroll
    for (int i = 0; i < 2; ++i)
      if (broken >> (lane_index() % 4 * 8 + 4 * i) & 15) most[i] = -minus_infinity();
    if (lane_index() < kColumns / 2) store_shared(reinterpret_cast<bytes8*>(maxima) + warp * (kColumns / 2) + lane_index(), bytes8{{float_bits(most[0]), float_bits(most[1])}});
  }
  /// The largest |q . centroid| of columns 2t and 2t + 1, modulo their number; never 0.
  static __device__ __forceinline__ void largest(float (&most)[2], const float* maxima) {
    constexpr int kPairs = K::kWarps * kColumns / 2;
    most[0] = most[1] = 1e-30f;
#pragma unroll
    for (int base = 0; base < kPairs; base += 32) {
      if (base + lane_index() >= kPairs) break;
      const bytes8 two = load_shared(reinterpret_cast<const bytes8*>(maxima) + base + lane_index());
#pragma unroll
      for (int i = 0; i < 2; ++i) most[i] = fmaxf(most[i], float_of_bits(two.w[i]));
    }
#pragma unroll
    for (int i = 0; i < 2; ++i)
#pragma unroll
      for (int mask = kColumns / 2; mask < 32; mask *= 2) most[i] = fmaxf(most[i], shuffle_xor(most[i], mask));
  }

  /// Builds the table, all threads.
  static __device__ __forceinline__ void fill(unsigned char* table, const dot_products& products, const raw_table& raw, const float* maxima) {
    const int g = lane_index() / 4, t = lane_index() % 4, warp = warp_index();
    float steps[2];  // to the unit
    largest(steps, maxima);
#pragma unroll
    for (int i = 0; i < 2; ++i) steps[i] = kMiddle * reciprocal_fast(steps[i]);
#pragma unroll
    for (int turn = 0; turn < kTurns; ++turn) {
      const int block = warp + turn * K::kWarps;
      if (block >= 16) break;
#pragma unroll
      for (int slice = 0; slice < kSlices; ++slice) {
        const int first = first_of(slice), different = products_of(slice);
        uint32_t packed[2][8];
#pragma unroll
        for (int u = 0; u < 8; ++u) {
          if (u >= different) {
#pragma unroll
            for (int half = 0; half < 2; ++half) packed[half][u] = packed[half][u - different];
            continue;
          }
          float d[4];
          if constexpr (kKept) {
#pragma unroll
            for (int i = 0; i < 4; ++i) d[i] = products.d[turn][slice * 8 + u][i];
          } else {
            multiply_nth(d, raw, turn, slice * 8 + u);
          }
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
          unsigned char* to;
          if constexpr (kAlike) {
            const int u = slice * 8 + (step + g) % 8;
            const int chunk = kAbreast * u + (kAbreast > 1 ? t / 2 : 0), copy = kTwin ? t / 2 : 0;
            to = table + (block * 16 + g) * kRow + chunk / kSlots * kSlice + (chunk % kSlots + copy * kChunks) * kEntryBytes + t * 2 % kColumns * 2;
          } else {
            const int place = (step + g) % 8, twin = is_twin(first) ? 1 : 0;
            const int in_row = abreast(first) * (place % different) + (abreast(first) > 1 ? t / 2 : 0), copy = twin * (t / 2) + place / different * (1 + twin);
            to = table + (block * 16 + g) * kRow + slice * kSlice + (in_row + copy * row_chunks(first)) * kEntryBytes + t * 2 % kColumns * 2;
          }
#pragma unroll
          for (int half = 0; half < 2; ++half) store_shared(reinterpret_cast<uint32_t*>(to + half * 8 * kRow), packed[half][step]);
        }
      }
    }
  }
  template <class P, class F>
  __device__ __forceinline__ void begin(const P& p, const unsigned char* table, const raw_table&, const F&, const float* maxima, unsigned char*, bool, int) {
    const uint32_t zero = uint32_t(p.batch) >> 31;
    const int r = lane_index() / 4, t = lane_index() % 4;
#pragma unroll
    for (int i = 0; i < kAddresses; ++i) {
      if constexpr ((kPerLane & (kPerLane - 1)) == 0) {  // one part
        const int chunk = 4 * (i ^ int(key_turn<C>(r))) + t;
        address[i] = opaque(shared_address(table) + chunk / kSlots * kSlice + chunk % kSlots * kEntryBytes + (kCopies > 1 ? r / 2 % kCopies * kChunks * kEntryBytes : 0), zero);
      } else {
        const int group = i < 4 ? i : kWhole + i - 4, in_row = row_chunks(4 * group), copies = kSlots / in_row;  // of a lane row that takes no turns
        const int chunk = 4 * int(key_place<C>(r, group)) + t;
        address[i] = opaque(shared_address(table) + slice_of(chunk) * kSlice + (chunk - first_of(slice_of(chunk)) + r / part_of(group) % copies * in_row) * kEntryBytes, zero);
      }
    }
    // B's register i holds word i % 2 of the entries of block (or quad of columns) i / 2: bytes 0 and 1 are one column's, 2 and 3 the next one's.
    const int g = lane_index() / 4, element = g % 2;
#pragma unroll
    for (int i = 0; i < 4; ++i) pick[i] = opaque(g / 4 == i / 2 && g % 4 / 2 == t / 2 ? (element ? 0x1000100u : 0x10001u) : 0u, zero);
    places = opaque(t % 2 ? 0xddddddddu : 0x88888888u, zero);  // rows g: bytes 0 and 2, the low ones; rows g + 8: bytes 1 and 3
    float most[2];
    largest(most, maxima);
    const int mine = column(0);
    const float even = shuffle(most[0], mine / 2), odd = shuffle(most[1], mine / 2);
    step = float_of_bits(opaque(float_bits((mine % 2 ? odd : even) / kMiddle * p.scale * kLog2e), zero));
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
    uint32_t sums[4][kSums][kParts];  // [block]
#pragma unroll
    for (int first = 0; first < 4; first += kTogether) {
      uint32_t found[kTogether][kPerLane][kParts];
#pragma unroll
      for (int block = 0; block < kTogether; ++block)
#pragma unroll
        for (int i = 0; i < kPerLane; ++i) {
          const int byte = (first + block) % 2 * kPerLane + i;
          const int base = i < kWhole ? i % 4 : kAddresses - kPerLane + i;
          const uint32_t at = rows.at(codes[(first + block) / 2][byte / kWordCodes], byte % kWordCodes, address[base]) + (i < kWhole ? i / 4 * (16 / kSlots) * kSlice : 0);
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
            if constexpr (kAtOnce == 3) sum = sum + found[block][i + kAtOnce - 1][c];
            if constexpr (kAtOnce == 4) sum = sum + found[block][i + kAtOnce - 2][c] + found[block][i + kAtOnce - 1][c];
            sums[first + block][i / kAtOnce][c] = sum;
          }
    }
#pragma unroll
    for (int pair = 0; pair < 4 / kBlocks; ++pair) {
      int d[4] = {};
#pragma unroll
      for (int i = 0; i < kSums; ++i) {
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
