// The requests that measure time (README.md): the device's ceilings, and kernels.
#pragma once
#include "bench_time.h"

namespace runner {

/// Copy and read bandwidth, rate of matrix instructions, clocks.
Json ceilings(const Gpu& gpu, const Json& request);
/// Times one step of op "decode" (decode and combine), "encode", "score", "select" or "unpack".
Json bench(const Gpu& gpu, const Json& request);

Json bench_decode(const Gpu& gpu, const Json& request);
Json bench_encode(const Gpu& gpu, const Json& request);
Json bench_score(const Gpu& gpu, const Json& request);
Json bench_select(const Gpu& gpu, const Json& request);
Json bench_unpack(const Gpu& gpu, const Json& request);

}  // namespace runner
