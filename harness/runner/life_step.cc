// The two launches of every step: append and decode.
#include "life.h"

namespace runner {

using reference::LifeSequence;
using reference::to_half;

/// What one append is told of its batch.
struct LifeCache::AppendInput {
  std::vector<int32_t> seq_len, accepted, coded_len, score_row, cu{0}, new_count;
  std::vector<float> new_score;
  std::vector<uint16_t> k, v;  // [new rows, kv_heads, d]
};

/// Commits and flushes in the simulation, and gives the sequence the pages that the kernel will need for the same. Returns what competed.
std::vector<reference::LifeContest> LifeCache::advance(LiveSequence& s) {
  LifeSequence& sim = s.sim;
  const bool exact = life_->rules().exact();
  if (!s.entering) {
    counts.accepted += s.pending, counts.rejected += sim.tokens() - sim.committed - s.pending;
    life_->commit(sim, s.pending, s.score_row >= 0 && shape_.policy == 0 && !exact, [&](int i, int q_head, int token) {
      const size_t at = size_t(s.score_row + i) * shape_.q_heads + q_head;
      const double score = ring_scores_[at * p_.ring_rows + token % p_.ring_rows];
      return lse_.empty() ? score : std::exp(score - lse_[at]);
    });
    s.pending = 0;
  }
  int coded = sim.coded;
  while (!exact && coded + shape_.flush_block <= sim.committed - shape_.window) coded += shape_.flush_block;
  if (coded > sim.coded) grow(s, sim.frozen, coded), grow_anchors(s, coded), counts.flushes++;
  return life_->flush(sim, own_rows(s));
}

/// The staged tokens, as the append that writes them is given them.
void LifeCache::enter(LiveSequence& s, AppendInput& in) {
  const LifeSequence& sim = s.sim;
  s.fresh = sim.tokens() - sim.committed;
  if (life_->rules().exact()) grow(s, sim.committed, sim.tokens());
  for (int token = sim.committed; token < sim.tokens(); token++) {
    for (const auto& tokens : sim.heads) {
      const reference::LifeToken& t = tokens[token];
      for (double x : t.k) in.k.push_back(to_half(x));
      for (double x : t.v) in.v.push_back(to_half(x));
      in.new_score.push_back(float(t.sum)), in.new_count.push_back(t.count);
    }
  }
  in.cu.push_back(in.cu.back() + s.fresh);
  counts.appended += s.fresh;
}

void LifeCache::bind_append(Params<antkv_append_params>& p, Memory& inputs, const AppendInput& in) {
  using P = antkv_append_params;
  p.bind(&P::k, inputs.add("k", in.k)), p.bind(&P::v, inputs.add("v", in.v));
  p.bind(&P::seq_len, inputs.add("seq_len", in.seq_len)), p.bind(&P::accepted, inputs.add("accepted", in.accepted)), p.bind(&P::coded_len, inputs.add("coded_len", in.coded_len));
  p.bind(&P::score_row, inputs.add("score_row", in.score_row)), p.bind(&P::cu_q, inputs.add("cu_q", in.cu));
  p->k_head_stride = p->v_head_stride = 2 * format().head_dim;
  p->k_row_stride = p->v_row_stride = shape_.kv_heads * p->k_head_stride;
  p->q_heads = shape_.q_heads;
  p->window = shape_.window, p->flush_block = shape_.flush_block, p->budget_permille = shape_.budget_permille, p->first_tokens = shape_.first_tokens, p->policy = shape_.policy;
  bind_ring(p);
  if (anchor_score_) p.bind(&P::anchor_score, *anchor_score_);
  if (ring_score_) p.bind(&P::ring_score, *ring_score_), p.bind(&P::ring_count, *ring_count_);
  if (ring_score_ && shape_.policy == 0) {
    p.bind(&P::new_score, inputs.add("new_score", in.new_score)), p.bind(&P::new_count, inputs.add("new_count", in.new_count));
    if (!ring_scores_.empty()) p.bind(&P::ring_scores, inputs.add("ring_scores", ring_scores_));
    if (!ring_scores_.empty() && !lse_.empty()) p.bind(&P::lse, inputs.add("lse", lse_));
  }
}

void LifeCache::append(const std::vector<LiveSequence*>& batch, const std::function<void(LiveSequence&)>& stage) {
  Memory inputs(launcher_.driver);
  Params<antkv_append_params> p(ANTKV_ABI_VERSION);
  AppendInput in;
  std::vector<std::vector<reference::LifeContest>> contests;
  for (LiveSequence* s : batch) {
    in.seq_len.push_back(s->sim.committed), in.accepted.push_back(s->pending), in.score_row.push_back(s->score_row);
    in.coded_len.push_back(life_->rules().exact() ? s->sim.committed : s->sim.coded);
    contests.push_back(advance(*s));
    if (!s->entering) stage(*s);
    enter(*s, in);
  }
  bind(p, inputs, batch);
  bind_append(p, inputs, in);
  for (Buffer* b : {pages_, anchors_, anchor_score_, ring_k_, ring_v_, ring_score_, ring_count_}) {
    if (b) b->writable.assign(b->host.size(), false);
  }
  for (size_t b = 0; b < batch.size(); b++) allow_append(*batch[b], in.coded_len[b]);
  run(kernels_.append, p, inputs, "append");
  for (size_t b = 0; b < batch.size(); b++) {
    LiveSequence& s = *batch[b];
    if (s.entering) s.pending = s.fresh;
    s.entering = false;
    compare_state(s, contests[b], in.coded_len[b]);
  }
}

void LifeCache::replace_masses(const std::vector<LiveSequence*>& batch, const std::function<float(const LiveSequence&, int, int, int)>& mass) {
  lse_.clear();
  for (const LiveSequence* s : batch) {
    for (int i = 0; i < s->asked; i++) {
      for (int head = 0; head < shape_.q_heads; head++) {
        float* to = &ring_scores_[(size_t(s->score_row + i) * shape_.q_heads + head) * p_.ring_rows];
        for (int token = s->sim.coded; token < s->sim.tokens(); token++) to[token % p_.ring_rows] = mass(*s, i, head, token);
      }
    }
  }
}

/// Outputs of a decode, and what it leaves for combine and append.
struct LifeCache::DecodeOutput {
  Buffer *out, *lse, *ring_scores = nullptr;
};

LifeCache::DecodeOutput LifeCache::bind_outputs(Params<antkv_decode_params>& p, Params<antkv_combine_params>& c, Memory& memory, int rows) {
  using P = antkv_decode_params;
  using C = antkv_combine_params;
  const int d = format().head_dim;
  const size_t columns = size_t(rows) * shape_.q_heads;
  const auto add = [&](const char* name, size_t bytes, auto decode_field, auto combine_field) {
    Buffer& b = memory.add(name, bytes);
    b.allow_all();
    p.bind(decode_field, b), c.bind(combine_field, b);
    return &b;
  };
  DecodeOutput o{add("out", columns * d * 2, &P::out, &C::out), add("lse", columns * 4, &P::lse, &C::lse)};
  if (ring_k_) o.ring_scores = add("ring_scores", columns * p_.ring_rows * 4, &P::ring_scores, &C::ring_scores);
  if (shape_.splits > 1) {
    add("partial_o", shape_.splits * columns * d * 4, &P::partial_o, &C::partial_o);
    add("partial_lse", shape_.splits * columns * 4, &P::partial_lse, &C::partial_lse);
    if (counters_) p.bind(&P::counters, *counters_);
  }
  p->out_head_stride = c->out_head_stride = 2 * d, p->out_row_stride = c->out_row_stride = int64_t(2) * d * shape_.q_heads;
  p->q_heads = c->q_heads = shape_.q_heads, p->rows = c->rows = rows, p->splits = c->splits = shape_.splits, c->ring_rows = p_.ring_rows;
  return o;
}

void LifeCache::decode(const std::vector<LiveSequence*>& batch) {
  using P = antkv_decode_params;
  const int d = format().head_dim, q_heads = shape_.q_heads;
  const bool exact = life_->rules().exact(), combines = shape_.splits > 1 && !shape_.last;
  std::vector<int32_t> coded_len, kv_len, cu(1, 0);
  std::vector<uint16_t> q;
  for (LiveSequence* s : batch) {
    s->score_row = s->asked > 0 ? cu.back() : -1;
    kv_len.push_back(s->sim.tokens()), coded_len.push_back(exact ? s->sim.tokens() : s->sim.coded), cu.push_back(cu.back() + s->asked);
    for (int i = 0; i < s->asked * q_heads * d; i++) q.push_back(to_half(s->queries[i]));
  }
  const int rows = cu.back();
  ring_scores_.clear(), lse_.clear();
  if (rows == 0) return;
  Memory memory(launcher_.driver);
  Params<P> p(ANTKV_ABI_VERSION);
  Params<antkv_combine_params> c(ANTKV_ABI_VERSION);
  bind(p, memory, batch);
  bind_ring(p);
  p.bind(&P::q, memory.add("q", q)), p.bind(&P::coded_len, memory.add("coded_len", coded_len)), p.bind(&P::kv_len, memory.add("kv_len", kv_len)), p.bind(&P::cu_q, memory.add("cu_q", cu));
  p->q_head_stride = 2 * d, p->q_row_stride = int64_t(2) * d * q_heads;
  p->spread = shape_.spread, p->max_q_len = shape_.rows, p->scale = float(life_->rules().scale), p->segments = exact ? 1 : anchors_ ? 7 : 5;
  const DecodeOutput o = bind_outputs(p, c, memory, rows);
  run(kernels_.decode, p, memory, "decode");
  if (combines) {
    for (Buffer& b : memory.buffers()) {
      if (!b.result.empty()) b.host = b.result;
    }
    run(kernels_.combine, c, memory, "combine");
  }
  const float *lse = o.lse->result_as<float>(), *scores = o.ring_scores ? o.ring_scores->result_as<float>() : nullptr;
  for (size_t b = 0; b < batch.size(); b++) {
    if (batch[b]->asked > 0) compare_rows(*batch[b], cu[b], o.out->result.data(), lse, scores, combines);
  }
  if (!scores) return;
  ring_scores_.assign(scores, scores + size_t(rows) * q_heads * p_.ring_rows);
  if (!combines) lse_.assign(lse, lse + size_t(rows) * q_heads);
}

}  // namespace runner
