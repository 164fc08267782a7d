// What decides who is kept: the last of the best that the budget, and the rows of the anchor pages, have room for.

/// The last candidate that is kept: higher ranks are, and of its own rank the tokens up to its own.
struct keep_limit {
  uint32_t rank;
  int token;
  __device__ __forceinline__ bool keeps(const candidate& c) const { return c.rank > rank || (c.rank == rank && c.token <= token); }
  __device__ __forceinline__ bool stricter(const keep_limit& other) const { return rank > other.rank || (rank == other.rank && token < other.token); }
};
// No score has rank 1.
__device__ __forceinline__ keep_limit keep_all() { return {1, -1}; }
__device__ __forceinline__ keep_limit keep_none() { return {~0u, -1}; }

/// Counts what the budget depends on: inherited anchors, own rows that hold such, first tokens and all others that may win, of the whole and of the block, and
/// anchors that are present and may be handed back, first tokens not counted.
template <class K, class P>
__device__ __forceinline__ void take_census(const P& p, const flush_view& f, choose_memory<K>& mem) {
  constexpr int kThreads = K::kWarps * 32;
  if (thread_index() == 0) {
    store_shared(&mem.inherited, 0u);
    store_shared(&mem.held, 0u);
    store_shared(&mem.first, 0u);
    store_shared(&mem.able, 0u);
    store_shared(&mem.present, 0u);
    store_shared(&mem.first_of_block, 0u);
    store_shared(&mem.able_of_block, 0u);
  }
  block_barrier();
  uint32_t inherited = 0, held = 0, first = 0, able = 0, present = 0, first_of_block = 0, able_of_block = 0;
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
    present += i < f.own_rows && c.token >= p.first_tokens && c.token >= f.frozen_len;
    first_of_block += i >= f.own_rows && c.rank == ~0u;
    able_of_block += i >= f.own_rows && c.rank != 0 && c.rank != ~0u;
  }
  if (inherited) atomic_add_shared(&mem.inherited, inherited);
  if (held) atomic_add_shared(&mem.held, held);
  if (first) atomic_add_shared(&mem.first, first);
  if (able) atomic_add_shared(&mem.able, able);
  if (present) atomic_add_shared(&mem.present, present);
  if (first_of_block) atomic_add_shared(&mem.first_of_block, first_of_block);
  if (able_of_block) atomic_add_shared(&mem.able_of_block, able_of_block);
  block_barrier();
}

/// The last of the `kept` best candidates from number `from` on, of which `all` may win.
template <class K, class P>
__device__ __forceinline__ keep_limit last_of(const P& p, const flush_view& f, choose_memory<K>& mem, int from, int64_t kept, int64_t all) {
  constexpr int kThreads = K::kWarps * 32;
  if (kept <= 0) return keep_none();
  if (kept >= all) return keep_all();

  const int count = f.own_rows + f.end - f.begin - from;
  const nth_number last = nth_largest<kThreads>(mem.radix, count, uint32_t(kept), [&](int i, uint32_t& rank) {
    rank = candidate_at(p, f, mem, from + i).rank;
    return rank != 0;
  });
  if (last.nth == last.equals) return {last.number, 0x7fffffff};
  // Ties go to lower tokens.
  const nth_number token = nth_largest<kThreads>(mem.radix, count, last.nth, [&](int i, uint32_t& number) {
    const candidate c = candidate_at(p, f, mem, from + i);
    number = ~uint32_t(c.token);
    return c.rank == last.number;
  });
  return {last.number, int(~token.number)};
}

/// Who is kept: first tokens, and beside them the best of the budget; no more than the own rows hold. With extra tokens this is said of the block alone, as no anchor is
/// handed back: its tokens that are among the best of the budget win as long as there is room in budget and extra ones together.
template <class K, class P>
__device__ __forceinline__ keep_limit limit_of(const P& p, const flush_view& f, choose_memory<K>& mem) {
  take_census(p, f, mem);
  const int64_t first = load_shared(&mem.first), able = load_shared(&mem.able), all = first + able;
  const int64_t given = p.budget_tokens > 0 ? int64_t(p.budget_tokens) : int64_t(f.end) * p.budget_permille / 1000, own = given - load_shared(&mem.inherited);
  const int64_t rows = int64_t(f.own_rows) - load_shared(&mem.held), budget = own < 0 ? int64_t(0) : own;
  const int64_t wanted = first + smaller(budget, able);
  if (p.extra_tokens == 0) return last_of(p, f, mem, 0, smaller(wanted, rows), all);

  const keep_limit best = last_of(p, f, mem, 0, wanted, all);
  const int64_t first_of_block = load_shared(&mem.first_of_block), able_of_block = load_shared(&mem.able_of_block), present = load_shared(&mem.present);
  const int64_t room = budget + p.extra_tokens - present, free = rows - present - (first - first_of_block);
  const keep_limit fitting = last_of(p, f, mem, f.own_rows, smaller(first_of_block + (room < 0 ? int64_t(0) : room), free), first_of_block + able_of_block);
  return fitting.stricter(best) ? fitting : best;
}
