// check encode: random rows into pages full of garbage, then codes, gains, bitmap and anchor rows one by one.
#include "../reference/pages.h"
#include "cache.h"
#include "check.h"
#include "encoded.h"

namespace runner {
namespace {

using P = antkv_encode_params;

struct Encode {
  Memory memory;
  Params<P> p{ANTKV_ABI_VERSION};
  CacheShape shape;
  std::vector<int32_t> first, cu;
  int wrong_tail_bits = 0, wrong_tail = 0, wrong_anchors = 0, wrong_scores = 0;
  Buffer* anchor_score = nullptr;
  explicit Encode(const Driver& driver) : memory(driver) {}
};

void make_input(Encode& x, Random& random, reference::Element element, int d) {
  P& p = x.p.host;
  p.k_head_stride = 2 * d + x.shape.pad;
  p.v_head_stride = 2 * d;
  p.k_row_stride = p.kv_heads * p.k_head_stride + x.shape.pad;
  p.v_row_stride = p.kv_heads * p.v_head_stride + 2 * x.shape.pad;
  Buffer& k = x.memory.add("k", size_t(x.cu.back() * p.k_row_stride));
  Buffer& v = x.memory.add("v", size_t(x.cu.back() * p.v_row_stride));
  for (int64_t row = 0; row < x.cu.back(); row++) {
    for (int head = 0; head < p.kv_heads; head++) {
      const double size = row % 7 == 3 ? 4 : 1;  // gains other than 1
      gaussian_elements(random, element, k.host.data() + row * p.k_row_stride + head * p.k_head_stride, d, size);
      gaussian_elements(random, element, v.host.data() + row * p.v_row_stride + head * p.v_head_stride, d, size);
    }
  }
  x.p.bind(&P::k, k);
  x.p.bind(&P::v, v);
}

/// keep_bitmap with garbage bits beyond the input, keep_indices ascending with a hole and -1 behind.
void make_kept(Encode& x, Random& random, const std::vector<std::vector<bool>>& kept) {
  P& p = x.p.host;
  int most = 0;
  for (int n : anchor_rows_of(x.shape, kept)) most = std::max(most, n);
  const int end = *std::max_element(x.shape.tokens.begin(), x.shape.tokens.end());
  p.max_anchors = most;
  p.keep_words = end / 32 + 2;
  std::vector<uint32_t> bitmap(kept.size() * p.keep_words);
  std::vector<int32_t> indices(kept.size() * p.max_anchors, -1);
  for (size_t row = 0; row < kept.size(); row++) {
    int32_t* to = &indices[row * p.max_anchors];
    for (int t = 0; t < p.keep_words * 32; t++) {
      const bool coded = t < int(kept[row].size());
      if (coded ? kept[row][t] : random.below(2) == 1) bitmap[row * p.keep_words + t / 32] |= 1u << t % 32;
      if (!coded || !kept[row][t]) continue;
      if (to == &indices[row * p.max_anchors] + 1) to++;  // row 1 is a hole
      *to++ = t;
    }
  }
  x.p.bind(&P::keep_bitmap, x.memory.add("keep_bitmap", bitmap));
  x.p.bind(&P::keep_indices, x.memory.add("keep_indices", indices));
}

/// Scores of every token, as sums over more rows than there are tokens; and the frozen ones, of which encode writes those of the rows that it writes.
void make_scores(Encode& x, Random& random, const Cache& cache) {
  P& p = x.p.host;
  const int end = *std::max_element(x.shape.tokens.begin(), x.shape.tokens.end());
  p.score_stride = end + 5;
  std::vector<float> scores(size_t(p.batch) * p.kv_heads * p.score_stride);
  for (float& score : scores) score = float(random.uniform());
  x.p.bind(&P::keep_scores, x.memory.add("keep_scores", scores));
  std::vector<int32_t> rows(x.shape.tokens);
  for (int32_t& n : rows) n += 1 + random.below(100);
  if (random.below(2)) x.p.bind(&P::score_rows, x.memory.add("score_rows", rows));
  x.anchor_score = &x.memory.add("anchor_score", size_t(cache.slots) * p.kv_heads * p.max_anchor_pages * ANTKV_ANCHOR_ROWS * 4);
  x.anchor_score->writable.assign(x.anchor_score->host.size(), false);
  x.p.bind(&P::anchor_score, *x.anchor_score);
}

/// Where the frozen score of anchor row `row` lies.
size_t score_offset(const Encode& x, const Cache& cache, int b, int head, int row) {
  return ((size_t(cache.slot_of[b]) * x.shape.kv_heads + head) * cache.max_anchor_pages * ANTKV_ANCHOR_ROWS + row) * 4;
}

/// Anchor pages that were another sequence's: every row claims a token.
void make_stale(const Encode& x, Cache& cache) {
  for (int b = 0; b < x.shape.batch; b++)
    for (int head = 0; head < x.shape.kv_heads; head++)
      for (int i = 0; i < cache.anchor_start[b + 1] - cache.anchor_start[b]; i++) {
        uint8_t* block = cache.anchors->host.data() + (cache.anchor_block(b, head, i) - cache.anchors->host.data());
        const int32_t token = 5;
        for (int row = 0; row < ANTKV_ANCHOR_ROWS; row++) std::memcpy(block + antkv_anchor_index_offset(cache.contract.format.head_dim) + 4 * row, &token, 4);
      }
}

/// The bytes that encode may write: the used units and the bitmaps of its pages, and the anchor rows.
void allow(Encode& x, Cache& cache, const antkv_format& f) {
  const antkv_unit u = antkv_unit_layout(f);
  const int64_t gains = 2 * ANTKV_UNIT_TOKENS * (f.k_gain + f.v_gain);
  for (int b = 0; b < x.shape.batch; b++) {
    const int first = x.first.empty() ? 0 : x.first[b];
    for (int head = 0; head < x.shape.kv_heads; head++) {
      for (int token = first; token < x.shape.tokens[b]; token += ANTKV_UNIT_TOKENS) {
        const size_t block = size_t(cache.block(b, head, token) - cache.pages->host.data());
        cache.pages->allow(block + size_t(token % x.shape.page_size / ANTKV_UNIT_TOKENS * u.bytes), size_t(u.k_gain + gains));
        if (f.k.exact && f.v.exact) continue;
        cache.pages->allow(block + size_t(antkv_bitmap_offset(f, x.shape.page_size)), size_t((x.shape.page_size + 31) / 32 * 4));
      }
      if (!cache.anchors) continue;
      for (int i = 0; i < cache.anchor_start[b + 1] - cache.anchor_start[b]; i++)
        cache.anchors->allow(size_t(cache.anchor_block(b, head, i) - cache.anchors->host.data()), size_t(antkv_anchor_page_bytes(f.head_dim)));
    }
  }
  if (cache.pages->writable.empty()) cache.pages->writable.assign(cache.pages->host.size(), false);
  if (cache.anchors && cache.anchors->writable.empty()) cache.anchors->writable.assign(cache.anchors->host.size(), false);
}

/// Beyond the input: code 0 and gain 0 up to the end of the unit, bit 0 up to the end of the page's words.
void compare_tail(Encode& x, Cache& cache, int b, int head) {
  const antkv_format& f = cache.contract.format;
  const antkv_unit u = antkv_unit_layout(f);
  const int end = x.shape.tokens[b], size = x.shape.page_size;
  if (x.cu[b + 1] == x.cu[b]) return;
  const uint8_t* block = cache.pages->result.data() + (cache.block(b, head, end - 1) - cache.pages->host.data());
  const uint8_t* unit = block + (end - 1) % size / ANTKV_UNIT_TOKENS * u.bytes;
  const auto zeros = [](const uint8_t* at, int64_t bytes) { return std::all_of(at, at + bytes, [](uint8_t byte) { return byte == 0; }); };
  for (int i = (end - 1) % ANTKV_UNIT_TOKENS + 1; i < ANTKV_UNIT_TOKENS; i++) {
    bool ok = true;
    for (const int side : {ANTKV_KEYS, ANTKV_VALUES}) {
      const antkv_codec codec = antkv_side_codec(f, side);
      const int64_t row = antkv_row_bytes(codec, f.head_dim);
      if (codec.exact) ok = ok && zeros(unit + antkv_side_offset(f, side) + i * row, row);
      for (int chunk = 0; chunk < antkv_chunks(codec, f.head_dim); chunk++) ok = ok && antkv_read_code(f, side, unit, i, chunk) == 0;
      if (side == ANTKV_KEYS ? f.k_gain : f.v_gain) ok = ok && zeros(unit + antkv_gain_offset(f, side, i), 2);
    }
    x.wrong_tail += !ok;
  }
  if (f.k.exact && f.v.exact) return;
  for (int slot = (end - 1) % size + 1; slot < (size + 31) / 32 * 32; slot++) x.wrong_tail_bits += reference::anchor_bit(f, block, slot, size);
}

void compare_anchor(Encode& x, Cache& cache, const reference::AnchorRow& a) {
  const int d = cache.contract.format.head_dim, at = a.row % ANTKV_ANCHOR_ROWS;
  if (a.row / ANTKV_ANCHOR_ROWS >= cache.anchor_start[a.batch + 1] - cache.anchor_start[a.batch]) return;
  const uint8_t* block = cache.anchors->result.data() + (cache.anchor_block(a.batch, a.head, a.row / ANTKV_ANCHOR_ROWS) - cache.anchors->host.data());
  int32_t token;
  std::memcpy(&token, block + antkv_anchor_index_offset(d) + 4 * at, 4);
  bool ok = token == a.token;
  if (a.token >= 0) {
    std::vector<double> k(d), v(d);
    reference::read_elements(cache.contract.element, block + at * 2 * d, d, k.data());
    reference::read_elements(cache.contract.element, block + antkv_anchor_v_offset(d) + at * 2 * d, d, v.data());
    ok = ok && v == a.v;
    double largest = 0;
    for (double value : a.k) largest = std::max(largest, std::fabs(value));
    for (int i = 0; i < d; i++) ok = ok && std::fabs(k[i] - a.k[i]) <= (x.p->keys_unrotated ? std::ldexp(largest, cache.contract.element == reference::Element::bf16 ? -7 : -10) : 0);
    const float score = x.anchor_score->result_as<float>()[score_offset(x, cache, a.batch, a.head, a.row) / 4];
    x.wrong_scores += !(std::fabs(score - a.score) <= std::ldexp(std::fabs(a.score), -22));  // a division of two floats
  }
  x.wrong_anchors += !ok;
}

}  // namespace

Json check_encode(Launcher& launcher, const Json& request) {
  const Kernel kernel = Kernel::read(request.at("kernel"), "encode");
  const antkv_format& f = kernel.contract.format;
  const Json& shape = request.at("shape");
  Random random(uint64_t(request.integer("seed", 1)));
  Encode x(launcher.driver);
  x.shape = CacheShape::read(shape, kernel.contract, "end");
  x.first = per_sequence(shape, "first_token", x.shape.batch);
  const auto kept = choose_anchors(random, x.shape);
  // One page more than the rows need, as a list that grows ahead has.
  std::vector<int32_t> rows = anchor_rows_of(x.shape, kept);
  for (int32_t& n : rows) n += ANTKV_ANCHOR_ROWS;
  Cache cache(x.memory, random, kernel.contract, x.shape, rows);
  bind_cache(x.p, cache);
  P& p = x.p.host;
  x.cu.assign(1, 0);
  p.max_tokens = 1;
  for (int b = 0; b < x.shape.batch; b++) {
    const int from = x.first.empty() ? 0 : x.first[b];
    if (from < 0 || from % x.shape.page_size || from > x.shape.tokens[b]) throw RequestError("first_token must be a multiple of page_size, at most end");
    x.cu.push_back(x.cu.back() + x.shape.tokens[b] - from);
    p.max_tokens = std::max(p.max_tokens, x.shape.tokens[b] - from);
  }
  if (!x.first.empty()) x.p.bind(&P::first_token, x.memory.add("first_token", x.first));
  x.p.bind(&P::cu_tokens, x.memory.add("cu_tokens", x.cu));
  p.keys_unrotated = shape.boolean("keys_unrotated", false);
  if (p.keys_unrotated && !kernel.contract.format.pre) throw RequestError("keys_unrotated needs a \"pre\" contract");
  make_input(x, random, kernel.contract.element, f.head_dim);
  if (cache.anchors) make_kept(x, random, kept), make_stale(x, cache), make_scores(x, random, cache);
  allow(x, cache, f);

  const reference::Encoding want = reference::reference_encode(kernel.contract, p);
  for (const auto& row : want.anchors) {
    if (row.token >= 0) x.anchor_score->allow(score_offset(x, cache, row.batch, row.head, row.row), 4);
  }

  Report report("encode", request);
  request.refuse_unread();
  report.run_twice(x.memory, [&] { return launcher.launch(kernel, x.p); });
  EncodedCheck encoded(cache, p.k_codebook, p.v_codebook);
  for (const auto& token : want.tokens) encoded.compare(token);
  for (const auto& row : want.anchors) compare_anchor(x, cache, row);
  for (int b = 0; b < p.batch; b++) {
    for (int head = 0; head < p.kv_heads; head++) compare_tail(x, cache, b, head);
  }
  encoded.bits += x.wrong_tail_bits;
  encoded.report(report);
  report.fault_unless(x.wrong_tail == 0, std::to_string(x.wrong_tail) + " wrong tokens beyond the input");
  report.fault_unless(x.wrong_anchors == 0, std::to_string(x.wrong_anchors) + " wrong anchor rows");
  report.fault_unless(x.wrong_scores == 0, std::to_string(x.wrong_scores) + " wrong frozen scores");
  return report.record(launcher.driver);
}

}  // namespace runner
