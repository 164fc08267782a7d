// Merges the splits of decode, always in the order 0, 1, ...: one warp per query row and head. grid (rows, ceil(q_heads / warps)).
// A decode with counters has merged already, and so has one with one split: only ring scores are left then.

constexpr float kLog2e = 1.44269504f;
constexpr float kLn2 = 0.693147181f;

template <class K, class P>
__device__ __forceinline__ void combine(const P& p) {
  const int row = block_index().x, head = block_index().y * K::kWarps + warp_index(), lane = lane_index();
  if (head >= p.q_heads) return;
  const int64_t column = int64_t(row) * p.q_heads + head, columns = int64_t(p.rows) * p.q_heads;

  float lse;
  if (p.partial_o) {
    // Lanes look at a split each for the weights, then all at one split after another, eight under way together.
    float top = minus_infinity();
    for (int split = lane; split < p.splits; split += 32) top = fmaxf(top, load_global(p.partial_lse + split * columns + column));
#pragma unroll
    for (int mask = 1; mask < 32; mask *= 2) top = fmaxf(top, shuffle_xor(top, mask));
    constexpr int kMine = K::kHeadDim / 32, kAtOnce = 8;
    float sum[kMine] = {};
    float total = 0;
    for (int base = 0; base < p.splits && top > minus_infinity(); base += 32) {
      const bool exists = base + lane < p.splits;
      const float mine = exists ? exp2_fast((load_global(p.partial_lse + (base + lane) * columns + column) - top) * kLog2e) : 0.0f;
      for (int first = 0; first < 32 && base + first < p.splits; first += kAtOnce) {
        float weight[kAtOnce], o[kAtOnce][kMine];
#pragma unroll
        for (int j = 0; j < kAtOnce; ++j) {
          weight[j] = shuffle(mine, first + j);
          // A split that saw nothing may have left its output as it was: 0 * NaN is NaN.
#pragma unroll
          for (int i = 0; i < kMine; ++i)
            o[j][i] = weight[j] > 0 ? load_global(p.partial_o + ((base + first + j) * columns + column) * K::kHeadDim + i * 32 + lane) : 0.0f;
        }
#pragma unroll
        for (int j = 0; j < kAtOnce; ++j) {
          total += weight[j];
#pragma unroll
          for (int i = 0; i < kMine; ++i) sum[i] += weight[j] * o[j][i];
        }
      }
    }
    lse = total > 0 ? top + log2_fast(total) * kLn2 : minus_infinity();
    using T = typename K::Element;
    T* out = reinterpret_cast<T*>(byte_pointer(p.out) + row * p.out_row_stride + head * p.out_head_stride);
#pragma unroll
    for (int i = 0; i < kMine; ++i) store_global(out + i * 32 + lane, round_to<T>(total > 0 ? sum[i] / total : 0.0f));
    if (p.lse && lane == 0) store_global(p.lse + column, lse);
  } else {
    lse = load_global(p.lse + column);  // decode wrote output and lse itself
  }

  // Raw scores of ring rows become attention mass, which only the final log-sum-exp allows.
  if (p.ring_scores)
    for (int i = lane; i < p.ring_rows; i += 32) {
      float* score = p.ring_scores + column * p.ring_rows + i;
      const float raw = load_global(score);
      store_global(score, raw == minus_infinity() ? 0.0f : exp2_fast((raw - lse) * kLog2e));
    }
}
