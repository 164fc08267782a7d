// The anchors of a flush: present anchors and the block's tokens compete for the budget, losers are handed back, winners of the block move in.
// One CTA chooses for its (sequence, KV head).

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
  uint32_t inherited, held, first, able;  // counts, see `limit_of`
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

/// The last candidate that is kept: higher ranks are, and of its own rank the tokens up to its own.
struct keep_limit {
  uint32_t rank;
  int token;
  __device__ __forceinline__ bool keeps(const candidate& c) const { return c.rank > rank || (c.rank == rank && c.token <= token); }
};
// No score has rank 1.
__device__ __forceinline__ keep_limit keep_all() { return {1, -1}; }
__device__ __forceinline__ keep_limit keep_none() { return {~0u, -1}; }

/// Counts what the budget depends on: inherited anchors, own rows that hold such, first tokens, and all others that may win.
template <class K, class P>
__device__ __forceinline__ void take_census(const P& p, const flush_view& f, choose_memory<K>& mem) {
  constexpr int kThreads = K::kWarps * 32;
  if (thread_index() == 0) {
    store_shared(&mem.inherited, 0u);
    store_shared(&mem.held, 0u);
    store_shared(&mem.first, 0u);
    store_shared(&mem.able, 0u);
  }
  block_barrier();
  uint32_t inherited = 0, held = 0, first = 0, able = 0;
  for (int row = thread_index(); row < f.frozen_pages * 16; row += kThreads) {
    const int token = load_global(anchor_token<K>(anchor_page_of(p, f, row), row));
    inherited += token >= p.first_tokens && token >= 0 && token < f.frozen_len;
  }
  for (int i = thread_index(); i < f.own_rows + f.end - f.begin; i += kThreads) {
    const candidate c = read_candidate<K>(p, f, i);
    if (i < known_candidates<K>()) store_shared(mem.known + i, c);
    const bool frozen = i < f.own_rows && c.token >= 0 && c.token < f.frozen_len;
    held += frozen;
    inherited += frozen && c.token >= p.first_tokens;
    first += c.rank == ~0u;
    able += c.rank != 0 && c.rank != ~0u;
  }
  if (inherited) atomic_add_shared(&mem.inherited, inherited);
  if (held) atomic_add_shared(&mem.held, held);
  if (first) atomic_add_shared(&mem.first, first);
  if (able) atomic_add_shared(&mem.able, able);
  block_barrier();
}

/// Who is kept: first tokens, and beside them the best of the budget; no more than the own rows hold.
template <class K, class P>
__device__ __forceinline__ keep_limit limit_of(const P& p, const flush_view& f, choose_memory<K>& mem) {
  constexpr int kThreads = K::kWarps * 32;
  take_census(p, f, mem);
  const int64_t first = load_shared(&mem.first), able = load_shared(&mem.able);
  const int64_t budget = int64_t(f.end) * p.budget_permille / 1000 - load_shared(&mem.inherited);
  const int64_t wanted = first + smaller(budget < 0 ? int64_t(0) : budget, able);
  const int64_t kept = smaller(wanted, int64_t(f.own_rows) - load_shared(&mem.held));
  if (kept <= 0) return keep_none();
  if (kept == first + able) return keep_all();

  const int count = f.own_rows + f.end - f.begin;
  const nth_number last = nth_largest<kThreads>(mem.radix, count, uint32_t(kept), [&](int i, uint32_t& rank) {
    rank = candidate_at(p, f, mem, i).rank;
    return rank != 0;
  });
  if (last.nth == last.equals) return {last.number, 0x7fffffff};
  // Ties go to lower tokens.
  const nth_number token = nth_largest<kThreads>(mem.radix, count, last.nth, [&](int i, uint32_t& number) {
    const candidate c = candidate_at(p, f, mem, i);
    number = ~uint32_t(c.token);
    return c.rank == last.number;
  });
  return {last.number, int(~token.number)};
}

/// Clears the bits of present anchors that lost, and empties their rows.
template <class K, class P>
__device__ __forceinline__ void hand_back(const P& p, const flush_view& f, const keep_limit& limit, const choose_memory<K>& mem) {
  for (int i = thread_index(); i < f.own_rows; i += K::kWarps * 32) {
    const candidate c = candidate_at(p, f, mem, i);
    if (c.token < 0 || c.token < f.frozen_len || limit.keeps(c)) continue;
    const int row = f.frozen_pages * 16 + i, place = c.token % p.page_size;
    store_global(anchor_token<K>(anchor_page_of(p, f, row), row), -1);
    uint32_t* bitmap = reinterpret_cast<uint32_t*>(page_block(p, f.b, f.head, c.token) + p.page_size / 16 * K::kUnitBytes);
    atomic_and_global(bitmap + place / 32, ~(1u << place % 32));  // another loser may have the same word
  }
}

/// Counts the lanes that `mine` holds for, over the CTA: this thread's rank among them, and their number in `all`. A barrier is needed before the next call.
template <class K>
__device__ __forceinline__ uint32_t rank_of(choose_memory<K>& mem, bool mine, uint32_t& all) {
  const int warp = warp_index(), lane = lane_index();
  const uint32_t votes = vote_ballot(mine);
  if (lane == 0) store_shared(mem.warp_count + warp, uint32_t(count_bits(votes)));
  block_barrier();
  all = sum_before(mem.warp_count, K::kWarps);
  return sum_before(mem.warp_count, warp) + count_bits(votes & ((1u << lane) - 1));
}

/// Finds the first free rows from `row` on, in ascending order, at most `winners` of them (fewer only if the lists contradict each other); `row` moves to where the
/// next search begins.
template <class K, class P>
__device__ __forceinline__ uint32_t find_free_rows(const P& p, const flush_view& f, choose_memory<K>& mem, int& row, uint32_t winners) {
  uint32_t found = 0;
  for (; row < f.own_rows; row += K::kWarps * 32) {
    const int mine = row + thread_index(), at = f.frozen_pages * 16 + mine;
    const bool free = mine < f.own_rows && load_global(anchor_token<K>(anchor_page_of(p, f, at), at)) < 0;
    uint32_t all;
    const uint32_t rank = found + rank_of(mem, free, all);
    if (free && rank < winners) store_shared(mem.row + rank, int32_t(mine));
    found += all;
    block_barrier();
    if (found >= winners) break;  // rows that are still free here are seen again
  }
  return smaller(found, winners);
}

/// Moves a token's exact row from the ring to own anchor row `i`, one warp.
template <class K, class P>
__device__ __forceinline__ void move_in(const P& p, const flush_view& f, int token, int i) {
  constexpr int kRowBytes = K::kHeadDim * 2, kPieces = kRowBytes / 16;
  const int row = f.frozen_pages * 16 + i;
  unsigned char* page = anchor_page_of(p, f, row);
  const int64_t from = ring_offset(p, f.slot, f.head, token);
  for (int piece = lane_index(); piece < 2 * kPieces; piece += 32) {
    const bool value = piece >= kPieces;
    const int at = piece % kPieces * 16;
    const unsigned char* side = byte_pointer(value ? p.ring_v : p.ring_k) + from + at;
    store_global(reinterpret_cast<bytes16*>(page + (16 * value + row % 16) * kRowBytes + at), load_global(reinterpret_cast<const bytes16*>(side)));
  }
  if (lane_index() != 0) return;
  store_global(anchor_token<K>(page, row), token);
  store_global(f.anchor_score + i, load_global(f.token_score + token % p.ring_rows));
}

/// Writes the bitmap of the block's pages, all words, and moves the block's winners into free rows: ascending tokens to ascending rows.
template <class K, class P>
__device__ __forceinline__ void keep_winners(const P& p, const flush_view& f, const keep_limit& limit, choose_memory<K>& mem) {
  constexpr int kThreads = K::kWarps * 32;
  int next_row = 0;
  for (int first = f.begin; first < f.end; first += kThreads) {
    const int token = first + thread_index();
    const bool wins = f.pages && token < f.end && limit.keeps(candidate_at(p, f, mem, f.own_rows + token - f.begin));
    const uint32_t votes = vote_ballot(wins);
    // A word is a warp's, but pages of 16 tokens have one of 16 bits each.
    const int lane = lane_index(), span = p.page_size < 32 ? 16 : 32;
    if (lane % span == 0 && token < f.end) {
      uint32_t* bitmap = reinterpret_cast<uint32_t*>(page_block(p, f.b, f.head, token) + p.page_size / 16 * K::kUnitBytes);
      store_global(bitmap + token % p.page_size / 32, span == 32 ? votes : votes >> lane & 0xffff);
    }
    if (!f.pages) continue;
    uint32_t winners;  // counting has a barrier: rows that were handed back, or taken a turn ago, are settled when free ones are looked for
    const uint32_t rank = rank_of(mem, wins, winners);
    if (wins) store_shared(mem.token + rank, int32_t(token));
    block_barrier();
    if (winners == 0) continue;
    const int moves = int(find_free_rows(p, f, mem, next_row, winners));
    for (int i = warp_index(); i < moves; i += K::kWarps) move_in<K>(p, f, load_shared(mem.token + i), load_shared(mem.row + i));
  }
}
