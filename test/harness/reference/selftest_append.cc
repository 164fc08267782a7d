// The reference of append against cases worked out by hand: one KV head of two query heads, head dim 2, blocks and pages of 16, no window.
#include <cmath>
#include <string>
#include <vector>

#include "../../../harness/reference/numeric.h"
#include "../../../harness/reference/reference.h"

using namespace reference;

namespace {

struct Ring {
  static constexpr int kRows = 48;
  Contract c;
  std::vector<uint16_t> k = std::vector<uint16_t>(kRows * 2), v = k, codebook = std::vector<uint16_t>(4096);
  std::vector<float> sums = std::vector<float>(kRows), scores = std::vector<float>(2 * 2 * kRows, -INFINITY), anchor_score = std::vector<float>(32, NAN);
  std::vector<int32_t> counts = std::vector<int32_t>(kRows, 1);
  std::vector<uint8_t> anchors = std::vector<uint8_t>(2 * size_t(antkv_anchor_page_bytes(2)));
  float lse[4] = {0, 0, 0, 0};
  int32_t seq_len = 15, accepted = 1, frozen_len = 0, frozen_pages = 0, table[2] = {1, -1};
  antkv_append_params p{};

  Ring() {
    c.format.head_dim = 2;
    c.format.k.exact = 1;
    antkv_parse_codec("2c8b", &c.format.v);
    for (int page = 0; page < 2; page++)
      for (int row = 0; row < 16; row++) anchor(page, row) = -1;
    p.k = k.data(), p.v = v.data(), p.v_codebook = codebook.data(), p.ring_k = k.data(), p.ring_v = v.data();
    p.ring_score = sums.data(), p.ring_count = counts.data(), p.ring_scores = scores.data(), p.lse = lse;
    p.anchors = anchors.data(), p.anchor_table = table, p.anchor_score = anchor_score.data();
    p.seq_len = &seq_len, p.accepted = &accepted, p.frozen_len = &frozen_len, p.frozen_anchor_pages = &frozen_pages;
    p.ring_row_stride = p.k_row_stride = p.v_row_stride = 4, p.anchor_page_stride = antkv_anchor_page_bytes(2);
    p.batch = p.kv_heads = 1, p.q_heads = 2, p.page_size = p.flush_block = 16, p.max_anchor_pages = 2, p.ring_rows = kRows, p.budget_permille = 125;
  }
  int32_t& anchor(int page, int row) { return reinterpret_cast<int32_t*>(anchors.data() + page * antkv_anchor_page_bytes(2) + antkv_anchor_index_offset(2))[row]; }
  /// Tokens in the own anchor rows after the step, up to the last one.
  std::vector<int> kept() const {
    std::vector<int> tokens;
    const Appended step = reference_append(c, p);
    for (const OwnRow& row : step.heads[0].rows) tokens.push_back(row.token);
    while (!tokens.empty() && tokens.back() < 0) tokens.pop_back();
    return tokens;
  }
};

using Tokens = std::vector<int>;

}  // namespace

void append_cases(void (*expect)(const std::string& name, bool ok)) {
  Ring x;
  x.p.ring_scores = nullptr;
  x.sums[3] = 8, x.counts[3] = 4;      // mean 2
  x.sums[7] = 3, x.sums[9] = 3;        // means 3, a tie
  x.sums[1] = 100, x.counts[1] = 0;    // never seen
  x.sums[5] = NAN;
  expect("means compete, in ascending order of tokens and rows", x.kept() == Tokens{7, 9});
  x.p.budget_permille = 62;
  expect("a budget is rounded down", x.kept().empty());
  x.p.budget_permille = 63;
  expect("ties go to the lower token", x.kept() == Tokens{7});
  x.p.first_tokens = 2;
  expect("first tokens come beside the budget, seen or not", (x.kept() == Tokens{0, 1, 7}));
  x.p.first_tokens = 0, x.p.budget_permille = 1000;
  expect("NaN and what was never seen are not kept", x.kept().size() == 14);
  x.accepted = 0;
  expect("a block leaves when its last token is committed", reference_append(x.c, x.p).heads[0].coded_after == 0);

  Ring y;  // tokens 16 ... 31 leave; a present anchor of score 5 and one of score 0.5
  y.p.ring_scores = nullptr, y.p.budget_permille = 63;  // 2 of 32
  y.seq_len = 31;
  y.anchor(1, 4) = 8, y.anchor(1, 2) = 11, y.anchor_score[4] = 5, y.anchor_score[2] = 0.5f;
  y.sums[20] = 1;
  expect("losers are handed back, and their rows are free", (y.kept() == Tokens{20, -1, -1, -1, 8}) && reference_append(y.c, y.p).heads[0].handed_back == Tokens{11});
  y.frozen_len = 16;
  expect("inherited anchors stay and are paid for", (y.kept() == Tokens{-1, -1, 11, -1, 8}));
  y.p.first_tokens = 9;
  expect("but not inherited first tokens", (y.kept() == Tokens{20, -1, 11, -1, 8}));
  y.p.first_tokens = 0, y.frozen_pages = 1;
  expect("with no pages of its own a sequence keeps nothing", y.kept().empty() && reference_append(y.c, y.p).heads[0].handed_back.empty());

  Ring z;  // two rows, tokens 10 and 11, of which both heads say something
  z.seq_len = 10, z.accepted = 2, z.p.flush_block = 32;
  z.scores[3] = float(std::log(0.5)), z.scores[48 + 3] = float(std::log(0.25)), z.scores[2 * 48 + 3] = float(std::log(0.125));
  z.lse[2] = float(std::log(2));
  const AppendedHead h = reference_append(z.c, z.p).heads[0];
  expect("masses of rows and heads are added", std::fabs(h.score[3] - (0.5 + 0.25 + 0.0625)) < 1e-7 && h.count[3] == 3);
  expect("a token is seen by itself and what follows", h.count[10] == 3 && h.count[11] == 2 && h.count[12] == 0);
  z.seq_len = 15, z.p.flush_block = 16, z.p.budget_permille = 63;
  const AppendedHead left = reference_append(z.c, z.p).heads[0];
  expect("a row behind the one that drives a block out does not count for it", left.coded_after == 16 && left.rows[0].token == 3 && std::fabs(left.rows[0].score - 0.75 / 2) < 1e-7);
  expect("the new row has its place behind the committed ones", h.end == 13 && h.committed == 12 && h.score[12] == 0);
}
