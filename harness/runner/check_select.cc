// check select: exact equality with the reference, for scores with ties, NaN and infinities.
#include "cache.h"
#include "check.h"

namespace runner {
namespace {

/// Scores after a pattern: "random", "ties" (few values), "constant", "special" (NaN, infinities, zeros of both signs, subnormals), "ascending", "close" (neighbouring
/// floats: they differ in the last byte alone), "subnormal" and "negative" (nothing else), "nothing" (NaN and -infinity).
float pattern_score(Random& random, const std::string& pattern, int token) {
  if (pattern == "random") return float(std::exp(2 * random.gauss()));
  if (pattern == "ties") return float(random.below(4));
  if (pattern == "constant") return 1;
  if (pattern == "ascending") return float(token);
  if (pattern == "close") return 1.0f + float(random.below(200)) * 0x1p-23f;
  if (pattern == "subnormal") return float(random.below(1 << 20) - (1 << 19)) * 0x1p-149f;
  if (pattern == "negative") return -float(std::exp(2 * random.gauss()));
  if (pattern == "nothing") return random.below(2) ? NAN : -INFINITY;
  if (pattern != "special") throw RequestError("pattern \"" + pattern + "\" is not random, ties, constant, special, ascending, close, subnormal, negative or nothing");
  const float values[] = {NAN, -NAN, INFINITY, -INFINITY, 0.0f, -0.0f, 1e-42f, -1e-42f, -1.0f, 3.0e38f};
  const int which = random.below(20);
  return which < 10 ? values[which] : float(random.gauss());
}

}  // namespace

Json check_select(Launcher& launcher, const Json& request) {
  using P = antkv_select_params;
  const Kernel kernel = Kernel::read(request.at("kernel"), "select");
  const Json& shape = request.at("shape");
  Random random(uint64_t(request.integer("seed", 1)));
  Memory memory(launcher.driver);
  Params<P> params(ANTKV_ABI_VERSION);
  P& p = params.host;
  const std::vector<int32_t> counts = shape.integers("token_count");
  if (counts.empty()) throw RequestError("\"token_count\" is needed, one number per sequence");
  const int most = *std::max_element(counts.begin(), counts.end());
  const int pad = bounded(shape, "pad", 0, 0, 1024);  // elements behind each row of scores, bitmap and indices
  const std::string pattern = shape.string("pattern", "random");
  p.batch = int(counts.size());
  p.kv_heads = bounded(shape, "kv_heads", 1, 1, 1024);
  // Buffers have room for a token where no sequence has one.
  p.score_stride = std::max(1, most) + pad;
  p.keep_words = (std::max(1, most) + 31) / 32 + pad;
  p.max_anchors = bounded(shape, "max_anchors", most, 0, 1 << 24);
  p.budget_permille = bounded(shape, "budget_permille", 10, 0, 1000);
  p.budget_tokens = bounded(shape, "budget_tokens", -1, -1, 1 << 24);
  p.first_tokens = bounded(shape, "first_tokens", 0, 0, 1 << 24);
  const int64_t rows = int64_t(p.batch) * p.kv_heads;
  std::vector<float> scores(rows * p.score_stride, INFINITY);  // beyond the tokens stands what would win
  for (int64_t row = 0; row < rows; row++) {
    for (int token = 0; token < counts[row / p.kv_heads]; token++) scores[row * p.score_stride + token] = pattern_score(random, pattern, token);
  }
  params.bind(&P::scores, memory.add("scores", scores));
  params.bind(&P::token_count, memory.add("token_count", counts));
  Buffer& bitmap = memory.add("keep_bitmap", rows * p.keep_words * 4);
  Buffer& indices = memory.add("keep_indices", rows * p.max_anchors * 4);
  Buffer& count = memory.add("keep_count", rows * 4);
  bitmap.allow_all(), indices.allow_all(), count.allow_all();
  params.bind(&P::keep_bitmap, bitmap);
  params.bind(&P::keep_indices, indices);
  const bool wants_count = shape.boolean("count", true);
  if (wants_count) params.bind(&P::keep_count, count);

  Report report("select", request);
  request.refuse_unread();
  report.run_twice(memory, [&] { return launcher.launch(kernel, params); });
  const reference::Selection want = reference::reference_select(p);
  report.fault_unless(std::equal(want.bitmap.begin(), want.bitmap.end(), bitmap.result_as<uint32_t>()), "keep_bitmap differs");
  report.fault_unless(std::equal(want.indices.begin(), want.indices.end(), indices.result_as<int32_t>()), "keep_indices differ");
  report.fault_unless(!wants_count || std::equal(want.count.begin(), want.count.end(), count.result_as<int32_t>()), "keep_count differs");
  int64_t kept = 0;
  for (int32_t n : want.count) kept += n;
  report.extra.set("kept", kept);
  return report.record(launcher.driver);
}

}  // namespace runner
