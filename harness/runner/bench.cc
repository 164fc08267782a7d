// The ops that can be timed, and the record of one measurement.
#include "bench.h"

#include <map>

#include "cache.h"

namespace runner {

std::unique_ptr<Trial> make_trial(const std::string& op, const Gpu& gpu, uint64_t seed, const Json& kernel) {
  const std::map<std::string, std::unique_ptr<Trial> (*)(const Gpu&, uint64_t, const Kernel&)> known{
      {"decode", decode_trial}, {"append", append_trial}, {"encode", encode_trial}, {"unpack", unpack_trial}, {"score", score_trial}, {"select", select_trial}};
  const auto found = known.find(op);
  if (found == known.end()) throw RequestError("op \"" + op + "\" cannot be timed; known: append, decode, encode, unpack, score, select");
  return found->second(gpu, seed, Kernel::read(kernel, op));
}

Arm read_arm(const std::string& op, const Json& json, const Json& how) {
  Arm arm;
  arm.kernel = Kernel::read(json.at("kernel"), op);
  if (op != "decode") return arm;
  arm.splits = bounded(how, "splits", 1, 1, 1024);
  arm.spread = how.boolean("spread", false);
  const std::string merge = how.string("merge", "combine");
  if (merge != "last" && merge != "combine") throw RequestError("merge must be \"last\" or \"combine\"");
  arm.merges = merge == "last";
  // With one split, or where the last CTA merges, combine has nothing to do; a sweep may name it all the same.
  if (json.has("combine") && !json.at("combine").is_null()) arm.combine = Kernel::read(json.at("combine"), "combine");
  if (arm.combines() && arm.combine.name.empty()) throw RequestError("several splits need \"combine\", or \"merge\": \"last\"");
  return arm;
}

Json bench(const Gpu& gpu, const Json& request) {
  const std::string op = request.at("op").string("op");
  const int samples = int(request.integer("samples", 30));
  if (samples < 1 || samples > 10000) throw RequestError("samples must be 1 to 10000");
  const auto trial = make_trial(op, gpu, uint64_t(request.integer("seed", 1)), request.at("kernel"));
  trial->read(request.at("shape"));
  const Arm arm = read_arm(op, request, request.at("shape"));
  request.refuse_unread();

  trial->provide({arm});
  const auto step = trial->step(arm);
  trial->fill();
  trial->poison();
  const Nvml nvml(gpu);
  const Timing timing = time_step(gpu, nvml, trial->arena.copies(), samples, step);
  BenchCheck found;
  trial->check(arm, found);

  Json faults = Json::array(), parts = Json::object();
  for (const std::string& fault : found.faults) faults.push(fault);
  for (const auto& [what, count] : trial->bytes) parts.set(what, count);
  found.detail.set("kind", found.kind);
  const int64_t useful = total(trial->bytes);
  Json record = Json::object();
  record.set("ok", found.faults.empty()).set("op", op).set("kernel", arm.kernel.name).set("shape", trial->shape(arm));
  record.set("us", spread(timing.us)).set("b2b_us", timing.b2b_us).set("b2b_steps", timing.b2b_steps).set("samples", samples);
  record.set("bytes", useful).set("byte_parts", parts).set("gbps", 1e-3 * double(useful) / median(timing.us));
  record.set("clock_mhz", Json::object().set("begin", timing.clock_begin).set("end", timing.clock_end));
  record.set("copies", trial->arena.copies()).set("copy_bytes", uint64_t(trial->arena.bytes())).set("l2_bytes", gpu.l2_bytes());
  record.set("graph", gpu.graphs()).set("emulated", gpu.driver.emulated()).set("check", found.detail).set("faults", faults);
  trial->extend(record, arm);
  return record;
}

}  // namespace runner
