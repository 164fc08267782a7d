// Anchor score of every key: a second pass over QK^T, after any attention that returned the log-sum-exp.
// grid (key tiles, kv_heads, batch). A warp keeps its keys in registers and walks over all query columns that may see them, which pass through shared memory in
// tiles, a few of them under way: no atomics, and the sums come out the same every time.
//   column  s_j = sum_i P_ij                        mass    s_j = sum_i P_ij (1 - P_ij)
//   massq   s_j = sum_i P_ij (1 - P_ij) |q_i|       exact   s_j = sum_i P_ij |v_j - o_i| |q_i| scale
// With softcap P is that of the capped score s, and massq and exact, which say what a change of the key does, count 1 - (s / softcap)^2 of each term.
//   saliency: column over the number of those rows  norm    s_j = scale |k_j|
// over the rows i that see j and the query heads of the KV head; exact is how far a change of key j moves the outputs o_i. Rows may be a sample: each listed one then
// stands for several. Form norm asks no row.

/// Block `i` of the grid as this CTA's place in it. Blocks start in the order of x: early keys, which most rows see, of all heads and sequences come first, so that
/// those that end last are short.
__device__ __forceinline__ index3 longest_first() {
  const index3 block = block_index(), grid = grid_size();
  const int i = block.x + grid.x * (block.y + grid.y * block.z), lists = grid.y * grid.z;
  return {i / lists, i % lists % grid.y, i % lists / grid.y};
}

/// How many rows see the key at `position`: of the `rows` from position `q_pos` on, and of those before that, which were scored by earlier calls.
struct seen_by {
  int earlier, now;
};
template <class P>
__device__ __forceinline__ seen_by rows_that_see(const P& p, int position, int q_pos, int rows) {
  const int before = q_pos - position, until = before + rows;
  return {p.accumulate && before > 0 ? before : 0, until < 0 ? 0 : until < rows ? until : rows};
}

/// Form saliency: the mean of all rows that see a key, from that of the earlier ones and what these add; -inf of a key that none sees.
__device__ __forceinline__ float mean_of(const seen_by& rows, const float* earlier, float added) {
  const int all = rows.earlier + rows.now;
  if (all == 0) return minus_infinity();
  return ((rows.earlier > 0 ? load_global(earlier) * float(rows.earlier) : 0.0f) + added) / float(all);
}

template <class K, class P>
__device__ __forceinline__ void score(const P& p) {
  static_assert(sizeof(column_tile<K>) * K::kStages <= K::kSharedBytes && K::kStages >= 2 && column_tile<K>::kColumns % (K::kWarps * column_source<K, P>::kAtOnce) == 0, "generator/shared.ts or tile.ts is wrong");
  const index3 place = longest_first();
  const int head = place.y, b = place.z, ratio = p.q_heads / p.kv_heads;
  const int first_key = load_global(p.cu_k + b), keys = load_global(p.cu_k + b + 1) - first_key;
  const int first_row = K::kNorm ? 0 : load_global(p.cu_q + b), rows = K::kNorm ? 0 : load_global(p.cu_q + b + 1) - first_row;
  const int first_pos = element_or(p.first_pos, b, 0), q_pos = element_or(p.q_pos, b, first_pos + keys - rows);
  const int block_key = place.x * K::kWarps * K::kUnits * 16, mine = block_key + first_key_of_warp<K>();
  if (block_key >= keys) return;

  key_fragments<K> fragments;
#pragma unroll
  for (int u = 0; u < K::kUnits; ++u) {
    const int key = mine + u * kNextUnit;
    const int64_t row = key < keys ? first_key + key : first_key;
    load_fragments(fragments.k[u], byte_pointer(p.k) + row * p.k_row_stride + head * p.k_head_stride, p.k_row_stride, keys - key);
    if constexpr (K::kTimesDistance) {
      load_fragments(fragments.v[u], byte_pointer(p.v) + row * p.v_row_stride + head * p.v_head_stride, p.v_row_stride, keys - key);
      half_norms<typename K::Element>(fragments.v_norm[u], fragments.v[u]);
    }
  }

  // Older rows by their sample, then the newest ones; without a sample all are newest.
  const int newest = !p.cu_sampled || p.newest_rows > rows ? rows : p.newest_rows, older = rows - newest;
  const int first_listed = p.cu_sampled ? load_global(p.cu_sampled + b) : 0, listed = p.cu_sampled ? load_global(p.cu_sampled + b + 1) - first_listed : 0;
  float sum[K::kUnits][2] = {};
  if constexpr (K::kNorm) {
#pragma unroll
    for (int u = 0; u < K::kUnits; ++u) half_norms<typename K::Element>(sum[u], fragments.k[u]);
  }
#pragma unroll 1
  for (int part = 0; part < (K::kNorm ? 0 : 2); ++part) {
    const row_range range = part == 0 ? row_range{p.sampled_rows + first_listed, 0, listed} : row_range{nullptr, older, newest};
    if (range.count == 0) continue;
    column_source<K, P> source{p, range, first_row, q_pos, head * ratio, ratio, warp_index() * column_source<K, P>::kShare};
    // Rows before the block's first key see none of its keys.
    add_rows<K>(sum, fragments, source, rows_before(range, first_pos + block_key - q_pos), first_pos + mine, scale_of<K>(p));
    if (part == 0) {
#pragma unroll
      for (int i = 0; i < K::kUnits * 2; ++i) sum[i / 2][i % 2] *= float(older) / float(listed);
    }
  }

  float* scores = p.scores + (int64_t(b) * p.kv_heads + head) * p.score_stride + element_or(p.first_key, b, 0);
#pragma unroll
  for (int i = 0; i < K::kUnits * 2; ++i) {
    float total = sum[i / 2][i % 2];
    if constexpr (K::kNorm) {
      total = p.scale * square_root(-2 * total);
    } else {
      total += shuffle_xor(total, 1);
      total += shuffle_xor(total, 2);
    }
    const int key = mine + i / 2 * kNextUnit + i % 2 * 8 + lane_index() / 4;
    const bool adds = !K::kMean && !K::kNorm && p.accumulate;
    if constexpr (K::kMean) total = lane_index() % 4 == 0 && key < keys ? mean_of(rows_that_see(p, first_pos + key, q_pos, rows), scores + key, total) : 0;
    if (lane_index() % 4 == 0 && key < keys) store_global(scores + key, adds ? load_global(scores + key) + total : total);
  }
}
