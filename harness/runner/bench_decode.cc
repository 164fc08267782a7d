// bench decode: a whole decode step, decode and (with splits) combine, on a cache of any size.
//
// The check after the timing. All copies hold the same data, so all outputs must be the same bits; every output must be finite (it starts as NaN). And the fp64
// reference of harness/reference is asked: for all sequences and KV heads if there are few tokens ("full"), else for one of each, drawn at random ("one head").
#include "bench.h"
#include "bench_cache.h"
#include "../reference/numeric.h"

namespace runner {
namespace {

using P = antkv_decode_params;

constexpr int kFlushBlock = 128;                  // CACHE.md
constexpr int64_t kFullCheckTokens = 16384;       // of all sequences
constexpr int kMostCheckTokens = 1 << 18;         // above it one head of the reference takes seconds
constexpr double kRelL2 = 4e-3, kLse = 2e-3;      // check_decode.cc says why

/// Tokens in coded pages: all, or what the flush rule c(n) of CACHE.md has taken out of the window.
std::vector<int32_t> coded_lengths(const BenchShape& s) {
  std::vector<int32_t> coded;
  for (int n : s.kv_len) coded.push_back(s.window ? std::max(0, n - s.window) / kFlushBlock * kFlushBlock : n);
  return coded;
}

struct Decode {
  Arena arena, workspace;
  Content content;
  BenchShape shape;
  Kernel kernel;
  BenchCache cache;
  ArenaParams<P> p;
  ArenaParams<antkv_combine_params> c;
  size_t q, out, lse, ring_k = 0, ring_v = 0, coded_len, kv_len, cu_q, partial_o = 0, partial_lse = 0, counters = 0;
  int64_t head_bytes, row_bytes, ring_bytes;

  Decode(const Gpu& gpu, Random& random, const Kernel& kernel, const BenchShape& shape)
      : arena(gpu), workspace(gpu), content(random), shape(shape), kernel(kernel), cache(arena, content, kernel.contract, shape, coded_lengths(shape)) {}
  int d() const { return kernel.contract.format.head_dim; }
  /// Launches combine after decode.
  bool combines() const { return shape.splits > 1 && !shape.merges; }
  size_t counter_bytes() const { return size_t(shape.batch) * shape.kv_heads * size_t(ceil_div(int64_t(shape.q_len) * shape.ratio(), kernel.columns)) * 4; }
};

void place(Decode& x) {
  const BenchShape& s = x.shape;
  P& p = x.p.fields;
  x.cache.bind(x.p);
  p.segments = s.window ? 7 : 3;
  p.splits = s.splits;
  p.spread = s.spread;
  p.q_heads = s.q_heads;
  p.rows = s.batch * s.q_len;
  p.max_q_len = s.q_len;
  p.scale = float(1 / std::sqrt(double(x.d())));
  x.head_bytes = 2 * x.d();
  x.row_bytes = s.q_heads * x.head_bytes;
  p.q_head_stride = p.out_head_stride = x.head_bytes;
  p.q_row_stride = p.out_row_stride = x.row_bytes;
  x.p.bind(&P::q, x.arena, x.q = x.arena.place(size_t(p.rows * x.row_bytes)));
  x.p.bind(&P::out, x.arena, x.out = x.arena.place(size_t(p.rows * x.row_bytes)));
  x.p.bind(&P::lse, x.arena, x.lse = x.arena.place(size_t(p.rows) * s.q_heads * 4));
  x.p.bind(&P::coded_len, x.arena, x.coded_len = x.arena.place(size_t(s.batch) * 4));
  x.p.bind(&P::kv_len, x.arena, x.kv_len = x.arena.place(size_t(s.batch) * 4));
  x.cu_q = x.arena.place(size_t(s.batch + 1) * 4);
  if (s.q_len > 1) x.p.bind(&P::cu_q, x.arena, x.cu_q);
  if (s.window) {
    p.ring_rows = antkv_ring_rows(s.window, kFlushBlock);
    p.ring_row_stride = x.head_bytes;
    p.ring_head_stride = p.ring_rows * p.ring_row_stride;
    p.ring_slot_stride = s.kv_heads * p.ring_head_stride;
    x.ring_bytes = s.batch * p.ring_slot_stride;
    x.p.bind(&P::ring_k, x.arena, x.ring_k = x.arena.place(size_t(x.ring_bytes)));
    x.p.bind(&P::ring_v, x.arena, x.ring_v = x.arena.place(size_t(x.ring_bytes)));
  }
  auto& c = x.c.fields;
  c.rows = p.rows;
  c.q_heads = p.q_heads;
  c.splits = p.splits;
  c.out_head_stride = p.out_head_stride;
  c.out_row_stride = p.out_row_stride;
  x.c.bind(&antkv_combine_params::out, x.arena, x.out);
  x.c.bind(&antkv_combine_params::lse, x.arena, x.lse);
  if (s.splits == 1) return;
  // One workspace per stream, as in a runtime: the copies share it.
  const size_t columns = size_t(s.splits) * p.rows * s.q_heads;
  x.partial_o = x.workspace.place(columns * x.d() * 4);
  x.partial_lse = x.workspace.place(columns * 4);
  x.p.bind(&P::partial_o, x.workspace, x.partial_o, true);
  x.p.bind(&P::partial_lse, x.workspace, x.partial_lse, true);
  if (s.merges) x.p.bind(&P::counters, x.workspace, x.counters = x.workspace.place(x.counter_bytes()), true);
  x.c.bind(&antkv_combine_params::partial_o, x.workspace, x.partial_o, true);
  x.c.bind(&antkv_combine_params::partial_lse, x.workspace, x.partial_lse, true);
}

void fill(Decode& x) {
  const P& p = x.p.fields;
  x.cache.fill(true);
  x.arena.repeat(x.q, x.content.gaussian_block(size_t(p.rows * x.row_bytes)), size_t(p.rows * x.row_bytes));
  if (x.shape.window) {
    for (size_t at : {x.ring_k, x.ring_v}) x.arena.repeat(at, x.content.gaussian_block(size_t(x.ring_bytes)), size_t(x.ring_bytes));
  }
  x.arena.write(x.coded_len, x.cache.coded_len());
  x.arena.write(x.kv_len, x.shape.kv_len);
  std::vector<int32_t> cu_q;
  for (int b = 0; b <= x.shape.batch; b++) cu_q.push_back(b * x.shape.q_len);
  x.arena.write(x.cu_q, cu_q);
  x.arena.fill(x.out, kPoison, size_t(p.rows * x.row_bytes));
  x.arena.fill(x.lse, kPoison, size_t(p.rows) * x.shape.q_heads * 4);
  if (x.workspace.bytes()) x.workspace.fill(0, kPoison, x.workspace.bytes());
  if (x.counters) x.workspace.fill(x.counters, 0, x.counter_bytes());  // once, as in a runtime
  x.arena.replicate();
}

std::vector<std::pair<const char*, int64_t>> useful_bytes(const Decode& x) {
  int64_t ring_tokens = 0;
  for (int b = 0; b < x.shape.batch; b++) ring_tokens += x.shape.kv_len[b] - x.cache.coded_len()[b];
  return {{"codes", x.cache.code_bytes()}, {"anchors", x.cache.anchor_bytes()}, {"ring", ring_tokens * x.shape.kv_heads * 2 * x.head_bytes},
          {"codebooks", x.cache.codebook_bytes(false)}, {"queries", x.p->rows * x.row_bytes}, {"outputs", x.p->rows * x.row_bytes}};
}

/// Compares one sequence and KV head of copy 0 with the reference. `out` and `lse` are all results of copy 0.
void compare(const Decode& x, int b, int head, const std::vector<uint8_t>& out, const std::vector<float>& lse, Agreement& agreement) {
  const BenchShape& s = x.shape;
  CacheSlice slice = x.cache.slice(b, head);
  const int32_t coded_len = x.cache.coded_len()[b], kv_len = s.kv_len[b], cu_q[] = {0, s.q_len};
  P p{};
  slice.bind(p);
  std::vector<uint8_t> q(size_t(s.q_len * x.row_bytes)), ring_k, ring_v;
  x.arena.read(0, x.q + q.size() * size_t(b), q.data(), q.size());
  p.q = q.data() + head * s.ratio() * x.head_bytes;
  p.q_row_stride = x.row_bytes;
  p.q_head_stride = x.head_bytes;
  p.coded_len = &coded_len;
  p.kv_len = &kv_len;
  p.cu_q = cu_q;
  p.q_heads = s.ratio();
  p.rows = p.max_q_len = s.q_len;
  p.segments = s.window ? 7 : 3;
  p.splits = 1;
  p.scale = x.p->scale;
  if (s.window) {
    p.ring_rows = x.p->ring_rows;
    p.ring_row_stride = x.p->ring_row_stride;
    ring_k.resize(size_t(x.p->ring_head_stride)), ring_v.resize(ring_k.size());
    const size_t at = size_t(x.cache.slots()[b] * x.p->ring_slot_stride + head * x.p->ring_head_stride);
    x.arena.read(0, x.ring_k + at, ring_k.data(), ring_k.size());
    x.arena.read(0, x.ring_v + at, ring_v.data(), ring_v.size());
    p.ring_k = ring_k.data(), p.ring_v = ring_v.data();
  }
  const reference::Attention want = reference::reference_decode(x.kernel.contract, p);
  std::vector<double> got(x.d());
  for (int i = 0; i < s.q_len * s.ratio(); i++) {
    const int64_t column = int64_t(b * s.q_len + i / s.ratio()) * s.q_heads + head * s.ratio() + i % s.ratio();
    reference::read_halves(out.data() + column * x.head_bytes, x.d(), got.data());
    agreement.row(got.data(), &want.out[size_t(i) * x.d()], x.d());
    agreement.logarithm(lse[column], want.lse[i]);
  }
}

void check(Decode& x, Random& random, BenchCheck& found) {
  const BenchShape& s = x.shape;
  std::vector<uint8_t> out(size_t(x.p->rows * x.row_bytes));
  std::vector<float> lse(size_t(x.p->rows) * s.q_heads);
  x.arena.read(0, x.out, out.data(), out.size());
  x.arena.read(0, x.lse, lse.data(), lse.size() * 4);
  int64_t unsound = 0;
  for (size_t i = 0; i < out.size(); i += 2) unsound += (out[i + 1] & 0x7c) == 0x7c;  // exponent of infinities and NaN
  // A sequence of no tokens has LSE -inf.
  for (size_t i = 0; i < lse.size(); i++) unsound += s.kv_len[i / (size_t(s.q_len) * s.q_heads)] ? !std::isfinite(lse[i]) : lse[i] != -INFINITY;
  found.fault_unless(unsound == 0, std::to_string(unsound) + " outputs are not finite, or were never written");
  found.fault_unless(x.arena.copies_agree(x.out, out.size()) && x.arena.copies_agree(x.lse, lse.size() * 4), "copies with equal data gave different outputs");

  if (x.counters) {
    std::vector<uint32_t> counters(x.counter_bytes() / 4);
    x.workspace.read(0, x.counters, counters.data(), x.counter_bytes());
    found.fault_unless(std::all_of(counters.begin(), counters.end(), [](uint32_t n) { return n == 0; }), "decode left counters that are not 0");
  }

  Agreement agreement;
  int heads = 0;
  const auto one = [&](int b, int head) { compare(x, b, head, out, lse, agreement), heads++; };
  const auto draw = [&] {  // a sequence with tokens: the shape has at least one
    int b = random.below(s.batch);
    while (s.kv_len[b] == 0) b = random.below(s.batch);
    return b;
  };
  if (s.tokens() <= kFullCheckTokens) {
    found.kind = "full";
    for (int b = 0; b < s.batch; b++) {
      for (int head = 0; head < s.kv_heads; head++) one(b, head);
    }
  } else if (const int b = draw(); s.kv_len[b] <= kMostCheckTokens) {
    found.kind = "one head";
    one(b, random.below(s.kv_heads));
  } else {
    found.kind = "finite";
    return;
  }
  found.detail.set("heads", heads).set("rel_l2", agreement.rel_l2).set("lse_err", agreement.lse_err);
  found.detail.set("tolerance", Json::object().set("rel_l2", kRelL2).set("lse", kLse));
  found.fault_unless(agreement.bad_values == 0, std::to_string(agreement.bad_values) + " values are NaN, or not 0 or -inf where nothing is seen");
  found.fault_unless(agreement.rel_l2 <= kRelL2, "relative L2 error " + std::to_string(agreement.rel_l2) + " is above its tolerance");
  found.fault_unless(agreement.lse_err <= kLse, "LSE error " + std::to_string(agreement.lse_err) + " is above its tolerance");
}

}  // namespace

Json bench_decode(const Gpu& gpu, const Json& request) {
  Bench bench(gpu, request);
  const Kernel kernel = Kernel::read(request.at("kernel"), "decode");
  const BenchShape shape = BenchShape::read(request.at("shape"), kernel.contract, true);
  // With one split, or where the last CTA merges, combine has nothing to do; a sweep may name it all the same.
  const bool named = request.has("combine") && !request.at("combine").is_null();
  if (shape.splits > 1 && !shape.merges && !named) throw RequestError("several splits need \"combine\", or \"merge\": \"last\"");
  const Kernel combine = named ? Kernel::read(request.at("combine"), "combine") : Kernel{};
  request.refuse_unread();

  const CUfunction decode = gpu.launcher.load(kernel);
  Decode x(gpu, bench.random, kernel, shape);
  const CUfunction merge = x.combines() ? gpu.launcher.load(combine) : nullptr;
  place(x);
  const auto bytes = useful_bytes(x);
  const std::string what = "decode of " + std::to_string(shape.batch) + " x " + std::to_string(shape.most_tokens()) + " tokens";
  if (x.workspace.bytes()) x.workspace.allocate(1, "the workspace of " + what);
  x.arena.allocate(copies_for(gpu, total(bytes)), what);
  fill(x);
  const auto step = [&](int copy) {
    std::vector<Launch> launches{launch_of(kernel, decode, x.p.of(copy))};
    if (merge) launches.push_back(launch_of(combine, merge, x.c.of(copy)));
    return launches;
  };
  Json record = bench.run(kernel, shape.json(), x.arena, bytes, step, [&](BenchCheck& found) { check(x, bench.random, found); });
  record.set("combine", merge ? Json(combine.name) : Json());
  return record.set("splits", shape.splits).set("anchors", x.cache.anchors());
}

}  // namespace runner
