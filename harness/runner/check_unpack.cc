// check unpack: a random cache, then every output row against the reference.
//
// A row whose reference values are all elements of the dtype (an anchor, exact rows, plain codes after RoPE) must come out bit for bit. Any other row was rounded at most twice
// (rotation, gain), 2^-11 each: relative L2 within 1e-3; of bf16, 2^-9 at the end: within 4e-3.
#include "../reference/numeric.h"
#include "cache.h"
#include "check.h"

namespace runner {
namespace {

using P = antkv_unpack_params;

/// Compares one side; rows that the reference leaves open are skipped.
void compare(Report& report, reference::Element e, const char* side, const Buffer& got, const std::vector<double>& want, int64_t rows, int heads, int d, int64_t row_stride, int64_t head_stride) {
  std::vector<double> values(d);
  int64_t exact = 0, wrong = 0;
  for (int64_t i = 0; i < rows * heads; i++) {
    const double* w = &want[i * d];
    if (std::isnan(w[0])) continue;
    const auto* elements = reinterpret_cast<const uint16_t*>(got.result.data() + i / heads * row_stride + i % heads * head_stride);
    bool representable = true, equal = true;
    for (int x = 0; x < d; x++) {
      representable &= reference::from_element(e, reference::to_element(e, w[x])) == w[x];
      equal &= reference::from_element(e, elements[x]) == w[x];
    }
    exact += representable;
    wrong += representable && !equal;
    reference::read_elements(e, elements, d, values.data());
    report.agreement.row(values.data(), w, d);
  }
  report.extra.set(std::string("exact_rows_") + side, exact);
  report.fault_unless(wrong == 0, std::to_string(wrong) + " rows of " + side + " that need no rounding came out otherwise");
}

}  // namespace

Json check_unpack(Launcher& launcher, const Json& request) {
  const Kernel kernel = Kernel::read(request.at("kernel"), "unpack");
  const Json& shape = request.at("shape");
  Random random(uint64_t(request.integer("seed", 1)));
  Memory memory(launcher.driver);
  Params<P> params(ANTKV_ABI_VERSION);
  P& p = params.host;
  const CacheShape cs = CacheShape::read(shape, kernel.contract, "coded_len");
  const std::vector<int32_t> first = per_sequence(shape, "first_token", cs.batch);
  const auto kept = choose_anchors(random, cs);
  Cache cache(memory, random, kernel.contract, cs, anchor_rows_of(cs, kept));
  cache.fill(random, kept);
  bind_cache(params, cache);
  if (cache.frozen_len) params.bind(&P::frozen_len, *cache.frozen_len);
  if (cache.frozen_anchor_pages) params.bind(&P::frozen_anchor_pages, *cache.frozen_anchor_pages);
  std::vector<int32_t> cu(1, 0);
  p.max_tokens = 1;
  for (int b = 0; b < cs.batch; b++) {
    const int from = first.empty() ? 0 : first[b];
    if (from < 0 || from % 16 || from > cs.tokens[b]) throw RequestError("first_token must be a multiple of 16, at most coded_len");
    cu.push_back(cu.back() + cs.tokens[b] - from);
    p.max_tokens = std::max(p.max_tokens, cs.tokens[b] - from);
  }
  if (!first.empty()) params.bind(&P::first_token, memory.add("first_token", first));
  params.bind(&P::cu_tokens, memory.add("cu_tokens", cu));
  const int d = kernel.contract.format.head_dim;
  p.k_head_stride = p.v_head_stride = 2 * d + cs.pad;
  p.k_row_stride = p.v_row_stride = p.kv_heads * p.k_head_stride + cs.pad;
  Buffer& k = memory.add("k", size_t(cu.back() * p.k_row_stride));
  Buffer& v = memory.add("v", size_t(cu.back() * p.v_row_stride));
  for (int64_t i = 0; i < int64_t(cu.back()) * p.kv_heads; i++) {
    for (Buffer* b : {&k, &v}) b->allow(size_t(i / p.kv_heads * p.k_row_stride + i % p.kv_heads * p.k_head_stride), 2 * d);
  }
  params.bind(&P::k, k);
  params.bind(&P::v, v);

  Report report("unpack", request);
  report.rel_l2_tolerance = kernel.contract.element == reference::Element::bf16 ? 4e-3 : 1e-3;
  report.read_tolerance(request);
  const bool rescores = request.has("score");
  const Kernel score = rescores ? Kernel::read(request.at("score"), "score") : Kernel{};
  request.refuse_unread();
  report.run_twice(memory, [&] { return launcher.launch(kernel, params); });
  const reference::Unpacked want = reference::reference_unpack(kernel.contract, p);
  compare(report, kernel.contract.element, "k", k, want.k, cu.back(), p.kv_heads, d, p.k_row_stride, p.k_head_stride);
  compare(report, kernel.contract.element, "v", v, want.v, cu.back(), p.kv_heads, d, p.v_row_stride, p.v_head_stride);
  if (rescores) check_rescore(launcher, score, random, p, k, want.k, report);
  return report.record(launcher.driver);
}

}  // namespace runner
