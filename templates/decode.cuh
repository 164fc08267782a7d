// Attention of one KV head's query columns over coded pages, anchor pages and ring.
// grid (splits, column groups * kv_heads, batch). The three segments are one list of units of 16 tokens; a CTA owns a run of
// it, its warps take turns, and each warp keeps its own softmax state until the end. No block barrier in the loop.

constexpr float kLog2e = 1.44269504f;
constexpr float kLn2 = 0.693147181f;

/// Running softmax of a warp: lane 4g + t holds columns 2t and 2t + 1; channels 16 i + g and 16 i + g + 8 of o[i].
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

/// What a warp leaves for the merge: [8 columns, d] weighted sums, maxima (log2 units) and weights.
template <class K>
struct warp_result {
  static constexpr int kStride = K::kHeadDim + 4;  // lanes of one store hit 32 banks: 4 columns apart by 8, channels by 1
  float o[8 * kStride];
  float maximum[8];
  float weight[8];
};

template <class K>
__device__ __forceinline__ void store_result(warp_result<K>& r, softmax_state<K>& state) {
  const int g = lane_index() / 4, t = lane_index() % 4;
#pragma unroll
  for (int c = 0; c < 2; ++c) {
    float weight = state.weight[c];
#pragma unroll
    for (int mask = 4; mask < 32; mask *= 2) weight += shuffle_xor(weight, mask);
    if (g == 0) {
      store_shared(r.maximum + 2 * t + c, state.maximum[c]);
      store_shared(r.weight + 2 * t + c, weight);
    }
#pragma unroll
    for (int tile = 0; tile < K::kHeadDim / 16; ++tile)
#pragma unroll
      for (int half = 0; half < 2; ++half)
        store_shared(r.o + (2 * t + c) * warp_result<K>::kStride + tile * 16 + half * 8 + g, state.o[tile][c + 2 * half]);
  }
}

/// One channel of one column, the warps merged in order; `lse` in natural units.
template <class K>
__device__ __forceinline__ float merge_warps(const warp_result<K>* results, int column, int channel, float& lse) {
  float top = minus_infinity();
  for (int w = 0; w < K::kWarps; ++w) top = fmaxf(top, load_shared(results[w].maximum + column));
  float sum = 0, total = 0;
  for (int w = 0; w < K::kWarps; ++w) {
    const float maximum = load_shared(results[w].maximum + column);
    const float shrink = maximum == minus_infinity() ? 0.0f : exp2_fast(maximum - top);
    sum += shrink * load_shared(results[w].o + column * warp_result<K>::kStride + channel);
    total += shrink * load_shared(results[w].weight + column);
  }
  lse = total > 0 ? (top + log2_fast(total)) * kLn2 : minus_infinity();
  return total > 0 ? sum / total : 0.0f;
}

/// Writes -inf where the ring holds no token of the sequence: what the buffer held before would come out of combine as attention mass.
template <class K, class P, class F>
__device__ __forceinline__ void clear_ring_scores(const P& p, const decode_view& s, const F& column_at) {
  const int held = p.segments & 4 ? s.kv_len - s.coded_len : 0;
  for (int i = thread_index(); i < 8 * p.ring_rows; i += K::kWarps * 32) {
    const int row = i % p.ring_rows, after_coded = (row - s.coded_len % p.ring_rows + p.ring_rows) % p.ring_rows;
    const column c = column_at(i / p.ring_rows);
    if (c.valid && after_coded >= held) store_global(p.ring_scores + (int64_t(c.row) * p.q_heads + c.head) * p.ring_rows + row, minus_infinity());
  }
}

template <class K, class P>
__device__ __forceinline__ void decode(const P& p) {
  static_assert(K::kWarps * sizeof(warp_memory<K>) <= K::kSharedBytes && K::kWarps * sizeof(warp_result<K>) <= K::kSharedBytes, "generator/shared.ts is wrong");
  constexpr int kStride = unit_rows<K::kHeadDim>::kStride;
  constexpr int kStepUnits = K::kWarps * K::kWarpUnits;

  const index3 block = block_index();
  const int warp = warp_index(), g = lane_index() / 4, t = lane_index() % 4;
  const int b = block.z, kv_head = block.y % p.kv_heads, group = block.y / p.kv_heads;
  const int first_row = p.cu_q ? load_global(p.cu_q + b) : b;
  const int q_len = p.cu_q ? load_global(p.cu_q + b + 1) - first_row : 1;
  if (group * 8 >= q_len * (p.q_heads / p.kv_heads)) return;  // a shorter sequence than the host's bound

  const decode_view s = view_of(p, b, q_len);
  const auto column_at = [&](int c) { return column_of(p, s, b, first_row, q_len, kv_head, group * 8 + c); };
  const column mine[2] = {column_at(2 * t), column_at(2 * t + 1)};
  uint32_t q[K::kHeadDim / 16][2];
  {
    const column c = column_at(g);
    load_columns<K::kHeadDim>(q, byte_pointer(p.q) + c.row * p.q_row_stride + c.head * p.q_head_stride, c.valid);
  }
  const unsigned char* k_codebook = byte_pointer(p.k_codebook) + int64_t(kv_head) * K::Key::kCodebookBytes;
  const unsigned char* v_codebook = byte_pointer(p.v_codebook) + int64_t(kv_head) * K::Value::kCodebookBytes;

  // This CTA's run of units; a warp's step covers kWarpUnits of them.
  const int share = (s.units + p.splits - 1) / p.splits;
  const int begin = block.x * share, end = begin + share < s.units ? begin + share : s.units;
  const int first = begin + warp * K::kWarpUnits;
  const int steps = end > first ? (end - first + kStepUnits - 1) / kStepUnits : 0;

  warp_memory<K>& mem = reinterpret_cast<warp_memory<K>*>(shared_memory())[warp];
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

  softmax_state<K> state;
  for (int step = 0; step < K::kStages - 1; ++step) prefetch(step);
  for (int step = 0; step < steps; ++step) {
    const int slot = step % K::kStages;
    prefetch(step + K::kStages - 1);
    copy_async_wait<K::kStages - 1>();
    warp_barrier();

    float score[K::kWarpUnits][4];
#pragma unroll
    for (int u = 0; u < K::kWarpUnits; ++u) {
      const int unit = first + step * kStepUnits + u;
      if (unit >= end) {
#pragma unroll
        for (int i = 0; i < 4; ++i) score[u][i] = minus_infinity();
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

      float dot[4] = {};
      multiply_rows<K::kHeadDim>(dot, rows.k, kStride, q);
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const column& c = mine[i % 2];
        const int token = f.token[i / 2];
        const float raw = token >= 0 && sees(c, s, token, p.tree_mask != nullptr) ? dot[i] * f.factor[i / 2] : minus_infinity();
        score[u][i] = raw * kLog2e;
        if (p.ring_scores && ring_unit >= 0 && token >= 0 && c.valid)
          store_global(p.ring_scores + (int64_t(c.row) * p.q_heads + c.head) * p.ring_rows + token % p.ring_rows, raw);
      }
    }

    state.weigh(score);
#pragma unroll
    for (int u = 0; u < K::kWarpUnits; ++u) {
      if (first + step * kStepUnits + u >= end) break;
      accumulate_rows<K::kHeadDim>(state.o, mem.rows_of(slot, u).v, kStride, score[u]);
    }
    warp_barrier();  // the rows and the stage are written again
  }
  copy_async_wait<0>();

  block_barrier();
  warp_result<K>* results = reinterpret_cast<warp_result<K>*>(shared_memory());
  store_result(results[warp], state);
  block_barrier();
  if (p.ring_scores && block.x == 0) clear_ring_scores<K>(p, s, column_at);
  for (int i = thread_index(); i < 8 * K::kHeadDim; i += K::kWarps * 32) {
    const int channel = i % K::kHeadDim;
    const column c = column_at(i / K::kHeadDim);
    if (!c.valid) continue;
    float lse;
    const float value = merge_warps(results, i / K::kHeadDim, channel, lse);
    if (p.splits == 1) {
      f16* out = reinterpret_cast<f16*>(byte_pointer(p.out) + c.row * p.out_row_stride + c.head * p.out_head_stride);
      store_global(out + channel, to_f16(value));
      if (p.lse && channel == 0) store_global(p.lse + int64_t(c.row) * p.q_heads + c.head, lse);
    } else {
      const int64_t at = (int64_t(block.x) * p.rows + c.row) * p.q_heads + c.head;
      store_global(p.partial_o + at * K::kHeadDim + channel, value);
      if (channel == 0) store_global(p.partial_lse + at, lse);
    }
  }
}
