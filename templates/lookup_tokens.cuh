// Scores that have tokens as rows of the matrix unit's result: what turned and dotted keys have in common. Lane 4g + t holds tokens g and
// g + 8 of each unit, and column t of 4, or columns 2t and 2t + 1 of 8.

template <class K>
struct token_rows {
  static constexpr int kColumns = K::kColumns;
  static constexpr int kScores = kColumns, kLaneColumns = kColumns / 4;
  static constexpr int kSharedBits = 4 | 8 | 16;        // lanes that share columns, and hold other tokens, differ in these
  static constexpr bool kTablePerPiece = false;         // the table depends on the KV head alone
  static constexpr int kMaximaBytes = 0;
  static constexpr bool kKept = true;
  struct dot_products {};                               // the table holds centroids

  /// What the bias of column `c` begins as.
  __device__ __forceinline__ float origin(int) const { return 0; }

  /// Column of score `i`, token of score `i` in the tile of 32.
  static __device__ __forceinline__ int column(int i) { return kColumns == 4 ? lane_index() % 4 : lane_index() % 4 * 2 + i % 2; }
  static __device__ __forceinline__ int token(int i) { return i / kLaneColumns * 8 + lane_index() / 4; }
  static __device__ __forceinline__ bool is_writer() { return lane_index() < 4; }

  // Gains of a unit, as loaded: tokens g and g + 8.
  static constexpr int kGainWords = 1;
  static __device__ __forceinline__ const unsigned char* gains_at(const unsigned char* gains) { return gains + lane_index() / 4 * 4; }
  static __device__ __forceinline__ void load_gains(uint32_t (&words)[1], const unsigned char* gains) {
    words[0] = load_global_once(reinterpret_cast<const uint32_t*>(gains));
  }
  /// The factor of score `i`: `scale` of its column, and its token's gain.
  static __device__ __forceinline__ float factor(float scale, const uint32_t (&gains)[2][kGainWords], int i) {
    if constexpr (!K::kKeyGain) return scale;
    return scale * to_float(f16{uint16_t(gains[i / (2 * kLaneColumns)][0] >> (16 * (i / kLaneColumns % 2)))});
  }

  /// Of 4 columns: the one whose values this lane sums, and the place of its channels in a pair.
  static __device__ __forceinline__ int value_column() { return lane_index() / 8; }
  static __device__ __forceinline__ int value_element() { return lane_index() / 4 % 2; }
  /// The value that `mine` has in the lanes of the columns whose values this lane sums.
  static __device__ __forceinline__ void to_value_lanes(float (&theirs)[kLaneColumns], const float (&mine)[kLaneColumns]) {
#pragma unroll
    for (int c = 0; c < kLaneColumns; ++c) theirs[c] = kColumns == 4 ? shuffle(mine[c], value_column()) : mine[c];
  }
  /// Weights (fixed point in the low 16 bits) to operands of the values' product, by one transpose per 8 tokens; 4 columns come twice, in rows 2n and 2n + 1.
  static __device__ __forceinline__ void weights(uint32_t (&w)[value_sums<K>::kWeightSets][value_sums<K>::kWeightWords], const uint32_t (&x)[kScores]) {
#pragma unroll
    for (int unit = 0; unit < 2; ++unit) {
      uint32_t rows[2];
#pragma unroll
      for (int v = 0; v < 2; ++v) {
        const int i = (2 * unit + v) * kLaneColumns;
        rows[v] = transpose_matrix(kColumns == 4 ? permute_bytes(x[i], x[i], 0x1010) : permute_bytes(x[i], x[i + kLaneColumns - 1], 0x5410));
      }
      pack_weights<K>(w, unit, rows[0], rows[1]);
    }
  }
};
