// Anchor score of every key: a second pass over QK^T, after any attention that returned the log-sum-exp.
// grid (key tiles, kv_heads, batch). A CTA owns its keys and walks over all query columns that may see them: no atomics, and
// the sums come out the same every time.
//   column  s_j = sum_i P_ij
//   exact   s_j = sum_i P_ij |v_j - o_i| |q_i| scale     (how far a change of key j moves the output; o_i is the attention output)
// over the rows i that see j and the query heads of the KV head.

constexpr float kLog2e = 1.44269504f;

template <class K>
struct score_memory {
  unit_rows<K::kHeadDim> unit[K::kTokens / 16];
};

/// |x|^2 of the column that each lane's fragment belongs to (column g), in all lanes of that column.
template <int kHeadDim>
__device__ __forceinline__ float column_norm(const uint32_t (&column)[kHeadDim / 16][2]) {
  float norm = 0;
#pragma unroll
  for (int step = 0; step < kHeadDim / 16; ++step)
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const float x = to_float(f16{uint16_t(column[step][i / 2] >> (16 * (i % 2)))});
      norm += x * x;
    }
  norm += shuffle_xor(norm, 1);
  return norm + shuffle_xor(norm, 2);
}

/// |x|^2 of row g and row g + 8 of 16 rows in shared memory.
template <int kHeadDim>
__device__ __forceinline__ void row_norms(float (&norm)[2], const f16* rows, int row_stride) {
  const int g = lane_index() / 4, t = lane_index() % 4;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    float sum = 0;
    for (int channel = t; channel < kHeadDim; channel += 4) {
      const float x = to_float(load_shared(rows + (g + 8 * half) * row_stride + channel));
      sum += x * x;
    }
    sum += shuffle_xor(sum, 1);
    norm[half] = sum + shuffle_xor(sum, 2);
  }
}

template <class K, class P>
__device__ __forceinline__ void score(const P& p) {
  static_assert(sizeof(score_memory<K>) <= K::kSharedBytes && K::kTokens % (16 * K::kWarps) == 0, "generator/shared.ts is wrong");
  constexpr int kStride = unit_rows<K::kHeadDim>::kStride;
  constexpr int kWarpUnits = K::kTokens / 16 / K::kWarps;
  const index3 block = block_index();
  const int lane = lane_index(), g = lane / 4, t = lane % 4;
  const int head = block.y, b = block.z, ratio = p.q_heads / p.kv_heads;
  const int first_key = load_global(p.cu_k + b), keys = load_global(p.cu_k + b + 1) - first_key;
  const int first_row = load_global(p.cu_q + b), rows = load_global(p.cu_q + b + 1) - first_row;
  const int first_pos = element_or(p.first_pos, b, 0), q_pos = element_or(p.q_pos, b, first_pos + keys - rows);
  if (block.x * K::kTokens >= keys) return;

  // This warp's keys, and for the exact form their values.
  const int mine = block.x * K::kTokens + warp_index() * kWarpUnits * 16;
  auto* units = reinterpret_cast<score_memory<K>*>(shared_memory())->unit + warp_index() * kWarpUnits;
#pragma unroll
  for (int u = 0; u < kWarpUnits; ++u) {
    const int key = mine + u * 16;
    const int64_t row = key < keys ? first_key + key : first_key;
    stage_rows<K::kHeadDim>(units[u].k, byte_pointer(p.k) + row * p.k_row_stride + head * p.k_head_stride, p.k_row_stride, keys - key);
    if constexpr (K::kExactForm)
      stage_rows<K::kHeadDim>(units[u].v, byte_pointer(p.v) + row * p.v_row_stride + head * p.v_head_stride, p.v_row_stride, keys - key);
  }
  copy_async_commit();
  copy_async_wait<0>();
  warp_barrier();

  float sum[kWarpUnits][2] = {};
  float v_norm[kWarpUnits][2] = {};
  if constexpr (K::kExactForm)
#pragma unroll
    for (int u = 0; u < kWarpUnits; ++u) row_norms<K::kHeadDim>(v_norm[u], units[u].v, kStride);

  // Rows before the warp's first key see none of its keys.
  const int first_seeing = first_pos + mine - q_pos;
  for (int flat = (first_seeing > 0 ? first_seeing : 0) * ratio; flat < rows * ratio; flat += 8) {
    uint32_t q[K::kHeadDim / 16][2], o[K::kExactForm ? K::kHeadDim / 16 : 1][2];
    const int loaded = flat + g;
    const bool valid = loaded < rows * ratio;
    const int64_t q_row = first_row + (valid ? loaded / ratio : 0), q_head = head * ratio + loaded % ratio;
    load_columns<K::kHeadDim>(q, byte_pointer(p.q) + q_row * p.q_row_stride + q_head * p.q_head_stride, valid);
    float o_norm = 0, q_norm = 0;
    if constexpr (K::kExactForm) {
      load_columns<K::kHeadDim>(o, byte_pointer(p.o) + q_row * p.o_row_stride + q_head * p.o_head_stride, valid);
      o_norm = column_norm<K::kHeadDim>(o);
      q_norm = square_root(column_norm<K::kHeadDim>(q));
    }
    // The products have columns 2t and 2t + 1 in this lane; what was loaded belongs to column g.
    float lse[2], column_o_norm[2], column_q_norm[2];
    int position[2];
#pragma unroll
    for (int c = 0; c < 2; ++c) {
      const int column = flat + 2 * t + c;
      const int row = column / ratio;
      const bool exists = column < rows * ratio;
      lse[c] = exists ? load_global(p.lse + int64_t(first_row + row) * p.q_heads + head * ratio + column % ratio) : minus_infinity();
      position[c] = q_pos + row;
      column_o_norm[c] = shuffle(o_norm, 4 * (2 * t + c));
      column_q_norm[c] = shuffle(q_norm, 4 * (2 * t + c));
    }
#pragma unroll
    for (int u = 0; u < kWarpUnits; ++u) {
      float dot[4] = {}, value_dot[4] = {};
      multiply_rows<K::kHeadDim>(dot, units[u].k, kStride, q);
      if constexpr (K::kExactForm) multiply_rows<K::kHeadDim>(value_dot, units[u].v, kStride, o);
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int c = i % 2, half = i / 2;
        const int key = mine + u * 16 + g + 8 * half;
        // A row that saw nothing has an lse of -inf and no weight to give.
        if (key >= keys || lse[c] == minus_infinity() || first_pos + key > position[c]) continue;
        float weight = exp2_fast((dot[i] * p.scale - lse[c]) * kLog2e);
        if constexpr (K::kExactForm) {
          const float distance = v_norm[u][half] + column_o_norm[c] - 2.0f * value_dot[i];
          weight *= square_root(fmaxf(distance, 0.0f)) * column_q_norm[c] * p.scale;
        }
        sum[u][half] += weight;
      }
    }
  }

#pragma unroll
  for (int u = 0; u < kWarpUnits; ++u)
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float total = sum[u][half];
      total += shuffle_xor(total, 1);
      total += shuffle_xor(total, 2);
      const int key = mine + u * 16 + g + 8 * half;
      if (t == 0 && key < keys) store_global(p.scores + (int64_t(b) * p.kv_heads + head) * p.score_stride + key, total);
    }
}
