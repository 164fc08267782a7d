// check combine: random partials, some splits empty and their output stale. Everything is fp32 but the output, so the tolerance of halves holds easily.
#include "../reference/numeric.h"
#include "cache.h"
#include "check.h"

namespace runner {

Json check_combine(Launcher& launcher, const Json& request) {
  using P = antkv_combine_params;
  const Kernel kernel = Kernel::read(request.at("kernel"), "combine");
  const Json& shape = request.at("shape");
  Random random(uint64_t(request.integer("seed", 1)));
  Memory memory(launcher.driver);
  Params<P> params(ANTKV_ABI_VERSION);
  P& p = params.host;
  const int d = kernel.contract.format.head_dim, pad = bounded(shape, "pad", 0, 0, 4096);
  p.rows = bounded(shape, "rows", 1, 1, 1 << 20);
  p.q_heads = bounded(shape, "q_heads", 1, 1, 4096);
  p.splits = bounded(shape, "splits", 1, 1, 1024);
  p.ring_rows = bounded(shape, "ring_rows", 0, 0, 1 << 16);
  const int empty_permille = bounded(shape, "empty_permille", 0, 0, 1000);
  const double lse_std = shape.number("lse_std", 3);
  p.out_head_stride = 2 * d + pad;
  p.out_row_stride = p.q_heads * p.out_head_stride + pad;
  const int64_t columns = int64_t(p.rows) * p.q_heads;

  std::vector<float> partial_o(p.splits * columns * d, NAN), partial_lse(p.splits * columns, -INFINITY);
  for (int64_t at = 0; at < p.splits * columns; at++) {
    if (random.below(1000) < empty_permille) continue;  // its output stays NaN
    partial_lse[at] = float(lse_std * random.gauss());
    for (int i = 0; i < d; i++) partial_o[at * d + i] = float(random.gauss());
  }
  params.bind(&P::partial_o, memory.add("partial_o", partial_o));
  params.bind(&P::partial_lse, memory.add("partial_lse", partial_lse));
  Buffer& out = memory.add("out", size_t(p.rows * p.out_row_stride));
  for (int64_t i = 0; i < columns; i++) out.allow(size_t(i / p.q_heads * p.out_row_stride + i % p.q_heads * p.out_head_stride), 2 * d);
  params.bind(&P::out, out);
  Buffer* lse = nullptr;
  if (shape.boolean("lse", true)) {
    lse = &memory.add("lse", columns * 4);
    lse->allow_all();
    params.bind(&P::lse, *lse);
  }
  Buffer* ring = nullptr;
  if (p.ring_rows > 0) {
    // A raw score is at most the row's LSE: some are, some lie below, some rows were not seen.
    std::vector<float> scores(columns * p.ring_rows, -INFINITY);
    for (int64_t i = 0; i < columns * p.ring_rows; i++) {
      const float below = partial_lse[i / p.ring_rows];  // of split 0
      if (random.below(4) != 0 && below != -INFINITY) scores[i] = below - float(5 * random.uniform());
    }
    ring = &memory.add("ring_scores", scores);
    ring->allow_all();
    params.bind(&P::ring_scores, *ring);
  }

  Report report("combine", request);
  report.expect_rounding(kernel.contract.element);
  report.read_tolerance(request);
  request.refuse_unread();
  report.run_twice(memory, [&] { return launcher.launch(kernel, params); });
  const reference::Attention want = reference::reference_combine(kernel.contract, p);
  std::vector<double> got(d);
  for (int64_t i = 0; i < columns; i++) {
    reference::read_elements(kernel.contract.element, out.result.data() + i / p.q_heads * p.out_row_stride + i % p.q_heads * p.out_head_stride, d, got.data());
    report.agreement.row(got.data(), &want.out[i * d], d);
    if (lse) report.agreement.logarithm(lse->result_as<float>()[i], want.lse[i]);
    for (int row = 0; row < p.ring_rows; row++) report.agreement.logarithm(ring->result_as<float>()[i * p.ring_rows + row], want.ring_scores[i * p.ring_rows + row]);
  }
  return report.record(launcher.driver);
}

}  // namespace runner
