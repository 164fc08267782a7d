// The state that kernels left against the simulation.
//
// What may differ: a code whose two centroids tie within the rounding of fp32 (check_encode.cc has the derivation), and an anchor whose score ties with another's within
// 1e-4 of it (sums of up to a few thousand masses in fp32, each good to 1e-6). Both are taken over from the device, and counted. A gain may be one step of fp16 off.
#include "life.h"

namespace runner {

using reference::LifeContest;
using reference::LifeToken;

namespace {

constexpr double kTie = 1e-4;

bool near(double got, double want, double relative) { return got == want || std::fabs(got - want) <= relative * std::fabs(want) + 1e-6; }

/// How much nearer centroid b is to x than centroid a, as x.c - |c|^2/2, and how far that may be misjudged.
bool ties(const double* x, const double* a, const double* b, int channels, double blur) {
  double difference = 0, doubt = 0;
  for (int i = 0; i < channels; i++) {
    difference += x[i] * (b[i] - a[i]) - (b[i] * b[i] - a[i] * a[i]) / 2;
    doubt += blur * std::fabs(a[i] - b[i]) + std::ldexp(std::fabs(x[i]) * (std::fabs(a[i]) + std::fabs(b[i])) + a[i] * a[i] + b[i] * b[i], -20);
  }
  return difference <= doubt;
}

/// Whether a stored row is this one, bit for bit.
bool same_row(const uint8_t* at, const std::vector<double>& row) {
  std::vector<double> got(row.size());
  reference::read_halves(at, int(row.size()), got.data());
  return got == row;
}

}  // namespace

void LifeCache::fault(const LiveSequence& s, int head, const std::string& what) {
  faults.push_back("sequence " + std::to_string(s.id) + ", KV head " + std::to_string(head) + ": " + what);
}

namespace {

/// FNV-1a.
void digest(uint64_t& state, const void* bytes, size_t count) {
  for (size_t i = 0; i < count; i++) state = (state ^ static_cast<const uint8_t*>(bytes)[i]) * 0x100000001b3;
}

}  // namespace

void LifeCache::compare_state(LiveSequence& s, const std::vector<LifeContest>& contests, int coded_before) {
  for (int head = 0; head < shape_.kv_heads; head++) {
    if (life_->rules().exact()) {
      compare_exact_pages(s, head);
      continue;
    }
    for (int token = coded_before; token < s.sim.coded; token++) compare_codes(s, head, token);
    adopt_anchors(s, head, contests);
    compare_anchor_rows(s, head);
    compare_ring(s, head);
    for (const LifeContest& contest : contests) {
      if (contest.head != head || contest.begin != coded_before) continue;
      const auto lost = [&](int token) { return token < coded_before && !s.sim.heads[head][token].anchor; };
      const int64_t handed_back = std::count_if(contest.candidates.begin(), contest.candidates.end(), lost);
      counts.handed_back += handed_back;
      if (std::any_of(s.anchor_pages.begin() + s.frozen_pages, s.anchor_pages.end(), [&](int page) { return anchor_pool_->shared(page); })) counts.handed_back_shared += handed_back;
      for (int token = coded_before; token < s.sim.coded; token++) counts.found += s.sim.heads[head][token].anchor;
    }
  }
}

void LifeCache::compare_codes(LiveSequence& s, int head, int token) {
  const antkv_format& f = format();
  const uint8_t* unit = block(s, head, token) + token % shape_.page_size / ANTKV_UNIT_TOKENS * antkv_unit_layout(f).bytes;
  const int i = token % ANTKV_UNIT_TOKENS, position = s.sim.first_pos + token;
  LifeToken& t = s.sim.heads[head][token];
  bool adopted = false;
  for (const int side : {ANTKV_KEYS, ANTKV_VALUES}) {
    const bool key = side == ANTKV_KEYS;
    const reference::Codebooks& book = life_->book(side);
    const std::vector<double> x = key ? life_->coded_key(t, position) : t.v;
    if (book.codec.exact) {
      if (!same_row(unit + antkv_side_offset(f, side) + i * 2 * f.head_dim, x)) fault(s, head, "the exact row of token " + std::to_string(token) + " differs");
      continue;
    }
    double largest = 0;
    for (double value : x) largest = std::max(largest, std::fabs(value));
    std::vector<uint32_t>& codes = key ? t.k_code : t.v_code;
    for (int chunk = 0; chunk < book.chunks(); chunk++, counts.codes++) {
      const uint32_t got = antkv_read_code(f, side, unit, i, chunk);
      digest(s.digest[head], &got, sizeof got);
      if (got == codes[chunk]) continue;
      if (!ties(&x[chunk * book.codec.channels], book.centroid(head, chunk, got), book.centroid(head, chunk, codes[chunk]), book.codec.channels, key && f.pre ? std::ldexp(largest, -10) : 0))
        fault(s, head, "token " + std::to_string(token) + ", chunk " + std::to_string(chunk) + (key ? " of its key" : " of its value") + ": code " + std::to_string(got) + ", not " + std::to_string(codes[chunk]));
      codes[chunk] = got, adopted = true, counts.code_ties++;
    }
  }
  if (adopted) life_->decode(t, head, position);
  for (const int side : {ANTKV_KEYS, ANTKV_VALUES}) {
    if (!(side == ANTKV_KEYS ? f.k_gain : f.v_gain)) continue;
    uint16_t got;
    std::memcpy(&got, unit + antkv_gain_offset(f, side, i), 2);
    double& gain = side == ANTKV_KEYS ? t.k_gain : t.v_gain;
    if (std::abs(int(got) - int(reference::to_half(gain))) > 1) fault(s, head, "the gain of token " + std::to_string(token) + " differs");
    gain = reference::from_half(got);
  }
  life_->decode(t, head, position, true);
}

/// The device's bitmap against the simulation's anchors; where equal scores let it choose others, the simulation follows.
void LifeCache::adopt_anchors(LiveSequence& s, int head, const std::vector<LifeContest>& contests) {
  std::vector<int> differ;
  int more = 0;
  for (int token = 0; token < s.sim.coded; token++) {
    const bool got = reference::anchor_bit(format(), block(s, head, token), token % shape_.page_size, shape_.page_size), want = s.sim.heads[head][token].anchor;
    if (got != want) differ.push_back(token), more += got - want;
  }
  if (differ.empty()) return;
  double least = INFINITY, most = -INFINITY;
  size_t known = 0;
  for (int token : differ) {
    for (const LifeContest& contest : contests) {
      const auto at = std::lower_bound(contest.candidates.begin(), contest.candidates.end(), token);
      if (contest.head != head || at == contest.candidates.end() || *at != token) continue;
      const double score = contest.scores[size_t(at - contest.candidates.begin())];
      least = std::min(least, score), most = std::max(most, score), known++;
      break;
    }
  }
  if (more != 0 || known != differ.size() || !near(least, most, kTie))
    fault(s, head, std::to_string(differ.size()) + " anchor bits differ, the first of token " + std::to_string(differ[0]) + " of " + std::to_string(s.sim.coded) + "; " + std::to_string(more) + " more than there should be");
  for (int token : differ) s.sim.heads[head][token].anchor ^= true;
  counts.anchor_ties += int64_t(differ.size()) / 2;
}

/// Every anchor has one row, which holds it exactly, and the score with which it was chosen; no other row is used.
void LifeCache::compare_anchor_rows(LiveSequence& s, int head) {
  const int d = format().head_dim;
  std::set<int> seen;
  for (int entry = 0; entry < int(s.anchor_pages.size()); entry++) {
    const uint8_t* page = anchor_block(s, head, entry);
    for (int row = 0; row < ANTKV_ANCHOR_ROWS; row++) {
      int32_t token;
      std::memcpy(&token, page + antkv_anchor_index_offset(d) + 4 * row, 4);
      if (token < 0 || (entry < s.frozen_pages && token >= s.sim.frozen)) continue;
      const std::string name = "anchor row " + std::to_string(entry * ANTKV_ANCHOR_ROWS + row) + " (token " + std::to_string(token) + ")";
      if (token >= s.sim.coded || !s.sim.heads[head][token].anchor || !seen.insert(token).second) {
        fault(s, head, name + " is no anchor's, or a second one");
        continue;
      }
      const LifeToken& t = s.sim.heads[head][token];
      if (!same_row(page + row * 2 * d, t.k) || !same_row(page + antkv_anchor_v_offset(d) + row * 2 * d, t.v)) fault(s, head, name + " has another key or value");
      if (entry < s.frozen_pages) continue;
      const float score = anchor_score_->as<float>()[((size_t(s.slot) * shape_.kv_heads + head) * shape_.anchor_pages + entry) * ANTKV_ANCHOR_ROWS + row];
      if (token >= s.sim.frozen && !near(score, t.score, kTie)) fault(s, head, name + " has the score " + std::to_string(score) + ", not " + std::to_string(t.score));
    }
  }
  for (int token = 0; token < s.sim.coded; token++) {
    if (s.sim.heads[head][token].anchor && !seen.count(token)) fault(s, head, "anchor " + std::to_string(token) + " has no row");
  }
}

void LifeCache::finish(LiveSequence& s) {
  for (int head = 0; head < shape_.kv_heads && !life_->rules().exact(); head++) {
    for (int token = 0; token < s.sim.committed; token++) {
      if (token < s.sim.coded) digest(s.digest[head], &s.sim.heads[head][token].anchor, 1);
      else if (shape_.policy == 0) digest(s.digest[head], ring_score_->as<float>() + score_at(s.slot, head, token), 4), digest(s.digest[head], ring_count_->as<int32_t>() + score_at(s.slot, head, token), 4);
    }
  }
}

void LifeCache::compare_ring(LiveSequence& s, int head) {
  for (int token = s.sim.coded; token < s.sim.tokens() && !s.entering; token++) {
    const LifeToken& t = s.sim.heads[head][token];
    const int64_t at = ring_at(s.slot, head, token);
    if (!same_row(ring_k_->host.data() + at, t.k) || !same_row(ring_v_->host.data() + at, t.v)) fault(s, head, "the ring has another row of token " + std::to_string(token));
    if (shape_.policy != 0) continue;
    const float sum = ring_score_->as<float>()[score_at(s.slot, head, token)];
    const int count = ring_count_->as<int32_t>()[score_at(s.slot, head, token)];
    if (count != t.count || !near(sum, t.sum, kTie))
      fault(s, head, "token " + std::to_string(token) + " has the sum " + std::to_string(sum) + " of " + std::to_string(count) + " rows, not " + std::to_string(t.sum) + " of " + std::to_string(t.count));
  }
}

void LifeCache::compare_exact_pages(LiveSequence& s, int head) {
  const antkv_format& f = format();
  const antkv_unit u = antkv_unit_layout(f);
  for (int token = 0; token < s.sim.tokens() && !s.entering; token++) {
    const uint8_t* unit = block(s, head, token) + token % shape_.page_size / ANTKV_UNIT_TOKENS * u.bytes;
    const LifeToken& t = s.sim.heads[head][token];
    const auto at = [&](int side) { return unit + antkv_side_offset(f, side) + token % ANTKV_UNIT_TOKENS * 2 * f.head_dim; };
    if (!same_row(at(ANTKV_KEYS), t.k) || !same_row(at(ANTKV_VALUES), t.v)) fault(s, head, "a page has another row of token " + std::to_string(token));
  }
}

/// Outputs of the queries of a sequence, rows first_row ... of the launch.
void LifeCache::compare_rows(LiveSequence& s, int first_row, const uint8_t* out, const float* lse, const float* ring_scores, bool masses) {
  const int d = format().head_dim, q_heads = shape_.q_heads, rows = int(s.queries.size()) / (q_heads * d), ring = s.sim.tokens() - s.sim.coded;
  const reference::Attention want = life_->attend(s.sim, s.queries, 0, false, s.trees);
  const reference::Attention exact = compare_exact ? life_->attend(s.sim, s.queries, 0, true, s.trees) : want;
  Agreement agreement;
  std::vector<double> got(d);
  for (int i = 0; i < rows * q_heads; i++) {
    const size_t at = size_t(first_row) * q_heads + i;
    reference::read_halves(out + at * 2 * d, d, got.data());
    agreement.row(got.data(), &want.out[size_t(i) * d], d);
    agreement.logarithm(lse[at], want.lse[i]);
    const int head = i % q_heads / (q_heads / shape_.kv_heads);
    if (compare_exact) {
      std::vector<double> exact_row(&exact.out[size_t(i) * d], &exact.out[size_t(i) * d] + d);
      basis.leave(head, got.data()), basis.leave(head, exact_row.data());
      distance.row(got.data(), lse[at], exact_row.data(), exact.lse[i], d);
    }
    digest(s.outputs[head], out + at * 2 * d, size_t(2 * d));
    digest(s.outputs[head], lse + at, 4);
    for (int token = 0; token < ring && ring_scores; token++) {
      const double raw = want.ring_scores[size_t(i) * ring + token];
      agreement.logarithm(ring_scores[at * p_.ring_rows + (s.sim.coded + token) % p_.ring_rows], !masses ? raw : raw == -INFINITY ? 0 : std::exp(raw - want.lse[i]));
    }
  }
  worst_out = std::max(worst_out, agreement.rel_l2), worst_lse = std::max(worst_lse, agreement.lse_err);
  if (agreement.bad_values || agreement.rel_l2 > out_tolerance || agreement.lse_err > lse_tolerance)
    fault(s, -1, "attention of " + std::to_string(rows) + " rows is off by " + std::to_string(agreement.rel_l2) + ", its LSE or ring scores by " + std::to_string(agreement.lse_err) + ", " + std::to_string(agreement.bad_values) + " bad values");
}

}  // namespace runner
