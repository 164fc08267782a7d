// The life of one layer's cache, simulated as CACHE.md means it and as plainly as can be: every sequence remembers all of its rows as doubles. It knows no pages, slots,
// rings of rows, tiles or launches. The runner's `life` holds the state that kernels leave against it.
#pragma once
#include <vector>

#include "pages.h"
#include "reference.h"
#include "rope.h"

namespace reference {

/// What all sequences of a cache have in common.
struct LifeRules {
  Contract contract;  ///< page format
  int q_heads, kv_heads, window, flush_block, budget_permille, budget_tokens, extra_tokens, first_tokens;
  int policy;  ///< score of a token: 0 mean attention mass, 1 -|k|, 2 |k|, 3 none, so that only the first tokens are kept
  double scale;
  Rope rope;
  const void *k_codebook, *v_codebook;  ///< packed, [kv_heads]

  /// Both sides are exact: no window, no anchors, nothing is ever coded.
  bool exact() const { return contract.format.k.exact && contract.format.v.exact; }
  /// Anchors that compete for their places, of `coded` tokens.
  int64_t budget(int coded) const { return budget_tokens > 0 ? budget_tokens : int64_t(coded) * budget_permille / 1000; }
  /// c(n): coded tokens of a sequence of n tokens that nothing has disturbed.
  int coded_of(int n) const { return exact() || n < window ? 0 : (n - window) / flush_block * flush_block; }
};

/// One token of one KV head.
struct LifeToken {
  std::vector<double> k, v;              ///< [d] as stored, K after RoPE
  std::vector<uint32_t> k_code, v_code;  ///< [chunks] once coded; empty for an exact side
  double k_gain = 1, v_gain = 1;         ///< of the codes, rounded to halves
  std::vector<double> k_hat, v_hat;      ///< [d] what the codes say, K after RoPE
  double sum = 0;                        ///< attention mass while exact, over rows and the query heads of the KV head
  int count = 0;                         ///< rows that saw it while exact
  bool anchor = false;
  double score = 0;                      ///< with which it competed when it was coded; an anchor's stays
};

struct LifeSequence {
  int first_pos = 0;
  int committed = 0;  ///< n
  int coded = 0;      ///< tokens that are codes or anchors; the others are exact
  int frozen = 0;     ///< tokens inherited: never scored again, handed back or written
  std::vector<std::vector<LifeToken>> heads;  ///< [kv_heads][committed tokens, then staged ones]
  int tokens() const { return int(heads.front().size()); }
};

/// One competition for anchors of a KV head; who won has `anchor` set.
struct LifeContest {
  int head, begin, end;         ///< tokens that are coded by it
  std::vector<int> candidates;  ///< tokens, ascending: anchors that may be handed back, then those of the block
  std::vector<double> scores;   ///< of the candidates
};

class Life {
 public:
  explicit Life(const LifeRules& rules);
  LifeSequence start(int first_pos) const;
  /// Adds one uncommitted token: k, v [kv_heads, d] halves.
  void stage(LifeSequence& s, const uint16_t* k, const uint16_t* v) const;
  /// The first `accepted` staged tokens are committed, the others vanish. mass(i, q_head, token) is the attention that staged row i gave to `token`; without it nothing is added.
  template <class Mass>
  void commit(LifeSequence& s, int accepted, bool scored, Mass mass) const;
  /// Codes what has left the window, block by block; `own_rows` anchors at most may be the sequence's own.
  std::vector<LifeContest> flush(LifeSequence& s, int own_rows) const;
  /// Takes all staged tokens as a prompt that got the attention mass `sums` [kv_heads][tokens]: codes c(n) of them at once, the best by `ranks` [kv_heads][tokens] as
  /// anchors, and commits those; the tail stays staged.
  std::vector<LifeContest> prefill(LifeSequence& s, const std::vector<std::vector<double>>& ranks, const std::vector<std::vector<double>>& sums, int own_rows) const;
  /// A sequence that inherits the first `frozen` tokens, all coded, and either ends there or goes on with the donor's exact tokens.
  LifeSequence fork(const LifeSequence& donor, int frozen, bool whole) const;
  /// Forgets everything from token n on, which must be exact.
  void truncate(LifeSequence& s, int n) const;

  /// Attention of rows q [rows, q_heads, d], the last ones of a sequence of `end` tokens (0: of this one), over the tokens of `s`; `exact` takes no token's codes.
  /// `trees`: [rows], or none: bit k says whether the row sees the token of row k. ring_scores: [rows, q_heads, tokens() - coded], -inf where unseen.
  Attention attend(const LifeSequence& s, const std::vector<double>& q, int end = 0, bool exact = false, const std::vector<uint16_t>& trees = {}) const;

  /// Gains and decoded rows of a token after its codes were set.
  void decode(LifeToken& t, int head, int position, bool keep_gains = false) const;
  const LifeRules& rules() const { return rules_; }
  const Codebooks& book(int side) const { return side == ANTKV_KEYS ? keys_ : values_; }
  /// What is coded of a key: before RoPE for "pre" contracts.
  std::vector<double> coded_key(const LifeToken& t, int position) const;

 private:
  void encode(LifeSequence& s, int begin, int end) const;
  void compete(LifeSequence& s, const LifeContest& contest, int64_t budget, int64_t rows) const;
  double score(const LifeToken& t) const;
  LifeRules rules_;
  Codebooks keys_, values_;
  int d_;
};

template <class Mass>
void Life::commit(LifeSequence& s, int accepted, bool scored, Mass mass) const {
  const int ratio = rules_.q_heads / rules_.kv_heads;
  for (int i = 0; scored && i < accepted; i++) {
    const int row = s.committed + i;
    for (int q_head = 0; q_head < rules_.q_heads; q_head++) {
      for (int token = s.coded; token <= row; token++) {
        // Had each row been a step of its own, the token's block would have left when `window` tokens followed it.
        const int leaves = s.coded + ((token - s.coded) / rules_.flush_block + 1) * rules_.flush_block + rules_.window;
        if (row >= leaves) continue;
        LifeToken& t = s.heads[q_head / ratio][token];
        t.sum += mass(i, q_head, token);
        t.count += q_head % ratio == 0;
      }
    }
  }
  s.committed += accepted;
  for (auto& tokens : s.heads) tokens.resize(s.committed);
}

}  // namespace reference
