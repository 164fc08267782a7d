// What a tile of query columns adds to the scores of a warp's keys, by wgmma: four warps, a group, multiply 64 keys at a time, each with 16 of them in registers, and the matrix
// unit reads the columns from shared memory by itself while the warps prepare the next ones and weigh those that are done.

/// The warp's first key, counted from the block's first, and how far its next unit is: a group's warps share each 64 keys.
template <class K>
__device__ __forceinline__ int first_key_of_warp() {
  const int warp = warp_index();
  return warp / 4 * K::kUnits * 64 + warp % 4 * 16;
}
constexpr int kNextUnit = 64;

/// Sums of half a tile's columns.
template <class K>
struct column_products {
  static constexpr int kColumns = column_tile<K>::kColumns / 2, kCount = kColumns / 2;
  static_assert(kColumns == 48 && (!K::kTimesDistance || K::kUnits == 1));
  float d[kCount];
};

/// Starts d = keys * columns, or d += with `add`; `columns`: the operand of the first of half a tile.
template <class K>
__device__ __forceinline__ void start_product(float (&d)[column_products<K>::kCount], const uint32_t (&keys)[K::kHeadDim / 16][4], uint32_t columns, bool add) {
#pragma unroll
  for (int step = 0; step < K::kHeadDim / 16; ++step) {
    group_mma_64x48x16(d, keys[step], columns + (step / 4 * column_tile<K>::kPart + step % 4 * 16) / 8, add || step > 0);
  }
  group_mma_commit();
}

/// Starts the product of half a tile's columns, `first` and on, with the keys of unit `u`.
template <class K>
__device__ __forceinline__ void start_scores(column_products<K>& to, const key_fragments<K>& keys, int u, const column_tile<K>& tile, int first) {
  group_mma_fence(to.d);
  start_product<K>(to.d, keys.k[u], group_operand(tile.q + first * 64), false);
}

/// The same of outputs with values, as -|v - o|^2 / 2.
template <class K>
__device__ __forceinline__ void start_distances(column_products<K>& to, const key_fragments<K>& keys, const column_tile<K>& tile, int first) {
  // Sums begin with both norms, so that the product itself ends as the distance.
#pragma unroll
  for (int i = 0; i < column_products<K>::kCount; i += 4) {
    float o_norm[2];
    load_pair(o_norm, tile.factor + first + i * 2);
#pragma unroll
    for (int j = 0; j < 4; ++j) to.d[i + j] = keys.v_norm[0][j / 2] + o_norm[j % 2];
  }
  group_mma_fence(to.d);
  start_product<K>(to.d, keys.v[0], group_operand(tile.o + first * 64), true);
}

/// Takes the scores of keys that a column of `first` ... does not see from the `unit`'s sums to minus infinity; `key` is the position of the lane's key g of the unit.
template <class K>
__device__ __forceinline__ void mask(float (&score)[column_products<K>::kCount], const column_tile<K>& tile, int first, int key) {
#pragma unroll
  for (int i = 0; i < column_products<K>::kCount; i += 4) {
    const bytes8 position = load_shared(reinterpret_cast<const bytes8*>(tile.position + first + i * 2 + lane_index() % 4 * 2));
#pragma unroll
    for (int j = 0; j < 4; ++j) score[i + j] = key + j / 2 * 8 <= int(position.w[j % 2]) ? score[i + j] : minus_infinity();
  }
}

/// Scores to weights.
template <class K>
__device__ __forceinline__ void to_weights(float (&weight)[column_products<K>::kCount], const column_products<K>& from, const column_tile<K>& tile, int first, float scale) {
#pragma unroll
  for (int i = 0; i < column_products<K>::kCount; i += 4) {
    float offset[2];
    load_pair(offset, tile.offset + first + i * 2);
#pragma unroll
    for (int j = 0; j < 4; ++j) weight[i + j] = exp2_fast(fused_multiply_add(from.d[i + j], scale, offset[j % 2]));
  }
}

/// Adds what weights give to the sums of a unit.
template <class K>
__device__ __forceinline__ void add_shares(float (&sum)[2], const column_products<K>& from, const column_tile<K>& tile, int first, float scale) {
#pragma unroll
  for (int i = 0; i < column_products<K>::kCount; i += 4) {
    float offset[2], factor[2] = {-1, -1};
    load_pair(offset, tile.offset + first + i * 2);
    if constexpr (K::kTimesQuery) load_pair(factor, tile.factor + first + i * 2);
#pragma unroll
    for (int j = 0; j < 4; ++j) add_share<K>(sum[j / 2], exp2_fast(fused_multiply_add(from.d[i + j], scale, offset[j % 2])), factor[j % 2]);
  }
}

template <class K>
__device__ __forceinline__ void add_distances(float (&sum)[2], const float (&weight)[column_products<K>::kCount], const column_products<K>& distance) {
#pragma unroll
  for (int i = 0; i < column_products<K>::kCount; ++i) add_distance(sum[i / 2 % 2], weight[i], distance.d[i]);
}

/// Walks over the columns of `source` from row `start` of its range on, and adds what they weigh to the warp's sums. `key`: position of the warp's first key.
template <class K, class P>
__device__ __forceinline__ void add_rows(float (&sum)[K::kUnits][2], const key_fragments<K>& keys, column_source<K, P>& source, int start, int key, const score_scale& how) {
  static_assert(!K::kSoftcap && !kIsBf16<typename K::Element>, "generator/tile.ts is wrong");
  constexpr int kColumns = column_tile<K>::kColumns, kStep = column_products<K>::kColumns;
  const float scale = how.factor;
  auto* tiles = reinterpret_cast<column_tile<K>*>(shared_memory_1024());
  const int begin = start * source.ratio, count = (source.rows.count * source.ratio - begin + kColumns - 1) / kColumns;
  source.start(begin);
  const auto copy = [&](int tile) {
    if (tile < count) source.copy(tiles[tile % K::kStages]);
    copy_async_commit();
  };
  const auto prepare = [&](int tile) {
    copy_async_wait<K::kStages - 2>();
    if (tile < count) source.prepare(tiles[tile % K::kStages]);
    group_mma_publish();
  };
#pragma unroll 1
  for (int tile = 0; tile < K::kStages - 1; ++tile) copy(tile);
  prepare(0);
#pragma unroll 1
  for (int at = 0; at < count; ++at) {
    const column_tile<K>& tile = tiles[at % K::kStages];
    block_barrier();  // the tile is whole, and all groups are done with the one before it: its place takes new columns
    const bool masked = load_shared(tile.position) < key + (K::kUnits - 1) * kNextUnit + 15;
    // A tile's own sum: small weights would vanish one by one beside a large score.
    float part[K::kUnits][2] = {};
const int mine = key + lane_index() / 4;
    // Two products are under way until the last ones: as one is weighed, the next but one of the tile takes its sums.
    column_products<K> one, other;
    if constexpr (K::kTimesDistance) {
      float weight[column_products<K>::kCount];
      start_scores(one, keys, 0, tile, 0);
      start_distances(other, keys, tile, 0);
      copy(at + K::kStages - 1);
      group_mma_wait<1>(one.d);
      if (masked) mask<K>(one.d, tile, 0, mine);
      to_weights(weight, one, tile, 0, scale);
      start_scores(one, keys, 0, tile, kStep);
      group_mma_wait<1>(other.d);
      add_distances<K>(part[0], weight, other);
      start_distances(other, keys, tile, kStep);
      prepare(at + 1);
      group_mma_wait<1>(one.d);
      if (masked) mask<K>(one.d, tile, kStep, mine);
      to_weights(weight, one, tile, kStep, scale);
      group_mma_wait<0>(other.d);
      add_distances<K>(part[0], weight, other);
    } else {
      constexpr int kLast = K::kUnits - 1, kSecond = K::kUnits > 1 ? 0 : kStep;
      start_scores(one, keys, 0, tile, 0);
      start_scores(other, keys, kLast, tile, kSecond);
      copy(at + K::kStages - 1);
      group_mma_wait<1>(one.d);
      if (masked) mask<K>(one.d, tile, 0, mine);
      add_shares(part[0], one, tile, 0, scale);
      if constexpr (K::kUnits > 1) {
        start_scores(one, keys, 0, tile, kStep);
        group_mma_wait<1>(other.d);
        if (masked) mask<K>(other.d, tile, 0, mine + kNextUnit);
        add_shares(part[1], other, tile, 0, scale);
        start_scores(other, keys, 1, tile, kStep);
        prepare(at + 1);
        group_mma_wait<1>(one.d);
        if (masked) mask<K>(one.d, tile, kStep, mine);
        add_shares(part[0], one, tile, kStep, scale);
      } else {
        prepare(at + 1);
      }
      group_mma_wait<0>(other.d);
      if (masked) mask<K>(other.d, tile, kStep, mine + kLast * kNextUnit);
      add_shares(part[kLast], other, tile, kStep, scale);
    }
#pragma unroll
    for (int i = 0; i < K::kUnits * 2; ++i) sum[i / 2][i % 2] += part[i / 2][i % 2];
  }
  copy_async_wait<0>();
  block_barrier();
}
