// What all warps of a CTA want to know of the piece under way.

/// What the phases of a piece share, in shared memory: in registers it would take room from the loop, made anew it would take time.
template <class K>
struct piece_context {
  decode_view s;
  piece w;
  int kv_head;
  int open;  // tokens below it are seen by every column
  column columns[K::kColumns];
};

/// Fills it, one warp.
template <class K, class P>
__device__ __forceinline__ void store_context(const P& p, const piece& w, int group, int kv_head, piece_context<K>* context) {
  const query_rows rows = query_rows_of(p, w.b);
  const decode_view s = view_of(p, w.b, rows.count);
  int open = 0x7fffffff;
  if (lane_index() < K::kColumns) {
    const column c = column_of(p, s, w.b, rows.first, rows.count, kv_head, group * K::kColumns + lane_index());
    store_words(context->columns + lane_index(), c);
    if (c.valid) open = c.position - s.first_pos + 1;
    if (p.tree_mask) open = min_int(open, s.first_new);
  }
#pragma unroll
  for (int mask = 1; mask < K::kColumns; mask *= 2) open = min_int(open, shuffle_xor(open, mask));
  if (lane_index() == 0) {
    store_words(&context->s, s);
    store_words(&context->w, w);
    store_shared(&context->kv_head, kv_head);
    store_shared(&context->open, open);
  }
}
