// Algorithm "rows": codes become f16 rows in shared memory, and the matrix unit does the rest. Right for every contract, fast for exact rows.
// Attention of one KV head's query columns over coded pages, anchor pages and ring: one list of units of 16 tokens per sequence. A CTA owns a run
// of it (work.cuh), its warps take turns, and each warp keeps its own softmax state until the end. No block barrier in the loop.

/// Running softmax of a warp for eight columns: lane 4g + t holds columns 2t and 2t + 1; channels 16 i + g and 16 i + g + 8 of o[i].
template <class K>
struct softmax_state {
  float o[K::kHeadDim / 16][4] = {};
  float maximum[2] = {minus_infinity(), minus_infinity()};  // log2 units
  float weight[2] = {0, 0};                                 // this lane's tokens only, until the merge

  /// Raises the maxima to cover `score` (log2 units) and turns the scores into weights.
  __device__ __forceinline__ void weigh(float (&score)[K::kWarpUnits][4]) {
#pragma unroll
    for (int c = 0; c < 2; ++c) {
      float top = maximum[c];
#pragma unroll
      for (int u = 0; u < K::kWarpUnits; ++u) top = fmaxf(top, fmaxf(score[u][c], score[u][c + 2]));
#pragma unroll
      for (int mask = 4; mask < 32; mask *= 2) top = fmaxf(top, shuffle_xor(top, mask));
      // A column that has seen nothing keeps a maximum of -inf, and -inf - -inf must not happen.
      const float shrink = maximum[c] == top ? 1.0f : exp2_fast(maximum[c] - top);
      maximum[c] = top;
      weight[c] *= shrink;
#pragma unroll
      for (int tile = 0; tile < K::kHeadDim / 16; ++tile) o[tile][c] *= shrink, o[tile][c + 2] *= shrink;
#pragma unroll
      for (int u = 0; u < K::kWarpUnits; ++u)
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          float& x = score[u][c + 2 * half];
          x = top == minus_infinity() ? 0.0f : exp2_fast(x - top);
          weight[c] += x;
        }
    }
  }
};

/// A score (natural units) as the contract wants it: p.softcap * tanh(score / p.softcap) where it caps.
template <class K, class P>
__device__ __forceinline__ float capped(const P& p, float score) {
  if constexpr (!K::kSoftcap) return score;
  // 1 - 2 / (1 + e^2x): right to 2^-22 of the cap, which tanh.approx is not.
  else return p.softcap - 2.0f * p.softcap / (1.0f + exp2_fast(score * (2.0f * kLog2e / p.softcap)));
}

/// Leaves a warp's state of columns `first` ... for the merge. Columns beyond kColumns are padding of the matrix instruction.
template <class K>
__device__ __forceinline__ void store_result(warp_result<K>& r, softmax_state<K>& state, int first) {
  const int g = lane_index() / 4, t = lane_index() % 4;
#pragma unroll
  for (int c = 0; c < 2; ++c) {
    float weight = state.weight[c];
#pragma unroll
    for (int mask = 4; mask < 32; mask *= 2) weight += shuffle_xor(weight, mask);
    if (2 * t >= K::kColumns) continue;
    if (g == 0) {
      store_shared(r.maximum + first + 2 * t + c, state.maximum[c]);
      store_shared(r.weight + first + 2 * t + c, weight);
    }
#pragma unroll
    for (int tile = 0; tile < K::kHeadDim / 16; ++tile)
#pragma unroll
      for (int half = 0; half < 2; ++half)
        store_shared(r.o + (first + 2 * t + c) * warp_result<K>::kStride + tile * 16 + half * 8 + g, state.o[tile][c + 2 * half]);
  }
}

/// Shared memory: the warps' units while the loop runs, with the block's columns where those are many; then what it leaves.
template <class K>
struct rows_memory {
  union {
    block_columns<K> loop;
    warp_result<K> results[K::kWarps];
  };
  work_memory work;
  uint32_t flag;
};

/// The piece `w` of a sequence: its run of units, merged and written.
template <class K, class P>
__device__ __forceinline__ void decode_piece(const P& p, const piece& w) {
  constexpr int kStepUnits = K::kWarps * K::kWarpUnits;

  const int warp = warp_index(), g = lane_index() / 4, t = lane_index() % 4;
  const int b = w.b, kv_head = block_index().y % p.kv_heads, group = block_index().y / p.kv_heads;
  const query_rows rows_of_b = query_rows_of(p, b);
  const decode_view s = view_of(p, b, rows_of_b.count);
  const auto column_at = [&](int c) {
    const int beyond = rows_of_b.count * (p.q_heads / p.kv_heads);
    return column_of(p, s, b, rows_of_b.first, rows_of_b.count, kv_head, c < K::kColumns ? group * K::kColumns + c : beyond);
  };
  block_columns<K>& block = reinterpret_cast<rows_memory<K>*>(shared_memory())->loop;
  // Of one group a lane's columns and queries lie in registers.
  const column mine[2] = {column_at(2 * t), column_at(2 * t + 1)};
  uint32_t q[K::kHeadDim / 16][2];
  uint32_t decoded_q[unit_row<K, typename K::Key>::kElements ? 1 : K::kHeadDim / 16][2];  // for keys that were codes
  if constexpr (kMany<K>) {
    store_columns(block, p, column_at);
    block_barrier();
  } else {
    const column c = column_at(g);
    load_columns<K::kHeadDim>(q, byte_pointer(p.q) + c.row * p.q_row_stride + c.head * p.q_head_stride, c.valid);
    if constexpr (!unit_row<K, typename K::Key>::kElements) round_columns<typename K::Element>(decoded_q, q);
  }
  const unsigned char* k_codebook = byte_pointer(p.k_codebook) + int64_t(kv_head) * K::Key::kCodebookBytes;
  const unsigned char* v_codebook = byte_pointer(p.v_codebook) + int64_t(kv_head) * K::Value::kCodebookBytes;

  // A warp's step covers kWarpUnits units.
  int begin, end;
  cut(w, s.units, begin, end);
  const int first = begin + warp * K::kWarpUnits;
  const int steps = end > first ? (end - first + kStepUnits - 1) / kStepUnits : 0;

  warp_memory<K>& mem = block.warps[warp];
  const auto prefetch = [&](int step) {
    if (step < steps) {
#pragma unroll
      for (int u = 0; u < K::kWarpUnits; ++u) {
        const int unit = first + step * kStepUnits + u;
        if (unit >= end || unit >= s.coded_units) break;
        mem.prefetch(step % K::kStages, u, coded_unit<K>(p, b, kv_head, unit), s.coded_len - unit * 16);
      }
    }
    copy_async_commit();  // also when empty: the wait below counts groups
  };

  constexpr int kGroups = column_groups<K>;
  softmax_state<K> state[kGroups];
  for (int step = 0; step < K::kStages - 1; ++step) prefetch(step);
  for (int step = 0; step < steps; ++step) {
    const int slot = step % K::kStages;
    prefetch(step + K::kStages - 1);
    copy_async_wait<K::kStages - 1>();
    warp_barrier();

    float score[kGroups][K::kWarpUnits][4];
#pragma unroll
    for (int u = 0; u < K::kWarpUnits; ++u) {
      const int unit = first + step * kStepUnits + u;
      if (unit >= end) {
#pragma unroll
        for (int i = 0; i < kGroups * 4; ++i) score[i / 4][u][i % 4] = minus_infinity();
        continue;
      }
      auto& rows = mem.rows_of(slot, u);
      const int anchor_entry = unit - s.coded_units, ring_unit = anchor_entry - s.anchor_units;
      fetched f;
      if (anchor_entry < 0) {
        f = fetch_coded<K>(p, s, mem, slot, u, b, kv_head, unit, k_codebook, v_codebook);
      } else if (ring_unit < 0) {
        f = fetch_anchors<K>(p, s, rows, kv_head, anchor_entry);
      } else {
        f = fetch_ring<K>(p, s, rows, kv_head, s.coded_len + ring_unit * 16);
      }
      warp_barrier();

      float dot[kGroups][4] = {};
      if constexpr (unit_row<K, typename K::Key>::kElements) multiply_groups<K>(dot, rows.k, block, q);
      else if (anchor_entry < 0) multiply_groups<K>(dot, decoded_rows(rows.k), block, decoded_q);
      else multiply_groups<K>(dot, rows.k, block, q);
#pragma unroll
      for (int group = 0; group < kGroups; ++group) {
        column_pair pair;
        if constexpr (kMany<K>) pair = load_pair(block, group);
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          const column& c = kMany<K> ? pair.of[i % 2] : mine[i % 2];
          const int token = f.token[i / 2];
          const float raw = token >= 0 && sees(c, s, token, p.tree_mask != nullptr) ? capped<K>(p, dot[group][i] * f.factor[i / 2]) : minus_infinity();
          score[group][u][i] = raw * kLog2e;
          if (p.ring_scores && ring_unit >= 0 && token >= 0 && c.valid)
            store_global(p.ring_scores + place_of<K>(p, block, c, group, i % 2) * p.ring_rows + token % p.ring_rows, raw);
        }
      }
    }

#pragma unroll
    for (int group = 0; group < kGroups; ++group) state[group].weigh(score[group]);
#pragma unroll
    for (int u = 0; u < K::kWarpUnits; ++u) {
      if (first + step * kStepUnits + u >= end) break;
      auto& rows = mem.rows_of(slot, u);
      if constexpr (unit_row<K, typename K::Value>::kElements) accumulate_groups<K>(state, rows.v, score, u);
      else if (first + step * kStepUnits + u < s.coded_units) accumulate_groups<K>(state, decoded_rows(rows.v), score, u);
      else accumulate_groups<K>(state, rows.v, score, u);
    }
    warp_barrier();  // the rows and the stage are written again
  }
  copy_async_wait<0>();

  block_barrier();
  rows_memory<K>& memory = *reinterpret_cast<rows_memory<K>*>(shared_memory());
#pragma unroll
  for (int group = 0; group < kGroups; ++group) store_result(memory.results[warp], state[group], group * 8);
  block_barrier();
  finish_piece<K>(p, w, s, column_at, {reinterpret_cast<unsigned char*>(memory.results), sizeof(warp_result<K>)}, K::kWarps, &memory.flag);
}

template <class K, class P>
__device__ __forceinline__ void decode(const P& p) {
  static_assert(sizeof(rows_memory<K>) <= K::kSharedBytes, "generator/shared.ts is wrong");
  work_memory* work = &reinterpret_cast<rows_memory<K>*>(shared_memory())->work;
  for_each_piece<K, rows_cost>(p, work, [&](const piece& w) { decode_piece<K>(p, w); });
}
