// Making random steps.
#include "append_problem.h"

#include <algorithm>

namespace runner {

AppendShape AppendShape::read(const Json& shape, const reference::Contract& contract) {
  AppendShape s;
  s.cache = CacheShape::read(shape, contract, "seq_len");
  const int batch = s.cache.batch;
  const bool coded = !contract.format.k.exact || !contract.format.v.exact;
  s.accepted = per_sequence(shape, "accepted", batch);
  s.coded_len = per_sequence(shape, "coded_len", batch);
  s.q_len = per_sequence(shape, "q_len", batch);
  s.unscored = per_sequence(shape, "unscored", batch);
  s.window = bounded(shape, "window", coded ? 16 : 0, 0, 1 << 16);
  s.flush_block = bounded(shape, "flush_block", coded ? s.cache.page_size : 1, 1, 1 << 16);
  s.ring_rows = bounded(shape, "ring_rows", coded ? s.window + s.flush_block + 16 : 0, 0, 1 << 20);
  s.q_heads = bounded(shape, "q_heads", s.cache.kv_heads, 1, 1 << 14);
  s.policy = bounded(shape, "policy", 0, 0, 3);
  s.budget_permille = bounded(shape, "budget_permille", 100, 0, 1000);
  s.budget_tokens = bounded(shape, "budget_tokens", 0, 0, 1 << 20), s.extra_tokens = bounded(shape, "extra_tokens", 0, 0, 1 << 20);
  s.first_tokens = bounded(shape, "first_tokens", 0, 0, 1 << 20);
  s.anchor_spare = bounded(shape, "anchor_spare", s.flush_block + 16, 0, 1 << 20);
  s.scores = shape.boolean("scores", true);
  s.score_row = shape.boolean("score_row", true);
  s.lse = shape.boolean("lse", true);
  s.new_score = shape.boolean("new_score", false);
  s.pattern = shape.string("pattern", "random");
  if (s.pattern != "random" && s.pattern != "ties" && s.pattern != "special") throw RequestError("pattern must be random, ties or special");
  for (int b = 0; b < batch; b++) {
    if (s.accepted_of(b) < 0 || s.rows_of(b) < 0) throw RequestError("accepted and q_len must be 0 or more");
    if (!s.score_row && s.accepted_of(b) > 1) throw RequestError("without score_row a sequence had one row");
    if (!coded) continue;
    if (s.coded_before(b) % s.flush_block || s.coded_before(b) > s.cache.tokens[b]) throw RequestError("coded_len must be whole flush blocks of committed tokens");
    if (s.committed(b) - s.coded_before(b) > s.ring_rows || s.committed(b) + s.rows_of(b) - s.coded_after(b) > s.ring_rows) throw RequestError("the ring holds fewer rows than sequence " + std::to_string(b) + " needs");
  }
  return s;
}

int AppendShape::coded_before(int b) const {
  if (!coded_len.empty()) return coded_len[b];
  const int rule = std::max(0, cache.tokens[b] - window) / flush_block * flush_block;
  return std::max(rule, cache.frozen_len.empty() ? 0 : cache.frozen_len[b]);
}

int AppendShape::coded_after(int b) const {
  int coded = coded_before(b);
  while (coded + flush_block <= committed(b) - window) coded += flush_block;
  return coded;
}

AppendProblem::AppendProblem(const Driver& driver, Random& random, const reference::Contract& contract, const AppendShape& shape)
    : memory(driver), shape(shape), coded(!contract.format.k.exact || !contract.format.v.exact) {
  make_cache(random, contract);
  make_lengths();
  if (coded) make_ring(random);
  if (coded && shape.scores) make_scores(random);
  make_rows(random);
}

void AppendProblem::make_cache(Random& random, const reference::Contract& contract) {
  CacheShape stored = shape.cache, room = shape.cache;
  for (int b = 0; b < stored.batch; b++) {
    stored.tokens[b] = coded ? shape.coded_before(b) : shape.committed(b);
    room.tokens[b] = coded ? shape.coded_after(b) : shape.committed(b) + shape.rows_of(b);
  }
  const auto kept = choose_anchors(random, stored);
  std::vector<int32_t> rows = anchor_rows_of(stored, kept);
  for (int32_t& n : rows) n += shape.anchor_spare;
  cache = std::make_unique<Cache>(memory, random, contract, room, rows);
  cache->shape.tokens = stored.tokens;  // the pages of what this step encodes stay garbage
  cache->fill(random, kept);
  bind_cache(p, *cache);
  if (!cache->anchors) return;
  for (int b = 0; b < stored.batch; b++)
    for (int head = 0; head < stored.kv_heads; head++)
      for (int i = 0; i < cache->anchor_start[b + 1] - cache->anchor_start[b]; i++)
        for (int row = 0; row < ANTKV_ANCHOR_ROWS; row++) {
          // Rows of tokens that are not coded, which decode must skip, no append leaves.
          uint8_t* at = cache->anchor_block(b, head, i) + antkv_anchor_index_offset(contract.format.head_dim) + 4 * row;
          int32_t token;
          std::memcpy(&token, at, 4);
          if (token >= stored.tokens[b]) token = -1;
          std::memcpy(at, &token, 4);
        }
}

void AppendProblem::make_lengths() {
  P& s = p.host;
  s.window = shape.window, s.flush_block = shape.flush_block, s.ring_rows = shape.ring_rows;
  s.q_heads = shape.q_heads, s.policy = shape.policy, s.budget_permille = shape.budget_permille, s.first_tokens = shape.first_tokens;
  s.budget_tokens = shape.budget_tokens, s.extra_tokens = shape.extra_tokens;
  p.bind(&P::seq_len, memory.add("seq_len", shape.cache.tokens));
  if (!shape.accepted.empty()) p.bind(&P::accepted, memory.add("accepted", shape.accepted));
  if (!shape.coded_len.empty()) p.bind(&P::coded_len, memory.add("coded_len", shape.coded_len));
  if (cache->frozen_len) p.bind(&P::frozen_len, *cache->frozen_len);
  else if (!shape.cache.frozen_len.empty()) p.bind(&P::frozen_len, memory.add("frozen_len", shape.cache.frozen_len));
  if (cache->frozen_anchor_pages) p.bind(&P::frozen_anchor_pages, *cache->frozen_anchor_pages);
}

/// A column sum and the rows that it was summed over.
float AppendProblem::draw_sum(Random& random, int32_t& count) const {
  if (shape.pattern == "ties") return count = 4, float(random.below(4)) / 8;
  count = 1 + random.below(100);
  if (shape.pattern == "random") return float(count * 0.02 * random.uniform());
  const float some[] = {NAN, -INFINITY, INFINITY, 0.0f, -0.0f, 1.5f, 2e38f, -3.0f, 1e-42f};
  if (random.below(5) == 0) count = 0;
  return some[random.below(9)];
}

void AppendProblem::make_ring(Random& random) {
  P& s = p.host;
  const int d = cache->contract.format.head_dim;
  s.ring_row_stride = 2 * d + shape.cache.pad;
  s.ring_head_stride = s.ring_rows * s.ring_row_stride + shape.cache.pad;
  s.ring_slot_stride = s.kv_heads * s.ring_head_stride + shape.cache.pad;
  const size_t bytes = size_t(cache->slots * s.ring_slot_stride), entries = size_t(cache->slots) * s.kv_heads * s.ring_rows;
  ring_k = &memory.add("ring_k", bytes), ring_v = &memory.add("ring_v", bytes);
  p.bind(&P::ring_k, *ring_k), p.bind(&P::ring_v, *ring_v);
  if (shape.scores || cache->anchors) {
    ring_score = &memory.add("ring_score", entries * 4), ring_count = &memory.add("ring_count", entries * 4);
    p.bind(&P::ring_score, *ring_score), p.bind(&P::ring_count, *ring_count);
  }
  std::vector<uint16_t> few(4 * size_t(d));  // rows for ties
  gaussian_elements(random, cache->contract.element, few.data(), int(few.size()));
  for (int b = 0; b < s.batch; b++)
    for (int head = 0; head < s.kv_heads; head++)
      for (int token = shape.coded_before(b); token < shape.committed(b); token++) {
        const int row = token % s.ring_rows;
        const size_t offset = size_t(cache->slot_of[b] * s.ring_slot_stride + head * s.ring_head_stride + row * s.ring_row_stride);
        gaussian_elements(random, cache->contract.element, ring_k->host.data() + offset, d);
        gaussian_elements(random, cache->contract.element, ring_v->host.data() + offset, d);
        if (shape.pattern == "ties") std::memcpy(ring_k->host.data() + offset, &few[size_t(random.below(4)) * d], 2 * size_t(d));
        if (!ring_score) continue;
        const size_t at = (size_t(cache->slot_of[b]) * s.kv_heads + head) * s.ring_rows + row;
        ring_score->as<float>()[at] = draw_sum(random, ring_count->as<int32_t>()[at]);
      }
  if (!cache->anchors) return;
  anchor_score = &memory.add("anchor_score", size_t(cache->slots) * s.kv_heads * s.max_anchor_pages * ANTKV_ANCHOR_ROWS * 4);
  p.bind(&P::anchor_score, *anchor_score);
  for (int b = 0; b < s.batch; b++)
    for (int head = 0; head < s.kv_heads; head++)
      for (int row = 0; row < (cache->anchor_start[b + 1] - cache->anchor_start[b]) * ANTKV_ANCHOR_ROWS; row++) {
        int32_t count;
        const float sum = draw_sum(random, count);
        anchor_score->as<float>()[((size_t(cache->slot_of[b]) * s.kv_heads + head) * s.max_anchor_pages) * ANTKV_ANCHOR_ROWS + row] = sum / float(count);
      }
}

/// The scores of the step before, its sequences in another order; of rows that were rejected, and of what a row did not see, NaN or -inf.
void AppendProblem::make_scores(Random& random) {
  P& s = p.host;
  std::vector<int32_t> first(s.batch), rows(s.batch, 1);
  int total = 0;
  const auto order = random.permutation(s.batch);
  for (int i = 0; i < s.batch; i++) {
    const int b = shape.score_row ? order[i] : i;
    if (shape.score_row) rows[b] = shape.accepted_of(b) + random.below(3);
    first[b] = total;
    total += rows[b];
    if (!shape.unscored.empty() && shape.unscored[b]) first[b] = -1;
  }
  total = std::max(1, total);
  std::vector<float> lse(size_t(total) * s.q_heads), scores(lse.size() * s.ring_rows, NAN);
  for (float& x : lse) x = float(3 * random.gauss());
  for (int b = 0; b < s.batch; b++)
    for (int i = 0; i < shape.accepted_of(b) && first[b] >= 0; i++)
      for (int q = 0; q < s.q_heads; q++)
        for (int token = shape.coded_before(b); token < shape.committed(b); token++) {
          const size_t column = size_t(first[b] + i) * s.q_heads + q;
          const bool sees = token <= shape.cache.tokens[b] + i && random.below(5) != 0;
          const float below = float(-8 * random.uniform());
          scores[column * s.ring_rows + token % s.ring_rows] = shape.lse ? (sees ? lse[column] + below : -INFINITY) : sees ? std::exp(below) : 0;
        }
  p.bind(&P::ring_scores, memory.add("ring_scores", scores));
  if (shape.lse) p.bind(&P::lse, memory.add("lse", lse));
  if (shape.score_row) p.bind(&P::score_row, memory.add("score_row", first));
}

void AppendProblem::make_rows(Random& random) {
  P& s = p.host;
  const int d = cache->contract.format.head_dim;
  std::vector<int32_t> cu{0};
  for (int b = 0; b < s.batch; b++) cu.push_back(cu.back() + shape.rows_of(b));
  if (!shape.q_len.empty()) p.bind(&P::cu_q, memory.add("cu_q", cu));
  const int total = std::max(1, cu.back());
  s.k_head_stride = 2 * d + shape.cache.pad, s.v_head_stride = 2 * d;
  s.k_row_stride = s.kv_heads * s.k_head_stride + shape.cache.pad, s.v_row_stride = s.kv_heads * s.v_head_stride + 2 * shape.cache.pad;
  Buffer &k = memory.add("k", size_t(total * s.k_row_stride)), &v = memory.add("v", size_t(total * s.v_row_stride));
  for (int row = 0; row < cu.back(); row++)
    for (int head = 0; head < s.kv_heads; head++) {
      gaussian_elements(random, cache->contract.element, k.host.data() + row * s.k_row_stride + head * s.k_head_stride, d);
      gaussian_elements(random, cache->contract.element, v.host.data() + row * s.v_row_stride + head * s.v_head_stride, d);
    }
  p.bind(&P::k, k), p.bind(&P::v, v);
  if (!shape.new_score) return;
  std::vector<float> sums(size_t(total) * s.kv_heads);
  std::vector<int32_t> counts(sums.size());
  for (size_t i = 0; i < sums.size(); i++) sums[i] = draw_sum(random, counts[i]);
  p.bind(&P::new_score, memory.add("new_score", sums)), p.bind(&P::new_count, memory.add("new_count", counts));
}

}  // namespace runner
