// The top budget of the scores: one CTA per (KV head, sequence). Radix selection by 8 bits at a time finds the smallest score
// that is kept; one ordered pass then writes bitmap and ascending indices. Ties go to the lower index.

template <class K>
struct select_memory {
  uint32_t histogram[256];
  uint32_t digit, remaining;
  uint32_t warp_equal[K::kWarps], warp_kept[K::kWarps];
};

template <class K, class P>
__device__ __forceinline__ void select(const P& p) {
  static_assert(sizeof(select_memory<K>) <= K::kSharedBytes, "generator/shared.ts is wrong");
  constexpr int kThreads = K::kWarps * 32;
  auto& mem = *reinterpret_cast<select_memory<K>*>(shared_memory());
  const int thread = thread_index(), lane = lane_index(), warp = warp_index();
  const int head = block_index().x, b = block_index().y;
  const int64_t list = int64_t(b) * p.kv_heads + head;
  const float* scores = p.scores + list * p.score_stride;
  const int tokens = load_global(p.token_count + b);

  const int always = smaller(smaller(p.first_tokens, tokens), p.max_anchors);
  const int64_t budget = p.budget_tokens >= 0 ? p.budget_tokens : int64_t(tokens) * p.budget_permille / 1000;
  uint32_t remaining = uint32_t(smaller(budget, int64_t(p.max_anchors - always)));

  // The key of the last score that is kept, from its highest digit down; `remaining` counts what must still be found below it.
  uint32_t threshold = 0;
  for (int shift = 24; shift >= 0; shift -= 8) {
    for (int i = thread; i < 256; i += kThreads) store_shared(mem.histogram + i, 0u);
    block_barrier();
    for (int token = always + thread; token < tokens; token += kThreads) {
      const uint32_t key = score_key(load_global(scores + token));
      const bool candidate = key != 0 && (shift == 24 || key >> (shift + 8) == threshold >> (shift + 8));
      if (candidate) atomic_add_shared(mem.histogram + (key >> shift & 255), 1u);
    }
    block_barrier();
    if (thread == 0) {
      int digit = 255;
      uint32_t found = 0;
      for (; digit > 0; --digit) {
        const uint32_t here = load_shared(mem.histogram + digit);
        if (found + here >= remaining) break;
        found += here;
      }
      store_shared(&mem.digit, uint32_t(digit));
      store_shared(&mem.remaining, remaining - found);
    }
    block_barrier();
    threshold |= load_shared(&mem.digit) << shift;
    remaining = load_shared(&mem.remaining);
    block_barrier();
  }
  // `remaining` scores equal to the threshold are kept; with fewer valid scores than budget the threshold is 0 and all win.

  uint32_t equal_before = 0, kept_before = 0;
  uint32_t* bitmap = p.keep_bitmap + list * p.keep_words;
  int32_t* indices = p.keep_indices + list * p.max_anchors;
  for (int base = 0; base < tokens; base += kThreads) {
    const int token = base + thread;
    const uint32_t key = token < tokens && token >= always ? score_key(load_global(scores + token)) : 0;
    const uint32_t lower = (1u << lane) - 1;

    const bool equal = key != 0 && key == threshold;
    const uint32_t equals = vote_ballot(equal);
    if (lane == 0) store_shared(mem.warp_equal + warp, uint32_t(count_bits(equals)));
    block_barrier();
    const uint32_t rank = equal_before + sum_before(mem.warp_equal, warp) + count_bits(equals & lower);
    const bool keep = token < always || key > threshold || (equal && rank < remaining);
    const uint32_t keeps = vote_ballot(keep);
    if (lane == 0) store_shared(mem.warp_kept + warp, uint32_t(count_bits(keeps)));
    block_barrier();
    const uint32_t at = kept_before + sum_before(mem.warp_kept, warp) + count_bits(keeps & lower);
    if (keep) store_global(indices + at, token);
    if (lane == 0 && token / 32 < p.keep_words) store_global(bitmap + token / 32, keeps);
    equal_before += sum_before(mem.warp_equal, K::kWarps);
    kept_before += sum_before(mem.warp_kept, K::kWarps);
    block_barrier();  // the counts are written again
  }

  for (int i = int(kept_before) + thread; i < p.max_anchors; i += kThreads) store_global(indices + i, -1);
  // Words from the last chunk on: the loop above wrote whole chunks of K::kWarps words.
  for (int word = (tokens + kThreads - 1) / kThreads * K::kWarps + thread; word < p.keep_words; word += kThreads) store_global(bitmap + word, 0u);
  if (p.keep_count && thread == 0) store_global(p.keep_count + list, int32_t(kept_before));
}
