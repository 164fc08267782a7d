// What check unpack does when it is given a score kernel too: mode `coded` of prefill scoring (CACHE.md). Earlier keys exist as codes only; unpack writes them as rows, and
// score meets those. Its scores are held against the reference on the keys that the reference decodes.
//
// Tolerance: a decoded key is good to 1e-3 of its length (check_unpack.cc), so is a product with it, and a weight relative: scores here have deviation 1, a hundredth is ample.
#include "../reference/numeric.h"
#include "cache.h"
#include "check.h"

namespace runner {
namespace {

using P = antkv_score_params;
constexpr int kRows = 9, kRatio = 2;  // query rows of each sequence (fewer if it is shorter) and query heads per KV head

/// The log-sum-exp of each row and query head, [rows, q_heads].
std::vector<float> sums_of(const P& p, reference::Element element, int d) {
  std::vector<float> sums(size_t(p.cu_q[p.batch]) * p.q_heads);
  std::vector<double> q(d), k(d);
  for (int b = 0; b < p.batch; b++) {
    const int keys = p.cu_k[b + 1] - p.cu_k[b], rows = p.cu_q[b + 1] - p.cu_q[b];
    for (int i = 0; i < rows * p.q_heads; i++) {
      const int64_t row = p.cu_q[b] + i / p.q_heads;
      reference::read_elements(element, static_cast<const uint8_t*>(p.q) + row * p.q_row_stride + i % p.q_heads * p.q_head_stride, d, q.data());
      double sum = 0;
      for (int j = 0; j <= keys - rows + i / p.q_heads; j++) {
        reference::read_elements(element, static_cast<const uint8_t*>(p.k) + (p.cu_k[b] + j) * p.k_row_stride + i % p.q_heads / kRatio * p.k_head_stride, d, k.data());
        sum += std::exp(p.scale * reference::dot(q.data(), k.data(), d));
      }
      sums[row * p.q_heads + i % p.q_heads] = float(std::log(sum));
    }
  }
  return sums;
}

}  // namespace

void check_rescore(Launcher& launcher, const Kernel& score, Random& random, const antkv_unpack_params& unpack, const Buffer& rows, const std::vector<double>& decoded, Report& report) {
  const int d = score.contract.format.head_dim;
  const reference::Element element = score.contract.element;
  if (score.contract.softcap) throw RequestError("a capped score is not what this check has the log-sum-exp of; give another contract");
  if (score.contract.form == reference::Form::exact) throw RequestError("form \"exact\" needs values and outputs, which this check does not make; give another form");
  Memory memory(launcher.driver);
  Params<P> params(ANTKV_ABI_VERSION);
  P& p = params.host;
  p.batch = unpack.batch;
  p.kv_heads = unpack.kv_heads;
  p.q_heads = kRatio * p.kv_heads;
  p.max_tokens = p.score_stride = unpack.max_tokens;
  p.scale = float(1 / std::sqrt(double(d)));
  p.q_head_stride = 2 * d, p.q_row_stride = p.q_heads * p.q_head_stride;
  std::vector<int32_t> cu_k(unpack.cu_tokens, unpack.cu_tokens + p.batch + 1), cu_q(1, 0), first_pos;
  for (int b = 0; b < p.batch; b++) {
    cu_q.push_back(cu_q.back() + std::min(kRows, cu_k[b + 1] - cu_k[b]));
    // The first row that unpack wrote is token first_token.
    first_pos.push_back(reference::value_or(unpack.first_pos, b, 0) + reference::value_or(unpack.first_token, b, 0));
  }
  Buffer& q = memory.add("q", size_t(cu_q.back() * p.q_row_stride));
  gaussian_elements(random, element, q.host.data(), int(q.host.size() / 2));
  params.bind(&P::q, q);
  params.bind(&P::cu_q, memory.add("cu_q", cu_q));
  params.bind(&P::cu_k, memory.add("cu_k", cu_k));
  params.bind(&P::first_pos, memory.add("first_pos", first_pos));
  Buffer& scores = memory.add("scores", size_t(p.batch) * p.kv_heads * p.score_stride * 4);
  for (int row = 0; row < p.batch * p.kv_heads; row++) scores.allow(size_t(row) * p.score_stride * 4, size_t(cu_k[row / p.kv_heads + 1] - cu_k[row / p.kv_heads]) * 4);
  params.bind(&P::scores, scores);

  std::vector<uint16_t> exact(decoded.size());
  for (size_t i = 0; i < exact.size(); i++) exact[i] = reference::to_element(element, decoded[i]);
  p.k = exact.data(), p.k_head_stride = 2 * d, p.k_row_stride = p.kv_heads * p.k_head_stride;
  params.bind(&P::lse, memory.add("lse", sums_of(p, element, d)));
  const std::vector<double> want = reference::reference_score(score.contract, p);
  // The kernel meets what unpack wrote, where it lay.
  params.bind(&P::k, memory.add("k", rows.result));
  p.k_head_stride = unpack.k_head_stride, p.k_row_stride = unpack.k_row_stride;
  report.run_twice(memory, [&] { return launcher.launch(score, params); });
  double worst = 0;
  for (size_t i = 0; i < want.size(); i++) {
    if (std::isnan(want[i])) continue;
    const double got = scores.result_as<float>()[i];
    report.agreement.bad_values += !std::isfinite(got);
    worst = std::max(worst, std::fabs(got - want[i]) / std::max(std::fabs(want[i]), 1e-3));
  }
  report.extra.set("rescored", worst);
  report.fault_unless(worst <= 1e-2, "a score of unpacked keys differs by " + std::to_string(worst) + " of itself");
}

}  // namespace runner
