// The ops of bench, and the record of one measurement.
#include "bench.h"

namespace runner {

Json bench(const Gpu& gpu, const Json& request) {
  const std::string op = request.at("op").string("op");
  if (op == "decode") return bench_decode(gpu, request);
  if (op == "encode") return bench_encode(gpu, request);
  if (op == "unpack") return bench_unpack(gpu, request);
  if (op == "score") return bench_score(gpu, request);
  if (op == "select") return bench_select(gpu, request);
  throw RequestError("op \"" + op + "\" cannot be timed; known: decode, encode, unpack, score, select");
}

Bench::Bench(const Gpu& gpu, const Json& request) : random(uint64_t(request.integer("seed", 1))), gpu_(gpu), samples_(int(request.integer("samples", 30))) {
  if (samples_ < 1 || samples_ > 10000) throw RequestError("samples must be 1 to 10000");
}

Json Bench::run(const Kernel& kernel, const Json& shape, const Arena& arena, const std::vector<std::pair<const char*, int64_t>>& bytes,
                const std::function<std::vector<Launch>(int)>& step, const std::function<void(BenchCheck&)>& check) {
  const Nvml nvml(gpu_);
  const Timing timing = time_step(gpu_, nvml, arena.copies(), samples_, step);
  BenchCheck found;
  check(found);

  Json faults = Json::array(), parts = Json::object();
  for (const std::string& fault : found.faults) faults.push(fault);
  for (const auto& [what, count] : bytes) parts.set(what, count);
  found.detail.set("kind", found.kind);
  const int64_t useful = total(bytes);
  Json record = Json::object();
  record.set("ok", found.faults.empty()).set("op", kernel.op).set("kernel", kernel.name).set("shape", shape);
  record.set("us", spread(timing.us)).set("b2b_us", timing.b2b_us).set("b2b_steps", timing.b2b_steps).set("samples", samples_);
  record.set("bytes", useful).set("byte_parts", parts).set("gbps", 1e-3 * double(useful) / median(timing.us));
  record.set("clock_mhz", Json::object().set("begin", timing.clock_begin).set("end", timing.clock_end));
  record.set("copies", arena.copies()).set("copy_bytes", uint64_t(arena.bytes())).set("l2_bytes", gpu_.l2_bytes());
  record.set("graph", gpu_.graphs()).set("emulated", gpu_.driver.emulated());
  return record.set("check", found.detail).set("faults", faults);
}

}  // namespace runner
