// A warp's keys in registers, and what a query column that sees one adds to its score. Lane = 4 * g + t throughout: products have keys g and g + 8 of a unit
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

/// -|x|^2 / 2 of rows g and g + 8, of elements T.
template <class T, int kSteps>
__device__ __forceinline__ void half_norms(float (&norm)[2], const uint32_t (&a)[kSteps][4]) {
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    float sum = 0;
#pragma unroll
    for (int i = 0; i < kSteps * 4; ++i) {
      const float x = to_float(T{uint16_t(a[i / 4][half + 2 * (i / 2 % 2)] >> (16 * (i % 2)))});
      sum = fused_multiply_add(x, x, sum);
    }
    sum += shuffle_xor(sum, 1);
    norm[half] = -0.5f * (sum + shuffle_xor(sum, 2));
  }
}

/// Two floats of columns 2t and 2t + 1.
__device__ __forceinline__ void load_pair(float (&x)[2], const float* from) {
  const bytes8 pair = load_shared(reinterpret_cast<const bytes8*>(from + lane_index() % 4 * 2));
  x[0] = float_of_bits(pair.w[0]), x[1] = float_of_bits(pair.w[1]);
}

/// What makes the exponent of a weight (log2 units, the column's part aside) of a product q . k: product * factor, or where scores are capped factor / (1 + 2^(product * bend)),
/// which is softcap * tanh(score / softcap) + softcap.
struct score_scale {
  float factor, bend;
};
template <class K, class P>
__device__ __forceinline__ score_scale scale_of(const P& p) {
  if constexpr (K::kSoftcap) return {2 * p.softcap * kLog2e, -2 * p.scale / p.softcap * kLog2e};
  else return {p.scale * kLog2e, 0};
}

/// A product as `factor` wants it: where scores are capped its place between -softcap (0) and softcap (1).
template <class K>
__device__ __forceinline__ float capped(float product, const score_scale& scale) {
  if constexpr (K::kSoftcap) return reciprocal_fast(1 + exp2_fast(product * scale.bend));
  else return product;
}
/// For forms that ask what a change of the key does: what it moves of the capped score over what it moves of the score, 1 - tanh^2.
template <class K>
__device__ __forceinline__ float slope_of(float place) {
  if constexpr (K::kSoftcap && K::kTimesQuery) return fused_multiply_add(-4 * place, place, 4 * place);
  else return 1;
}

/// Form exact: adds what a column of weight P |q| scale 2^1/2 and distance -|v - o|^2 / 2 gives.
__device__ __forceinline__ void add_distance(float& sum, float weight, float distance) {
  // Where v and o agree rounding may leave the wrong sign.
  sum = fused_multiply_add(weight, square_root_fast(fabsf(distance)), sum);
}

/// The other forms: adds what a column of weight P, or P |q|, gives; `factor` is the column's, `slope` that of the capped score.
template <class K>
__device__ __forceinline__ void add_share(float& sum, float weight, float factor, float slope = 1) {
  if constexpr (K::kTimesRest) sum = fused_multiply_add(weight * slope, saturate(fused_multiply_add(weight, factor, 1)), sum);
  else sum += weight;
}
