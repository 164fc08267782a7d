// The reference against cases worked out by hand: one KV head of 4 channels, codes of 4 channels (entry e of the codebook is e * (1, 0, 0, 0) for K, (0, e, 0, 1) for V).
// Prints one line per case, "ok name" or "FAIL name: ...".
#include <cstdio>
#include <string>

#include "../../../harness/reference/pages.h"
#include "../../../harness/reference/reference.h"
#include "../../../harness/reference/rope.h"

using namespace reference;

namespace {

int failures = 0;

void expect(const std::string& name, bool ok, double got = 0, double want = 0) {
  if (ok) std::printf("ok %s\n", name.c_str());
  else std::printf("FAIL %s: got %.17g, want %.17g\n", name.c_str(), got, want);
  failures += !ok;
}
void near(const std::string& name, double got, double want) { expect(name, got == want || std::fabs(got - want) <= 1e-12 * std::fmax(1, std::fabs(want)), got, want); }

constexpr int kD = 4, kPage = 16;

/// A cache of one sequence: 48 tokens in 3 shuffled pages, one anchor page, a ring of 5 rows.
struct Cache {
  Contract c;
  std::vector<uint8_t> k_book, v_book, pages, anchors;
  std::vector<uint16_t> ring_k = std::vector<uint16_t>(5 * kD), ring_v = ring_k, q = std::vector<uint16_t>(kD);
  std::vector<int32_t> table{2, 0, 1}, anchor_table{0}, coded{0}, kv{0}, cu{0, 1}, first_pos{0}, q_pos{0};
  std::vector<float> inv_freq{1.5707963267948966f, 0};
  antkv_decode_params p{};

  Cache() {
    antkv_parse_codec("4c8b", &c.format.k);
    c.format.v = c.format.k;
    c.format.head_dim = kD;
    c.format.k_gain = 1;
    std::vector<uint16_t> k(256 * kD), v(256 * kD);
    for (int e = 0; e < 256; e++) {
      k[e * kD] = to_half(e);
      v[e * kD + 1] = to_half(e);
      v[e * kD + 3] = to_half(1);
    }
    for (auto* side : {&k_book, &v_book}) {
      side->resize(size_t(antkv_codebook_layout(c.format.k, kD).bytes));
      antkv_pack_codebook(c.format.k, kD, 1, side == &k_book ? k.data() : v.data(), nullptr, side->data());
    }
    pages.assign(3 * antkv_page_bytes(c.format, kPage), 0);
    anchors.assign(antkv_anchor_page_bytes(kD), 0xff);
    q[0] = to_half(1);
    p.q = q.data();
    p.pages = pages.data();
    p.block_table = table.data();
    p.k_codebook = k_book.data();
    p.v_codebook = v_book.data();
    p.inv_freq = inv_freq.data();
    p.anchors = anchors.data();
    p.anchor_table = anchor_table.data();
    p.ring_k = ring_k.data();
    p.ring_v = ring_v.data();
    p.coded_len = coded.data();
    p.kv_len = kv.data();
    p.page_stride = p.page_head_stride = antkv_page_bytes(c.format, kPage);
    p.anchor_page_stride = p.anchor_head_stride = antkv_anchor_page_bytes(kD);
    p.ring_row_stride = 2 * kD;
    p.q_row_stride = p.q_head_stride = 2 * kD;
    p.batch = p.q_heads = p.kv_heads = p.rows = p.splits = p.max_q_len = 1;
    p.page_size = kPage;
    p.max_pages = 3;
    p.max_anchor_pages = 1;
    p.ring_rows = 5;
    p.segments = 7;
    p.rotary_dim = kD;
    p.scale = p.attention_factor = 1;
  }
  void put(int token, int k_code, int v_code, double gain, bool anchor = false) {
    uint8_t* block = pages.data() + table[token / kPage] * p.page_stride;
    const antkv_unit u = antkv_unit_layout(c.format);
    const uint16_t g = to_half(gain);
    const uint32_t bit = uint32_t(anchor) << token % kPage;
    uint32_t word;
    block[token % kPage] = uint8_t(k_code);
    block[u.v + token % kPage] = uint8_t(v_code);
    std::memcpy(block + antkv_gain_offset(c.format, ANTKV_KEYS, token % kPage), &g, 2);
    std::memcpy(&word, block + antkv_bitmap_offset(c.format, kPage), 4);
    word |= bit;
    std::memcpy(block + antkv_bitmap_offset(c.format, kPage), &word, 4);
  }
  void row(void* base, int at, double first) {
    std::vector<uint16_t> halves(kD);
    halves[0] = halves[1] = to_half(first);
    std::memcpy(static_cast<uint8_t*>(base) + at * 2 * kD, halves.data(), 2 * kD);
  }
  void anchor(int at, int token, double k, double v) {
    std::memcpy(anchors.data() + antkv_anchor_index_offset(kD) + 4 * at, &token, 4);
    row(anchors.data(), at, k);
    row(anchors.data() + antkv_anchor_v_offset(kD), at, v);
  }
  Attention run(int coded_len, int kv_len) {
    coded[0] = coded_len;
    kv[0] = kv_len;
    return reference_decode(c, p);
  }
};

void halves() {
  bool same = true;
  for (int bits = 0; bits < 65536; bits++) {
    const double x = from_half(uint16_t(bits));
    same &= std::isnan(x) ? to_half(x) == 0x7e00 : to_half(x) == bits;
  }
  expect("every half survives reading and writing", same);
  expect("ties go to even", to_half(2049) == to_half(2048) && to_half(2051) == to_half(2052));
  expect("65519.99 is the largest, 65520 infinite", from_half(to_half(65519.99)) == 65504 && std::isinf(from_half(to_half(65520))));
  expect("subnormals round", from_half(to_half(std::ldexp(1.5, -24))) == std::ldexp(2, -24) && to_half(std::ldexp(1, -25)) == 0);
}

void rope() {
  const float quarter = 1.5707963267948966f;
  const float freq[] = {quarter, 0};
  double x[] = {1, 5, 0, 7}, y[] = {1, 0, 5, 7};
  Rope{freq, 4, false, 2}.rotate(x, 1);
  expect("half-split: (1, 0) turns to (0, 2) with factor 2", std::fabs(x[0]) < 1e-6 && std::fabs(x[2] - 2) < 1e-6 && x[1] == 10 && x[3] == 14, x[2], 2);
  Rope{freq, 2, true, 1}.rotate(y, 1);
  expect("interleaved, partial: channels 2 and 3 stay", std::fabs(y[0]) < 1e-6 && std::fabs(y[1] - 1) < 1e-6 && y[2] == 5 && y[3] == 7, y[1], 1);
  const float odd[] = {0.7310586f, 1e-4f};
  double z[] = {0.25, -3, 1.5, 8};
  const Rope far{odd, 4, false, 1.3};
  far.rotate(z, 4e6);
  const double angle = double(std::fmod(4e6L * static_cast<long double>(odd[0]), 6.283185307179586476925L));
  near("an angle at position 4e6", std::round(z[0] * 1e8), std::round(1.3 * (0.25 * std::cos(angle) - 1.5 * std::sin(angle)) * 1e8));
  far.unrotate(z, 4e6);
  expect("unrotate undoes rotate", std::fabs(z[0] - 0.25) < 1e-12 && std::fabs(z[3] - 8) < 1e-12, z[0], 0.25);
}

void decode() {
  Cache x;
  x.put(0, 2, 10, 1);
  auto a = x.run(1, 1);
  near("one key: the LSE is its score", a.lse[0], 2);
  near("one key: the output is its value", a.out[1], 10);
  x.put(1, 1, 30, 2);  // gain 2: the score is 2 too
  a = x.run(2, 2);
  near("a gain scales the score; two equal scores add log 2", a.lse[0], 2 + std::log(2));
  near("two equal scores: the mean of the values", a.out[1], 20);
  x.put(17, 0, 50, 1);
  x.coded[0] = 18;
  a = x.run(18, 18);
  near("codes 0 score 0", a.lse[0], std::log(2 * std::exp(2) + 16));  // 14 tokens of page 2 and 2 of page 0 with code 0, gain 0
  x.put(1, 1, 30, 2, true);
  a = x.run(2, 2);
  near("a set bit takes the coded token out", a.lse[0], 2);
  x.anchor(5, 1, 3, 7);
  a = x.run(2, 2);
  near("its anchor row comes in", a.lse[0], std::log(std::exp(2) + std::exp(3)));
  near("with its exact value", a.out[1], (10 * std::exp(2) + 7 * std::exp(3)) / (std::exp(2) + std::exp(3)));
  near("an anchor beyond coded_len is skipped", x.run(1, 1).lse[0], 2);
  std::vector<int32_t> frozen_len{1}, frozen_pages{1};
  x.p.frozen_len = frozen_len.data();
  x.p.frozen_anchor_pages = frozen_pages.data();
  near("an inherited anchor beyond the shared prefix is skipped", x.run(2, 2).lse[0], 2);
  frozen_len[0] = 2;
  near("one inside the prefix is not", x.run(2, 2).lse[0], std::log(std::exp(2) + std::exp(3)));
  x.p.frozen_len = nullptr;
  x.row(x.ring_k.data(), 2, 4);  // token 2
  x.row(x.ring_v.data(), 2, -1);
  x.p.segments = 4;
  a = x.run(2, 3);
  near("the ring alone", a.lse[0], 4);
  near("its raw score is reported", a.ring_scores[2], 4);
  expect("other ring rows hold -inf", std::isinf(a.ring_scores[1]) && a.ring_scores[1] < 0);
  near("token j stands in row j mod ring_rows", x.run(7, 8).lse[0], 4);  // 7 mod 5 = 2
  x.p.segments = 7;
  x.p.q_pos = x.q_pos.data();
  x.q_pos[0] = 0;
  near("a query at position 0 sees key 0 only", x.run(2, 3).lse[0], 2);
  x.first_pos[0] = 1;
  x.p.first_pos = x.first_pos.data();
  a = x.run(2, 3);
  expect("a query before all keys: output 0, LSE -inf", a.out[1] == 0 && a.lse[0] == -INFINITY, a.lse[0]);
  x.p.q_pos = nullptr;
  near("first_pos moves the default q_pos along", x.run(1, 1).lse[0], 2);
  uint16_t mask = 0;
  x.p.tree_mask = &mask;
  near("a tree mask can hide the new row", x.run(1, 2).lse[0], 2);
  a = x.run(0, 0);
  expect("an empty sequence: output 0, LSE -inf", a.out[1] == 0 && a.lse[0] == -INFINITY, a.lse[0]);

  Cache z;  // 20,000 tokens, which cores share: all but the last page are one
  z.table.assign(1250, 0);
  z.table[1249] = 1;
  z.p.block_table = z.table.data();
  z.p.max_pages = 1250;
  for (int token = 0; token < 16; token++) z.put(token, 0, token, 1), z.put(1249 * kPage + token, 1, 100, 1);
  a = z.run(20000, 20000);
  near("a long sequence: every key counts once", a.lse[0], std::log(19984 + 16 * std::exp(1)));
  near("and every value", a.out[1], (1249 * 120 + 1600 * std::exp(1)) / (19984 + 16 * std::exp(1)));

  Cache y;
  y.c.format.pre = 1;
  y.first_pos[0] = 1;
  y.p.first_pos = y.first_pos.data();
  y.put(0, 2, 0, 1);
  expect("pre: the key at position 1 is a quarter turn away from q", std::fabs(y.run(1, 1).lse[0]) < 1e-6);
  y.q[0] = 0, y.q[2] = to_half(1);
  near("and lies along channel 2", std::round(y.run(1, 1).lse[0] * 1e6), 2e6);
}

void combine() {
  Contract c;
  c.format.head_dim = 1;
  const float o[] = {1, 5, NAN}, lse[] = {0, float(std::log(3)), -INFINITY};
  float scores[] = {0, -INFINITY};
  antkv_combine_params p{};
  p.partial_o = o;
  p.partial_lse = lse;
  p.ring_scores = scores;
  p.rows = p.q_heads = 1;
  p.splits = 3;
  p.ring_rows = 2;
  const Attention a = reference_combine(c, p);
  near("splits weigh 1 to 3: LSE", std::round(a.lse[0] * 1e6), std::round(std::log(4) * 1e6));
  near("splits weigh 1 to 3: output", std::round(a.out[0] * 1e6), 4e6);
  near("mass of a score 0", std::round(a.ring_scores[0] * 1e6), 25e4);
  near("mass of an unseen row", a.ring_scores[1], 0);
}

void encode_and_unpack() {
  Cache x;
  std::vector<uint16_t> k(2 * kD), v(2 * kD);
  k[0] = to_half(2.5), k[1] = to_half(1);  // between entries 2 and 3
  v[1] = to_half(7.25), v[3] = to_half(1);
  std::vector<int32_t> cu{0, 2};
  const uint32_t keep[] = {2};
  const int32_t indices[] = {1, -1};
  antkv_encode_params e{};
  e.k = k.data(), e.v = v.data();
  e.k_codebook = x.p.k_codebook, e.v_codebook = x.p.v_codebook;
  e.cu_tokens = cu.data(), e.keep_bitmap = keep, e.keep_indices = indices;
  e.k_row_stride = e.v_row_stride = 2 * kD;
  e.batch = e.kv_heads = e.keep_words = 1;
  e.max_anchors = 2;
  const int32_t list[] = {4, 5, -1, 6};  // two pages; what follows -1 is no one's
  e.anchor_table = list, e.max_anchor_pages = 4;
  const Encoding got = reference_encode(x.c, e);
  expect("a tie goes to the lower entry", got.tokens[0].k_code[0] == 2, got.tokens[0].k_code[0], 2);
  expect("the nearest entry", got.tokens[0].v_code[0] == 7, got.tokens[0].v_code[0], 7);
  expect("kept bits", !got.tokens[0].kept && got.tokens[1].kept);
  expect("anchor rows: token 1, then empty to the end of the list", got.anchors.size() == 32 && got.anchors[0].token == 1 && got.anchors[1].token == -1 && got.anchors[31].token == -1);
  near("gain = |x| / |x_hat|", reference_gain({3, 4, 0, 0}, {2.5, 0, 0, 0}), 2);
  near("gain of a zero centroid is 1", reference_gain({3, 4, 0, 0}, {0, 0, 0, 0}), 1);

  x.put(0, 3, 9, 0.5);
  x.put(1, 3, 9, 1, true);
  x.anchor(3, 1, 6, 8);
  antkv_unpack_params u{};
  u.pages = x.p.pages, u.block_table = x.p.block_table;
  u.k_codebook = x.p.k_codebook, u.v_codebook = x.p.v_codebook;
  u.anchors = x.p.anchors, u.anchor_table = x.p.anchor_table;
  u.cu_tokens = cu.data();
  u.page_stride = x.p.page_stride, u.anchor_page_stride = x.p.anchor_page_stride;
  u.batch = u.kv_heads = u.max_anchor_pages = 1;
  u.page_size = kPage, u.max_pages = 3;
  const Unpacked rows = reference_unpack(x.c, u);
  near("unpack: centroid times gain", rows.k[0], 1.5);
  near("unpack: values", rows.v[1], 9);
  near("unpack: anchors are exact", rows.k[kD], 6);
}

void score() {
  Contract c;
  c.format.head_dim = 1;
  const uint16_t q[] = {to_half(1), to_half(2)}, k[] = {to_half(0), to_half(1)}, v[] = {to_half(1), to_half(3)}, o[] = {to_half(1), to_half(2.5)};
  const float lse[] = {0, float(std::log(1 + std::exp(2)))};
  const int32_t cu[] = {0, 2};
  antkv_score_params p{};
  p.q = q, p.k = k, p.v = v, p.o = o, p.lse = lse, p.cu_q = p.cu_k = cu;
  p.q_row_stride = p.k_row_stride = p.v_row_stride = p.o_row_stride = 2;
  p.batch = p.q_heads = p.kv_heads = 1;
  p.score_stride = 2;
  p.scale = 1;
  const double p10 = 1 / (1 + std::exp(2)), p11 = 1 - p10;
  auto s = reference_score(c, p);
  near("column: key 0 is seen by both rows", std::round(s[0] * 1e6), std::round((1 + p10) * 1e6));
  near("column: key 1 by the second", std::round(s[1] * 1e6), std::round(p11 * 1e6));
  c.form = Form::exact;
  s = reference_score(c, p);
  near("exact: P |v - o| |q| scale", std::round(s[0] * 1e6), std::round(p10 * 1.5 * 2 * 1e6));
  c.form = Form::mass;
  near("mass: P (1 - P)", std::round(reference_score(c, p)[1] * 1e6), std::round(p11 * p10 * 1e6));
  c.form = Form::massq;
  near("massq: P (1 - P) |q|", std::round(reference_score(c, p)[1] * 1e6), std::round(p11 * p10 * 2 * 1e6));
  c.form = Form::column;
  float before[] = {10, 20};
  p.scores = before, p.accumulate = 1;
  near("accumulate: to what was there", std::round(reference_score(c, p)[0] * 1e6), std::round((11 + p10) * 1e6));
  const int32_t none[] = {0, 0};
  p.accumulate = 0, p.cu_sampled = p.sampled_rows = none, p.newest_rows = 1;
  near("no sample: older rows do not count", std::round(reference_score(c, p)[0] * 1e6), std::round(p10 * 1e6));
  const int32_t one[] = {0, 1}, second[] = {1};
  p.cu_sampled = one, p.sampled_rows = second, p.newest_rows = 0;
  near("one listed row of two counts twice", std::round(reference_score(c, p)[0] * 1e6), std::round(2 * p10 * 1e6));
}

void select() {
  const float scores[] = {1, 5, NAN, 5, -INFINITY, INFINITY, 0, 5};
  const int32_t count = 8;
  antkv_select_params p{};
  p.scores = scores, p.token_count = &count;
  p.batch = p.kv_heads = p.keep_words = 1;
  p.score_stride = 8;
  p.max_anchors = 6;
  p.budget_tokens = 3;
  const auto is = [](const Selection& s, std::vector<int32_t> want) { return want.resize(s.indices.size(), -1), s.indices == want; };
  auto s = reference_select(p);
  expect("ties go to the lower index, infinity wins, NaN never", is(s, {1, 3, 5}));
  expect("bitmap and count agree", s.bitmap[0] == 0x2a && s.count[0] == 3);
  p.first_tokens = 1;
  expect("first tokens come beside the budget", is(reference_select(p), {0, 1, 3, 5}));
  p.max_anchors = 2;
  expect("max_anchors keeps first tokens, then the best", is(reference_select(p), {0, 5}));
  p.max_anchors = 8, p.first_tokens = 0, p.budget_tokens = 100;
  expect("NaN and -inf are never kept", is(reference_select(p), {0, 1, 3, 5, 6, 7}));
  p.budget_tokens = -1, p.budget_permille = 374;
  expect("permille are rounded down", reference_select(p).count[0] == 2);
}

}  // namespace

/// selftest_append.cc
void append_cases(void (*expect)(const std::string& name, bool ok));

int main() {
  halves(), rope(), decode(), combine(), encode_and_unpack(), score(), select();
  append_cases([](const std::string& name, bool ok) { expect(name, ok); });
  return failures != 0;
}
