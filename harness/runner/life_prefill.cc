// Prompts: score, select, encode in chunks; and long queries over what is coded already.
#include "life.h"

namespace runner {

using reference::to_half;

namespace {

std::vector<double> doubles(const std::vector<uint16_t>& halves) {
  std::vector<double> out(halves.size());
  reference::read_halves(halves.data(), int(halves.size()), out.data());
  return out;
}

/// K or V of the staged or committed tokens [from, to), [tokens, kv_heads, d] halves.
std::vector<uint16_t> rows_of(const reference::LifeSequence& s, std::vector<double> reference::LifeToken::*side, int from, int to) {
  std::vector<uint16_t> rows;
  for (int token = from; token < to; token++) {
    for (const auto& tokens : s.heads) {
      for (double x : tokens[token].*side) rows.push_back(to_half(x));
    }
  }
  return rows;
}

}  // namespace

/// Scores [kv_heads, tokens] of a prompt by a kernel of op score, held against the reference.
std::vector<float> LifeCache::score(LiveSequence& s, const Kernel& kernel, const std::vector<uint16_t>& q) {
  using P = antkv_score_params;
  using reference::Form;
  const int n = s.sim.tokens(), d = format().head_dim, heads = shape_.kv_heads;
  const Form form = kernel.contract.form;
  Memory inputs(launcher_.driver);
  Params<P> p(ANTKV_ABI_VERSION);
  p.bind(&P::k, inputs.add("k", rows_of(s.sim, &reference::LifeToken::k, 0, n))), p.bind(&P::cu_k, inputs.add("cu_k", std::vector<int32_t>{0, n}));
  if (form != Form::norm) {
    const reference::Attention attention = life_->attend(s.sim, doubles(q));
    std::vector<uint16_t> o;
    for (double x : attention.out) o.push_back(to_half(x));
    p.bind(&P::q, inputs.add("q", q)), p.bind(&P::o, inputs.add("o", o)), p.bind(&P::v, inputs.add("v", rows_of(s.sim, &reference::LifeToken::v, 0, n)));
    p.bind(&P::lse, inputs.add("lse", std::vector<float>(attention.lse.begin(), attention.lse.end()))), p.bind(&P::cu_q, inputs.add("cu_q", std::vector<int32_t>{0, n}));
  }
  Buffer& scores = inputs.add("scores", size_t(heads) * n * 4);
  scores.allow_all();
  p.bind(&P::scores, scores);
  p->q_head_stride = p->k_head_stride = p->v_head_stride = p->o_head_stride = 2 * d;
  p->q_row_stride = p->o_row_stride = int64_t(2) * d * shape_.q_heads, p->k_row_stride = p->v_row_stride = int64_t(2) * d * heads;
  p->batch = 1, p->q_heads = shape_.q_heads, p->kv_heads = heads, p->max_tokens = p->score_stride = n;
  p->scale = form != Form::norm ? float(life_->rules().scale) : shape_.policy == 1 ? -1.0f : 1.0f;
  run(kernel, p, inputs, "score");
  const std::vector<double> want = reference::reference_score(kernel.contract, p.host);
  std::vector<float> got(scores.result_as<float>(), scores.result_as<float>() + want.size());
  // Where P is near 1 little is left of 1 - P, and where v and o agree of |v - o|: those forms are good to a part of the largest score (check_score.cc is stricter).
  const bool cancels = form == Form::mass || form == Form::massq || form == Form::exact;
  const double slack = cancels ? 2e-3 * *std::max_element(want.begin(), want.end()) : 0;
  for (size_t i = 0; i < want.size(); i++) {
    const double error = std::fabs(got[i] - want[i]);
    if (!(error <= 1e-3 * std::fabs(want[i]) + slack)) return fault(s, int(i) / n, "score of token " + std::to_string(int(i) % n) + " is off by " + std::to_string(error)), got;
  }
  return got;
}

void LifeCache::select(LiveSequence& s, const std::vector<float>& scores, std::vector<uint32_t>& bitmap, std::vector<int32_t>& indices) {
  using P = antkv_select_params;
  Memory inputs(launcher_.driver);
  Params<P> p(ANTKV_ABI_VERSION);
  p->batch = 1, p->kv_heads = shape_.kv_heads, p->score_stride = s.sim.tokens(), p->keep_words = int32_t(ceil_div(s.sim.coded, 32)), p->max_anchors = own_rows(s);
  p->budget_permille = shape_.budget_permille, p->budget_tokens = shape_.budget_tokens > 0 ? shape_.budget_tokens : -1, p->first_tokens = shape_.first_tokens;
  Buffer &keep = inputs.add("keep_bitmap", size_t(p->kv_heads) * p->keep_words * 4), &list = inputs.add("keep_indices", size_t(p->kv_heads) * p->max_anchors * 4);
  keep.allow_all(), list.allow_all();
  p.bind(&P::scores, inputs.add("scores", scores)), p.bind(&P::token_count, inputs.add("token_count", std::vector<int32_t>{s.sim.coded}));
  p.bind(&P::keep_bitmap, keep), p.bind(&P::keep_indices, list);
  run(kernels_.select, p, inputs, "select");
  bitmap.assign(keep.result_as<uint32_t>(), keep.result_as<uint32_t>() + keep.result.size() / 4);
  indices.assign(list.result_as<int32_t>(), list.result_as<int32_t>() + list.result.size() / 4);
}

/// Encodes tokens first ... first + count - 1, whole pages.
void LifeCache::encode(LiveSequence& s, int first, int count, const std::vector<uint32_t>& bitmap, const std::vector<int32_t>& indices, const std::vector<float>& scores) {
  using P = antkv_encode_params;
  const int d = format().head_dim, heads = shape_.kv_heads;
  Memory inputs(launcher_.driver);
  Params<P> p(ANTKV_ABI_VERSION);
  bind(p, inputs, {&s});
  p.bind(&P::k, inputs.add("k", rows_of(s.sim, &reference::LifeToken::k, first, first + count)));
  p.bind(&P::v, inputs.add("v", rows_of(s.sim, &reference::LifeToken::v, first, first + count)));
  p.bind(&P::cu_tokens, inputs.add("cu_tokens", std::vector<int32_t>{0, count})), p.bind(&P::first_token, inputs.add("first_token", std::vector<int32_t>{first}));
  p->k_head_stride = p->v_head_stride = 2 * d;
  p->k_row_stride = p->v_row_stride = heads * p->k_head_stride;
  p->max_tokens = count;
  for (Buffer* b : {pages_, anchors_, anchor_score_}) {
    if (b) b->writable.assign(b->host.size(), false);
  }
  if (!indices.empty()) {
    p.bind(&P::keep_bitmap, inputs.add("keep_bitmap", bitmap)), p.bind(&P::keep_indices, inputs.add("keep_indices", indices));
    p.bind(&P::keep_scores, inputs.add("keep_scores", scores)), p.bind(&P::anchor_score, *anchor_score_);
    if (shape_.policy == 0) p.bind(&P::score_rows, inputs.add("score_rows", std::vector<int32_t>{s.sim.tokens()}));
    p->max_anchors = own_rows(s), p->keep_words = int32_t(ceil_div(s.sim.coded, 32)), p->score_stride = s.sim.tokens();
  }
  for (int head = 0; head < heads; head++) {
    for (int token = first; token < first + count; token += shape_.page_size) pages_->allow(size_t(block(s, head, token) - pages_->host.data()), size_t(antkv_page_bytes(format(), shape_.page_size)));
    for (size_t entry = 0; entry < s.anchor_pages.size(); entry++) anchors_->allow(size_t(anchor_block(s, head, int(entry)) - anchors_->host.data()), size_t(antkv_anchor_page_bytes(d)));
    const size_t rows = size_t(shape_.anchor_pages) * ANTKV_ANCHOR_ROWS;
    if (anchor_score_) anchor_score_->allow((size_t(s.slot) * heads + head) * rows * 4, s.anchor_pages.size() * ANTKV_ANCHOR_ROWS * 4);
  }
  run(kernels_.encode, p, inputs, "encode");
}

void LifeCache::prefill(LiveSequence& s, const std::vector<uint16_t>& q, Random& random) {
  s.entering = true;
  if (life_->rules().exact()) return;  // its rows go straight to pages
  const int n = s.sim.tokens(), heads = shape_.kv_heads, coded = life_->rules().coded_of(n);
  // What competes in the prompt, and what its anchors are frozen with: sums, of which encode makes means, or norms. First tokens need neither.
  const bool sums = shape_.policy == 0;
  std::vector<float> frozen(size_t(heads) * n), ranks;
  if (sums) frozen = ranks = score(s, kernels_.score, q);
  if (!kernels_.rank.name.empty()) ranks = score(s, kernels_.rank, q);
  if (!sums && !ranks.empty()) frozen = ranks;
  if (ranks.empty()) ranks = frozen;
  grow(s, 0, coded);
  grow_anchors(s, coded);
  const auto by_head = [&](const std::vector<float>& scores) {
    std::vector<std::vector<double>> lists;
    for (int head = 0; head < heads; head++) lists.emplace_back(scores.begin() + int64_t(head) * n, scores.begin() + int64_t(head + 1) * n);
    return lists;
  };
  const std::vector<reference::LifeContest> contests = life_->prefill(s.sim, by_head(ranks), by_head(frozen), own_rows(s));
  std::vector<uint32_t> bitmap;
  std::vector<int32_t> indices;
  if (own_rows(s) > 0) select(s, ranks, bitmap, indices);
  for (int first = 0; first < coded;) {
    const int count = std::min(coded - first, shape_.page_size * (1 + random.below(8)));
    encode(s, first, count, bitmap, indices, frozen);
    first += count;
  }
  compare_state(s, contests, 0);
}

/// Chunked prefill over a coded prefix: any attention over unpacked rows, another over the exact ones, merged by their LSE.
void LifeCache::long_query(LiveSequence& s) {
  using U = antkv_unpack_params;
  using C = antkv_combine_params;
  const int d = format().head_dim, heads = shape_.kv_heads, q_heads = shape_.q_heads, coded = s.sim.coded, rows = int(s.queries.size()) / (q_heads * d);
  Memory unpacked(launcher_.driver), parts(launcher_.driver);
  Params<U> u(ANTKV_ABI_VERSION);
  bind(u, unpacked, {&s});
  Buffer &k = unpacked.add("k", size_t(coded) * heads * d * 2), &v = unpacked.add("v", size_t(coded) * heads * d * 2);
  k.allow_all(), v.allow_all();
  u.bind(&U::k, k), u.bind(&U::v, v), u.bind(&U::cu_tokens, unpacked.add("cu_tokens", std::vector<int32_t>{0, coded}));
  u->k_head_stride = u->v_head_stride = 2 * d, u->k_row_stride = u->v_row_stride = heads * u->k_head_stride, u->max_tokens = coded;
  run(kernels_.unpack, u, unpacked, "unpack");

  // The prefix as a sequence of exact rows; the rest as one without a prefix.
  reference::LifeSequence prefix = life_->start(s.sim.first_pos), rest = s.sim;
  for (int token = 0; token < coded; token++) life_->stage(prefix, k.result_as<uint16_t>() + size_t(token) * heads * d, v.result_as<uint16_t>() + size_t(token) * heads * d);
  for (auto& tokens : rest.heads) tokens.erase(tokens.begin(), tokens.begin() + coded);
  rest.coded = 0;
  const reference::Attention over[] = {life_->attend(prefix, s.queries, coded + rows), life_->attend(rest, s.queries)};
  std::vector<float> o, lse;
  for (const auto& part : over) o.insert(o.end(), part.out.begin(), part.out.end()), lse.insert(lse.end(), part.lse.begin(), part.lse.end());
  Params<C> c(ANTKV_ABI_VERSION);
  c.bind(&C::partial_o, parts.add("partial_o", o)), c.bind(&C::partial_lse, parts.add("partial_lse", lse));
  Buffer &out = parts.add("out", size_t(rows) * q_heads * d * 2), &merged = parts.add("lse", size_t(rows) * q_heads * 4);
  out.allow_all(), merged.allow_all();
  c.bind(&C::out, out), c.bind(&C::lse, merged);
  c->out_head_stride = 2 * d, c->out_row_stride = q_heads * c->out_head_stride, c->rows = rows, c->q_heads = q_heads, c->splits = 2;
  run(kernels_.combine, c, parts, "combine");
  compare_rows(s, 0, static_cast<const uint8_t*>(out.result.data()), merged.result_as<float>(), nullptr, false);
}

}  // namespace runner
