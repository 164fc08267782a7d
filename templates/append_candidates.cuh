// Who competes in a flush: present anchors and the block's tokens. One CTA chooses for its (sequence, KV head).

/// An unsigned number in the order of the scores; 0 for what never wins. -0 and +0 are equal.
__device__ __forceinline__ uint32_t score_key(float score) {
  const uint32_t bits = float_bits(score + 0.0f);
  return score > minus_infinity() ? bits ^ (uint32_t(int(bits) >> 31) | 0x80000000u) : 0;  // NaN too
}

/// Sums the first `index` entries of `counts`.
__device__ __forceinline__ uint32_t sum_before(const uint32_t* counts, int index) {
  uint32_t sum = 0;
  for (int i = 0; i < index; ++i) sum += load_shared(counts + i);
  return sum;
}

/// Bytes from the start of ring_k or ring_v to the row of `token`.
template <class P>
__device__ __forceinline__ int64_t ring_offset(const P& p, int slot, int head, int token) {
  return slot * p.ring_slot_stride + head * p.ring_head_stride + token % p.ring_rows * p.ring_row_stride;
}

/// Who competes. `rank` is in the order of scores: 0 never wins, ~0 always does.
struct alignas(8) candidate {
  int token;  // -1: an empty row
  uint32_t rank;
};

/// Shared memory of a choice.
template <class K>
struct choose_memory {
  static constexpr int kThreads = K::kWarps * 32;
  radix_memory radix;
  uint32_t inherited, held, first, able, present, first_of_block, able_of_block;  // counts, see `take_census`
  uint32_t warp_count[K::kWarps];
  int32_t token[kThreads], row[kThreads];  // winners under way, and the free rows that they move to
  candidate known[1];                      // the first candidates, as many as there is room for
};
/// Candidates that shared memory has room for; the others are read anew each time, so a list of anchors may have any length.
template <class K>
__device__ __forceinline__ constexpr int known_candidates() {
  return int((K::kSharedBytes - sizeof(choose_memory<K>)) / sizeof(candidate)) + 1;
}

/// A flush as its CTA sees it.
struct flush_view {
  int b, head, slot;
  int begin, end;                         // tokens of the block
  int frozen_len, frozen_pages, own_rows;  // own: of the anchor pages behind the inherited ones
  const int32_t* pages;                   // the sequence's list of anchor pages
  float* anchor_score;                    // beside its own rows
  float* token_score;                     // [ring_rows] what each of the block's tokens scores
};

template <class P>
__device__ __forceinline__ flush_view view_flush(const P& p, int b, int head, int slot, int begin) {
  flush_view f{b, head, slot, begin, begin + p.flush_block, element_or(p.frozen_len, b, 0), 0, 0, nullptr, nullptr, nullptr};
  if (!p.anchor_table) return f;
  f.pages = anchor_pages(p, b);
  const int entries = count_anchor_pages(f.pages, p.max_anchor_pages);
  f.frozen_pages = smaller(element_or(p.frozen_anchor_pages, b, 0), entries);
  f.own_rows = (entries - f.frozen_pages) * 16;
  const int64_t list = int64_t(slot) * p.kv_heads + head;
  f.anchor_score = p.anchor_score + (list * p.max_anchor_pages + f.frozen_pages) * 16;
  f.token_score = p.ring_score + list * p.ring_rows;
  return f;
}

/// The anchor page that holds row `row`, counted from the start of the list, and where that row's token index lies.
template <class P>
__device__ __forceinline__ unsigned char* anchor_page_of(const P& p, const flush_view& f, int row) {
  return anchor_block(p, load_global(f.pages + row / 16), f.head);
}
template <class K>
__device__ __forceinline__ int32_t* anchor_token(unsigned char* page, int row) {
  return reinterpret_cast<int32_t*>(page + 16 * K::kHeadDim * 2 * 2) + row % 16;
}

/// Candidate `i`: the own anchor rows, then the block's tokens. Inherited tokens do not compete, wherever their rows are.
template <class K, class P>
__device__ __forceinline__ candidate read_candidate(const P& p, const flush_view& f, int i) {
  candidate c{f.begin + i - f.own_rows, 0};
  const bool present = i < f.own_rows;
  if (present) {
    const int row = f.frozen_pages * 16 + i;
    c.token = load_global(anchor_token<K>(anchor_page_of(p, f, row), row));
    if (c.token < f.frozen_len) return c;
  }
  if (c.token < p.first_tokens) c.rank = ~0u;
  else c.rank = score_key(load_global(present ? f.anchor_score + i : f.token_score + c.token % p.ring_rows));
  return c;
}

/// The same, once `take_census` has seen it.
template <class K, class P>
__device__ __forceinline__ candidate candidate_at(const P& p, const flush_view& f, const choose_memory<K>& mem, int i) {
  return i < known_candidates<K>() ? load_shared(mem.known + i) : read_candidate<K>(p, f, i);
}
