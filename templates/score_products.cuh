// What a tile of query columns adds to the scores of a warp's keys, by mma.sync.

/// The warp's first key, counted from the block's first, and how far its next unit is.
template <class K>
__device__ __forceinline__ int first_key_of_warp() {
  return warp_index() * K::kUnits * 16;
}
constexpr int kNextUnit = 16;

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
__device__ __forceinline__ void multiply(float (&d)[K::kUnits][4], const uint32_t (&keys)[K::kUnits][K::kHeadDim / 16][4], const typename K::Element* columns) {
  const auto* row = columns + lane_index() % 8 * column_tile<K>::kStride + lane_index() / 8 * 8;
#pragma unroll
  for (int step = 0; step < K::kHeadDim / 16; step += 2) {
    uint32_t b[4];
    load_matrix_x4(b, row + step * 16);
#pragma unroll
    for (int half = 0; half < 2; ++half)
#pragma unroll
      for (int u = 0; u < K::kUnits; ++u) multiply_add<typename K::Element>(d[u], keys[u][step + half], {b[2 * half], b[2 * half + 1]});
  }
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

/// Adds what products `from` of columns `first` ... weigh. Masked: key g of the first unit has position `key`.
template <class K, bool kMasked>
__device__ __forceinline__ void add_weights(float (&sum)[K::kUnits][2], const column_products<K>& from, const column_tile<K>& tile, int first, int key, const score_scale& scale) {
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
        float score = capped<K>(from.score[group][u][i], scale);
        if constexpr (kMasked && !K::kSoftcap) score = key + u * 16 + half * 8 <= position[c] ? score : minus_infinity();
        float weight = exp2_fast(fused_multiply_add(score, scale.factor, offset[c]));
        if constexpr (kMasked && K::kSoftcap) weight = key + u * 16 + half * 8 <= position[c] ? weight : 0;  // a capped score is finite
        const float slope = slope_of<K>(score);
        if constexpr (K::kTimesDistance) add_distance(sum[u][half], weight * slope, from.distance[group][u][i]);
        else add_share<K>(sum[u][half], weight, factor[c], slope);
      }
  }
}

/// Adds what a tile of columns weighs. The next columns are multiplied before the last ones are weighed: the matrix unit and the exponentials work at the same time.
template <class K, bool kMasked>
__device__ __forceinline__ void add_tile(float (&sum)[K::kUnits][2], const key_fragments<K>& keys, const column_tile<K>& tile, int key, const score_scale& scale) {
  constexpr int kColumns = column_tile<K>::kColumns, kStep = 8 * column_products<K>::kGroups;
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

/// Walks over the columns of `source` from row `start` of its range on, and adds what they weigh to the warp's sums. `key`: position of the warp's first key.
template <class K, class P>
__device__ __forceinline__ void add_rows(float (&sum)[K::kUnits][2], const key_fragments<K>& keys, column_source<K, P>& source, int start, int key, const score_scale& scale) {
  constexpr int kColumns = column_tile<K>::kColumns;
  auto& tiles = *reinterpret_cast<column_tile<K> (*)[K::kStages]>(shared_memory());
  const int begin = start * source.ratio, count = (source.rows.count * source.ratio - begin + kColumns - 1) / kColumns;
  source.start(begin);
  const auto copy = [&](int tile) {
    if (tile < count) source.copy(tiles[tile % K::kStages]);
    copy_async_commit();
  };
  const auto prepare = [&](int tile) {
    copy_async_wait<K::kStages - 2>();
    if (tile < count) source.prepare(tiles[tile % K::kStages]);
  };
#pragma unroll 1
  for (int tile = 0; tile < K::kStages - 1; ++tile) copy(tile);
  prepare(0);
  // The two warps of a scheduler change turns, so that one multiplies while the other prepares.
  const int first_turn = K::kWarps > 4 ? warp_index() / 4 % 2 : 0;
#pragma unroll 1
  for (int at = 0; at < count; ++at) {
    const column_tile<K>& tile = tiles[at % K::kStages];
    block_barrier();  // the tile is whole, and all warps are done with the one before it: its place takes new columns
#pragma unroll 1
    for (int turn = first_turn; turn < first_turn + 2; ++turn) {
      if (turn % 2 == 0) {
        copy(at + K::kStages - 1);
        prepare(at + 1);
      } else if (load_shared(tile.position) >= key + K::kUnits * 16 - 1) {
        add_tile<K, false>(sum, keys, tile, key + lane_index() / 4, scale);
      } else if (load_shared(tile.position + kColumns - 1) >= key) {
        add_tile<K, true>(sum, keys, tile, key + lane_index() / 4, scale);
      }
    }
  }
  copy_async_wait<0>();
  block_barrier();
}
