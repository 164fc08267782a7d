// The two launches of every step: append and decode.
#include "life_step.h"

namespace runner {

using reference::LifeSequence;
using reference::to_half;

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

void LifeCache::bind_append(Step& to, const std::vector<LiveSequence*>& batch, AppendInput& in) {
  using P = antkv_append_params;
  Params<P>& p = to.append;
  Memory& inputs = to.memory;
  const size_t d = size_t(format().head_dim), heads = size_t(shape_.kv_heads);
  if (shape_.graph) {  // sizes that many steps share
    size_t rows = batch.size() * size_t(shape_.rows);
    while (rows < size_t(in.cu.back())) rows *= 2;
    pad<uint16_t>(in.k, rows * heads * d, 0x7fff), pad<uint16_t>(in.v, rows * heads * d, 0x7fff);
    pad<float>(in.new_score, rows * heads, NAN), pad<int32_t>(in.new_count, rows * heads, -1);
    const size_t scored = size_t(shape_.sequences) * shape_.rows * shape_.q_heads;
    if (ring_k_) pad<float>(ring_scores_, scored * p_.ring_rows, NAN);
    if (!combines() && !lse_.empty()) pad<float>(lse_, scored, NAN);
  }
  bind(p, inputs, batch);
  p.bind(&P::k, inputs.add("k", in.k)), p.bind(&P::v, inputs.add("v", in.v));
  p.bind(&P::seq_len, inputs.add("seq_len", in.seq_len)), p.bind(&P::accepted, inputs.add("accepted", in.accepted)), p.bind(&P::coded_len, inputs.add("coded_len", in.coded_len));
  p.bind(&P::score_row, inputs.add("score_row", in.score_row)), p.bind(&P::cu_q, inputs.add("cu_q", in.cu));
  p->k_head_stride = p->v_head_stride = int64_t(2 * d);
  p->k_row_stride = p->v_row_stride = shape_.kv_heads * p->k_head_stride;
  p->q_heads = shape_.q_heads;
  p->window = shape_.window, p->flush_block = shape_.flush_block, p->first_tokens = shape_.first_tokens, p->policy = shape_.policy;
  p->budget_permille = shape_.budget_permille, p->budget_tokens = shape_.budget_tokens, p->extra_tokens = shape_.extra_tokens;
  bind_ring(p);
  if (anchor_score_) p.bind(&P::anchor_score, *anchor_score_);
  if (ring_score_) p.bind(&P::ring_score, *ring_score_), p.bind(&P::ring_count, *ring_count_);
  if (ring_score_ && shape_.policy == 0) {
    p.bind(&P::new_score, inputs.add("new_score", in.new_score)), p.bind(&P::new_count, inputs.add("new_count", in.new_count));
    if (!ring_scores_.empty()) p.bind(&P::ring_scores, inputs.add("ring_scores of the step before", ring_scores_));
    if (!ring_scores_.empty() && !lse_.empty()) p.bind(&P::lse, inputs.add("lse of the step before", lse_));
  }
  for (Buffer* b : {pages_, anchors_, anchor_score_, ring_k_, ring_v_, ring_score_, ring_count_}) {
    if (b) b->writable.assign(b->host.size(), false);
  }
  for (size_t b = 0; b < batch.size(); b++) allow_append(*batch[b], in.coded_len[b]);
}

/// The simulation goes ahead: what the launch must leave, and what it is told.
LifeCache::AppendInput LifeCache::begin_append(const std::vector<LiveSequence*>& batch, const Stage& stage) {
  AppendInput in;
  for (LiveSequence* s : batch) {
    in.seq_len.push_back(s->sim.committed), in.accepted.push_back(s->pending), in.score_row.push_back(s->score_row);
    in.coded_len.push_back(life_->rules().exact() ? s->sim.committed : s->sim.coded);
    in.contests.push_back(advance(*s));
    if (!s->entering) stage(*s);
    enter(*s, in);
  }
  return in;
}

void LifeCache::end_append(const std::vector<LiveSequence*>& batch, const AppendInput& in) {
  for (size_t b = 0; b < batch.size(); b++) {
    LiveSequence& s = *batch[b];
    if (s.entering) s.pending = s.fresh;
    s.entering = false;
    compare_state(s, in.contests[b], in.coded_len[b]);
  }
}

void LifeCache::step(const std::vector<LiveSequence*>& batch, const Stage& stage) {
  if (shape_.graph) return replay(batch, stage);
  Step append(launcher_.driver), decode(launcher_.driver);
  AppendInput in = begin_append(batch, stage);
  bind_append(append, batch, in);
  run(kernels_.append, append.append, append.memory, "append");
  end_append(batch, in);

  DecodeInput asked = begin_decode(batch);
  ring_scores_.clear(), lse_.clear();
  if (asked.cu.back() == 0) return;
  bind_decode(decode, batch, asked);
  run(kernels_.decode, decode.decode, decode.memory, "decode");
  if (combines()) {
    for (Buffer& b : decode.memory.buffers()) {
      if (!b.result.empty()) b.host = b.result;
    }
    run(kernels_.combine, decode.combine, decode.memory, "combine");
  }
  end_decode(batch, asked, decode.memory);
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
void LifeCache::bind_outputs(Step& to, int rows) {
  using P = antkv_decode_params;
  using C = antkv_combine_params;
  Params<P>& p = to.decode;
  Params<C>& c = to.combine;
  const int d = format().head_dim;
  const size_t columns = size_t(rows) * shape_.q_heads;
  const auto add = [&](const char* name, size_t bytes, auto decode_field, auto combine_field) {
    Buffer& b = to.memory.add(name, bytes);
    b.allow_all();
    p.bind(decode_field, b), c.bind(combine_field, b);
  };
  add("out", columns * d * 2, &P::out, &C::out), add("lse", columns * 4, &P::lse, &C::lse);
  if (ring_k_) add("ring_scores", columns * p_.ring_rows * 4, &P::ring_scores, &C::ring_scores);
  if (shape_.splits > 1) {
    add("partial_o", shape_.splits * columns * d * 4, &P::partial_o, &C::partial_o);
    add("partial_lse", shape_.splits * columns * 4, &P::partial_lse, &C::partial_lse);
    if (counters_) p.bind(&P::counters, *counters_);
  }
  p->out_head_stride = c->out_head_stride = 2 * d, p->out_row_stride = c->out_row_stride = int64_t(2) * d * shape_.q_heads;
  p->q_heads = c->q_heads = shape_.q_heads, p->rows = c->rows = rows, p->splits = c->splits = shape_.splits, c->ring_rows = p_.ring_rows;
}

LifeCache::DecodeInput LifeCache::begin_decode(const std::vector<LiveSequence*>& batch) {
  const int columns = format().head_dim * shape_.q_heads;
  DecodeInput in;
  for (LiveSequence* s : batch) {
    s->score_row = s->asked > 0 ? in.cu.back() : -1;
    in.kv_len.push_back(s->sim.tokens()), in.coded_len.push_back(life_->rules().exact() ? s->sim.tokens() : s->sim.coded), in.cu.push_back(in.cu.back() + s->asked);
    for (int i = 0; i < s->asked * columns; i++) in.q.push_back(to_half(s->queries[i]));
    for (int i = 0; i < s->asked; i++) in.trees.push_back(s->trees.empty() ? uint16_t((2u << i) - 1) : s->trees[size_t(i)]);
  }
  return in;
}

void LifeCache::bind_decode(Step& to, const std::vector<LiveSequence*>& batch, DecodeInput& in) {
  using P = antkv_decode_params;
  Params<P>& p = to.decode;
  Memory& memory = to.memory;
  const int d = format().head_dim, rows = shape_.graph ? int(batch.size()) * shape_.rows : in.cu.back();
  const bool exact = life_->rules().exact();
  pad<uint16_t>(in.q, size_t(rows) * shape_.q_heads * d, 0x7fff), pad<uint16_t>(in.trees, size_t(rows), 0);
  bind(p, memory, batch);
  bind_ring(p);
  p.bind(&P::q, memory.add("q", in.q)), p.bind(&P::coded_len, memory.add("coded_len", in.coded_len)), p.bind(&P::kv_len, memory.add("kv_len", in.kv_len)), p.bind(&P::cu_q, memory.add("cu_q", in.cu));
  if (trees) p.bind(&P::tree_mask, memory.add("tree_mask", in.trees));
  p->q_head_stride = 2 * d, p->q_row_stride = int64_t(2) * d * shape_.q_heads;
  p->spread = shape_.spread, p->max_q_len = shape_.rows, p->scale = float(life_->rules().scale), p->segments = exact ? 1 : anchors_ ? 7 : 5;
  bind_outputs(to, rows);
}

void LifeCache::end_decode(const std::vector<LiveSequence*>& batch, const DecodeInput& in, Memory& memory) {
  const auto floats = [&](const char* name) -> const float* {
    for (const Buffer& b : memory.buffers()) {
      if (b.name == name) return b.result_as<float>();
    }
    return nullptr;
  };
  const float *lse = floats("lse"), *scores = floats("ring_scores");
  for (size_t b = 0; b < batch.size(); b++) {
    if (batch[b]->asked > 0) compare_rows(*batch[b], in.cu[b], reinterpret_cast<const uint8_t*>(floats("out")), lse, scores, combines());
  }
  ring_scores_.clear(), lse_.clear();
  const size_t columns = size_t(in.cu.back()) * shape_.q_heads;
  if (!scores || columns == 0) return;
  ring_scores_.assign(scores, scores + columns * p_.ring_rows);
  if (!combines()) lse_.assign(lse, lse + columns);
}

}  // namespace runner
