// The timing core of bench.
#include "bench_time.h"

#include <algorithm>
#include <chrono>
#include <cmath>

namespace runner {
namespace {

/// The value below which `part` of the sorted times lie, between neighbours by proportion.
double quantile(const std::vector<double>& sorted, double part) {
  const double at = part * double(sorted.size() - 1);
  const size_t low = size_t(at), high = std::min(low + 1, sorted.size() - 1);
  return sorted[low] + (at - double(low)) * (sorted[high] - sorted[low]);
}

constexpr double kWarmSeconds = 0.05;    // for clocks and lazily loaded code
constexpr double kBackToBackUs = 2e5;    // that one graph of back-to-back steps may take
constexpr int kUntimed = 2;              // replays between the filler and the first sample

}  // namespace

Json spread(std::vector<double> times) {
  std::sort(times.begin(), times.end());
  return Json::object().set("median", quantile(times, 0.5)).set("p10", quantile(times, 0.1)).set("p90", quantile(times, 0.9)).set("min", times.front());
}

double median(std::vector<double> times) {
  std::sort(times.begin(), times.end());
  return quantile(times, 0.5);
}

int copies_for(const Gpu& gpu, int64_t bytes) {
  const int64_t wanted = ceil_div(3 * int64_t(gpu.l2_bytes()) + 1, std::max<int64_t>(1, bytes));
  return int(std::clamp<int64_t>(wanted, 1, gpu.driver.emulated() ? 3 : 4096));
}

Timing time_step(const Gpu& gpu, const Nvml& nvml, int copies, int samples, const std::function<std::vector<Launch>(int)>& step) {
  const bool emulated = gpu.driver.emulated();
  // First without a graph: what fails then is one kernel, by name, and no code is loaded while a stream is captured.
  for (const Launch& launch : step(0)) {
    enqueue(gpu, launch);
    gpu.check(gpu.cuStreamSynchronize(gpu.stream()), "cuStreamSynchronize after " + launch.name);
  }
  std::vector<std::unique_ptr<Replay>> replays;
  for (int i = 0; i < copies; i++) replays.push_back(std::make_unique<Replay>(gpu, step(i)));
  const auto start = std::chrono::steady_clock::now();
  do {
    for (const auto& replay : replays) replay->run();
    gpu.synchronize();
  } while (!emulated && std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() < kWarmSeconds);

  Timing timing;
  timing.clock_begin = nvml.sm_clock();
  std::vector<std::unique_ptr<Event>> events;
  for (int i = 0; i < 2 * samples; i++) events.push_back(std::make_unique<Event>(gpu));
  {
    // Copies of 64 MiB take some 30 us each, about what enqueuing one sample takes the CPU.
    const size_t bytes = emulated ? 4096 : 64 * kMiB;
    DeviceMemory filler(gpu, 2 * bytes, "the time measurement");
    for (int i = 0; i < samples; i++) gpu.copy(filler.at(), filler.at() + bytes, bytes);
    int turn = 0;
    // The first replays meet what the copies left dirty in L2.
    for (int i = 0; i < (emulated ? 0 : kUntimed); i++) replays[turn++ % copies]->run();
    for (int i = 0; i < samples; i++) {
      events[2 * i]->record();
      replays[turn++ % copies]->run();
      events[2 * i + 1]->record();
    }
    timing.clock_end = nvml.sm_clock();
    gpu.synchronize();
  }
  for (int i = 0; i < samples; i++) timing.us.push_back(events[2 * i + 1]->since(*events[2 * i]));

  // Whole rounds over the copies, so that every step finds L2 cold here too; at least 16 steps if that does not take too long.
  const double one = std::max(0.1, median(timing.us));
  const int fit = int(std::clamp(kBackToBackUs / one, 1.0, 16.0));
  timing.b2b_steps = int(emulated ? copies : copies * ceil_div(fit, copies));
  std::vector<Launch> launches;
  for (int i = 0; i < timing.b2b_steps; i++) {
    for (Launch& launch : step(i % copies)) launches.push_back(std::move(launch));
  }
  const Replay together(gpu, std::move(launches));
  if (!emulated) together.run();
  std::vector<double> rounds;
  for (int i = 0; i < (emulated ? 1 : 5); i++) {
    Event before(gpu), after(gpu);
    before.record();
    together.run();
    after.record();
    rounds.push_back(after.since(before) / timing.b2b_steps);
  }
  timing.b2b_us = median(rounds);
  return timing;
}

}  // namespace runner
