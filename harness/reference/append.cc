// Reference of append: sums in double, candidates sorted whole, codes by distance. Meaning: CACHE.md, "State of a sequence" to "Speculation".
#include "pages.h"
#include "reference.h"
#include "rope.h"

namespace reference {
namespace {

using P = antkv_append_params;

struct Candidate {
  int token;
  double score;
  int row;  // own anchor row, or -1: of the block
};

/// One sequence and KV head under way.
class Step {
 public:
  Step(const Contract& c, const P& p, const Codebooks& kb, const Codebooks& vb, int b, int head, double& margin)
      : c_(c), p_(p), kb_(kb), vb_(vb), d_(c.format.head_dim), margin_(margin) {
    h.batch = b, h.head = head, h.slot = value_or(p.state_slot, b, b);
    frozen_len_ = value_or(p.frozen_len, b, 0);
    const int before = p.seq_len[b], accepted = value_or(p.accepted, b, 1);
    h.committed = before + accepted;
    h.end = h.committed + (p.cu_q ? p.cu_q[b + 1] - p.cu_q[b] : 1);
    const bool coded = !c.format.k.exact || !c.format.v.exact;
    const int rule = coded ? std::max(0, before - p.window) / p.flush_block * p.flush_block : h.committed;
    h.coded_before = coded && p.coded_len ? p.coded_len[b] : std::max(rule, frozen_len_);
    h.coded_after = h.coded_before;
    score_row_ = value_or(p.score_row, b, b);
    h.folded = coded && p.ring_scores && p.ring_score && score_row_ >= 0 && accepted > 0;
    if (!coded) {
      for (int token = h.committed; token < h.end; token++) encode(token, new_row(p.k, p.k_row_stride, p.k_head_stride, token), new_row(p.v, p.v_row_stride, p.v_head_stride, token));
      h.coded_after = h.end;
      return;
    }
    read_ring(before, accepted);
    read_rows();
    while (h.coded_after + p.flush_block <= h.committed - p.window) flush();
    for (int token = h.committed; token < h.end; token++) {
      const int64_t at = row_number(token) * int64_t(p.kv_heads) + head;
      h.k.push_back(new_row(p.k, p.k_row_stride, p.k_head_stride, token));
      h.v.push_back(new_row(p.v, p.v_row_stride, p.v_head_stride, token));
      h.score.push_back(p.new_score ? p.new_score[at] : 0);
      h.count.push_back(p.new_count ? p.new_count[at] : 0);
    }
  }
  AppendedHead h;

 private:
  const Contract& c_;
  const P& p_;
  const Codebooks &kb_, &vb_;
  int d_, frozen_len_, score_row_;
  double& margin_;
  int64_t inherited_ = 0;  // anchors that the budget counts and that no one may hand back

  /// The input row of new token `token`.
  int row_number(int token) const { return (p_.cu_q ? p_.cu_q[h.batch] : h.batch) + token - h.committed; }
  const uint8_t* new_row(const void* base, int64_t row_stride, int64_t head_stride, int token) const {
    return static_cast<const uint8_t*>(base) + row_number(token) * row_stride + h.head * head_stride;
  }

  /// The ring's tokens with what the committed rows gave them.
  void read_ring(int before, int accepted) {
    const int ratio = p_.q_heads / p_.kv_heads;
    for (int token = h.coded_before; token < h.committed; token++) {
      const int row = token % p_.ring_rows;
      const int64_t offset = h.slot * p_.ring_slot_stride + h.head * p_.ring_head_stride + row * p_.ring_row_stride;
      const int64_t at = (int64_t(h.slot) * p_.kv_heads + h.head) * p_.ring_rows + row;
      h.k.push_back(static_cast<const uint8_t*>(p_.ring_k) + offset);
      h.v.push_back(static_cast<const uint8_t*>(p_.ring_v) + offset);
      h.score.push_back(p_.ring_score ? p_.ring_score[at] : 0);
      h.count.push_back(p_.ring_count ? p_.ring_count[at] : 0);
      for (int i = 0; h.folded && i < accepted; i++) {
        // Row before + i saw the token in the ring if it came behind it, and before its block had left an undisturbed cache.
        const int block_end = h.coded_before + ((token - h.coded_before) / p_.flush_block + 1) * p_.flush_block;
        if (token > before + i || before + i >= block_end + p_.window) continue;
        h.count.back()++;
        for (int q = 0; q < ratio; q++) {
          const int64_t column = int64_t(score_row_ + i) * p_.q_heads + h.head * ratio + q;
          const double raw = p_.ring_scores[column * p_.ring_rows + row];
          h.score.back() += !p_.lse ? raw : raw == -INFINITY ? 0 : std::exp(raw - p_.lse[column]);
        }
      }
    }
  }

  /// The rows of the sequence's own anchor pages; counts what is inherited.
  void read_rows() {
    if (!p_.anchor_table) return;
    const int frozen_pages = value_or(p_.frozen_anchor_pages, h.batch, 0);
    const int32_t* list = p_.anchor_table + int64_t(h.slot) * p_.max_anchor_pages;
    for (int i = 0; i < p_.max_anchor_pages && list[i] >= 0; i++) {
      const uint8_t* block = static_cast<const uint8_t*>(p_.anchors) + list[i] * p_.anchor_page_stride + h.head * p_.anchor_head_stride;
      for (int r = 0; r < ANTKV_ANCHOR_ROWS; r++) {
        int32_t token;
        std::memcpy(&token, block + antkv_anchor_index_offset(d_) + 4 * r, 4);
        inherited_ += token >= p_.first_tokens && token >= 0 && token < frozen_len_;
        if (i < frozen_pages) continue;
        const float score = p_.anchor_score[((int64_t(h.slot) * p_.kv_heads + h.head) * p_.max_anchor_pages + i) * ANTKV_ANCHOR_ROWS + r];
        h.rows.push_back({token, score, false, block + r * 2 * d_, block + antkv_anchor_v_offset(d_) + r * 2 * d_});
      }
    }
  }

  /// What ring token `i` (counted from coded_after) scores when it leaves.
  double leaving_score(int i) const {
    if (p_.policy == 3) return -INFINITY;
    if (p_.policy == 0) {
      if (h.count[i] <= 0) return -INFINITY;
      const double mean = h.score[i] / h.count[i];
      return h.folded ? mean : double(float(mean));  // unless it was added to, a mean of fp32 is rounded once
    }
    std::vector<double> k(d_);
    read_elements(c_.element, h.k[i], d_, k.data());
    return p_.policy == 1 ? -norm(k.data(), d_) : norm(k.data(), d_);
  }

  int64_t budget() const {
    const int64_t given = p_.budget_tokens > 0 ? p_.budget_tokens : int64_t(h.coded_after + p_.flush_block) * p_.budget_permille / 1000;
    return std::max<int64_t>(0, given - inherited_);
  }
  bool first(const Candidate& x) const { return x.token < p_.first_tokens; }

  /// Two scores of which one wins and the other does not, `kept` being the winners of `all`.
  void note_margin(const std::vector<Candidate>& all, size_t kept) {
    if (kept == 0 || kept >= all.size() || first(all[kept - 1]) || all[kept - 1].score == all[kept].score) return;
    const double a = all[kept - 1].score, b = all[kept].score;
    margin_ = std::min(margin_, (a - b) / std::max(std::fabs(a), std::fabs(b)));
  }

  /// With extra tokens: all anchors stay, and of the block's tokens those that are among the best, while there is room.
  std::vector<Candidate> choose_beside(const std::vector<Candidate>& all, int64_t rows) {
    std::vector<Candidate> kept, block;
    for (const Candidate& x : choose(all, int64_t(all.size()))) {
      if (x.row < 0) block.push_back(x);
    }
    std::copy_if(all.begin(), all.end(), std::back_inserter(kept), [](const Candidate& x) { return x.row >= 0; });
    const int64_t present = std::count_if(kept.begin(), kept.end(), [&](const Candidate& x) { return !first(x); });
    const int64_t firsts = std::count_if(block.begin(), block.end(), [&](const Candidate& x) { return first(x); });
    const int64_t room = firsts + std::max<int64_t>(0, budget() + p_.extra_tokens - present);
    const size_t winners = size_t(std::min({int64_t(block.size()), room, rows - int64_t(kept.size())}));
    note_margin(block, winners);
    kept.insert(kept.end(), block.begin(), block.begin() + int64_t(winners));
    return kept;
  }

  /// The candidates that stay, best first.
  std::vector<Candidate> choose(std::vector<Candidate> all, int64_t free_rows) {
    const auto first = [this](const Candidate& x) { return this->first(x); };
    all.erase(std::remove_if(all.begin(), all.end(), [&](const Candidate& x) { return !first(x) && !(x.score > -INFINITY); }), all.end());
    std::sort(all.begin(), all.end(), [&](const Candidate& x, const Candidate& y) {
      if (first(x) != first(y)) return first(x);
      return !first(x) && x.score != y.score ? x.score > y.score : x.token < y.token;
    });
    const int64_t firsts = std::count_if(all.begin(), all.end(), first);
    const size_t kept = size_t(std::min({firsts + budget(), free_rows, int64_t(all.size())}));
    note_margin(all, kept);
    all.resize(kept);
    return all;
  }

  void flush() {
    const int begin = h.coded_after, count = p_.flush_block;
    std::vector<Candidate> all;
    int64_t free_rows = 0;
    for (size_t i = 0; i < h.rows.size(); i++) {
      const int token = h.rows[i].token;
      if (token >= 0 && token < frozen_len_) continue;
      free_rows++;
      if (token >= 0) all.push_back({token, h.rows[i].score, int(i)});
    }
    for (int i = 0; i < count; i++) all.push_back({begin + i, leaving_score(i), -1});
    const std::vector<Candidate> kept = p_.extra_tokens > 0 ? choose_beside(all, free_rows) : choose(all, free_rows);
    std::vector<int> tokens;
    for (const Candidate& x : kept) tokens.push_back(x.token);
    std::sort(tokens.begin(), tokens.end());
    const auto is_kept = [&](int token) { return std::binary_search(tokens.begin(), tokens.end(), token); };

    for (OwnRow& row : h.rows) {
      if (row.token < 0 || row.token < frozen_len_ || is_kept(row.token)) continue;
      if (row.token < h.coded_before) h.handed_back.push_back(row.token);
      for (EncodedToken& t : h.encoded) t.kept = t.kept && t.token != row.token;
      row.token = -1;
      row.touched = true;
    }
    size_t next = 0;
    for (int i = 0; i < count; i++) {
      encode(begin + i, h.k[i], h.v[i]);
      h.encoded.back().kept = is_kept(begin + i);
      if (!h.encoded.back().kept) continue;
      while (h.rows[next].token >= 0) next++;
      h.rows[next] = {begin + i, leaving_score(i), true, h.k[i], h.v[i]};
    }
    h.k.erase(h.k.begin(), h.k.begin() + count), h.v.erase(h.v.begin(), h.v.begin() + count);
    h.score.erase(h.score.begin(), h.score.begin() + count), h.count.erase(h.count.begin(), h.count.begin() + count);
    h.coded_after += count;
  }

  void encode(int token, const uint8_t* k, const uint8_t* v) {
    EncodedToken t{h.batch, h.head, token, false, std::vector<double>(d_), std::vector<double>(d_), {}, {}};
    read_elements(c_.element, k, d_, t.k.data());
    read_elements(c_.element, v, d_, t.v.data());
    if (c_.format.pre) rope_of(p_).unrotate(t.k.data(), double(value_or(p_.first_pos, h.batch, 0)) + token);
    t.k_code = nearest(kb_, h.head, t.k);
    t.v_code = nearest(vb_, h.head, t.v);
    h.encoded.push_back(std::move(t));
  }
};

}  // namespace

Appended reference_append(const Contract& c, const P& p) {
  const int d = c.format.head_dim;
  const Codebooks kb(c.format.k, d, p.kv_heads, p.k_codebook), vb(c.format.v, d, p.kv_heads, p.v_codebook);
  Appended result{{}, INFINITY};
  for (int b = 0; b < p.batch; b++) {
    for (int head = 0; head < p.kv_heads; head++) result.heads.push_back(Step(c, p, kb, vb, b, head, result.margin).h);
  }
  return result;
}

}  // namespace reference
