// race: several arms on the same data, each once a round, in random order, so that what drifts meets all of them alike. And probe: a fixed piece of work.
//
// Every copy of the data is as good as every other, and steps go through them in turn whatever arm they are of: so L2 is as cold for one arm as for another. Only
// those pairs of arm and copy that the order of the rounds needs get a graph, all of them before the first round.
#include <chrono>
#include <map>

#include "bench.h"

namespace runner {
namespace {

constexpr double kWarmSeconds = 0.05, kStillWarmSeconds = 0.01;  // for clocks; after a race that ended less than kCoolSeconds ago
constexpr double kCoolSeconds = 0.2;
constexpr int64_t kLongBytes = int64_t(2) << 30;  // steps that read as much take so long that nobody sees whose code was cached
constexpr double kRoom = 0.6;          // of the device's memory that is free before data are added to those that are kept
constexpr int kUntimed = 2;            // steps of a round between the filler, which leaves L2 dirty, and the first that counts
constexpr int kMostArms = 256, kMostRounds = 1000;

double seconds_since(std::chrono::steady_clock::time_point then) { return std::chrono::duration<double>(std::chrono::steady_clock::now() - then).count(); }

struct Step {
  int arm, copy;
  bool timed;
};

/// The steps of every round. Each timed one follows an untimed one of the same arm, on another copy: a kernel that follows another finds its own code in no cache, which is
/// 5 us on an H200, and who of two arms pays that must not be left to the order. The first timed step of a round follows `untimed` ones, each other one at most `between`.
std::vector<std::vector<Step>> order_of(Random& random, const std::vector<int>& arms, int rounds, int copies, int untimed, int between) {
  std::vector<std::vector<Step>> order(static_cast<size_t>(rounds));
  int turn = 0;
  for (auto& round : order) {
    for (int32_t at : random.permutation(int(arms.size()))) {
      for (int i = round.empty() ? untimed : between; i > 0; i--) round.push_back({arms[size_t(at)], turn++ % copies, false});
      round.push_back({arms[size_t(at)], turn++ % copies, true});
    }
  }
  return order;
}

/// What tells arms of one contract apart; a kernel's name stands for its image.
std::string word_of(const Arm& arm) {
  return arm.kernel.name + " " + arm.kernel.image + " " + std::to_string(arm.splits) + (arm.spread ? "d" : "s") + (arm.merges ? "m" : "c");
}

Json words(const BenchCheck& found, const Arm& arm) {
  Json faults = Json::array(), detail = found.detail;
  for (const std::string& fault : found.faults) faults.push(fault);
  return Json::object().set("kernel", arm.kernel.name).set("ok", found.faults.empty()).set("faults", faults).set("check", detail.set("kind", found.kind));
}

}  // namespace

const Gpu& Races::gpu() {
  if (!gpu_) gpu_ = std::make_unique<Gpu>(launcher_, path_);
  return *gpu_;
}

/// Frees what was used longest ago until a good part of the device is free: no problem that is tuned takes more.
void Races::make_room() {
  size_t all = 0;
  gpu().check(gpu().driver.cuDeviceTotalMem(&all, gpu().driver.device()), "cuDeviceTotalMem");
  while (!kept_.empty() && double(gpu().free_memory()) < kRoom * double(all)) kept_.pop_back();
}

/// The data for a shape and a contract: those of an earlier race if they are still there.
Races::Kept& Races::kept_for(const std::string& op, const Json& request) {
  const Json& kernel = request.at("arms").items().at(0).at("kernel");
  auto trial = make_trial(op, gpu(), 1, kernel);
  for (const char* launch : {"splits", "spread", "merge"}) {
    if (request.at("shape").has(launch)) throw RequestError(std::string(launch) + " belongs to an arm of a race, not to its shape");
  }
  trial->read(request.at("shape"));
  std::string key = op + request.at("shape").dump();
  for (const char* field : {"head_dim", "k", "v", "dtype", "key", "gain", "form", "columns"}) key += "," + (kernel.has(field) ? kernel.at(field).dump() : std::string("-"));
  const auto there = std::find_if(kept_.begin(), kept_.end(), [&](const Kept& one) { return one.key == key; });
  if (there != kept_.end()) {
    kept_.splice(kept_.begin(), kept_, there);
    return kept_.front();
  }
  make_room();
  trial->fill();
  kept_.push_front({key, std::move(trial), {}});
  return kept_.front();
}

/// Does `work`; its errors name the arm.
void Races::at_arm(int index, const Arm& arm, const std::function<void()>& work) {
  arm_ = index;
  const std::string launch = arm.kernel.op == "decode" ? ", " + std::to_string(arm.splits) + (arm.spread ? " shares" : " splits") : "";
  const auto named = [&](const char* what) { return "arm " + std::to_string(index) + ", " + arm.kernel.name + launch + ": " + what; };
  try {
    work();
  } catch (const DriverError& error) {
    throw DriverError(named(error.what()), error.fatal);
  } catch (const RequestError& error) {
    throw RequestError(named(error.what()));
  }
  arm_ = -1;
}

/// Each arm alone on every copy, and what it left there, unless it was found right on these data before. The first launch is waited for, without a graph: what fails is
/// then one kernel, by name.
std::vector<BenchCheck> Races::check_all(Kept& kept, const std::vector<Arm>& arms) {
  Trial& trial = *kept.trial;
  std::vector<BenchCheck> found(arms.size());
  trial.poison();  // counters of a new workspace too
  for (size_t i = 0; i < arms.size(); i++) {
    const std::string word = word_of(arms[i]);
    if (kept.right.count(word)) {
      found[i].kind = "before";
      continue;
    }
    at_arm(int(i), arms[i], [&] {
      const auto step = trial.step(arms[i]);
      trial.poison();
      for (int copy = 0; copy < trial.arena.copies(); copy++) {
        for (const Launch& launch : step(copy)) {
          enqueue(gpu(), launch);
          if (copy == 0) gpu().check(gpu().cuStreamSynchronize(gpu().stream()), "cuStreamSynchronize after " + launch.name);
        }
      }
      gpu().synchronize();
      trial.check(arms[i], found[i]);
    });
    if (found[i].faults.empty()) kept.right.insert(word);
  }
  return found;
}

Json Races::race(const Json& request) {
  arm_ = -1;
  const std::string op = request.at("op").string("op");
  const int rounds = int(request.integer("rounds", 10));
  if (rounds < 1 || rounds > kMostRounds) throw RequestError("rounds must be 1 to 1000");
  Random random(uint64_t(request.integer("seed", 1)));
  std::vector<Arm> arms;
  const auto& named = request.at("arms").items();
  if (named.empty() || named.size() > kMostArms) throw RequestError("a race has 1 to 256 arms");
  for (const Json& one : named) arms.push_back(read_arm(op, one, one));
  for (const Arm& arm : arms) {
    const std::string& first = arms[0].kernel.name;
    if (arm.kernel.name.substr(0, arm.kernel.name.find("__")) != first.substr(0, first.find("__"))) throw RequestError("the kernels of a race are of one contract");
  }

  Kept& data = kept_for(op, request);
  const bool kept = !data.right.empty();
  Trial& trial = *data.trial;
  try {
    request.refuse_unread();
    trial.provide(arms);
    const std::vector<BenchCheck> found = check_all(data, arms);

    std::vector<int> sound;
    for (size_t i = 0; i < arms.size(); i++) {
      if (found[i].faults.empty()) sound.push_back(int(i));
    }
    const bool emulated = gpu().driver.emulated();
    if (!nvml_) nvml_ = std::make_unique<Nvml>(gpu());
    Json times = Json::array(), outcomes = Json::array();
    if (!sound.empty()) {
      const int between = emulated || total(trial.bytes) > kLongBytes ? 0 : 1;
      const auto order = order_of(random, sound, rounds, trial.arena.copies(), emulated ? 0 : kUntimed, between);
      std::map<std::pair<int, int>, std::unique_ptr<Replay>> replays;
      std::map<int, std::function<std::vector<Launch>(int)>> steps;
      for (int i : sound) steps[i] = trial.step(arms[size_t(i)]);
      for (const auto& round : order) {
        for (const Step& s : round) {
          auto& replay = replays[{s.arm, s.copy}];
          if (!replay) at_arm(s.arm, arms[size_t(s.arm)], [&] { replay = std::make_unique<Replay>(gpu(), steps[s.arm](s.copy)); });
        }
      }
      const auto run = [&](const Step& s) { replays[{s.arm, s.copy}]->run(); };
      const auto start = std::chrono::steady_clock::now();
      const double warm = seconds_since(ended_) < kCoolSeconds ? kStillWarmSeconds : kWarmSeconds;
      std::set<std::pair<int, int>> met;  // a graph's first launch takes longer
      for (size_t i = 0; !emulated && (met.size() < replays.size() || seconds_since(start) < warm); i++) {
        for (const Step& s : order[i % order.size()]) {
          run(s);
          met.insert({s.arm, s.copy});
        }
        gpu().synchronize();
      }
      // Copies of 64 MiB take some 30 us each, about what enqueuing a step takes the CPU: no time of the CPU is measured.
      const size_t bytes = emulated ? 4096 : 64 * kMiB;
      if (!filler_) filler_ = std::make_unique<DeviceMemory>(gpu(), 2 * bytes, "the time measurement");
      for (const auto& round : order) {
        std::vector<std::pair<std::unique_ptr<Event>, std::unique_ptr<Event>>> events(arms.size());
        for (const Step& s : round) {
          if (s.timed) events[size_t(s.arm)] = {std::make_unique<Event>(gpu()), std::make_unique<Event>(gpu())};
        }
        for (size_t i = 0; i < round.size(); i++) gpu().copy(filler_->at(), filler_->at() + bytes, bytes);
        for (const Step& s : round) {
          if (!s.timed) {
            run(s);
            continue;
          }
          events[size_t(s.arm)].first->record();
          run(s);
          events[size_t(s.arm)].second->record();
        }
        // While the GPU is at work.
        const Json mhz = nvml_->sm_clock(), celsius = nvml_->celsius();
        gpu().synchronize();
        Json us = Json::array();
        for (const auto& [begin, end] : events) us.push(end ? Json(end->since(*begin)) : Json());
        times.push(Json::object().set("us", us).set("mhz", mhz).set("celsius", celsius));
      }
      ended_ = std::chrono::steady_clock::now();
    }
    for (size_t i = 0; i < arms.size(); i++) outcomes.push(words(found[i], arms[i]));
    Json parts = Json::object(), record = Json::object();
    for (const auto& [what, count] : trial.bytes) parts.set(what, count);
    record.set("op", op).set("arms", outcomes).set("rounds", times).set("bytes", total(trial.bytes)).set("byte_parts", parts);
    record.set("copies", trial.arena.copies()).set("copy_bytes", uint64_t(trial.arena.bytes())).set("l2_bytes", gpu().l2_bytes());
    record.set("kept", kept).set("graph", gpu().graphs()).set("emulated", emulated);
    // A kernel that was wrong may have written anywhere.
    if (sound.size() < arms.size()) forget();
    return record;
  } catch (...) {
    forget();
    throw;
  }
}

Json probe(const Gpu& gpu, const Json& request) {
  const int samples = int(request.integer("samples", 5));
  if (samples < 1 || samples > 1000) throw RequestError("samples must be 1 to 1000");
  request.refuse_unread();
  const bool emulated = gpu.driver.emulated();
  const size_t bytes = emulated ? 4096 : 256 * kMiB;
  const DeviceMemory data(gpu, 2 * bytes, "the probe");
  const Nvml nvml(gpu);
  std::vector<double> times;
  Json mhz, celsius;
  for (int i = 0; i <= samples; i++) {
    Event before(gpu), after(gpu);
    gpu.copy(data.at(), data.at() + bytes, bytes);  // hides the launch of what follows, and wakes the clocks
    before.record();
    gpu.copy(data.at(), data.at() + bytes, bytes);
    after.record();
    mhz = nvml.sm_clock(), celsius = nvml.celsius();
    if (i > 0) times.push_back(after.since(before));
  }
  return Json::object().set("us", median(times)).set("mhz", mhz).set("celsius", celsius).set("bytes", uint64_t(2 * bytes)).set("emulated", emulated);
}

}  // namespace runner
