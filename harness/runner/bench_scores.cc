// bench score and select: the anchor score of every key, and the top budget of the scores. Their checks ask the fp64 reference about a few keys, or one list.
#include "bench.h"
#include "bench_cache.h"
#include "cache.h"

namespace runner {

Json bench_score(const Gpu& gpu, const Json& request) {
  using P = antkv_score_params;
  Bench bench(gpu, request);
  const Kernel kernel = Kernel::read(request.at("kernel"), "score");
  const Json& json = request.at("shape");
  const BenchShape s = BenchShape::read_plain(json);
  const int shortest = *std::min_element(s.kv_len.begin(), s.kv_len.end());
  const int rows = bounded(json, "rows", std::min(shortest, 128), 1, shortest);
  request.refuse_unread();
  const CUfunction function = gpu.launcher.load(kernel);
  const bool exact = kernel.contract.exact_form;
  const int64_t d = kernel.contract.format.head_dim, head_bytes = 2 * d, keys = s.tokens(), queries = int64_t(s.batch) * rows;
  if (d <= 0) throw RequestError("the kernel reference lacks head_dim");
  const int64_t q_row = s.q_heads * head_bytes, k_row = s.kv_heads * head_bytes, q_bytes = queries * q_row, k_bytes = keys * k_row;

  Arena arena(gpu);
  Content content(bench.random);
  ArenaParams<P> p;
  p->batch = s.batch;
  p->q_heads = s.q_heads;
  p->kv_heads = s.kv_heads;
  p->max_tokens = p->score_stride = s.most_tokens();
  p->scale = float(1 / std::sqrt(double(d)));
  p->q_row_stride = p->o_row_stride = q_row;
  p->k_row_stride = p->v_row_stride = k_row;
  p->q_head_stride = p->o_head_stride = p->k_head_stride = p->v_head_stride = head_bytes;
  const size_t q = arena.place(size_t(q_bytes)), k = arena.place(size_t(k_bytes)), lse = arena.place(size_t(queries) * s.q_heads * 4);
  const size_t o = exact ? arena.place(size_t(q_bytes)) : 0, v = exact ? arena.place(size_t(k_bytes)) : 0;
  const size_t cu_q = arena.place(size_t(s.batch + 1) * 4), cu_k = arena.place(size_t(s.batch + 1) * 4);
  const size_t score_bytes = size_t(s.batch) * s.kv_heads * p->score_stride * 4, scores = arena.place(score_bytes);
  p.bind(&P::q, arena, q), p.bind(&P::k, arena, k), p.bind(&P::lse, arena, lse), p.bind(&P::cu_q, arena, cu_q), p.bind(&P::cu_k, arena, cu_k), p.bind(&P::scores, arena, scores);
  if (exact) p.bind(&P::o, arena, o), p.bind(&P::v, arena, v);
  const std::vector<std::pair<const char*, int64_t>> bytes{{"keys", k_bytes * (exact ? 2 : 1)}, {"queries", q_bytes * (exact ? 2 : 1)}, {"lse", queries * s.q_heads * 4},
                                                          {"scores", keys * s.kv_heads * 4}};
  arena.allocate(copies_for(gpu, total(bytes)), "score of " + std::to_string(s.batch) + " x " + std::to_string(s.most_tokens()) + " keys");
  arena.repeat(q, content.gaussian_block(size_t(q_bytes)), size_t(q_bytes));
  arena.repeat(k, content.gaussian_block(size_t(k_bytes)), size_t(k_bytes));
  if (exact) {
    arena.repeat(o, content.gaussian_block(size_t(q_bytes)), size_t(q_bytes));
    arena.repeat(v, content.gaussian_block(size_t(k_bytes)), size_t(k_bytes));
  }
  std::vector<int32_t> q_starts(1, 0), k_starts(1, 0);
  std::vector<float> sums;
  double pairs = 0;  // of a query row and a key that it sees
  for (int n : s.kv_len) {
    q_starts.push_back(q_starts.back() + rows);
    k_starts.push_back(k_starts.back() + n);
    // Scores have about variance 1, so this is near what attention would have returned.
    sums.insert(sums.end(), size_t(rows) * s.q_heads, float(std::log(double(n)) + 0.5));
    pairs += double(rows) * (n - rows) + 0.5 * rows * (rows + 1.0);
  }
  arena.write(cu_q, q_starts);
  arena.write(cu_k, k_starts);
  arena.write(lse, sums);
  arena.fill(scores, kPoison, score_bytes);
  arena.replicate();
  const auto step = [&](int copy) { return std::vector<Launch>{launch_of(kernel, function, p.of(copy))}; };

  const auto check = [&](BenchCheck& found) {
    found.kind = "some keys";
    found.fault_unless(arena.copies_agree(scores, score_bytes), "copies with equal data gave different scores");
    const int b = bench.random.below(s.batch), count = double(rows) * double(q_row) > 1e7 ? 1 : 8;
    const int32_t one_key[] = {0, 1}, all_rows[] = {0, rows}, q_pos = s.kv_len[b] - rows;
    std::vector<uint8_t> q_host(size_t(rows * q_row)), o_host(exact ? q_host.size() : 0), k_host(static_cast<size_t>(k_row)), v_host(k_host.size());
    arena.read(0, q + q_host.size() * size_t(b), q_host.data(), q_host.size());
    arena.read(0, o + q_host.size() * size_t(b), o_host.data(), o_host.size());
    double worst = 0;
    for (int i = 0; i < count; i++) {
      // A single key is a sequence of one key whose position is the key's.
      const int32_t token = bench.random.below(s.kv_len[b]);
      const size_t at = size_t(k_starts[b] + token) * size_t(k_row);
      arena.read(0, k + at, k_host.data(), k_host.size());
      if (exact) arena.read(0, v + at, v_host.data(), v_host.size());
      P host = p.fields;
      host.batch = 1;
      host.score_stride = 1;
      host.q = q_host.data(), host.o = o_host.data(), host.k = k_host.data(), host.v = v_host.data();
      host.lse = sums.data() + size_t(q_starts[b]) * s.q_heads;
      host.cu_q = all_rows, host.cu_k = one_key, host.first_pos = &token, host.q_pos = &q_pos;
      const std::vector<double> want = reference::reference_score(kernel.contract, host);
      for (int head = 0; head < s.kv_heads; head++) {
        float got = 0;
        arena.read(0, scores + ((size_t(b) * s.kv_heads + head) * p->score_stride + token) * 4, &got, 4);
        const double error = std::fabs(got - want[head]) / std::max(want[head], 1e-30);
        worst = std::isfinite(got) ? std::max(worst, want[head] == got ? 0 : error) : INFINITY;
        if (!std::isfinite(got)) break;
      }
    }
    found.detail.set("keys", count).set("relative", worst);
    // check_score.cc allows 1e-3, and more for form "exact"; a wrong kernel is off by far more than this.
    found.fault_unless(worst <= 1e-2, "a score is off by " + std::to_string(worst) + " of itself");
  };
  const double flop = 2.0 * double(d) * pairs * s.q_heads * (exact ? 2 : 1);
  Json record = bench.run(kernel, s.json().set("rows", rows), arena, bytes, step, check);
  return record.set("flop", flop).set("tflops", 1e-6 * flop / record.at("us").number("median", 0));
}

Json bench_select(const Gpu& gpu, const Json& request) {
  using P = antkv_select_params;
  Bench bench(gpu, request);
  const Kernel kernel = Kernel::read(request.at("kernel"), "select");
  const Json& json = request.at("shape");
  const BenchShape s = BenchShape::read_plain(json);
  const int permille = bounded(json, "anchor_permille", 10, 0, 1000);
  request.refuse_unread();
  const CUfunction function = gpu.launcher.load(kernel);
  const int64_t lists = int64_t(s.batch) * s.kv_heads;
  Arena arena(gpu);
  ArenaParams<P> p;
  p->batch = s.batch;
  p->kv_heads = s.kv_heads;
  p->score_stride = s.most_tokens();
  p->keep_words = int32_t(ceil_div(s.most_tokens(), 32));
  p->max_anchors = std::max(1, int32_t(int64_t(s.most_tokens()) * permille / 1000));
  p->budget_permille = permille;
  p->budget_tokens = -1;
  const size_t score_bytes = size_t(lists * p->score_stride * 4), bitmap_bytes = size_t(lists * p->keep_words * 4), index_bytes = size_t(lists * p->max_anchors * 4);
  const size_t scores = arena.place(score_bytes), bitmap = arena.place(bitmap_bytes), indices = arena.place(index_bytes);
  const size_t counts = arena.place(size_t(lists) * 4), token_count = arena.place(size_t(s.batch) * 4);
  p.bind(&P::scores, arena, scores), p.bind(&P::keep_bitmap, arena, bitmap), p.bind(&P::keep_indices, arena, indices);
  p.bind(&P::keep_count, arena, counts), p.bind(&P::token_count, arena, token_count);
  const std::vector<std::pair<const char*, int64_t>> bytes{{"scores", s.tokens() * s.kv_heads * 4}, {"bitmap", int64_t(bitmap_bytes)}, {"indices", int64_t(index_bytes)}};
  arena.allocate(copies_for(gpu, total(bytes)), "select of " + std::to_string(s.batch) + " x " + std::to_string(s.most_tokens()) + " scores");
  // Log-normal, as sums of attention weights about are. An odd length, so that no two lists of a power-of-two length are the same.
  std::vector<uint8_t> block(std::min(score_bytes / 4, 2 * kMiB - 1) * 4);
  for (size_t i = 0; i < block.size(); i += 4) {
    const float score = float(std::exp(2 * bench.random.gauss()));
    std::memcpy(block.data() + i, &score, 4);
  }
  arena.repeat(scores, block, score_bytes);
  arena.write(token_count, s.kv_len);
  arena.fill(bitmap, kPoison, token_count - bitmap);
  arena.replicate();
  const auto step = [&](int copy) { return std::vector<Launch>{launch_of(kernel, function, p.of(copy))}; };

  const auto check = [&](BenchCheck& found) {
    found.kind = "one list";
    found.fault_unless(arena.copies_agree(bitmap, token_count - bitmap), "copies with equal data gave different selections");
    const int b = bench.random.below(s.batch);
    const size_t list = size_t(b) * s.kv_heads + bench.random.below(s.kv_heads);
    std::vector<float> values(p->score_stride);
    std::vector<uint32_t> words(p->keep_words);
    std::vector<int32_t> kept(p->max_anchors);
    arena.read(0, scores + list * values.size() * 4, values.data(), values.size() * 4);
    arena.read(0, bitmap + list * words.size() * 4, words.data(), words.size() * 4);
    arena.read(0, indices + list * kept.size() * 4, kept.data(), kept.size() * 4);
    P host = p.fields;
    host.batch = host.kv_heads = 1;
    host.scores = values.data();
    host.token_count = &s.kv_len[b];
    const reference::Selection want = reference::reference_select(host);
    found.detail.set("kept", want.count[0]);
    found.fault_unless(want.bitmap == words, "keep_bitmap differs from the reference's");
    found.fault_unless(want.indices == kept, "keep_indices differ from the reference's");
  };
  return bench.run(kernel, s.json().set("anchor_permille", permille), arena, bytes, step, check);
}

}  // namespace runner
