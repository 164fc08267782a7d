// Timing a step on a GPU: cold L2, replays of CUDA graphs, events around each.
#pragma once
#include "bench_gpu.h"

namespace runner {

/// Microseconds: median, p10, p90, min. `times` must not be empty.
Json spread(std::vector<double> times);
double median(std::vector<double> times);

struct Timing {
  std::vector<double> us;   ///< one per sample: a single replay, launch of its graph included
  double b2b_us = 0;        ///< of one step among `b2b_steps` in one graph, median of a few replays
  int b2b_steps = 0;
  Json clock_begin, clock_end;  ///< SM clock in MHz, or null
};

/// How many copies of a step's data it takes so that none of it is in L2 when its turn comes: together they exceed 3 times the L2.
/// `bytes` is what one step touches. At most 4096; at most 3 on the emulator, where caches are not modelled.
int copies_for(const Gpu& gpu, int64_t bytes);

/// Times `step`, whose launches on copy i of the data are step(i): warm-up, then `samples` replays over the copies in turn, then back-to-back ones.
/// All samples are enqueued behind work that keeps the GPU busy meanwhile, so that no time of the CPU is measured. Throws DriverError.
Timing time_step(const Gpu& gpu, const Nvml& nvml, int copies, int samples, const std::function<std::vector<Launch>(int)>& step);

}  // namespace runner
