// Scores by dot product with int8 centroids: look-ups are A fragments of the integer matrix unit, and q, with the centroids' scales
// in it, is a 16-bit fixed-point number whose two bytes are two columns of B. Sums are exact. Tokens are rows of A.

template <class K>
struct dot_keys : token_rows<K> {
  using C = typename K::Key;
  static_assert(C::kQ8 && C::kChannels == 2, "generator/tile.ts let another key codec through");
  static_assert(C::kTurnHigh == 0 && C::kTurnShift == 0 && C::kTurnMask == 3, "place m holds word m ^ (g % 4)");
  using Rows = token_rows<K>;
  using typename Rows::dot_products;
  using Rows::kColumns, Rows::kScores, Rows::kLaneColumns, Rows::kGainWords;
  static constexpr int kChunks = K::kHeadDim / 2, kPerLane = kChunks / 4;
  static constexpr int kRow = 128, kSlice = 256 * kRow, kSlices = K::kHeadDim / 64;
  static constexpr int kTableBytes = kSlices * kSlice;
  static constexpr int kCodeWords = kChunks / 8;
  static constexpr int kSteps = K::kHeadDim / 32;
  static constexpr int kSets = kColumns / 4;  // B fragments: both bytes of 4 columns, or the high and the low bytes of 8
  static constexpr int kWarpBytes = 0;
  static constexpr float kLargest = 32639;  // 127 * 256 + 127: both bytes stay signed bytes

  uint32_t q[kSets][kSteps][2];
  float scale[kLaneColumns];
  uint32_t address[4];  // of the look-ups of code 0

  static constexpr int kTurns = (32 * kSlices + K::kWarps - 1) / K::kWarps;
  struct raw_table {
    bytes16 piece[kTurns][2];
    uint32_t q[kSteps * 2][2];     // of a word's channels, two each
    bytes8 scales[kSteps * 2][2];
  };
  /// Starts loading the codebook of one KV head, all threads.
  static __device__ __forceinline__ void load(raw_table& raw, const unsigned char* codebook) {
    const int word = lane_index() % 16;
#pragma unroll
    for (int turn = 0; turn < kTurns; ++turn) {
      const int line = min_int(warp_index() + turn * K::kWarps, 32 * kSlices - 1), chunk = 4 * (8 * (line / 32) + word / 4) + word % 4;
#pragma unroll
      for (int half = 0; half < 2; ++half) raw.piece[turn][half] = load_global(reinterpret_cast<const bytes16*>(codebook + ((chunk + 16 * half) * 256 + line % 32 * 8) * 2));
    }
  }
  /// Word t + 4 * m of a slice's row holds the entries of chunks 4 * (8 * slice + m) + t and 16 further, in both halves of the row.
  static __device__ __forceinline__ void fill(unsigned char* table, const dot_products&, const raw_table& raw, float*) {
#pragma unroll
    for (int turn = 0; turn < kTurns; ++turn) {
      const int line = warp_index() + turn * K::kWarps;
      if (line >= 32 * kSlices) break;
#pragma unroll
      for (int e = 0; e < 8; ++e)
        store_shared(reinterpret_cast<uint32_t*>(table + line / 32 * kSlice + (line % 32 * 8 + e) * kRow) + lane_index(),
                     permute_bytes(raw.piece[turn][0].w[e / 2], raw.piece[turn][1].w[e / 2], e % 2 ? 0x7632 : 0x5410));
    }
  }

  /// Channel `i` (0 ... 3) of word `word` (of a token's kSteps * 2) in lane column t.
  static __device__ __forceinline__ int channel(int word, int t, int i) { return (4 * (word / 4 * 8 + word % 4 + i / 2 * 4) + t) * 2 + i % 2; }

  /// Starts loading the queries and the centroids' scales; `columns(c)` is column c's row of q, null if it is idle.
  template <class P, class F>
  static __device__ __forceinline__ void load_queries(const P&, raw_table& raw, const F& columns, const unsigned char* codebook) {
    const unsigned char* row = columns(kColumns == 4 ? lane_index() / 8 : lane_index() / 4);
#pragma unroll
    for (int word = 0; word < kSteps * 2; ++word)
#pragma unroll
      for (int two = 0; two < 2; ++two) {
        const int at = channel(word, lane_index() % 4, 2 * two);
        raw.q[word][two] = row ? load_global(reinterpret_cast<const uint32_t*>(row + at * 2)) : 0;
        raw.scales[word][two] = load_global(reinterpret_cast<const bytes8*>(codebook + K::Key::kScaleOffset + at * 4));
      }
  }

  /// This CTA's query columns.
  template <class P, class F>
  __device__ __forceinline__ void begin(const P& p, const unsigned char* table, const raw_table& raw, const F&, const float*, unsigned char*, bool, int) {
    const int g = lane_index() / 4, t = lane_index() % 4;
    float x[kSteps * 2][4], most = 0, none = 0;
#pragma unroll
    for (int word = 0; word < kSteps * 2; ++word)
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        x[word][i] = to_float(typename K::Element{uint16_t(raw.q[word][i / 2] >> (16 * (i % 2)))}) * float_of_bits(raw.scales[word][i / 2].w[i % 2]);
        most = fmaxf(most, fabsf(x[word][i]));
        none = fused_multiply_add(x[word][i], 0.0f, none);
      }
    if (none != 0) most = -minus_infinity();  // NaN, too, of which the maximum knows nothing
    most = fmaxf(most, shuffle_xor(most, 1));
    most = fmaxf(most, shuffle_xor(most, 2));
    if (__builtin_expect(most == -minus_infinity(), 0)) {  // zeros times infinity: every score is no number (coded_state::raise)
#pragma unroll
      for (int word = 0; word < kSteps * 2; ++word)
#pragma unroll
        for (int i = 0; i < 4; ++i) x[word][i] = 0;
    }
    const float steps = most > 0 ? kLargest / most : 0;
    const float step = most / kLargest * p.scale * kLog2e;
#pragma unroll
    for (int c = 0; c < kLaneColumns; ++c) scale[c] = shuffle(step, 8 * t + 4 * c);
#pragma unroll
    for (int word = 0; word < kSteps * 2; ++word) {
      uint32_t high = 0, low = 0;
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int fixed = int(round_even(x[word][i] * steps)), upper = (fixed + 128) >> 8;
        high |= uint32_t(upper & 0xff) << (8 * i);
        low |= uint32_t((fixed - upper * 256) & 0xff) << (8 * i);
      }
      if constexpr (kColumns == 4) {
        q[0][word / 2][word % 2] = g % 2 ? low : high;
      } else {
        q[0][word / 2][word % 2] = high;
        q[kSets - 1][word / 2][word % 2] = low;
      }
    }
    // Rows g and g ^ 4 read the two halves of a table row; the four rows between them read four different words.
#pragma unroll
    for (int m = 0; m < 4; ++m) address[m] = opaque(shared_address(table) + (g / 4 * 16 + t + 4 * (m ^ (g % 4))) * 4, uint32_t(p.batch) >> 31);
  }

  /// Scores of a tile, in log2 units, `bias` added.
  template <class Meanwhile>
  __device__ __forceinline__ void scores(const row_places<K>& rows, float (&s)[kScores], const uint32_t (&codes)[2][kCodeWords],
                                         const uint32_t (&gains)[2][kGainWords], const float (&bias)[kLaneColumns], const Meanwhile& meanwhile) const {
    meanwhile();
    const bool odd = lane_index() / 4 % 2, upper = lane_index() / 8 % 2;
#pragma unroll
    for (int unit = 0; unit < 2; ++unit) {
      int sum[kSets][4] = {};
#pragma unroll
      for (int slice = 0; slice < kSlices; ++slice) {
        uint32_t words[2][4];  // [token][word]
#pragma unroll
        for (int v = 0; v < 2; ++v) {
#pragma unroll
          for (int m = 0; m < 4; ++m) {
            const int byte = v * kPerLane + slice * 8 + m;
            const auto at = [&](int b) { return rows.at(codes[unit][b / 4], b % 4, address[m]) + slice * kSlice; };
            const uint32_t low = load_table_u16(at(byte)), high = load_table_u16(at(byte + 4) + 2);
            words[v][m] = permute_bytes(low, high, 0x5410);
          }
          // Place m holds word m ^ (g % 4): back into order, so that a step's words are the same in every row.
          uint32_t turned[4];
#pragma unroll
          for (int m = 0; m < 4; ++m) turned[m] = odd ? words[v][m ^ 1] : words[v][m];
#pragma unroll
          for (int m = 0; m < 4; ++m) words[v][m] = upper ? turned[m ^ 2] : turned[m];
        }
#pragma unroll
        for (int half = 0; half < 2; ++half)
#pragma unroll
          for (int set = 0; set < kSets; ++set)
            mma_16x8x32_s8s8(sum[set], {words[0][2 * half], words[1][2 * half], words[0][2 * half + 1], words[1][2 * half + 1]}, q[set][slice * 2 + half]);
      }
#pragma unroll
      for (int v = 0; v < 2; ++v)
#pragma unroll
        for (int c = 0; c < kLaneColumns; ++c) {
          const int high = kColumns == 4 ? sum[0][2 * v] : sum[0][2 * v + c], low = kColumns == 4 ? sum[0][2 * v + 1] : sum[kSets - 1][2 * v + c];
          const int i = (2 * unit + v) * kLaneColumns + c;
          s[i] = fused_multiply_add(float(high * 256 + low), Rows::factor(scale[c], gains, i), bias[c]);
        }
    }
  }
};

/// How this kernel scores coded keys.
template <class K>
using key_method = dot_keys<K>;
