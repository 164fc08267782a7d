// check score: random rows with the LSE and output of exact attention, then the kernel's sums against the reference's.
//
// Tolerances. Products of halves, or of bf16, are exact and summed in fp32, so a score is good to about |s| 2^-20, as is its exponential relative: 1e-3 of the score is
// ample for |s| up to 60. Form "exact" may take |v - o| from |v|^2 + |o|^2 - 2 v.o in fp32, which leaves an error of about 1e-3 |v| where v and o agree:
// 2e-3 of (sum of P) * |q| scale * |v|, with the largest norms, is allowed on top. Of 1 - P little is left where P is near 1, and P itself is good to about |s| 2^-20: forms
// "mass" and "massq" get 3e-5 of (sum of P), times the largest |q|, on top.
#include <numeric>

#include "../reference/numeric.h"
#include "cache.h"
#include "check.h"

namespace runner {
namespace {

using P = antkv_score_params;
using reference::Form;

/// LSE and output of exact attention of row `row` = (sequence b, row i), head `q_head`; `sink` is its learned sink logit, -inf for none.
double attend_row(const reference::Contract& c, const P& p, double sink, int b, int i, int q_head, std::vector<double>& out) {
  const int d = c.format.head_dim;
  const int keys = p.cu_k[b + 1] - p.cu_k[b], rows = p.cu_q[b + 1] - p.cu_q[b], head = q_head / (p.q_heads / p.kv_heads);
  const int first_pos = reference::value_or(p.first_pos, b, 0), q_pos = reference::value_or(p.q_pos, b, first_pos + keys - rows);
  std::vector<double> q(d), k(d), scores;
  reference::read_elements(c.element, static_cast<const uint8_t*>(p.q) + (p.cu_q[b] + i) * p.q_row_stride + q_head * p.q_head_stride, d, q.data());
  for (int j = 0; j < keys && first_pos + j <= q_pos + i; j++) {
    reference::read_elements(c.element, static_cast<const uint8_t*>(p.k) + (p.cu_k[b] + j) * p.k_row_stride + head * p.k_head_stride, d, k.data());
    const double score = p.scale * reference::dot(q.data(), k.data(), d);
    scores.push_back(c.softcap ? p.softcap * std::tanh(score / p.softcap) : score);
  }
  out.assign(d, 0);
  if (scores.empty()) return sink;
  const double largest = std::max(sink, *std::max_element(scores.begin(), scores.end()));
  double sum = std::exp(sink - largest);
  for (double s : scores) sum += std::exp(s - largest);
  for (size_t j = 0; j < scores.size(); j++) {
    reference::read_elements(c.element, static_cast<const uint8_t*>(p.v) + (p.cu_k[b] + int64_t(j)) * p.v_row_stride + head * p.v_head_stride, d, k.data());
    const double weight = std::exp(scores[j] - largest) / sum;
    for (int x = 0; x < d; x++) out[x] += weight * k[x];
  }
  return largest + std::log(sum);
}

std::vector<int32_t> starts(const std::vector<int32_t>& counts) {
  std::vector<int32_t> cu(1, 0);
  for (int n : counts) {
    if (n < 0 || n > 1 << 20) throw RequestError("keys and rows must be 0 to 2^20");
    cu.push_back(cu.back() + n);
  }
  return cu;
}

/// [rows, heads] gaussian vectors of elements; gaps stay NaN.
Buffer& make_rows(Memory& memory, Random& random, reference::Element element, const char* name, int rows, int heads, int d, int pad, double size, int64_t& row_stride, int64_t& head_stride) {
  head_stride = 2 * d + pad;
  row_stride = heads * head_stride + pad;
  Buffer& b = memory.add(name, size_t(rows * row_stride));
  for (int64_t i = 0; i < int64_t(rows) * heads; i++) gaussian_elements(random, element, b.host.data() + i / heads * row_stride + i % heads * head_stride, d, size);
  return b;
}

/// The largest norm of any row.
double largest_norm(reference::Element element, const Buffer& b, int rows, int heads, int d, int64_t row_stride, int64_t head_stride) {
  double largest = 0;
  std::vector<double> x(d);
  for (int64_t i = 0; i < int64_t(rows) * heads; i++) {
    reference::read_elements(element, b.host.data() + i / heads * row_stride + i % heads * head_stride, d, x.data());
    largest = std::max(largest, reference::norm(x.data(), d));
  }
  return largest;
}

/// Binds the sample that the shape asks for: the newest `newest_rows` rows of each sequence, and `sampled_rows` of the older ones.
void draw_sample(const Json& shape, const std::vector<int32_t>& rows, uint32_t seed, Memory& memory, Params<P>& params) {
  if (!shape.has("sampled_rows") && !shape.has("newest_rows")) return;
  const int count = bounded(shape, "sampled_rows", 0, 0, 1 << 20), newest = bounded(shape, "newest_rows", 0, 0, 1 << 20);
  std::vector<int32_t> cu(1, 0), list;
  for (size_t b = 0; b < rows.size(); b++) {
    const int32_t older = std::max(0, rows[b] - newest);
    std::vector<int32_t> drawn(static_cast<size_t>(std::min(count, older)));
    drawn.resize(static_cast<size_t>(antkv_sample_rows(seed + uint32_t(b), older, int32_t(drawn.size()), drawn.data())));
    list.insert(list.end(), drawn.begin(), drawn.end());
    cu.push_back(int32_t(list.size()));
  }
  params->newest_rows = newest;
  params.bind(&P::cu_sampled, memory.add("cu_sampled", cu));
  params.bind(&P::sampled_rows, memory.add("sampled_rows", list));
}

/// The launches that score one sequence in chunks of so many rows, as a chunked prefill does: each chunk meets the keys up to its end, and adds to what is there.
std::vector<Params<P>> cut_rows(const Params<P>& whole, const std::vector<int32_t>& chunks, Memory& memory) {
  const P& p = whole.host;
  const int rows = p.cu_q[1], keys = p.cu_k[1];
  if (p.batch != 1 || p.cu_sampled || p.q_pos || std::accumulate(chunks.begin(), chunks.end(), 0) != rows) throw RequestError("\"chunks\" are the rows of one sequence, which may have neither q_pos nor a sample");
  std::vector<Params<P>> launches;
  int first = 0;
  for (const int count : chunks) {
    Params<P> one = whole;
    one->accumulate = 1;
    one.bind(&P::cu_q, memory.add("cu_q of a chunk", std::vector<int32_t>{first, first + count}));
    one.bind(&P::cu_k, memory.add("cu_k of a chunk", std::vector<int32_t>{0, keys - rows + first + count}));
    launches.push_back(one);
    first += count;
  }
  return launches;
}

}  // namespace

Json check_score(Launcher& launcher, const Json& request) {
  const Kernel kernel = Kernel::read(request.at("kernel"), "score");
  const Json& shape = request.at("shape");
  Random random(uint64_t(request.integer("seed", 1)));
  Memory memory(launcher.driver);
  Params<P> params(ANTKV_ABI_VERSION);
  P& p = params.host;
  const int d = kernel.contract.format.head_dim;
  const reference::Element element = kernel.contract.element;
  const std::vector<int32_t> keys = shape.integers("keys");
  p.batch = int(keys.size());
  if (p.batch == 0) throw RequestError("\"keys\" is needed, one number per sequence");
  std::vector<int32_t> rows = per_sequence(shape, "rows", p.batch);
  if (rows.empty()) rows = keys;
  const std::vector<int32_t> cu_k = starts(keys), cu_q = starts(rows), first_pos = per_sequence(shape, "first_pos", p.batch), q_pos = per_sequence(shape, "q_pos", p.batch), first_key = per_sequence(shape, "first_key", p.batch);
  const int pad = bounded(shape, "pad", 0, 0, 4096);
  if (pad % 16) throw RequestError("pad must be a multiple of 16 bytes");
  p.kv_heads = bounded(shape, "kv_heads", 1, 1, 1024);
  p.q_heads = bounded(shape, "q_heads", p.kv_heads, 1, 4096);
  if (p.q_heads % p.kv_heads || p.q_heads / p.kv_heads > 16) throw RequestError("q_heads must be 1 to 16 times kv_heads");
  p.max_tokens = std::max(1, *std::max_element(keys.begin(), keys.end()));
  p.score_stride = p.max_tokens + pad + (first_key.empty() ? 0 : *std::max_element(first_key.begin(), first_key.end()));
  p.scale = kernel.contract.form == Form::norm ? -1.0f : float(1 / std::sqrt(double(d)));
  if (kernel.contract.softcap) p.softcap = float(shape.number("softcap", 2));
  // Of every head; a kernel knows it by the LSE alone.
  const double sink = shape.number("sink_logit", -INFINITY);
  Buffer& q = make_rows(memory, random, element, "q", cu_q.back(), p.q_heads, d, pad, shape.number("score_std", 1), p.q_row_stride, p.q_head_stride);
  params.bind(&P::q, q);
  params.bind(&P::k, make_rows(memory, random, element, "k", cu_k.back(), p.kv_heads, d, pad, 1, p.k_row_stride, p.k_head_stride));
  Buffer& v = make_rows(memory, random, element, "v", cu_k.back(), p.kv_heads, d, pad, 1, p.v_row_stride, p.v_head_stride);
  Buffer& o = make_rows(memory, random, element, "o", cu_q.back(), p.q_heads, d, pad, 1, p.o_row_stride, p.o_head_stride);
  params.bind(&P::v, v);
  params.bind(&P::o, o);
  params.bind(&P::cu_q, memory.add("cu_q", cu_q));
  params.bind(&P::cu_k, memory.add("cu_k", cu_k));
  if (!first_pos.empty()) params.bind(&P::first_pos, memory.add("first_pos", first_pos));
  if (!first_key.empty()) params.bind(&P::first_key, memory.add("first_key", first_key));
  if (!q_pos.empty()) params.bind(&P::q_pos, memory.add("q_pos", q_pos));
  std::vector<float> lse(size_t(cu_q.back()) * p.q_heads);
  std::vector<double> out(d);
  for (int b = 0; b < p.batch; b++) {
    for (int i = 0; i < rows[b]; i++) {
      for (int head = 0; head < p.q_heads; head++) {
        const int64_t row = cu_q[b] + i;
        lse[row * p.q_heads + head] = float(attend_row(kernel.contract, p, sink, b, i, head, out));
        auto* to = reinterpret_cast<uint16_t*>(o.host.data() + row * p.o_row_stride + head * p.o_head_stride);
        for (int x = 0; x < d; x++) to[x] = reference::to_element(element, out[x]);
      }
    }
  }
  params.bind(&P::lse, memory.add("lse", lse));
  draw_sample(shape, rows, uint32_t(request.integer("seed", 1)), memory, params);
  Buffer& scores = memory.add("scores", size_t(p.batch) * p.kv_heads * p.score_stride * 4);
  p.accumulate = shape.boolean("accumulate", false);
  for (int row = 0; row < p.batch * p.kv_heads; row++) {
    const int b = row / p.kv_heads, place = row * p.score_stride + reference::value_or(p.first_key, b, 0);
    scores.allow(size_t(place) * 4, size_t(keys[b]) * 4);
  }
  params.bind(&P::scores, scores);
  const std::vector<int32_t> chunks = shape.has("chunks") ? shape.integers("chunks") : std::vector<int32_t>{};
  const bool sums_up = p.accumulate || !chunks.empty();
  for (size_t i = 0; sums_up && i < scores.host.size() / 4; i++) {
    if (scores.writable[4 * i]) scores.as<float>()[i] = p.accumulate ? float(random.uniform()) : 0;
  }
  const std::vector<Params<P>> launches = chunks.empty() ? std::vector<Params<P>>{params} : cut_rows(params, chunks, memory);

  Report report("score", request);
  const double relative = request.has("tolerance") ? request.at("tolerance").number("relative", 1e-3) : 1e-3;
  request.refuse_unread();
  report.run_twice(memory, [&] {
    double ms = 0;
    for (const Params<P>& one : launches) ms += launcher.launch(kernel, one);
    return ms;
  });
  // One pass from zeros is what chunks add up to; the means of form "saliency" ask whether earlier calls had rows.
  P whole = p;
  whole.accumulate = sums_up;
  const std::vector<double> want = reference::reference_score(kernel.contract, whole);
  reference::Contract column = kernel.contract;
  column.form = Form::column;
  P fresh = p;
  fresh.accumulate = 0;
  const std::vector<double> mass = reference::reference_score(column, fresh);
  const Form form = kernel.contract.form;
  double unit = form == Form::exact ? 2e-3 * p.scale : form == Form::mass || form == Form::massq ? 3e-5 : 0;
  if (form == Form::massq || form == Form::exact) unit *= largest_norm(element, q, cu_q.back(), p.q_heads, d, p.q_row_stride, p.q_head_stride);
  if (form == Form::exact) unit *= largest_norm(element, v, cu_k.back(), p.kv_heads, d, p.v_row_stride, p.v_head_stride);
  double worst = 0;  // in tolerances
  for (size_t i = 0; i < want.size(); i++) {
    if (std::isnan(want[i])) continue;
    if (want[i] == -INFINITY) {  // a mean over no row
      report.fault_unless(scores.result_as<float>()[i] == -INFINITY, "a key that no row sees has a score");
      continue;
    }
    const double got = scores.result_as<float>()[i], allowed = relative * std::fabs(want[i]) + unit * mass[i];
    report.agreement.bad_values += !std::isfinite(got);
    if (std::isfinite(got) && got != want[i]) worst = std::max(worst, std::fabs(got - want[i]) / std::max(allowed, 1e-30));
    report.agreement.max_abs = std::max(report.agreement.max_abs, std::fabs(got - want[i]));
  }
  report.fault_unless(worst <= 1, "a score differs by more than its tolerance");
  report.extra.set("worst", worst);
  return report.record(launcher.driver);
}

}  // namespace runner
