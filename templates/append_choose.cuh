// The anchors of a flush: losers are handed back, winners of the block move in.

/// Clears the bits of present anchors that lost, and empties their rows.
template <class K, class P>
__device__ __forceinline__ void hand_back(const P& p, const flush_view& f, const keep_limit& limit, const choose_memory<K>& mem) {
  if (p.extra_tokens > 0) return;
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
