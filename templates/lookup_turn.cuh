// Scores of keys coded before RoPE: centroids are looked up as f16 fragments and rotated in registers by their place in the unit of
// 16 tokens, which is the same in every unit; the unit's own position turns the queries instead. Tokens are rows of A.

template <class K>
struct turn_keys {
  using C = typename K::Key;
  static_assert(!C::kQ8 && (C::kChannels == 8 || C::kChannels == 4), "generator/tile.ts let another key codec through");
  static constexpr int kColumns = K::kColumns;
  static constexpr int kChunks = K::kHeadDim / C::kChannels;
  static constexpr int kPairs = kChunks / 8;           // groups of 4 chunks whose partners lie kPairs groups higher
  static constexpr int kWords = C::kChannels / 2;      // of a look-up, two channels each
  static constexpr int kEntryBytes = 2 * C::kChannels, kSlots = 128 / kEntryBytes;
  static constexpr bool kSwaps = C::kChannels == 4;    // neighbours trade places in every second pair of lane rows
  static constexpr int kRow = 128, kSlice = 256 * kRow, kSlices = kChunks / kSlots;
  static constexpr int kTableBytes = kSlices * kSlice;
  static constexpr int kCodeWords = kChunks / 8;
  static constexpr int kScores = kColumns, kLaneColumns = kColumns / 4;
  static constexpr bool kTablePerPiece = false;
  static constexpr int kMaximaBytes = 0;
  static constexpr int kGainWords = 1;
  static constexpr int kReduceFrom = 4, kReduceTo = 32;
  static __device__ __forceinline__ bool is_writer() { return true; }
  /// Shared memory of a warp: cos and sin of its tile's two units, [unit][pairs of pairs][t] of 16 bytes, units 64 bytes off in the banks.
  static constexpr int kUnitStride = K::kHeadDim / 32 * 64 + 64;
  static constexpr int kWarpBytes = 2 * kUnitStride;

  uint32_t q[2][kPairs * kWords];      // first and second halves of the pairs of this lane's column
  uint32_t near[2][kPairs * kWords];   // [token g, g + 8]: what the look-up of the even place ...
  uint32_t far[2][kPairs * kWords];    // ... and its partner's are multiplied by
  float sign;                          // of the second halves' products: odd rows hold partners in the other order
  float scale;
  uint32_t offset[kSwaps ? 4 : 2];     // of look-ups: [partner + 2 * neighbour]
  float cosine[4], sine[4], step_cosine[4], step_sine[4];  // of the 4 pairs that this lane turns for the warp

  static __device__ __forceinline__ int column(int i) { return kColumns == 4 ? lane_index() % 4 : lane_index() % 4 * 2 + i % 2; }
  static __device__ __forceinline__ int token(int i) { return i / (kColumns / 4) * 8 + lane_index() / 4; }

  /// The chunk in slot `slot` of slice `slice`: slots differ in t, in the partner and, of 8-byte entries, in the neighbour.
  static __device__ __forceinline__ int chunk_of(int slot, int slice) {
    const int partner = slot / 4 % 2, group = kSwaps ? slice * 2 + slot / 8 : slice;
    return 4 * (partner * kPairs + group) + slot % 4;
  }

  /// Copies the codebook of one KV head from global memory, all threads.
  template <class P, class F>
  static __device__ __forceinline__ void fill(const P&, unsigned char* table, const unsigned char* codebook, const F&, float*) {
    constexpr int kEntries = 32 / kEntryBytes;  // of a task: 32 bytes, one sector, of the codebook
    for (int task = thread_index(); task < K::kHeadDim * 256 * 2 / 32; task += K::kWarps * 32) {
      const int slot = task % kSlots, line = task / kSlots % (256 / kEntries), slice = task / (kSlots * 256 / kEntries);
      const bytes16* from = reinterpret_cast<const bytes16*>(codebook + (chunk_of(slot, slice) * 256 + line * kEntries) * kEntryBytes);
      const bytes16 raw[2] = {load_global(from), load_global(from + 1)};
      unsigned char* to = table + slice * kSlice + line * kEntries * kRow + slot * kEntryBytes;
#pragma unroll
      for (int e = 0; e < kEntries; ++e) {
        if constexpr (kEntryBytes == 16) store_shared(reinterpret_cast<bytes16*>(to + e * kRow), raw[e % 2]);
        else store_shared(reinterpret_cast<bytes8*>(to + e * kRow), bytes8{{raw[e / 2].w[e % 2 * 2], raw[e / 2].w[e % 2 * 2 + 1]}});
      }
    }
  }

  /// Channel of the first half of pair `e` (0, 1) in word `i` of lane column t.
  static __device__ __forceinline__ int first_channel(int i, int t, int e) { return (4 * (i / kWords) + t) * C::kChannels + 2 * (i % kWords) + e; }

  /// This CTA's query columns and the rotations within a unit; `columns(c)` is column c's row of q, null if it is idle.
  template <class P, class F>
  __device__ __forceinline__ void begin(const P& p, const F& columns, const float*, const float*) {
    const int g = lane_index() / 4, t = lane_index() % 4;
    const unsigned char* row = columns(kColumns == 4 ? g / 2 : g);
    sign = g % 2 ? -1.0f : 1.0f;
    scale = p.scale * p.attention_factor * kLog2e;
#pragma unroll
    for (int i = 0; i < kPairs * kWords; ++i) {
      const int channel = first_channel(i, t, 0);
#pragma unroll
      for (int half = 0; half < 2; ++half)
        q[half][i] = row ? load_global(reinterpret_cast<const uint32_t*>(row + (channel + half * K::kHeadDim / 2) * 2)) : 0;
#pragma unroll
      for (int v = 0; v < 2; ++v) {
        float c[2], s[2];
#pragma unroll
        for (int e = 0; e < 2; ++e) rope_angle(g + 8 * v, load_global(p.inv_freq + channel + e), s[e], c[e]);
        // Even rows look up (x, y) and odd rows (y, x): x' = x cos - y sin; y' = y cos + x sin comes out negated in odd rows.
        const uint32_t cosines = pack_halves(c[0], c[1]), sines = pack_halves(-s[0], -s[1]);
        near[v][i] = g % 2 ? sines : cosines;
        far[v][i] = g % 2 ? cosines : sines;
      }
    }
#pragma unroll
    for (int neighbour = 0; neighbour < (kSwaps ? 2 : 1); ++neighbour)
#pragma unroll
      for (int partner = 0; partner < 2; ++partner)
        offset[2 * neighbour + partner] = opaque((t + 4 * (partner ^ (g % 2)) + 8 * (kSwaps ? neighbour ^ (g / 2 % 2) : 0)) * kEntryBytes);
#pragma unroll
    for (int i = 0; i < 4; ++i) rope_angle(K::kWarps * 32, load_global(p.inv_freq + turned_pair(i)), step_sine[i], step_cosine[i]);
  }

  // Lane = 16 * unit + 4 * part + t turns words 2 * part and 2 * part + 1 of column t, for one of the tile's units.
  static __device__ __forceinline__ int turned_pair(int i) {
    const int part = lane_index() / 4 % 4 % (K::kHeadDim / 32);
    return first_channel(2 * part + i / 2, lane_index() % 4, i % 2);
  }
  /// The next tile's first token stands at `position`: angles from scratch, so that the steps' errors do not add up over more than 32 tiles.
  template <class P>
  __device__ __forceinline__ void place(const P& p, int position) {
#pragma unroll
    for (int i = 0; i < 4; ++i) rope_angle(position + 16 * (lane_index() / 16), load_global(p.inv_freq + turned_pair(i)), sine[i], cosine[i]);
  }
  __device__ __forceinline__ void advance() {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const float next = cosine[i] * step_cosine[i] - sine[i] * step_sine[i];
      sine[i] = sine[i] * step_cosine[i] + cosine[i] * step_sine[i];
      cosine[i] = next;
    }
  }
  __device__ __forceinline__ void publish(unsigned char* turns) const {
    const int part = lane_index() / 4 % 4;
    if (part < K::kHeadDim / 32)
      store_shared(reinterpret_cast<bytes16*>(turns + lane_index() / 16 * kUnitStride + part * 64) + lane_index() % 4,
                   bytes16{{pack_halves(cosine[0], cosine[1]), pack_halves(sine[0], sine[1]), pack_halves(cosine[2], cosine[3]), pack_halves(sine[2], sine[3])}});
  }
  /// The lane's query column, turned back by the position of unit `unit`, as B fragments: [first halves, second halves].
  __device__ __forceinline__ void turn_queries(uint32_t (&b)[2][kPairs * kWords], const unsigned char* turns, int unit) const {
#pragma unroll
    for (int part = 0; part < K::kHeadDim / 32; ++part) {
      const bytes16 turn = load_shared(reinterpret_cast<const bytes16*>(turns + unit * kUnitStride + part * 64) + lane_index() % 4);
#pragma unroll
      for (int w = 0; w < 2; ++w) {
        const int i = 2 * part + w;
        const uint32_t c = turn.w[2 * w], s = turn.w[2 * w + 1];
        b[0][i] = fused_multiply_add_halves(c, q[0][i], multiply_halves(s, q[1][i]));
        b[1][i] = fused_multiply_add_halves(c, q[1][i], multiply_halves(negate_halves(s), q[0][i]));
      }
    }
  }

  // Gains of a unit, as loaded: tokens g and g + 8.
  static __device__ __forceinline__ void load_gains(uint32_t (&words)[1], const unsigned char* gains) {
    words[0] = load_global_once(reinterpret_cast<const uint32_t*>(gains) + lane_index() / 4);
  }

  /// One look-up: the words of an entry.
  static __device__ __forceinline__ void look_up(uint32_t (&words)[kWords], const unsigned char* at) {
    if constexpr (kWords == 4) {
      const bytes16 entry = load_shared(reinterpret_cast<const bytes16*>(at));
#pragma unroll
      for (int w = 0; w < kWords; ++w) words[w] = entry.w[w];
    } else {
      const bytes8 entry = load_shared(reinterpret_cast<const bytes8*>(at));
      words[0] = entry.w[0], words[1] = entry.w[1];
    }
  }

  /// Scores of a tile, in log2 units, `bias` added; `turns` is this warp's shared memory, published and past a warp barrier.
  __device__ __forceinline__ void scores(float (&s)[kScores], const unsigned char* table, const uint32_t (&shift)[4], const uint32_t (&codes)[2][kCodeWords],
                                         const uint32_t (&gains)[2][kGainWords], const float (&bias)[kLaneColumns], const unsigned char* turns) const {
    uint32_t b[2][kPairs * kWords];
    // Of 8 query columns each unit turns its own; 4 columns fill 8 in two positions: even ones stand at unit 0, odd ones at unit 1.
    if constexpr (kColumns == 4) turn_queries(b, turns, lane_index() / 4 % 2);
#pragma unroll
    for (int unit = 0; unit < 2; ++unit) {
      if constexpr (kColumns == 8) turn_queries(b, turns, unit);
      float first[4] = {}, second[4] = {};
      constexpr int kNeighbours = kSwaps ? 2 : 1;
#pragma unroll
      for (int pair = 0; pair < kPairs; pair += kNeighbours) {
        uint32_t found[2][kNeighbours][2][kWords];  // [token][neighbour][partner]
#pragma unroll
        for (int v = 0; v < 2; ++v)
#pragma unroll
          for (int n = 0; n < kNeighbours; ++n)
#pragma unroll
            for (int partner = 0; partner < 2; ++partner) {
              const int byte = v * 2 * kPairs + partner * kPairs + pair + n;
              look_up(found[v][n][partner],
                      table + pair / kNeighbours * kSlice + dot_bytes(codes[unit][byte / 4], shift[byte % 4], offset[2 * n + partner]));
            }
        if constexpr (kSwaps) {
          const bool swapped = lane_index() / 8 % 2;
#pragma unroll
          for (int v = 0; v < 2; ++v)
#pragma unroll
            for (int partner = 0; partner < 2; ++partner)
#pragma unroll
              for (int w = 0; w < kWords; ++w) {
                const uint32_t x = found[v][0][partner][w], y = found[v][kNeighbours - 1][partner][w];
                found[v][0][partner][w] = swapped ? y : x;
                found[v][kNeighbours - 1][partner][w] = swapped ? x : y;
              }
        }
#pragma unroll
        for (int n = 0; n < kNeighbours; ++n)
#pragma unroll
          for (int w = 0; w < kWords; w += 2) {
            uint32_t x[4], y[4];  // A fragments: [token + 2 * word]
#pragma unroll
            for (int k = 0; k < 4; ++k) {
              const int v = k % 2, i = (pair + n) * kWords + w + k / 2;
              const uint32_t even = found[v][n][0][w + k / 2], odd = found[v][n][1][w + k / 2];
              x[k] = fused_multiply_add_halves(near[v][i], even, multiply_halves(far[v][i], odd));
              y[k] = fused_multiply_add_halves(near[v][i], odd, multiply_halves(negate_halves(far[v][i]), even));
            }
            const int i = (pair + n) * kWords + w;
            mma_16x8x16(first, x, {b[0][i], b[0][i + 1]});
            mma_16x8x16(second, y, {b[1][i], b[1][i + 1]});
          }
      }
#pragma unroll
      for (int v = 0; v < 2; ++v) {
        float factor = scale;
        if constexpr (K::kKeyGain) factor *= to_float(f16{uint16_t(gains[unit][0] >> (16 * v))});
#pragma unroll
        for (int c = 0; c < kLaneColumns; ++c) {
          const int d = 2 * v + (kColumns == 4 ? unit : c);
          s[(2 * unit + v) * kLaneColumns + c] = fused_multiply_add(fused_multiply_add(second[d], sign, first[d]), factor, bias[c]);
        }
      }
    }
  }

  static __device__ __forceinline__ void to_value_lanes(float (&theirs)[kLaneColumns], const float (&mine)[kLaneColumns]) {
#pragma unroll
    for (int c = 0; c < kLaneColumns; ++c) theirs[c] = mine[c];
  }
  /// Weights (fixed point in the low 16 bits) to B fragments of the values' product: one transpose per 8 tokens.
  static __device__ __forceinline__ void weights(uint32_t (&b)[kColumns / 4][2], const uint32_t (&x)[kScores], const uint32_t (&select)[2]) {
    transpose_weights<kColumns>(b, x, select);
  }
};
