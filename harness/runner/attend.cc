// attend: a real dump through score, select, encode and decode, each kernel held against its reference on the way.
#include "attend.h"

#include "../reference/pages.h"
#include "../reference/rope.h"
#include "basis.h"

namespace runner {
namespace {

using reference::to_half;

/// The request, read.
struct Attend {
  Kernel score, select, encode, decode, combine;
  bool keeps, scored;  // there are anchors; all but the first tokens by a score
  float norm_scale;    // form norm: whether the smallest keys rank first, or the largest
  int budget_permille, budget_tokens, first_tokens, window, flush_block, page_size, splits, queries, first_pos;
  std::vector<float> inv_freq;
  reference::Rope rope;
  std::string k_codebook, v_codebook;
  Basis basis;
  Dump dump;    // its values in the basis, once exact attention over the recorded ones is known
  Exact exact;

  int most_anchors() const { return int(std::min<int64_t>(dump.tokens, first_tokens + (budget_tokens > 0 ? budget_tokens : int64_t(dump.tokens) * budget_permille / 1000))); }
};

/// What one device step leaves for the next.
struct State {
  std::vector<uint32_t> bitmap;
  std::vector<int32_t> indices, counts, table;
  std::vector<uint8_t> pages, anchors;
  int max_anchors = 0, keep_words = 0, pool = 0;
  Json agreement = Json::object(), ms = Json::object();
  std::vector<std::string> faults;
};

void read_request(Attend& a, const Json& request) {
  const Json& kernels = request.at("kernels");
  const Json& recipe = request.at("recipe");
  const std::string policy = recipe.string("policy", "column");
  a.keeps = policy != "none", a.scored = a.keeps && policy != "first", a.norm_scale = policy == "largest-key" ? 1.0f : -1.0f;
  a.encode = Kernel::read(kernels.at("encode"), "encode");
  a.decode = Kernel::read(kernels.at("decode"), "decode");
  a.decode.only_halves();
  if (a.scored || kernels.has("score")) a.score = Kernel::read(kernels.at("score"), "score");
  if (a.keeps || kernels.has("select")) a.select = Kernel::read(kernels.at("select"), "select");
  a.budget_permille = bounded(recipe, "budget_permille", 10, 0, 1000);
  a.budget_tokens = bounded(recipe, "budget_tokens", 0, 0, 1 << 20);
  a.first_tokens = bounded(recipe, "first_tokens", 0, 0, 1 << 20);
  a.window = bounded(recipe, "window", 0, 0, 1 << 20);
  a.flush_block = bounded(recipe, "flush_block", 128, 16, 1 << 16);
  a.page_size = bounded(request, "page_size", 64, 16, 256);
  a.splits = bounded(request, "splits", 1, 1, 64);
  if (a.splits > 1 || kernels.has("combine")) a.combine = Kernel::read(kernels.at("combine"), "combine");
  const antkv_format& f = a.encode.contract.format;
  const Json& rope = request.at("rope");
  a.rope.rotary_dim = bounded(rope, "rotary_dim", f.head_dim, 2, f.head_dim);
  a.rope.interleaved = rope.boolean("interleaved", false);
  a.rope.factor = rope.number("factor", 1);
  const double theta = rope.number("theta", 10000);
  for (int i = 0; i < a.rope.rotary_dim / 2; i++) a.inv_freq.push_back(float(std::pow(theta, -2.0 * i / a.rope.rotary_dim)));
  a.rope.inv_freq = a.inv_freq.data();
  const Json& data = request.at("data");
  a.first_pos = bounded(data, "first_pos", 0, 0, 1 << 23);
  a.dump = read_dump(data, a.rope, a.first_pos, f.head_dim);
  a.queries = bounded(request.at("queries"), "count", 64, 1, a.dump.tokens);
  const Json& codebook = request.at("codebook");
  a.basis = Basis::read(codebook, a.dump.kv_heads, f.head_dim);
  for (const bool key : {true, false}) {
    const antkv_codec codec = key ? f.k : f.v;
    std::string& bytes = key ? a.k_codebook : a.v_codebook;
    if (codec.exact) {
      codebook.has(key ? "k" : "v");
      continue;
    }
    bytes = read_file(codebook.at(key ? "k" : "v").string("codebook"));
    const int64_t want = a.dump.kv_heads * antkv_codebook_layout(codec, f.head_dim).bytes;
    if (int64_t(bytes.size()) != want) throw RequestError("the packed codebook has " + std::to_string(bytes.size()) + " B, " + std::to_string(want) + " are needed for the dump's KV heads");
  }
  request.refuse_unread();
}

/// Fields that decode and encode share.
template <class P>
void bind_pages(Params<P>& p, Memory& memory, const Attend& a, State& s, const std::vector<int32_t>& table, int batch) {
  const antkv_format& f = a.encode.contract.format;
  const int kv_heads = a.dump.kv_heads, anchor_pages = int(ceil_div(s.max_anchors, ANTKV_ANCHOR_ROWS));
  p.bind(&P::pages, memory.add("pages", s.pages));
  p.bind(&P::block_table, memory.add("block_table", table));
  if (!f.k.exact) p.bind(&P::k_codebook, memory.add("k_codebook", std::vector<char>(a.k_codebook.begin(), a.k_codebook.end())));
  if (!f.v.exact) p.bind(&P::v_codebook, memory.add("v_codebook", std::vector<char>(a.v_codebook.begin(), a.v_codebook.end())));
  if (a.encode.contract.format.pre) p.bind(&P::inv_freq, memory.add("inv_freq", a.inv_freq));
  p->max_anchor_pages = anchor_pages;
  if (anchor_pages > 0) {
    std::vector<int32_t> pages(size_t(batch) * anchor_pages);  // every row of the batch shares the same anchor pages
    for (size_t i = 0; i < pages.size(); i++) pages[i] = int32_t(i % anchor_pages);
    p.bind(&P::anchors, memory.add("anchors", s.anchors));
    p.bind(&P::anchor_table, memory.add("anchor_table", pages));
  }
  p.bind(&P::first_pos, memory.add("first_pos", std::vector<int32_t>(batch, a.first_pos)));
  p->page_head_stride = antkv_page_bytes(f, a.page_size);
  p->page_stride = kv_heads * p->page_head_stride;
  p->anchor_head_stride = antkv_anchor_page_bytes(f.head_dim);
  p->anchor_page_stride = kv_heads * p->anchor_head_stride;
  p->batch = batch;
  p->kv_heads = kv_heads;
  p->page_size = a.page_size;
  p->max_pages = int(table.size()) / batch;
  p->rotary_dim = a.rope.rotary_dim;
  p->rope_interleaved = a.rope.interleaved;
  p->attention_factor = float(a.rope.factor);
}

std::vector<float> run_score(Launcher& launcher, const Attend& a, State& s) {
  using P = antkv_score_params;
  const Dump& dump = a.dump;
  const int n = dump.tokens, d = dump.head_dim;
  Memory memory(launcher.driver);
  Params<P> p(ANTKV_ABI_VERSION);
  std::vector<float> lse(size_t(n) * dump.q_heads);
  std::vector<uint16_t> o(a.exact.out.size());
  std::vector<double> row(d);
  for (size_t at = 0; at < o.size(); at += d) {  // beside values in their basis: outputs in it too
    std::copy_n(&a.exact.out[at], d, row.begin());
    a.basis.enter(int(at / (size_t(n) * d)) / (dump.q_heads / dump.kv_heads), row.data());
    for (int x = 0; x < d; x++) o[at + x] = to_half(row[x]);
  }
  for (int head = 0; head < dump.q_heads; head++) {
    for (int i = 0; i < n; i++) lse[size_t(i) * dump.q_heads + head] = float(a.exact.lse[size_t(head) * n + i]);
  }
  p.bind(&P::q, memory.add("q", dump.q));
  p.bind(&P::k, memory.add("k", dump.k));
  p.bind(&P::v, memory.add("v", dump.v));
  p.bind(&P::o, memory.add("o", o));
  p.bind(&P::lse, memory.add("lse", lse));
  p.bind(&P::cu_q, memory.add("cu_q", std::vector<int32_t>{0, n}));
  p.bind(&P::cu_k, memory.add("cu_k", std::vector<int32_t>{0, n}));
  Buffer& scores = memory.add("scores", size_t(dump.kv_heads) * n * 4);
  scores.allow_all();
  p.bind(&P::scores, scores);
  p->q_row_stride = p->o_row_stride = p->k_row_stride = p->v_row_stride = 2 * d;
  p->q_head_stride = p->o_head_stride = p->k_head_stride = p->v_head_stride = int64_t(2) * d * n;
  p->batch = 1;
  p->q_heads = dump.q_heads;
  p->kv_heads = dump.kv_heads;
  p->max_tokens = p->score_stride = n;
  p->scale = a.score.contract.form == reference::Form::norm ? a.norm_scale : float(1 / std::sqrt(double(d)));
  memory.upload();
  s.ms.set("score", launcher.launch(a.score, p));
  memory.download(s.faults);
  const std::vector<double> want = reference::reference_score(a.score.contract, p.host);
  std::vector<double> got(scores.result_as<float>(), scores.result_as<float>() + want.size());
  Agreement agreement;
  for (int head = 0; head < dump.kv_heads; head++) agreement.row(&got[size_t(head) * n], &want[size_t(head) * n], n);
  s.agreement.set("score_rel_l2", agreement.bad_values ? NAN : agreement.rel_l2);
  return {scores.result_as<float>(), scores.result_as<float>() + want.size()};
}

void run_select(Launcher& launcher, const Attend& a, State& s, const std::vector<float>& scores) {
  using P = antkv_select_params;
  Memory memory(launcher.driver);
  Params<P> p(ANTKV_ABI_VERSION);
  const int n = a.dump.tokens;
  s.max_anchors = a.most_anchors();
  s.keep_words = int(ceil_div(n, 32));
  p.bind(&P::scores, memory.add("scores", scores));
  p.bind(&P::token_count, memory.add("token_count", std::vector<int32_t>{n}));
  Buffer& bitmap = memory.add("keep_bitmap", size_t(a.dump.kv_heads) * s.keep_words * 4);
  Buffer& indices = memory.add("keep_indices", size_t(a.dump.kv_heads) * s.max_anchors * 4);
  Buffer& count = memory.add("keep_count", size_t(a.dump.kv_heads) * 4);
  bitmap.allow_all(), indices.allow_all(), count.allow_all();
  p.bind(&P::keep_bitmap, bitmap);
  p.bind(&P::keep_indices, indices);
  p.bind(&P::keep_count, count);
  p->batch = 1;
  p->kv_heads = a.dump.kv_heads;
  p->score_stride = n;
  p->keep_words = s.keep_words;
  p->max_anchors = s.max_anchors;
  p->budget_permille = a.budget_permille;
  p->budget_tokens = a.budget_tokens > 0 ? a.budget_tokens : -1;
  p->first_tokens = a.first_tokens;
  memory.upload();
  s.ms.set("select", launcher.launch(a.select, p));
  memory.download(s.faults);
  const reference::Selection want = reference::reference_select(p.host);
  s.bitmap.assign(bitmap.result_as<uint32_t>(), bitmap.result_as<uint32_t>() + want.bitmap.size());
  s.indices.assign(indices.result_as<int32_t>(), indices.result_as<int32_t>() + want.indices.size());
  s.counts.assign(count.result_as<int32_t>(), count.result_as<int32_t>() + want.count.size());
  s.agreement.set("kept_equal", s.bitmap == want.bitmap && s.indices == want.indices && s.counts == want.count);
}

void run_encode(Launcher& launcher, const Attend& a, State& s) {
  using P = antkv_encode_params;
  Memory memory(launcher.driver);
  Params<P> p(ANTKV_ABI_VERSION);
  const Dump& dump = a.dump;
  const antkv_format& f = a.encode.contract.format;
  const int pages = int(ceil_div(dump.tokens, a.page_size));
  Random random(1);
  s.table = random.permutation(pages);
  s.pages.assign(size_t(pages) * dump.kv_heads * antkv_page_bytes(f, a.page_size), kPoison);
  s.anchors.assign(size_t(ceil_div(s.max_anchors, ANTKV_ANCHOR_ROWS)) * dump.kv_heads * antkv_anchor_page_bytes(f.head_dim), kPoison);
  bind_pages(p, memory, a, s, s.table, 1);
  for (Buffer& b : memory.buffers()) {
    if (b.name == "pages" || b.name == "anchors") b.allow_all();
  }
  p.bind(&P::k, memory.add("k", dump.k));
  p.bind(&P::v, memory.add("v", dump.v));
  p.bind(&P::cu_tokens, memory.add("cu_tokens", std::vector<int32_t>{0, dump.tokens}));
  if (s.max_anchors > 0) {
    p.bind(&P::keep_bitmap, memory.add("keep_bitmap", s.bitmap));
    p.bind(&P::keep_indices, memory.add("keep_indices", s.indices));
  }
  p->k_row_stride = p->v_row_stride = 2 * dump.head_dim;
  p->k_head_stride = p->v_head_stride = int64_t(2) * dump.head_dim * dump.tokens;
  p->max_tokens = dump.tokens;
  p->max_anchors = s.max_anchors;
  p->keep_words = s.keep_words;
  memory.upload();
  s.ms.set("encode", launcher.launch(a.encode, p));
  memory.download(s.faults);
  for (Buffer& b : memory.buffers()) {
    if (b.name == "pages") s.pages = b.result;
    if (b.name == "anchors") s.anchors = b.result;
  }
  // The reference chose codes from the same rows; where they differ the two centroids tie within rounding (check encode proves that).
  int64_t codes = 0, equal = 0;
  const antkv_unit u = antkv_unit_layout(f);
  for (const auto& t : reference::reference_encode(a.encode.contract, p.host).tokens) {
    const int slot = t.token % a.page_size, i = slot % ANTKV_UNIT_TOKENS;
    const uint8_t* unit = &s.pages[s.table[t.token / a.page_size] * p->page_stride + t.head * p->page_head_stride + slot / ANTKV_UNIT_TOKENS * u.bytes];
    for (size_t c = 0; c < t.k_code.size(); c++, codes++) equal += antkv_read_code(f, ANTKV_KEYS, unit, i, int(c)) == t.k_code[c];
    for (size_t c = 0; c < t.v_code.size(); c++, codes++) equal += antkv_read_code(f, ANTKV_VALUES, unit, i, int(c)) == t.v_code[c];
  }
  s.agreement.set("codes_equal", codes ? double(equal) / double(codes) : 1.0);
}

/// Attention of the chosen rows: each is a sequence of its own that shares pages and anchors, and ends at its own position.
Json run_decode(Launcher& launcher, const Attend& a, State& s, bool anchors, const char* step) {
  using P = antkv_decode_params;
  using C = antkv_combine_params;
  Memory memory(launcher.driver);
  Params<P> p(ANTKV_ABI_VERSION);
  Params<C> c(ANTKV_ABI_VERSION);
  const Dump& dump = a.dump;
  const int d = dump.head_dim, rows = a.queries;
  std::vector<int32_t> table, positions, coded, lengths;
  for (int i = 0; i < rows; i++) {
    const int position = int((int64_t(i) + 1) * dump.tokens / rows) - 1, n = position + 1;
    positions.push_back(position + a.first_pos);
    lengths.push_back(n);
    coded.push_back(a.window ? std::max(0, n - a.window) / a.flush_block * a.flush_block : n);
    table.insert(table.end(), s.table.begin(), s.table.end());
  }
  bind_pages(p, memory, a, s, table, rows);
  p->segments = (anchors ? 3 : 1) + (a.window ? 4 : 0);
  std::vector<uint16_t> q(size_t(rows) * dump.q_heads * d);
  for (int i = 0; i < rows; i++) {
    for (int head = 0; head < dump.q_heads; head++) std::copy_n(dump.row(dump.q, head, lengths[i] - 1), d, &q[(size_t(i) * dump.q_heads + head) * d]);
  }
  p.bind(&P::q, memory.add("q", q));
  p.bind(&P::coded_len, memory.add("coded_len", coded));
  p.bind(&P::kv_len, memory.add("kv_len", lengths));
  p.bind(&P::q_pos, memory.add("q_pos", positions));
  if (a.window) {
    p->ring_rows = antkv_ring_rows(a.window, a.flush_block);
    p->ring_row_stride = 2 * d;
    p->ring_head_stride = p->ring_rows * p->ring_row_stride;
    p->ring_slot_stride = dump.kv_heads * p->ring_head_stride;
    Buffer &k = memory.add("ring_k", size_t(rows * p->ring_slot_stride)), &v = memory.add("ring_v", size_t(rows * p->ring_slot_stride));
    for (int i = 0; i < rows; i++) {
      for (int head = 0; head < dump.kv_heads; head++) {
        for (int token = coded[i]; token < lengths[i]; token++) {
          const int64_t at = i * p->ring_slot_stride + head * p->ring_head_stride + token % p->ring_rows * p->ring_row_stride;
          std::memcpy(k.host.data() + at, dump.row(dump.k, head, token), 2 * d);
          std::memcpy(v.host.data() + at, dump.row(dump.v, head, token), 2 * d);
        }
      }
    }
    p.bind(&P::ring_k, k);
    p.bind(&P::ring_v, v);
  }
  Buffer& out = memory.add("out", q.size() * 2);
  Buffer& lse = memory.add("lse", size_t(rows) * dump.q_heads * 4);
  out.allow_all(), lse.allow_all();
  p.bind(&P::out, out), c.bind(&C::out, out);
  p.bind(&P::lse, lse), c.bind(&C::lse, lse);
  p->q_head_stride = p->out_head_stride = c->out_head_stride = 2 * d;
  p->q_row_stride = p->out_row_stride = c->out_row_stride = int64_t(2) * d * dump.q_heads;
  p->q_heads = c->q_heads = dump.q_heads;
  p->rows = c->rows = rows;
  p->splits = c->splits = a.splits;
  p->max_q_len = 1;
  p->scale = float(1 / std::sqrt(double(d)));
  if (a.splits > 1) {
    Buffer& partial_o = memory.add("partial_o", a.splits * q.size() * 4);
    Buffer& partial_lse = memory.add("partial_lse", size_t(a.splits) * rows * dump.q_heads * 4);
    partial_o.allow_all(), partial_lse.allow_all();
    p.bind(&P::partial_o, partial_o), c.bind(&C::partial_o, partial_o);
    p.bind(&P::partial_lse, partial_lse), c.bind(&C::partial_lse, partial_lse);
  }
  memory.upload();
  double ms = launcher.launch(a.decode, p);
  if (a.splits > 1) ms += launcher.launch(a.combine, c);
  s.ms.set(step, ms);
  memory.download(s.faults);

  const reference::Attention want = reference::reference_decode(a.decode.contract, p.host);
  Agreement agreement;
  Distance distance;
  std::vector<double> got(d);
  for (int i = 0; i < rows; i++) {
    for (int head = 0; head < dump.q_heads; head++) {
      const size_t at = size_t(i) * dump.q_heads + head, exact = size_t(head) * dump.tokens + lengths[i] - 1;
      reference::read_halves(out.result.data() + at * 2 * d, d, got.data());
      agreement.row(got.data(), &want.out[at * d], d);
      agreement.logarithm(lse.result_as<float>()[at], want.lse[at]);
      a.basis.leave(head / (dump.q_heads / dump.kv_heads), got.data());
      distance.row(got.data(), lse.result_as<float>()[at], &a.exact.out[exact * d], a.exact.lse[exact], d);
    }
  }
  if (agreement.bad_values) s.faults.push_back(std::string(step) + " wrote NaN");
  s.agreement.set(std::string(step) + "_rel_l2", agreement.rel_l2).set(std::string(step) + "_lse_err", agreement.lse_err);
  return distance.json();
}

}  // namespace

Json attend(Launcher& launcher, const Json& request) {
  Attend a;
  read_request(a, request);
  a.exact = exact_attention(a.dump);
  a.basis.enter(a.dump);
  a.keeps = a.keeps && a.most_anchors() > 0;
  State s;
  // Where only first tokens are kept no score is wanted: the budget is 0.
  if (a.keeps) run_select(launcher, a, s, a.scored ? run_score(launcher, a, s) : std::vector<float>(size_t(a.dump.kv_heads) * a.dump.tokens, 0.0f));
  run_encode(launcher, a, s);
  Json on;
  if (a.keeps) on = run_decode(launcher, a, s, true, "decode_anchors");
  // Without anchors the same codes are read with a cleared bitmap: encode codes every token, anchors included.
  const antkv_format& f = a.encode.contract.format;
  const int64_t block = antkv_page_bytes(f, a.page_size), bitmap = antkv_bitmap_offset(f, a.page_size);
  for (size_t at = 0; at < s.pages.size(); at += size_t(block)) std::fill(s.pages.begin() + int64_t(at) + bitmap, s.pages.begin() + int64_t(at) + block, 0);
  const Json off = run_decode(launcher, a, s, false, "decode");

  int64_t kept = 0;
  for (int32_t n : s.counts) kept += n;
  Json faults = Json::array();
  for (const std::string& fault : s.faults) faults.push(fault);
  Json record = Json::object();
  record.set("ok", s.faults.empty()).set("tokens", a.dump.tokens).set("kv_heads", a.dump.kv_heads).set("q_heads", a.dump.q_heads).set("queries", a.queries);
  record.set("kept", kept).set("page_bytes", block).set("pages", int64_t(s.table.size()) * a.dump.kv_heads).set("anchors_off", off).set("anchors_on", on);
  record.set("agreement", s.agreement).set("ms", s.ms).set("faults", faults).set("emulated", launcher.driver.emulated());
  return record;
}

}  // namespace runner
