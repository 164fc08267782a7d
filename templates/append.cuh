// One step of a cache. grid (kv_heads, batch): all that happens to a (sequence, KV head) happens in one CTA, in this order, so nothing needs another launch or fence:
// scores of committed rows are folded, blocks leave the window, new rows enter the ring. Most steps flush nothing: then all loads hang on one round of lengths.

/// The sequence as its CTA sees it.
struct append_view {
  int b, head, slot;
  int before, accepted, tokens;  // committed before this call, with it, and both
  int coded_len, score_row;
  int first_row, rows;  // that enter
};

template <class K, class P>
__device__ __forceinline__ append_view view_append(const P& p) {
  append_view s;
  s.head = block_index().x, s.b = block_index().y;
  s.before = load_global(p.seq_len + s.b);
  s.accepted = element_or(p.accepted, s.b, 1);
  s.slot = element_or(p.state_slot, s.b, s.b);
  s.score_row = element_or(p.score_row, s.b, s.b);
  s.first_row = element_or(p.cu_q, s.b, s.b);
  s.rows = element_or(p.cu_q, s.b + 1, s.b + 1) - s.first_row;
  s.tokens = s.before + s.accepted;
  s.coded_len = 0;
  if constexpr (K::kCoded) {
    // All loads first: one round for all lengths.
    const int given = element_or(p.coded_len, s.b, 0), frozen = element_or(p.frozen_len, s.b, 0), beyond = s.before - p.window;
    const int rule = (beyond > 0 ? beyond : 0) / p.flush_block * p.flush_block;
    s.coded_len = p.coded_len ? given : rule > frozen ? rule : frozen;
  }
  return s;
}

/// Adds to the ring's column sums what the committed rows gave each token: one by one, so that a sum does not depend on how rows were grouped into steps.
template <class K, class P>
__device__ __forceinline__ void fold_scores(const P& p, const append_view& s) {
  if (!p.ring_scores || !p.ring_score || s.score_row < 0) return;
  const int ratio = p.q_heads / p.kv_heads;
  const int64_t list = (int64_t(s.slot) * p.kv_heads + s.head) * p.ring_rows;
  for (int token = s.coded_len + thread_index(); token < s.tokens; token += K::kWarps * 32) {
    const int row = token % p.ring_rows;
    // Rows from the token's own on, up to the last one that would have seen it here had each row been a step: its block leaves when `window` tokens follow it.
    const int first = token > s.before ? token - s.before : 0;
    const int leaves = s.coded_len + ((token - s.coded_len) / p.flush_block + 1) * p.flush_block + p.window - s.before;
    const int end = smaller(s.accepted, leaves > first ? leaves : first);
    float sum = load_global(p.ring_score + list + row);
    const int32_t count = load_global(p.ring_count + list + row);
    for (int i = first; i < end; ++i) {
      const int64_t column = int64_t(s.score_row + i) * p.q_heads + s.head * ratio;
      for (int first_head = 0; first_head < ratio; first_head += 4) {
        float raw[4], lse[4];  // loads that are under way together
#pragma unroll
        for (int j = 0; j < 4; ++j) {
          const int64_t at = column + (first_head + j < ratio ? first_head + j : ratio - 1);
          raw[j] = load_global(p.ring_scores + at * p.ring_rows + row);
          lse[j] = p.lse ? load_global(p.lse + at) : 0.0f;
        }
#pragma unroll
        for (int j = 0; j < 4; ++j)
          if (first_head + j < ratio && raw[j] != minus_infinity()) sum += p.lse ? exp2_fast((raw[j] - lse[j]) * 1.4426950408889634f) : raw[j];
      }
    }
    store_global(p.ring_score + list + row, sum);
    store_global(p.ring_count + list + row, count + (end > first ? end - first : 0));
  }
}

/// Chooses the anchors of the block from `begin` on and encodes it.
template <class K, class P>
__device__ __forceinline__ void flush(const P& p, const append_view& s, int begin) {
  block_barrier();  // sums are folded; rows, anchors and memory of the block before are settled
  const flush_view f = view_flush(p, s.b, s.head, s.slot, begin);
  auto& mem = *reinterpret_cast<choose_memory<K>*>(shared_memory());
  keep_limit limit = keep_none();
  if (f.pages) {
    settle_scores<K>(p, f);
    block_barrier();
    limit = limit_of(p, f, mem);
    hand_back(p, f, limit, mem);
  }
  keep_winners(p, f, limit, mem);
  encode_block<K>(p, f);
}

/// Writes the new rows: into the ring, where their sums start, or into the pages of an exact recipe. The last threads begin: where little is folded, theirs are
/// warps that need not wait for scores.
template <class K, class P>
__device__ __forceinline__ void store_rows(const P& p, const append_view& s) {
  constexpr int kPieces = K::kHeadDim / 8, kThreads = K::kWarps * 32;
  const int thread = kThreads - 1 - thread_index();
  for (int task = thread; task < s.rows * kPieces; task += kThreads) {
    const int row = task / kPieces, at = task % kPieces * 16, token = s.tokens + row;
    const bytes16 k = load_global(reinterpret_cast<const bytes16*>(byte_pointer(p.k) + int64_t(s.first_row + row) * p.k_row_stride + s.head * p.k_head_stride + at));
    const bytes16 v = load_global(reinterpret_cast<const bytes16*>(byte_pointer(p.v) + int64_t(s.first_row + row) * p.v_row_stride + s.head * p.v_head_stride + at));
    unsigned char *to_k, *to_v;
    if constexpr (K::kCoded) {
      const int64_t offset = ring_offset(p, s.slot, s.head, token);
      to_k = byte_pointer(p.ring_k) + offset, to_v = byte_pointer(p.ring_v) + offset;
    } else {
      to_k = page_block(p, s.b, s.head, token) + token % p.page_size / 16 * K::kUnitBytes + token % 16 * (K::kHeadDim * 2);
      to_v = to_k + K::kValueOffset;
    }
    store_global(reinterpret_cast<bytes16*>(to_k + at), k);
    store_global(reinterpret_cast<bytes16*>(to_v + at), v);
  }
  if (!p.ring_score) return;
  const int64_t list = (int64_t(s.slot) * p.kv_heads + s.head) * p.ring_rows;
  for (int row = thread; row < s.rows; row += kThreads) {
    const int64_t at = list + (s.tokens + row) % p.ring_rows;
    const int from = (s.first_row + row) * p.kv_heads + s.head;
    store_global(p.ring_score + at, element_or(p.new_score, from, 0.0f));
    store_global(p.ring_count + at, element_or(p.new_count, from, 0));
  }
}

template <class K, class P>
__device__ __forceinline__ void append(const P& p) {
  const append_view s = view_append<K>(p);
  if constexpr (K::kCoded) {
    static_assert(sizeof(choose_memory<K>) <= K::kSharedBytes && sizeof(encode_memory<K>) <= K::kSharedBytes, "generator/shared.ts is wrong");
    fold_scores<K>(p, s);
    int begin = s.coded_len;
    for (; begin + p.flush_block <= s.tokens - p.window; begin += p.flush_block) flush<K>(p, s, begin);
    if (begin > s.coded_len) block_barrier();  // a new row may take the place of one that was encoded
  }
  store_rows<K>(p, s);
}
