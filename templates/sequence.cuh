// One sequence as decode sees it: three segments as one list of units of 16 tokens, and what each query column may see.

/// The sequence as this CTA sees it.
struct decode_view {
  int coded_len, kv_len, first_pos, first_new;  // first_new: logical index of the first of this step's rows
  int coded_units, anchor_units, units;
  int frozen_pages, frozen_len;
  const int32_t* anchors;
  int slot;
};

/// The sequence without its anchors, whose list takes time to count.
template <class P>
__device__ __forceinline__ decode_view lengths_of(const P& p, int b, int q_len) {
  decode_view s;
  s.coded_len = load_global(p.coded_len + b);
  s.kv_len = load_global(p.kv_len + b);
  s.first_pos = element_or(p.first_pos, b, 0);
  s.first_new = s.kv_len - q_len;
  s.slot = element_or(p.state_slot, b, b);
  s.frozen_pages = element_or(p.frozen_anchor_pages, b, 0);
  s.frozen_len = element_or(p.frozen_len, b, 0);
  s.coded_units = p.segments & 1 ? (s.coded_len + 15) / 16 : 0;
  s.anchors = nullptr;
  s.anchor_units = 0;
  s.units = s.coded_units + (p.segments & 4 ? (s.kv_len - s.coded_len + 15) / 16 : 0);
  return s;
}
/// Counts the anchors in.
template <class P>
__device__ __forceinline__ void add_anchors(const P& p, int b, decode_view& s) {
  if (!(p.segments & 2 && p.anchor_table)) return;
  s.anchors = anchor_pages(p, b);
  s.anchor_units = count_anchor_pages(s.anchors, p.max_anchor_pages);
  s.units += s.anchor_units;
}
template <class P>
__device__ __forceinline__ decode_view view_of(const P& p, int b, int q_len) {
  decode_view s = lengths_of(p, b, q_len);
  add_anchors(p, b, s);
  return s;
}

/// A query column: which row of which head, and what it may see.
struct column {
  bool valid;
  int row, head, position;
  uint32_t new_rows;  // tree mask, or all ones
};

template <class P>
__device__ __forceinline__ column column_of(const P& p, const decode_view& s, int b, int first_row, int q_len, int kv_head, int flat) {
  const uint32_t ratio = uint32_t(p.q_heads) / uint32_t(p.kv_heads);
  column c;
  c.valid = flat < q_len * int(ratio);
  int row = 0;
  if (c.valid && q_len > 1) row = int(uint32_t(flat) / ratio);  // a branch: divisions are long
  c.row = first_row + row;
  c.head = kv_head * int(ratio) + (c.valid ? flat - row * int(ratio) : 0);
  c.position = element_or(p.q_pos, b, s.first_pos + s.first_new) + row;
  c.new_rows = c.valid && p.tree_mask ? load_global(p.tree_mask + c.row) : ~0u;
  return c;
}

/// Whether `c` sees logical token `token`. New rows obey the tree mask where there is one, all others their position.
__device__ __forceinline__ bool sees(const column& c, const decode_view& s, int token, bool has_tree) {
  if (!c.valid) return false;
  if (has_tree && token >= s.first_new) return c.new_rows >> (token - s.first_new) & 1;
  return s.first_pos + token <= c.position;
}
