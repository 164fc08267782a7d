// ceilings: what the device can do at most, so that times of kernels can be read as parts of it.
#include <algorithm>

#include "bench.h"
#include "random.h"

namespace runner {
namespace {

// As in harness/bench/ceilings.cu.
struct ReadParams {
  CUdeviceptr from;
  uint64_t tiles;
  CUdeviceptr sums;
};
struct MmaParams {
  CUdeviceptr out;
  int32_t iterations;
};
constexpr int kLoads = 8, kSums = 1024, kTiles = 8;

template <class P>
std::vector<uint8_t> bytes_of(const P& params) {
  const auto* bytes = reinterpret_cast<const uint8_t*>(&params);
  return std::vector<uint8_t>(bytes, bytes + sizeof params);
}

/// Microseconds of each of `count` runs of `work`. All are enqueued at once, behind one that is not counted: the CPU's time to launch is hidden.
std::vector<double> times_of(const Gpu& gpu, int count, const std::function<void()>& work) {
  std::vector<std::unique_ptr<Event>> events;
  for (int i = 0; i <= count; i++) events.push_back(std::make_unique<Event>(gpu));
  work();
  events[0]->record();
  for (int i = 1; i <= count; i++) {
    work();
    events[i]->record();
  }
  std::vector<double> times;
  for (int i = 1; i <= count; i++) times.push_back(events[i]->since(*events[i - 1]));
  return times;
}

/// Random words in the first `bytes`, by copies of one block; returns the sum of all words mod 2^32.
uint32_t fill_random(const Gpu& gpu, CUdeviceptr to, size_t bytes, size_t block) {
  Random random(1);
  std::vector<uint64_t> words(block / 8);
  uint32_t sum = 0;
  for (auto& w : words) {
    w = random.bits();
    sum += uint32_t(w) + uint32_t(w >> 32);
  }
  gpu.check(gpu.driver.cuMemcpyHtoD(to, words.data(), block), "cuMemcpyHtoD");
  for (size_t done = block; done < bytes; done += block) gpu.copy(to + done, to, block);
  return sum * uint32_t(bytes / block);
}

Json copy_bandwidth(const Gpu& gpu, CUdeviceptr to, CUdeviceptr from, size_t bytes, int samples) {
  const std::vector<double> times = times_of(gpu, samples, [&] { gpu.copy(to, from, bytes); });
  return Json::object().set("bytes", uint64_t(2 * bytes)).set("us", spread(times)).set("gbps", 2e-3 * double(bytes) / median(times));
}

/// Several ways to cut the same bytes into CTAs; the fastest counts.
Json read_bandwidth(const Gpu& gpu, const Image& image, CUdeviceptr from, size_t bytes, uint32_t sum, int samples) {
  const CUfunction function = image.function("antkv_ceiling_read");
  const int64_t sms = gpu.driver.attribute(kAttributeMultiprocessors);
  const DeviceMemory sums(gpu, kSums * 4, "the read bandwidth");
  Json best;
  double least = INFINITY;
  for (const auto& [threads, per_sm] : {std::pair{256, 8}, {256, 0}, {512, 4}, {512, 0}, {1024, 2}, {1024, 0}}) {
    const int64_t tiles = int64_t(bytes / (size_t(threads) * kLoads * 16));
    // 0: one CTA per tile, dealt out by the hardware
    const int64_t ctas = std::min(per_sm ? per_sm * sms : tiles, tiles);
    const Replay replay(gpu, {{"antkv_ceiling_read", function, {ctas, 1, 1}, threads, 0, bytes_of(ReadParams{from, uint64_t(tiles), sums.at()})}});
    gpu.fill(sums.at(), 0, kSums * 4);
    replay.run();
    gpu.synchronize();
    uint32_t got[kSums], total = 0;
    gpu.check(gpu.driver.cuMemcpyDtoH(got, sums.at(), sizeof got), "cuMemcpyDtoH");
    for (uint32_t part : got) total += part;
    if (total != sum) throw DriverError("antkv_ceiling_read did not read every word: its image is not of harness/bench/ceilings.cu as it is now", false);
    const std::vector<double> times = times_of(gpu, samples, [&] { replay.run(); });
    if (median(times) >= least) continue;
    least = median(times);
    best = Json::object().set("bytes", uint64_t(bytes)).set("us", spread(times)).set("gbps", 1e-3 * double(bytes) / least).set("threads", threads).set("ctas", ctas);
  }
  return best;
}

Json mma_rate(const Gpu& gpu, const Image& image, const Nvml& nvml, int samples) {
  const CUfunction function = image.function("antkv_ceiling_mma");
  const int64_t sms = gpu.driver.attribute(kAttributeMultiprocessors);
  constexpr int kThreads = 256, kMostPerSm = 4, kIterations = 16384;
  std::vector<float> results(size_t(sms) * kMostPerSm * kThreads);
  const DeviceMemory out(gpu, results.size() * 4, "the rate of matrix instructions");
  Json best;
  double most = 0;
  for (int per_sm = 1; per_sm <= kMostPerSm; per_sm *= 2) {
    const Replay replay(gpu, {{"antkv_ceiling_mma", function, {sms * per_sm, 1, 1}, kThreads, 0, bytes_of(MmaParams{out.at(), kIterations})}});
    gpu.fill(out.at(), 0xff, results.size() * 4);
    const std::vector<double> times = times_of(gpu, samples, [&] { replay.run(); });
    const size_t count = size_t(sms) * per_sm * kThreads;
    gpu.check(gpu.driver.cuMemcpyDtoH(results.data(), out.at(), count * 4), "cuMemcpyDtoH");
    // Exact in fp32: 4 elements of each accumulator, 16 per instruction.
    const float want = float(kTiles * 4) * 16 * kIterations;
    if (!std::all_of(results.begin(), results.begin() + int64_t(count), [&](float x) { return x == want; })) throw DriverError("antkv_ceiling_mma gave a wrong sum", false);
    const double flop = 2.0 * 16 * 8 * 16 * kTiles * kIterations * double(sms) * per_sm * (kThreads / 32);
    const double tflops = flop / median(times) * 1e-6;
    if (tflops <= most) continue;
    most = tflops;
    best = Json::object().set("tflops", tflops).set("us", spread(times)).set("ctas_per_sm", per_sm).set("threads", kThreads).set("clocks", nvml.clocks());
  }
  return best;
}

/// A CTA of 512 threads on each SM that does nothing, timed as the steps of bench are: what of a small step is its launch.
Json launch_time(const Gpu& gpu, const Image& image, const Nvml& nvml, int samples) {
  const CUfunction function = image.function("antkv_ceiling_launch");
  const Timing timing = time_step(gpu, nvml, 16, samples, [&](int) {
    return std::vector<Launch>{{"antkv_ceiling_launch", function, {gpu.driver.attribute(kAttributeMultiprocessors), 1, 1}, 512, 0, bytes_of(int32_t(0))}};
  });
  return Json::object().set("us", spread(timing.us)).set("b2b_us", timing.b2b_us);
}

}  // namespace

Json ceilings(const Gpu& gpu, const Json& request) {
  const Driver& driver = gpu.driver;
  const bool emulated = driver.emulated();
  const std::string path = request.string("image", "");
  const int samples = int(request.integer("samples", emulated ? 2 : 20));
  if (samples < 1 || samples > 1000) throw RequestError("samples must be 1 to 1000");
  request.refuse_unread();
  const Nvml nvml(gpu);
  Json record = Json::object();
  char name[256] = "";
  int version = 0;
  size_t memory = 0;
  gpu.check(driver.cuDeviceGetName(name, sizeof name, driver.device()), "cuDeviceGetName");
  gpu.check(driver.cuDriverGetVersion(&version), "cuDriverGetVersion");
  gpu.check(driver.cuDeviceTotalMem(&memory, driver.device()), "cuDeviceTotalMem");
  record.set("device", name).set("emulated", emulated).set("cc", driver.attribute(kAttributeComputeMajor) * 10 + driver.attribute(kAttributeComputeMinor));
  record.set("multiprocessors", driver.attribute(kAttributeMultiprocessors)).set("l2_bytes", gpu.l2_bytes()).set("memory_bytes", uint64_t(memory));
  record.set("driver_version", version).set("driver", nvml.driver_version()).set("clocks_idle", nvml.clocks());

  const size_t block = emulated ? kMiB : 64 * kMiB, bytes = emulated ? 2 * kMiB : 4096 * kMiB;
  const DeviceMemory data(gpu, bytes, "the ceilings");
  const uint32_t sum = fill_random(gpu, data.at(), bytes, block);
  record.set("copy", copy_bandwidth(gpu, data.at() + bytes / 2, data.at(), bytes / 2, samples));
  if (path.empty()) return record.set("read", Json()).set("mma", Json()).set("launch", Json()).set("clocks_busy", nvml.clocks());
  const Image image(gpu, path);
  // The copy wrote the same repeated block over the second half, so the sum still holds.
  record.set("read", read_bandwidth(gpu, image, data.at(), bytes, sum, samples));
  record.set("mma", mma_rate(gpu, image, nvml, samples));
  record.set("launch", launch_time(gpu, image, nvml, samples));
  return record.set("clocks_busy", nvml.clocks());
}

}  // namespace runner
