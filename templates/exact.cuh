// Attention over exact rows, anchors and ring, without shared memory: rows go from global memory straight to the matrix unit's registers.
// Channels are permuted so that a lane's 16 bytes are its fragments: q . k does not care, and the output's place says which channel it is.

/// Unit `unit` (of 16 rows: anchors first, then the ring) of a sequence: where row `n` lies, and the logical token in it (-1: none).
struct exact_row {
  const unsigned char *k, *v;
  int token;
};
template <class K, class P>
__device__ __forceinline__ exact_row exact_row_of(const P& p, const decode_view& s, int kv_head, int unit, int n) {
  constexpr int kRowBytes = K::kHeadDim * 2;
  exact_row row;
  if (unit < s.anchor_units) {
    const unsigned char* page = anchor_block(p, load_global(s.anchors + unit), kv_head);
    row.k = page + n * kRowBytes;
    row.v = page + (16 + n) * kRowBytes;
    const int token = load_global(reinterpret_cast<const int32_t*>(page + 32 * kRowBytes) + n);
    row.token = is_anchor(token, unit, s.coded_len, s.frozen_pages, s.frozen_len) ? token : -1;
  } else {
    const int token = s.coded_len + (unit - s.anchor_units) * 16 + n;
    const int64_t at = s.slot * p.ring_slot_stride + kv_head * p.ring_head_stride + token % p.ring_rows * p.ring_row_stride;
    row.k = byte_pointer(p.ring_k) + at;
    row.v = byte_pointer(p.ring_v) + at;
    row.token = token < s.kv_len ? token : -1;
  }
  return row;
}

/// Attends to this warp's share of the piece's exact rows and leaves the result, nothing seen included, in `result`.
/// `columns(c)` is column c's row of q, null if it is idle; `column_at(c)` what it may see.
template <class K, class P, class Columns, class ColumnAt>
__device__ __forceinline__ void attend_exact(const P& p, const piece& w, const decode_view& s, int kv_head, warp_result<K>& result, const Columns& columns,
                                             const ColumnAt& column_at) {
  constexpr int kPieces = K::kHeadDim / 32;   // 16-byte pieces of a row that a lane reads of K
  constexpr int kSpans = K::kHeadDim / 64;    // ... and of V
  const int g = lane_index() / 4, t = lane_index() % 4;
  float o[K::kHeadDim / 16][4] = {};  // tile 4 * span + h: rows g and g + 8 are channels 64 * span + 8 g + 2 h and the next; columns 2t, 2t + 1
  float maximum[2] = {minus_infinity(), minus_infinity()}, weight[2] = {};
  int begin, end;
  cut(w, s.units - s.coded_units, begin, end);
  if (begin + warp_index() < end) {
    const column mine[2] = {column_at(2 * t), column_at(2 * t + 1)};
    const unsigned char* query = columns(g);
#pragma unroll 1
    for (int unit = begin + warp_index(); unit < end; unit += K::kWarps) {
      int token[2];
      float dot[4] = {};
      {
        bytes16 k[2][kPieces];
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const exact_row row = exact_row_of<K>(p, s, kv_head, unit, g + 8 * half);
        token[half] = row.token;
#pragma unroll
        for (int i = 0; i < kPieces; ++i) k[half][i] = load_global_once(reinterpret_cast<const bytes16*>(row.k) + i * 4 + t);
      }
#pragma unroll
      for (int i = 0; i < kPieces; ++i) {
        const bytes16 q = query ? load_global(reinterpret_cast<const bytes16*>(query) + i * 4 + t) : bytes16{};  // from L1: registers are scarce here
#pragma unroll
        for (int h = 0; h < 4; h += 2) mma_16x8x16(dot, {k[0][i].w[h], k[1][i].w[h], k[0][i].w[h + 1], k[1][i].w[h + 1]}, {q.w[h], q.w[h + 1]});
      }
      }
      // The values' registers are the keys', so their loads start here; the softmax hides a part of their way.
      bytes16 v[4][kSpans];
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const exact_row row = exact_row_of<K>(p, s, kv_head, unit, 2 * t + i % 2 + i / 2 * 8);
#pragma unroll
        for (int span = 0; span < kSpans; ++span) {
          v[i][span] = load_global_once(reinterpret_cast<const bytes16*>(row.v) + span * 8 + g);
          if (row.token < 0) v[i][span] = {};  // never written perhaps: 0 * NaN is NaN
        }
      }

      float weights[4];
#pragma unroll
      for (int c = 0; c < 2; ++c) {
        float score[2], top = maximum[c];
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          const bool seen = token[half] >= 0 && sees(mine[c], s, token[half], p.tree_mask != nullptr);
          const float raw = seen ? dot[c + 2 * half] * p.scale : minus_infinity();
          if (p.ring_scores && unit >= s.anchor_units && token[half] >= 0 && mine[c].valid)
            store_global(p.ring_scores + (int64_t(mine[c].row) * p.q_heads + mine[c].head) * p.ring_rows + token[half] % p.ring_rows, raw);
          score[half] = raw * kLog2e;
          top = fmaxf(top, score[half]);
        }
#pragma unroll
        for (int mask = 4; mask < 32; mask *= 2) top = fmaxf(top, shuffle_xor(top, mask));
        const float shrink = maximum[c] == top ? 1.0f : exp2_fast(maximum[c] - top);  // not -inf - -inf
        maximum[c] = top;
        weight[c] *= shrink;
#pragma unroll
        for (int tile = 0; tile < K::kHeadDim / 16; ++tile) o[tile][c] *= shrink, o[tile][c + 2] *= shrink;
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          weights[c + 2 * half] = top == minus_infinity() ? 0.0f : exp2_fast(score[half] - top);
          weight[c] += weights[c + 2 * half];
        }
      }
      const uint32_t b[2] = {transpose_matrix(pack_halves(weights[0], weights[1])), transpose_matrix(pack_halves(weights[2], weights[3]))};
#pragma unroll
      for (int span = 0; span < kSpans; ++span)
#pragma unroll
        for (int h = 0; h < 4; ++h)
          mma_16x8x16(o[4 * span + h], {permute_bytes(v[0][span].w[h], v[1][span].w[h], 0x5410), permute_bytes(v[0][span].w[h], v[1][span].w[h], 0x7632),
                                        permute_bytes(v[2][span].w[h], v[3][span].w[h], 0x5410), permute_bytes(v[2][span].w[h], v[3][span].w[h], 0x7632)}, b);
    }
  }
#pragma unroll
  for (int c = 0; c < 2; ++c) {
#pragma unroll
    for (int mask = 4; mask < 32; mask *= 2) weight[c] += shuffle_xor(weight[c], mask);
    const int flat = 2 * t + c;
    if (flat >= K::kColumns) continue;
    if (g == 0) {
      store_shared(result.maximum + flat, maximum[c]);
      store_shared(result.weight + flat, weight[c]);
    }
#pragma unroll
    for (int tile = 0; tile < K::kHeadDim / 16; ++tile)
#pragma unroll
      for (int j = 0; j < 2; ++j)
        store_shared(result.o + flat * warp_result<K>::kStride + tile / 4 * 64 + g * 8 + tile % 4 * 2 + j, o[tile][c + 2 * j]);
  }
}
