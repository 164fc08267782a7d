// The requests that measure time (README.md): the device's ceilings, and kernels.
#pragma once
#include "bench_arena.h"
#include "bench_time.h"
#include "check.h"
#include "random.h"

namespace runner {

/// Copy and read bandwidth, rate of matrix instructions, clocks.
Json ceilings(const Gpu& gpu, const Json& request);
/// Times one step of op "decode" (decode and combine), "encode", "score", "select" or "unpack".
Json bench(const Gpu& gpu, const Json& request);

Json bench_decode(const Gpu& gpu, const Json& request);
Json bench_encode(const Gpu& gpu, const Json& request);
Json bench_unpack(const Gpu& gpu, const Json& request);
Json bench_score(const Gpu& gpu, const Json& request);
Json bench_select(const Gpu& gpu, const Json& request);

/// What one measurement found out about the results, beside the time.
struct BenchCheck {
  std::string kind;                  ///< README.md, "bench"
  std::vector<std::string> faults;   ///< one is enough to fail
  Json detail = Json::object();
  void fault_unless(bool condition, const std::string& what) {
    if (!condition) faults.push_back(what);
  }
};

/// The fields and the record that all ops share.
class Bench {
 public:
  /// Reads "samples" and "seed".
  Bench(const Gpu& gpu, const Json& request);
  /// Times step(copy) over the copies of `arena`, then asks `check`. `bytes` by what they are for; together they are the useful bytes.
  Json run(const Kernel& kernel, const Json& shape, const Arena& arena, const std::vector<std::pair<const char*, int64_t>>& bytes,
           const std::function<std::vector<Launch>(int)>& step, const std::function<void(BenchCheck&)>& check);
  Random random;

 private:
  const Gpu& gpu_;
  int samples_;
};

inline int64_t total(const std::vector<std::pair<const char*, int64_t>>& bytes) {
  int64_t sum = 0;
  for (const auto& part : bytes) sum += part.second;
  return sum;
}

}  // namespace runner
