// What the checks of all ops share: running twice, measuring differences, the record.
#pragma once
#include <algorithm>
#include <functional>

#include "kernel.h"
#include "random.h"

namespace runner {

/// Differences between what a kernel wrote and what the reference says.
class Agreement {
 public:
  /// A row of outputs: its relative L2 error counts towards rel_l2 (the worst row stands), its largest difference towards max_abs.
  /// A reference row of zeros must come out as zeros.
  void row(const double* got, const double* want, int count) {
    double error = 0, size = 0;
    for (int i = 0; i < count; i++) {
      if (!std::isfinite(got[i])) {
        bad_values++;
        return;
      }
      error += (got[i] - want[i]) * (got[i] - want[i]);
      size += want[i] * want[i];
      max_abs = std::max(max_abs, std::fabs(got[i] - want[i]));
    }
    if (size > 0) rel_l2 = std::max(rel_l2, std::sqrt(error / size));
    else if (error > 0) bad_values++;
  }
  /// A natural log-sum-exp or score: error relative to max(1, |want|); -inf must come out as -inf.
  void logarithm(double got, double want) {
    if (std::isinf(want) || std::isnan(got)) bad_values += !(got == want);
    else lse_err = std::max(lse_err, std::fabs(got - want) / std::max(1.0, std::fabs(want)));
  }
  double rel_l2 = 0, max_abs = 0, lse_err = 0;
  int64_t bad_values = 0;  ///< NaN, or something where there must be nothing
};

/// The outcome of one check on its way to a record line.
class Report {
 public:
  Report(const std::string& op, const Json& request) : op_(op), poison_(request.boolean("poison", true)) {}
  std::vector<std::string> faults;  ///< anything but the differences below; one is enough to fail
  Agreement agreement;
  double ms = 0;
  bool bit_equal = true;
  double rel_l2_tolerance = 4e-3, lse_tolerance = 2e-3;
  Json extra = Json::object();  ///< fields of this op alone

  /// Allows attention what rounding to bf16, 2^-9 where halves have 2^-11, does to the output and to the weights of exact rows.
  void expect_rounding(reference::Element element) {
    if (element == reference::Element::bf16) rel_l2_tolerance *= 2;
  }
  void read_tolerance(const Json& request) {
    if (!request.has("tolerance")) return;
    rel_l2_tolerance = request.at("tolerance").number("rel_l2", rel_l2_tolerance);
    lse_tolerance = request.at("tolerance").number("lse", lse_tolerance);
  }
  /// Uploads, launches and downloads twice; both results must be equal bit for bit.
  void run_twice(Memory& memory, const std::function<double()>& launch) {
    memory.poison = poison_;
    memory.upload();
    ms = launch();
    memory.download(faults);
    std::vector<std::vector<uint8_t>> first;
    for (const Buffer& b : memory.buffers()) first.push_back(b.result);
    memory.upload();
    launch();
    std::vector<std::string> same;
    memory.download(same);
    size_t i = 0;
    for (const Buffer& b : memory.buffers()) {
      if (b.result == first[i++]) continue;
      bit_equal = false;
      faults.push_back("two runs wrote different bits to " + b.name);
    }
  }
  void fault_unless(bool condition, const std::string& what) {
    if (!condition) faults.push_back(what);
  }
  Json record(const Driver& driver) const;

 private:
  std::string op_;
  bool poison_;
};

// One check per op: reads the request, returns the record.
Json check_decode(Launcher& launcher, const Json& request);
Json check_combine(Launcher& launcher, const Json& request);
Json check_encode(Launcher& launcher, const Json& request);
Json check_append(Launcher& launcher, const Json& request);
Json check_score(Launcher& launcher, const Json& request);
Json check_select(Launcher& launcher, const Json& request);
Json check_unpack(Launcher& launcher, const Json& request);
Json check_kmeans(Launcher& launcher, const Json& request);
/// The second half of a check of unpack that has a score kernel: scores of the rows that unpack wrote, `decoded` the reference's. Writes what it finds to `report`.
void check_rescore(Launcher& launcher, const Kernel& score, Random& random, const antkv_unpack_params& unpack, const Buffer& rows, const std::vector<double>& decoded, Report& report);
/// The demo's request (attend.cc).
Json attend(Launcher& launcher, const Json& request);
/// The life of a cache (life.cc).
class Gpu;
Json life(const Gpu& gpu, const Json& request);

}  // namespace runner
