// life: the request and its record.
#include <chrono>

#include "life_script.h"

namespace runner {

LifeShape LifeShape::read(const Json& shape, const antkv_format& format, int kv_heads, int q_heads) {
  LifeShape s{};
  const bool exact = format.k.exact && format.v.exact;
  s.kv_heads = bounded(shape, "kv_heads", kv_heads, 1, 1024);
  s.q_heads = bounded(shape, "q_heads", q_heads, 1, 4096);
  if (s.q_heads % s.kv_heads || s.q_heads / s.kv_heads > 16) throw RequestError("q_heads must be 1 to 16 times kv_heads");
  s.ranks = bounded(shape, "ranks", 1, 1, 64), s.rank = bounded(shape, "rank", 0, 0, s.ranks - 1);
  s.page_size = bounded(shape, "page_size", 16, 16, 256);
  s.pad = bounded(shape, "pad", 0, 0, 4096);
  s.window = bounded(shape, "window", exact ? 0 : 32, exact ? 0 : 16, exact ? 0 : 4096);
  s.flush_block = bounded(shape, "flush_block", exact ? 1 : 32, exact ? 1 : s.page_size, exact ? 1 : 4096);
  if (!exact && s.flush_block % s.page_size) throw RequestError("flush_block must be whole pages");
  s.budget_permille = bounded(shape, "budget_permille", exact ? 0 : 100, 0, 1000);
  s.budget_tokens = bounded(shape, "budget_tokens", 0, 0, exact ? 0 : 1 << 20), s.extra_tokens = bounded(shape, "extra_tokens", 0, 0, exact ? 0 : 1 << 20);
  s.first_tokens = bounded(shape, "first_tokens", 0, 0, 1 << 20);
  s.policy = bounded(shape, "policy", 0, 0, 3);
  if (s.policy == 3 && (s.budget_permille > 0 || s.budget_tokens > 0)) throw RequestError("policy 3 keeps first tokens only: budget_permille and budget_tokens must be 0");
  s.sequences = bounded(shape, "sequences", 4, 1, 1024);
  s.max_tokens = bounded(shape, "max_tokens", 320, 1, 1 << 20);
  const int64_t rows = s.most_anchors(s.max_tokens);
  // Three times what one sequence needs: a fork, and a fork of it, have the pages of their prefix beside their own.
  s.anchor_pages = bounded(shape, "anchor_pages", exact ? 0 : 3 * ceil_div(rows, ANTKV_ANCHOR_ROWS) + (rows > 0), 0, 1 << 20);
  s.splits = bounded(shape, "splits", 1, 1, 64);
  s.rows = bounded(shape, "rows", 4, 1, ANTKV_DRAFT_ROWS);
  s.csr = shape.string("index", "table") == "csr";
  s.spread = shape.boolean("spread", false);
  s.last = shape.string("merge", "last") == "last";
  s.seal = shape.boolean("seal", true);
  s.graph = shape.boolean("graph", false);
  const Json none = Json::object();
  const Json& rope = shape.has("rope") ? shape.at("rope") : none;
  s.rotary_dim = bounded(rope, "rotary_dim", format.head_dim, 2, format.head_dim);
  s.interleaved = rope.boolean("interleaved", false), s.theta = rope.number("theta", 10000), s.factor = rope.number("factor", 1);
  return s;
}

Json life(const Gpu& gpu, const Json& request) {
  const antkv_format format = Kernel::read(request.at("kernels").at("decode"), "decode").contract.format;
  Dump dump{};
  Basis basis;
  const Json& shape_json = request.at("shape");
  if (request.has("data")) {
    const LifeShape rope = LifeShape::read(shape_json, format, 1, 1);
    std::vector<float> frequencies;
    for (int i = 0; i < rope.rotary_dim / 2; i++) frequencies.push_back(float(std::pow(rope.theta, -2.0 * i / rope.rotary_dim)));
    dump = read_dump(request.at("data"), {frequencies.data(), rope.rotary_dim, rope.interleaved, rope.factor}, 0, format.head_dim);
    if (request.has("codebook")) basis = Basis::read(request.at("codebook"), dump.kv_heads, format.head_dim);
    basis.enter(dump);
  }
  const LifeShape shape = LifeShape::read(shape_json, format, dump.tokens ? dump.kv_heads : 2, dump.tokens ? dump.q_heads : 4);
  const int steps = bounded(request, "steps", 100, 1, 1 << 20), every = bounded(request, "sample_every", 100, 1, 1 << 20);
  if (request.has("data") && (!request.has("prompt") || request.integer("prompt", 0) < 1 || request.integer("prompt", 0) >= dump.tokens))
    throw RequestError("prompt is needed with data, 1 to its " + std::to_string(dump.tokens) + " tokens less one");
  if (shape.graph && !gpu.graphs()) throw RequestError("this driver has no CUDA graphs: leave \"graph\" out");
  LifeScript script(gpu, request, shape, std::move(dump));
  script.cache().compare_exact = request.has("data"), script.cache().basis = std::move(basis);
  request.refuse_unread();
  Json samples = Json::array();
  int step = 0;
  const auto start = std::chrono::steady_clock::now();
  for (; step < steps && script.faults.empty(); step++) {
    script.step(step);
    if ((step + 1) % every == 0) samples.push(script.sample(step + 1));
  }
  const LifeCounts& c = script.cache().counts;
  Json faults = Json::array(), events = Json::object(), record = Json::object();
  for (const std::string& fault : script.faults) faults.push(fault);
  const std::pair<const char*, int64_t> counts[] = {
      {"starts", c.starts}, {"ends", c.ends}, {"forks", c.forks}, {"prefixes", c.prefixes}, {"truncations", c.truncations}, {"turns", c.turns}, {"appended", c.appended}, {"accepted", c.accepted},
      {"rejected", c.rejected}, {"flushes", c.flushes}, {"trees", c.trees}, {"graphs", c.graphs}, {"replays", c.replays}, {"copied_pages", c.copied_pages}, {"copied_anchor_pages", c.copied_anchor_pages}, {"found", c.found}, {"handed_back", c.handed_back}, {"handed_back_shared", c.handed_back_shared},
      {"codes", c.codes}, {"code_ties", c.code_ties}, {"anchor_ties", c.anchor_ties}};
  for (const auto& [name, count] : counts) events.set(name, count);
  record.set("ok", script.faults.empty()).set("faults", faults).set("steps", step).set("events", events).set("samples", samples).set("digests", script.digests());
  record.set("rel_l2", script.cache().worst_out).set("lse_err", script.cache().worst_lse);
  record.set("ms", std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count()).set("emulated", gpu.driver.emulated());
  return record;
}

}  // namespace runner
