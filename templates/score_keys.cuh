// A warp's keys in registers, and what a tile of query columns adds to their scores. Lane = 4 * g + t throughout: products have keys g and g + 8 of a unit
// on rows, columns 2t and 2t + 1 of eight on columns.

/// Keys, and for form exact values, of the warp's units of 16, as A fragments.
template <class K>
struct key_fragments {
  static constexpr int kSteps = K::kHeadDim / 16;
  uint32_t k[K::kUnits][kSteps][4];
  uint32_t v[K::kTimesDistance ? K::kUnits : 1][kSteps][4];
  float v_norm[K::kTimesDistance ? K::kUnits : 1][2];  // -|v|^2 / 2 of keys g and g + 8
};

/// Reads 16 rows; those from `valid` on are zeros. Once per CTA: straight from global memory.
template <int kSteps>
__device__ __forceinline__ void load_fragments(uint32_t (&a)[kSteps][4], const unsigned char* rows, int64_t row_bytes, int valid) {
  const int g = lane_index() / 4, t = lane_index() % 4;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const bool exists = g + 8 * half < valid;
    const auto* row = reinterpret_cast<const uint32_t*>(rows + (exists ? g + 8 * half : 0) * row_bytes);
#pragma unroll
    for (int step = 0; step < kSteps; ++step)
#pragma unroll
      for (int i = 0; i < 2; ++i) a[step][half + 2 * i] = exists ? load_global(row + step * 8 + i * 4 + t) : 0;
  }
}

/// -|x|^2 / 2 of rows g and g + 8.
template <int kSteps>
__device__ __forceinline__ void half_norms(float (&norm)[2], const uint32_t (&a)[kSteps][4]) {
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    float sum = 0;
#pragma unroll
    for (int i = 0; i < kSteps * 4; ++i) {
      const float x = to_float(f16{uint16_t(a[i / 4][half + 2 * (i / 2 % 2)] >> (16 * (i % 2)))});
      sum = fused_multiply_add(x, x, sum);
    }
    sum += shuffle_xor(sum, 1);
    norm[half] = -0.5f * (sum + shuffle_xor(sum, 2));
  }
}

/// Products of some columns with all of a warp's keys, not yet weighed.
template <class K>
struct column_products {
  // Sums that do not wait for each other: four cover the latency of the matrix unit.
  static constexpr int kSums = K::kUnits * (K::kTimesDistance ? 2 : 1);
  static constexpr int kGroups = kSums >= 3 ? 1 : kSums == 2 ? 2 : 4;  // of eight columns
  float score[kGroups][K::kUnits][4];                                   // q . k
  float distance[kGroups][K::kTimesDistance ? K::kUnits : 1][4];        // -|v - o|^2 / 2
};

/// d += keys * columns, of eight columns in shared memory.
template <class K>
__device__ __forceinline__ void multiply(float (&d)[K::kUnits][4], const uint32_t (&keys)[K::kUnits][K::kHeadDim / 16][4], const f16* columns) {
  const f16* row = columns + lane_index() % 8 * column_tile<K>::kStride + lane_index() / 8 * 8;
#pragma unroll
  for (int step = 0; step < K::kHeadDim / 16; step += 2) {
    uint32_t b[4];
    load_matrix_x4(b, row + step * 16);
#pragma unroll
    for (int half = 0; half < 2; ++half)
#pragma unroll
      for (int u = 0; u < K::kUnits; ++u) mma_16x8x16(d[u], keys[u][step + half], {b[2 * half], b[2 * half + 1]});
  }
}

/// Two floats of columns 2t and 2t + 1.
__device__ __forceinline__ void load_pair(float (&x)[2], const float* from) {
  const bytes8 pair = load_shared(reinterpret_cast<const bytes8*>(from + lane_index() % 4 * 2));
  x[0] = float_of_bits(pair.w[0]), x[1] = float_of_bits(pair.w[1]);
}

/// The products of columns `first` ... with a warp's keys.
template <class K>
__device__ __forceinline__ void multiply_columns(column_products<K>& to, const key_fragments<K>& keys, const column_tile<K>& tile, int first) {
#pragma unroll
  for (int group = 0; group < column_products<K>::kGroups; ++group) {
    const int column = first + group * 8;
#pragma unroll
    for (int i = 0; i < K::kUnits * 4; ++i) to.score[group][i / 4][i % 4] = 0;
    multiply<K>(to.score[group], keys.k, tile.q + column * column_tile<K>::kStride);
    if constexpr (K::kTimesDistance) {
      // Sums begin with both norms, so that the product itself ends as the distance.
      float o_norm[2];
      load_pair(o_norm, tile.factor + column);
#pragma unroll
      for (int i = 0; i < K::kUnits * 4; ++i) to.distance[group][i / 4][i % 4] = keys.v_norm[i / 4][i / 2 % 2] + o_norm[i % 2];
      multiply<K>(to.distance[group], keys.v, tile.o + column * column_tile<K>::kStride);
    }
  }
}

/// Adds what products `from` of columns `first` ... weigh. `scale` is log2(e) times the scale of scores. Masked: key g of the first unit has position `key`.
template <class K, bool kMasked>
__device__ __forceinline__ void add_weights(float (&sum)[K::kUnits][2], const column_products<K>& from, const column_tile<K>& tile, int first, int key, float scale) {
#pragma unroll
  for (int group = 0; group < column_products<K>::kGroups; ++group) {
    const int column = first + group * 8;
    float offset[2], factor[2] = {-1, -1};
    load_pair(offset, tile.offset + column);
    if constexpr (K::kTimesQuery && !K::kTimesDistance) load_pair(factor, tile.factor + column);
    int position[2];
    if constexpr (kMasked) {
#pragma unroll
      for (int c = 0; c < 2; ++c) position[c] = load_shared(tile.position + column + lane_index() % 4 * 2 + c);
    }
#pragma unroll
    for (int u = 0; u < K::kUnits; ++u)
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int c = i % 2, half = i / 2;
        float score = from.score[group][u][i];
        if constexpr (kMasked) score = key + u * 16 + half * 8 <= position[c] ? score : minus_infinity();
        const float weight = exp2_fast(fused_multiply_add(score, scale, offset[c]));
        if constexpr (K::kTimesDistance) {
          // Where v and o agree rounding may leave the wrong sign. 2^1/2 is in the offset.
          sum[u][half] = fused_multiply_add(weight, square_root_fast(fabsf(from.distance[group][u][i])), sum[u][half]);
        } else if constexpr (K::kTimesRest) {
          sum[u][half] = fused_multiply_add(weight, saturate(fused_multiply_add(weight, factor[c], 1)), sum[u][half]);
        } else {
          sum[u][half] += weight;
        }
      }
  }
}

/// Adds what a tile of columns weighs. The next columns are multiplied before the last ones are weighed: the matrix unit and the exponentials work at the same time.
template <class K, bool kMasked>
__device__ __forceinline__ void add_tile(float (&sum)[K::kUnits][2], const key_fragments<K>& keys, const column_tile<K>& tile, int key, float scale) {
  constexpr int kStep = 8 * column_products<K>::kGroups;
  // A tile's own sum: small weights would vanish one by one beside a large score.
  float part[K::kUnits][2] = {};
  column_products<K> last;
  multiply_columns<K>(last, keys, tile, 0);
#pragma unroll 1  // of more steps at once ptxas puts all products first, and the weights of the last one wait for them
  for (int first = 0; first < kColumns - kStep; first += kStep) {
    column_products<K> next;
    multiply_columns<K>(next, keys, tile, first + kStep);
    add_weights<K, kMasked>(part, last, tile, first, key, scale);
    last = next;
  }
  add_weights<K, kMasked>(part, last, tile, kColumns - kStep, key, scale);
#pragma unroll
  for (int i = 0; i < K::kUnits * 2; ++i) sum[i / 2][i % 2] += part[i / 2][i % 2];
}
