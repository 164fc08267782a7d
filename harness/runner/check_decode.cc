// check decode: a random cache with everything that the masks and segments can meet, then decode, and combine if there are splits.
//
// Tolerances. Halves carry 2^-11 = 4.9e-4 relative. A key is rounded once (rotation, or int8 * scale), so a score of standard deviation 1 moves by about
// 2^-12, as do the weights; each weight is rounded once more for the matrix unit, and the output once: about 6e-4 for a row, 4e-3 leaves room for the
// worst of a few thousand rows and for scores of standard deviation 4. The LSE is fp32, its error that of the scores: 2e-3 of max(1, |LSE|).
// Of bf16 output and weights of exact rows are rounded to 2^-9: 8e-3 for a row.
#include "cache.h"
#include "check.h"
#include "../reference/pages.h"
#include "../reference/rope.h"

namespace runner {
namespace {

using reference::value_or;

struct Decode {
  Memory memory;
  Params<antkv_decode_params> p{ANTKV_ABI_VERSION};
  Params<antkv_combine_params> c{ANTKV_ABI_VERSION};
  CacheShape shape;
  std::vector<int32_t> kv_len, q_len, cu_q;
  Buffer *out, *lse = nullptr, *ring_scores = nullptr, *partial_o = nullptr, *partial_lse = nullptr, *q = nullptr;
  explicit Decode(const Driver& driver) : memory(driver) {}
};

void read_lengths(Decode& x, const Json& shape) {
  x.kv_len = per_sequence(shape, "kv_len", x.shape.batch);
  if (x.kv_len.empty()) x.kv_len = x.shape.tokens;
  x.q_len = per_sequence(shape, "q_len", x.shape.batch);
  if (x.q_len.empty()) x.q_len.assign(x.shape.batch, 1);
  x.cu_q.assign(1, 0);
  for (int n : x.q_len) x.cu_q.push_back(x.cu_q.back() + n);
  auto& p = x.p.host;
  p.ring_rows = bounded(shape, "ring_rows", 0, 0, 1 << 20);
  for (int b = 0; b < x.shape.batch; b++) {
    const int in_ring = x.kv_len[b] - x.shape.tokens[b];
    if (in_ring < 0 || in_ring > p.ring_rows) throw RequestError("kv_len - coded_len must be 0 to ring_rows");
    if (x.q_len[b] < 0 || x.q_len[b] > 16) throw RequestError("q_len must be 0 to 16");
  }
}

/// Ring rows of tokens coded_len ... kv_len - 1; every other row is NaN.
void make_ring(Decode& x, Random& random, const Cache& cache, int d) {
  const reference::Element element = cache.contract.element;
  auto& p = x.p.host;
  p.ring_row_stride = 2 * d + x.shape.pad;
  p.ring_head_stride = p.ring_rows * p.ring_row_stride + x.shape.pad;
  p.ring_slot_stride = x.shape.kv_heads * p.ring_head_stride + x.shape.pad;
  Buffer& k = x.memory.add("ring_k", size_t(cache.slots * p.ring_slot_stride));
  Buffer& v = x.memory.add("ring_v", size_t(cache.slots * p.ring_slot_stride));
  for (int b = 0; b < x.shape.batch; b++) {
    for (int head = 0; head < x.shape.kv_heads; head++) {
      for (int token = x.shape.tokens[b]; token < x.kv_len[b]; token++) {
        const int64_t at = cache.slot_of[b] * p.ring_slot_stride + head * p.ring_head_stride + token % p.ring_rows * p.ring_row_stride;
        gaussian_elements(random, element, k.host.data() + at, d);
        gaussian_elements(random, element, v.host.data() + at, d);
      }
    }
  }
  x.p.bind(&antkv_decode_params::ring_k, k);
  x.p.bind(&antkv_decode_params::ring_v, v);
}

/// Turns the last query row of one sequence towards one of its coded keys, which then scores `nats` more than before: the softmax must not overflow, and what is
/// far below the largest score must not be lost.
void add_peak(Decode& x, Random& random, Cache& cache, const reference::Contract& contract, double nats) {
  const auto& p = x.p.host;
  const antkv_format& f = contract.format;
  const int d = f.head_dim, b = random.below(x.shape.batch), head = random.below(x.shape.kv_heads);
  if (x.shape.tokens[b] == 0 || x.q_len[b] == 0) return;
  const int token = random.below(x.shape.tokens[b]);
  const reference::Codebooks kb(f.k, d, x.shape.kv_heads, p.k_codebook), vb(f.v, d, x.shape.kv_heads, p.v_codebook);
  std::vector<double> k(d), v(d), q(d);
  reference::coded_token(f, contract.element, kb, vb, cache.block(b, head, token), head, token % p.page_size, k.data(), v.data());
  if (contract.format.pre) reference::rope_of(p).rotate(k.data(), double(value_or(p.first_pos, b, 0)) + token);
  const double step = nats / (double(p.scale) * reference::dot(k.data(), k.data(), d));
  const int q_head = head * (p.q_heads / p.kv_heads) + random.below(p.q_heads / p.kv_heads);
  auto* at = reinterpret_cast<uint16_t*>(x.q->host.data() + (x.cu_q[b + 1] - 1) * p.q_row_stride + q_head * p.q_head_stride);
  reference::read_elements(contract.element, at, d, q.data());
  for (int i = 0; i < d; i++) at[i] = reference::to_element(contract.element, q[i] + step * k[i]);
}

void make_queries(Decode& x, Random& random, const Json& shape, const reference::Contract& contract) {
  const int d = contract.format.head_dim;
  const reference::Element element = contract.element;
  auto& p = x.p.host;
  p.rows = x.cu_q.back();
  p.q_heads = bounded(shape, "q_heads", p.kv_heads, 1, 4096);
  if (p.q_heads % p.kv_heads || p.q_heads / p.kv_heads > 16) throw RequestError("q_heads must be 1 to 16 times kv_heads");
  p.max_q_len = bounded(shape, "max_q_len", std::max(1, *std::max_element(x.q_len.begin(), x.q_len.end())), 1, 16);
  p.q_head_stride = 2 * d + x.shape.pad;
  p.q_row_stride = p.q_heads * p.q_head_stride + x.shape.pad;
  x.q = &x.memory.add("q", size_t(p.rows * p.q_row_stride));
  for (int i = 0; i < p.rows * p.q_heads; i++)
    gaussian_elements(random, element, x.q->host.data() + i / p.q_heads * p.q_row_stride + i % p.q_heads * p.q_head_stride, d, shape.number("score_std", 1));
  if (shape.boolean("nan", false)) {
    for (int i = p.rows * p.q_heads > 1 ? 1 : 0; i < p.rows * p.q_heads; i += 2) {
      const uint16_t none = 0x7fff;
      std::memcpy(x.q->host.data() + i / p.q_heads * p.q_row_stride + i % p.q_heads * p.q_head_stride + i * 7 % d * 2, &none, 2);
    }
  }
  x.p.bind(&antkv_decode_params::q, *x.q);
  if (p.rows != p.batch || shape.boolean("cu_q", false)) x.p.bind(&antkv_decode_params::cu_q, x.memory.add("cu_q", x.cu_q));
  const std::vector<int32_t> q_pos = per_sequence(shape, "q_pos", x.shape.batch);
  if (!q_pos.empty()) x.p.bind(&antkv_decode_params::q_pos, x.memory.add("q_pos", q_pos));
  if (shape.boolean("tree_mask", false)) {
    std::vector<uint16_t> mask(p.rows);
    for (auto& bits : mask) bits = uint16_t(random.bits());
    x.p.bind(&antkv_decode_params::tree_mask, x.memory.add("tree_mask", mask));
  }
  p.scale = float(1 / std::sqrt(double(d)));
  // Caps that bend the scores that are drawn, and sinks that have weights of all sizes.
  if (contract.softcap) p.softcap = float(shape.number("softcap", 2));
  if (!contract.sink) return;
  std::vector<float> sinks(p.q_heads);
  for (float& sink : sinks) sink = float(3 * random.gauss());
  sinks[0] = -INFINITY;  // none
  x.p.bind(&antkv_decode_params::sink_logits, x.memory.add("sink_logits", sinks));
}

/// Whether splits are left for combine to merge.
bool leaves_parts(const antkv_decode_params& p) { return p.splits > 1 && !p.counters; }

void make_outputs(Decode& x, const Json& shape, const Kernel& kernel) {
  auto& p = x.p.host;
  auto& c = x.c.host;
  const int d = kernel.contract.format.head_dim;
  const int64_t columns = int64_t(p.rows) * p.q_heads;
  p.splits = bounded(shape, "splits", 1, 1, 1024);
  p.spread = shape.boolean("spread", false);
  const std::string merge = shape.string("merge", "combine");
  if (merge != "last" && merge != "combine") throw RequestError("merge must be \"last\" or \"combine\"");
  if (merge == "last") {
    // Not reset between the two runs: a launch that leaves a counter other than zero is found out by its fault, and by the next one's output.
    const int64_t lines = p.kv_heads * ceil_div(int64_t(p.max_q_len) * (p.q_heads / p.kv_heads), kernel.columns);
    Buffer& counters = x.memory.add("counters", std::vector<uint32_t>(size_t(p.batch * lines), 0));
    counters.kept = true;
    x.p.bind(&antkv_decode_params::counters, counters);
  }
  p.out_head_stride = 2 * d + x.shape.pad;
  p.out_row_stride = p.q_heads * p.out_head_stride + x.shape.pad;
  x.out = &x.memory.add("out", size_t(p.rows * p.out_row_stride));
  for (int64_t i = 0; i < columns; i++) x.out->allow(size_t(i / p.q_heads * p.out_row_stride + i % p.q_heads * p.out_head_stride), 2 * d);
  x.p.bind(&antkv_decode_params::out, *x.out);
  x.c.bind(&antkv_combine_params::out, *x.out);
  if (shape.boolean("lse", true)) {
    x.lse = &x.memory.add("lse", columns * 4);
    x.lse->allow_all();
    x.p.bind(&antkv_decode_params::lse, *x.lse);
    x.c.bind(&antkv_combine_params::lse, *x.lse);
  }
  if (p.splits > 1) {
    x.partial_o = &x.memory.add("partial_o", p.splits * columns * d * 4);
    x.partial_lse = &x.memory.add("partial_lse", p.splits * columns * 4);
    x.partial_o->allow_all(), x.partial_lse->allow_all();
    x.partial_o->workspace = x.partial_lse->workspace = true;
    x.p.bind(&antkv_decode_params::partial_o, *x.partial_o);
    x.p.bind(&antkv_decode_params::partial_lse, *x.partial_lse);
  }
  if (leaves_parts(p)) {
    x.c.bind(&antkv_combine_params::partial_o, *x.partial_o);
    x.c.bind(&antkv_combine_params::partial_lse, *x.partial_lse);
  }
  if (shape.boolean("ring_scores", false) && p.ring_rows > 0) {
    // Decode settles every entry of the rows it has: all start poisoned. Rows of no sequence keep a score that combine may turn into mass.
    x.ring_scores = &x.memory.add("ring_scores", columns * p.ring_rows * 4);
    auto* scores = x.ring_scores->as<float>();
    std::fill(scores, scores + columns * p.ring_rows, -INFINITY);
    for (int b = 0; b < p.batch; b++) {
      for (int64_t column = int64_t(x.cu_q[b]) * p.q_heads; column < int64_t(x.cu_q[b + 1]) * p.q_heads; column++) {
        std::fill_n(scores + column * p.ring_rows, p.ring_rows, NAN);
      }
    }
    x.ring_scores->allow_all();
    x.p.bind(&antkv_decode_params::ring_scores, *x.ring_scores);
    x.c.bind(&antkv_combine_params::ring_scores, *x.ring_scores);
  }
  c.out_row_stride = p.out_row_stride;
  c.out_head_stride = p.out_head_stride;
  c.rows = p.rows;
  c.q_heads = p.q_heads;
  c.splits = p.splits;
  c.ring_rows = p.ring_rows;
}

void compare(const Decode& x, const reference::Contract& contract, bool combined, Report& report) {
  const auto& p = x.p.host;
  const int d = contract.format.head_dim;
  const reference::Attention want = reference::reference_decode(contract, p);
  std::vector<double> got(d);
  for (int64_t i = 0; i < int64_t(p.rows) * p.q_heads; i++) {
    reference::read_elements(contract.element, x.out->result.data() + i / p.q_heads * p.out_row_stride + i % p.q_heads * p.out_head_stride, d, got.data());
    report.agreement.row(got.data(), &want.out[i * d], d);
    if (x.lse) report.agreement.logarithm(x.lse->result_as<float>()[i], want.lse[i]);
    if (!x.ring_scores) continue;
    for (int row = 0; row < p.ring_rows; row++) {
      const double raw = want.ring_scores[i * p.ring_rows + row];
      const double value = x.ring_scores->result_as<float>()[i * p.ring_rows + row];
      if (!combined) report.agreement.logarithm(value, raw);
      // Mass: an absolute error of the score is a relative one of its exponential, at most 1.
      else report.agreement.logarithm(value, raw == -INFINITY ? 0 : std::exp(raw - want.lse[i]));
    }
  }
}

}  // namespace

Json check_decode(Launcher& launcher, const Json& request) {
  const Kernel kernel = Kernel::read(request.at("kernel"), "decode");
  const Json& shape = request.at("shape");
  Random random(uint64_t(request.integer("seed", 1)));
  Decode x(launcher.driver);
  x.shape = CacheShape::read(shape, kernel.contract, "coded_len");
  read_lengths(x, shape);
  const auto kept = choose_anchors(random, x.shape);
  Cache cache(x.memory, random, kernel.contract, x.shape, anchor_rows_of(x.shape, kept));
  cache.fill(random, kept);

  auto& p = x.p.host;
  const int d = kernel.contract.format.head_dim;
  bind_cache(x.p, cache);
  if (cache.frozen_len) x.p.bind(&antkv_decode_params::frozen_len, *cache.frozen_len);
  if (cache.frozen_anchor_pages) x.p.bind(&antkv_decode_params::frozen_anchor_pages, *cache.frozen_anchor_pages);
  x.p.bind(&antkv_decode_params::coded_len, x.memory.add("coded_len", x.shape.tokens));
  x.p.bind(&antkv_decode_params::kv_len, x.memory.add("kv_len", x.kv_len));
  p.segments = bounded(shape, "segments", p.ring_rows > 0 ? 7 : 3, 0, 7);
  if (p.ring_rows > 0) make_ring(x, random, cache, d);
  make_queries(x, random, shape, kernel.contract);
  make_outputs(x, shape, kernel);
  if (const double nats = shape.number("sink", shape.boolean("peak", false) ? 60 : 0); nats > 0) add_peak(x, random, cache, kernel.contract, nats);

  const bool parts = leaves_parts(p);
  const Kernel combine = parts || request.has("combine") ? Kernel::read(request.at("combine"), "combine") : Kernel{};
  Report report("decode", request);
  report.expect_rounding(kernel.contract.element);
  report.read_tolerance(request);
  request.refuse_unread();
  // Where decode has merged, combine only turns raw ring scores into mass, from the LSE that decode wrote.
  const bool combines = !combine.name.empty();
  if (combines && !parts && !x.lse) throw RequestError("combine after a merged decode needs \"lse\"");
  report.run_twice(x.memory, [&] {
    double ms = launcher.launch(kernel, x.p);
    if (combines) ms += launcher.launch(combine, x.c);
    return ms;
  });
  compare(x, kernel.contract, combines, report);
  return report.record(launcher.driver);
}

}  // namespace runner
