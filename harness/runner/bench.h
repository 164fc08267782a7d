// The requests that measure time (README.md): the device's ceilings, and kernels.
#pragma once
#include <chrono>
#include <list>
#include <set>

#include "bench_arena.h"
#include "bench_time.h"
#include "check.h"
#include "random.h"

namespace runner {

/// Copy and read bandwidth, rate of matrix instructions, clocks.
Json ceilings(const Gpu& gpu, const Json& request);
/// Times one step of op "decode" (decode and combine), "append", "encode", "score", "select" or "unpack".
Json bench(const Gpu& gpu, const Json& request);
/// The time of fixed work: tells a device that has become slower from a slow kernel.
Json probe(const Gpu& gpu, const Json& request);

/// What one measurement found out about the results, beside the time.
struct BenchCheck {
  std::string kind;                  ///< README.md, "bench"
  std::vector<std::string> faults;   ///< one is enough to fail
  Json detail = Json::object();
  void fault_unless(bool condition, const std::string& what) {
    if (!condition) faults.push_back(what);
  }
};

using ByteParts = std::vector<std::pair<const char*, int64_t>>;

/// One way to take a step: a kernel, and of decode how its CTAs share the work and who merges.
struct Arm {
  Kernel kernel, combine;  ///< combine: without a name where none was given
  int splits = 1;
  bool spread = false, merges = false;  ///< merges: the CTA that arrives last does
  /// combine is launched.
  bool combines() const { return splits > 1 && !merges; }
};

/// The data of a step in cold copies on the device, on which every kernel of one contract can work, and what is checked of the results.
class Trial {
 public:
  Trial(const Gpu& gpu, uint64_t seed, const Kernel& kernel) : arena(gpu), gpu(gpu), random(seed), contract(kernel.contract) {}
  Trial(const Trial&) = delete;
  virtual ~Trial() = default;
  /// Reads the shape. Throws RequestError; nothing has happened on the device then.
  virtual void read(const Json& shape) = 0;
  /// Makes the data. Throws RequestError where memory lacks.
  virtual void fill() = 0;
  /// Room for what the CTAs of `arms` leave each other; before step().
  virtual void provide(const std::vector<Arm>&) {}
  /// Loads the kernels of `arm`; the launches of a step on copy i.
  virtual std::function<std::vector<Launch>(int)> step(const Arm& arm) = 0;
  /// Outputs of all copies, and workspaces, as they are before a first step.
  virtual void poison() = 0;
  /// Looks at what steps of `arm`, and of no other since poison(), left in all copies. What the reference says is computed once.
  virtual void check(const Arm& arm, BenchCheck& found) = 0;
  /// The shape with its defaults; `arm`: with what it adds.
  virtual Json shape(const Arm& arm) const = 0;
  /// Fields of this op alone.
  virtual void extend(Json& record, const Arm& arm) const = 0;
  Arena arena;
  ByteParts bytes;  ///< useful ones of a step, by what they are for

 protected:
  const Gpu& gpu;
  Random random;
  const reference::Contract contract;
};

std::unique_ptr<Trial> decode_trial(const Gpu& gpu, uint64_t seed, const Kernel& kernel);
std::unique_ptr<Trial> append_trial(const Gpu& gpu, uint64_t seed, const Kernel& kernel);
std::unique_ptr<Trial> encode_trial(const Gpu& gpu, uint64_t seed, const Kernel& kernel);
std::unique_ptr<Trial> unpack_trial(const Gpu& gpu, uint64_t seed, const Kernel& kernel);
std::unique_ptr<Trial> score_trial(const Gpu& gpu, uint64_t seed, const Kernel& kernel);
std::unique_ptr<Trial> select_trial(const Gpu& gpu, uint64_t seed, const Kernel& kernel);
/// The trial of an op, for kernels of the contract of `kernel`, a reference. Throws RequestError for an op that cannot be timed.
std::unique_ptr<Trial> make_trial(const std::string& op, const Gpu& gpu, uint64_t seed, const Json& kernel);

/// Reads "kernel" and "combine" of `json`, and the fields of a launch from `how`.
Arm read_arm(const std::string& op, const Json& json, const Json& how);

inline int64_t total(const ByteParts& bytes) {
  int64_t sum = 0;
  for (const auto& part : bytes) sum += part.second;
  return sum;
}

/// The races of one process: they share the stream, and data that earlier ones left. A sweep comes back to a shape again and again, and making its data takes longer than a race.
class Races {
 public:
  Races(Launcher& launcher, std::string path) : launcher_(launcher), path_(std::move(path)) {}
  const Gpu& gpu();
  /// Steps of several arms, each once a round, in random order.
  Json race(const Json& request);
  /// Frees the data that are kept.
  void forget() { kept_.clear(); }
  /// The arm that was at work when a race failed, or -1; tells once.
  int failed_arm() { return std::exchange(arm_, -1); }

 private:
  /// Data of a shape and a contract, and the arms whose results on them were found right.
  struct Kept {
    std::string key;
    std::unique_ptr<Trial> trial;
    std::set<std::string> right;
  };
  Kept& kept_for(const std::string& op, const Json& request);
  void make_room();
  std::vector<BenchCheck> check_all(Kept& kept, const std::vector<Arm>& arms);
  void at_arm(int index, const Arm& arm, const std::function<void()>& work);
  Launcher& launcher_;
  std::string path_;
  std::unique_ptr<Gpu> gpu_;
  // Kept from race to race: to make either again takes as long as a small race.
  std::unique_ptr<Nvml> nvml_;
  std::unique_ptr<DeviceMemory> filler_;
  std::list<Kept> kept_;  ///< the one that was used last comes first
  std::chrono::steady_clock::time_point ended_{};  ///< of the last race
  int arm_ = -1;
};

}  // namespace runner
