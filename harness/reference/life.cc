// The simulation of a cache's life.
#include "life.h"

#include <algorithm>
#include <limits>

#include "parallel.h"

namespace reference {
namespace {

constexpr double kMinusInfinity = -std::numeric_limits<double>::infinity();

/// The row that codes name.
std::vector<double> row_of(const Codebooks& book, int head, const std::vector<uint32_t>& codes) {
  std::vector<double> row;
  for (size_t chunk = 0; chunk < codes.size(); chunk++) {
    const double* c = book.centroid(head, int(chunk), codes[chunk]);
    row.insert(row.end(), c, c + book.codec.channels);
  }
  return row;
}

double half(double x) { return from_half(to_half(std::min(x, 65504.0))); }

}  // namespace

Life::Life(const LifeRules& rules)
    : rules_(rules),
      keys_(rules.contract.format.k, rules.contract.format.head_dim, rules.kv_heads, rules.k_codebook),
      values_(rules.contract.format.v, rules.contract.format.head_dim, rules.kv_heads, rules.v_codebook),
      d_(rules.contract.format.head_dim) {}

LifeSequence Life::start(int first_pos) const {
  LifeSequence s;
  s.first_pos = first_pos;
  s.heads.resize(rules_.kv_heads);
  return s;
}

void Life::stage(LifeSequence& s, const uint16_t* k, const uint16_t* v) const {
  for (int head = 0; head < rules_.kv_heads; head++) {
    LifeToken t;
    t.k.resize(d_), t.v.resize(d_);
    read_halves(k + head * d_, d_, t.k.data());
    read_halves(v + head * d_, d_, t.v.data());
    s.heads[head].push_back(std::move(t));
  }
}

std::vector<double> Life::coded_key(const LifeToken& t, int position) const {
  std::vector<double> k = t.k;
  if (rules_.contract.format.pre) rules_.rope.unrotate(k.data(), position);
  return k;
}

void Life::decode(LifeToken& t, int head, int position, bool keep_gains) const {
  const antkv_format& f = rules_.contract.format;
  t.k_hat = f.k.exact ? t.k : row_of(keys_, head, t.k_code);
  t.v_hat = f.v.exact ? t.v : row_of(values_, head, t.v_code);
  if (!keep_gains) {
    t.k_gain = f.k_gain ? half(reference_gain(coded_key(t, position), t.k_hat)) : 1;
    t.v_gain = f.v_gain ? half(reference_gain(t.v, t.v_hat)) : 1;
  }
  for (double& x : t.k_hat) x *= t.k_gain;
  for (double& x : t.v_hat) x *= t.v_gain;
  if (f.pre) rules_.rope.rotate(t.k_hat.data(), position);
}

void Life::encode(LifeSequence& s, int begin, int end) const {
  const int tokens = end - begin;
  for_each_part(rules_.kv_heads * tokens, double(rules_.kv_heads) * tokens * d_ * 256, [&](int part) {
    const int head = part / tokens, token = begin + part % tokens;
    LifeToken& t = s.heads[head][token];
    t.k_code = nearest(keys_, head, coded_key(t, s.first_pos + token));
    t.v_code = nearest(values_, head, t.v);
    decode(t, head, s.first_pos + token);
  });
  s.coded = end;
}

double Life::score(const LifeToken& t) const {
  if (rules_.policy == 0) return t.count > 0 ? t.sum / t.count : kMinusInfinity;
  if (rules_.policy == 3) return kMinusInfinity;
  return (rules_.policy == 1 ? -1 : 1) * norm(t.k.data(), d_);
}

/// The `budget` best of the candidates stay anchors or become some, at most `rows`, the others are none; ties go to the lower token. With extra tokens no anchor is handed
/// back: of the budget's best those of the block win, best first, while there are fewer than budget and extra ones together.
void Life::compete(LifeSequence& s, const LifeContest& contest, int64_t budget, int64_t rows) const {
  auto& tokens = s.heads[contest.head];
  const bool stay = rules_.extra_tokens > 0;
  std::vector<size_t> order;
  int64_t present = 0;
  for (size_t i = 0; i < contest.candidates.size(); i++) {
    const int token = contest.candidates[i];
    present += token < contest.begin;
    tokens[token].anchor = stay && token < contest.begin;
    if (!std::isnan(contest.scores[i]) && contest.scores[i] != kMinusInfinity) order.push_back(i);
  }
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return contest.scores[a] > contest.scores[b]; });
  int64_t room = stay ? std::min(budget + rules_.extra_tokens, rows) - present : rows;
  for (size_t i = 0; i < order.size() && int64_t(i) < budget; i++) {
    bool& anchor = tokens[contest.candidates[order[i]]].anchor;
    if (!anchor) anchor = room-- > 0;
  }
}

std::vector<LifeContest> Life::flush(LifeSequence& s, int own_rows) const {
  std::vector<LifeContest> contests;
  while (!rules_.exact() && s.coded + rules_.flush_block <= s.committed - rules_.window) {
    const int begin = s.coded, end = begin + rules_.flush_block;
    encode(s, begin, end);
    for (int head = 0; head < rules_.kv_heads; head++) {
      LifeContest contest{head, begin, end, {}, {}};
      int inherited = 0, first = 0;
      for (int token = 0; token < end; token++) {
        LifeToken& t = s.heads[head][token];
        if (token >= begin) t.score = score(t);
        if (token < s.frozen) {
          inherited += t.anchor && token >= rules_.first_tokens;
        } else if (token < rules_.first_tokens) {
          t.anchor = first++ < own_rows;
        } else if (t.anchor || token >= begin) {
          contest.candidates.push_back(token);
          contest.scores.push_back(t.score);
        }
      }
      compete(s, contest, rules_.policy == 3 ? 0 : std::max<int64_t>(0, rules_.budget(end) - inherited), std::max(0, own_rows - first));
      contests.push_back(std::move(contest));
    }
  }
  return contests;
}

std::vector<LifeContest> Life::prefill(LifeSequence& s, const std::vector<std::vector<double>>& ranks, const std::vector<std::vector<double>>& sums, int own_rows) const {
  const int n = s.tokens(), end = rules_.coded_of(n), first = std::min({rules_.first_tokens, end, own_rows});
  std::vector<LifeContest> contests;
  s.committed = end;
  if (end > 0) encode(s, 0, end);
  for (int head = 0; head < rules_.kv_heads; head++) {
    LifeContest contest{head, 0, end, {}, {}};
    for (int token = 0; token < n; token++) {
      LifeToken& t = s.heads[head][token];
      if (rules_.policy == 0) t.sum = sums[head][token], t.count = n - token;  // itself and every later token saw it
      if (token >= end) continue;
      t.score = score(t);
      t.anchor = token < first;
      if (t.anchor || rules_.policy == 3) continue;
      contest.candidates.push_back(token);
      contest.scores.push_back(ranks[head][token]);
    }
    compete(s, contest, rules_.budget(end), own_rows - first);
    contests.push_back(std::move(contest));
  }
  return contests;
}

LifeSequence Life::fork(const LifeSequence& donor, int frozen, bool whole) const {
  LifeSequence s = donor;
  s.frozen = frozen;
  if (whole) return s;
  s.committed = s.coded = frozen;
  for (auto& tokens : s.heads) tokens.resize(frozen);
  return s;
}

void Life::truncate(LifeSequence& s, int n) const {
  s.committed = n;
  for (auto& tokens : s.heads) tokens.resize(n);
}

Attention Life::attend(const LifeSequence& s, const std::vector<double>& q, int end, bool exact, const std::vector<uint16_t>& trees) const {
  const int ratio = rules_.q_heads / rules_.kv_heads, rows = int(q.size()) / (rules_.q_heads * d_), n = s.tokens(), ring = n - s.coded;
  Attention result;
  result.out.assign(q.size(), 0);
  result.lse.assign(size_t(rows) * rules_.q_heads, kMinusInfinity);
  result.ring_scores.assign(size_t(rows) * rules_.q_heads * ring, kMinusInfinity);
  for_each_part(rows * rules_.q_heads, double(rows) * rules_.q_heads * n * d_ * 2, [&](int at) {
    const int row = at / rules_.q_heads, q_head = at % rules_.q_heads;
    const auto& tokens = s.heads[q_head / ratio];
    const int seen = std::min(n, (end ? end : n) - rows + row + 1);
    std::vector<double> scores(n, kMinusInfinity);
    double largest = kMinusInfinity, sum = 0;
    for (int token = 0; token < seen; token++) {
      const LifeToken& t = tokens[token];
      const bool coded = token < s.coded && !t.anchor && !exact;
      if (const int drafted = token - (n - rows); !trees.empty() && drafted >= 0 && !(trees[row] >> drafted & 1)) continue;
      scores[token] = rules_.scale * dot(&q[size_t(at) * d_], coded ? t.k_hat.data() : t.k.data(), d_);
      if (token >= s.coded) result.ring_scores[size_t(at) * ring + token - s.coded] = scores[token];
      largest = std::max(largest, scores[token]);
    }
    for (int token = 0; token < seen; token++) sum += std::exp(scores[token] - largest);
    if (seen > 0) result.lse[at] = largest + std::log(sum);
    for (int token = 0; token < seen; token++) {
      const LifeToken& t = tokens[token];
      const std::vector<double>& v = token < s.coded && !t.anchor && !exact ? t.v_hat : t.v;
      const double weight = std::exp(scores[token] - result.lse[at]);
      for (int x = 0; x < d_; x++) result.out[size_t(at) * d_ + x] += weight * v[x];
    }
  });
  return result;
}

}  // namespace reference
