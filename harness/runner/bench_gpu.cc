// Streams, events, graphs, images, memory and clocks for timing.
#include "bench_gpu.h"

#include <dlfcn.h>

#include <cstdio>
#include <fstream>
#include <iterator>

namespace runner {

Gpu::Gpu(Launcher& launcher, const std::string& path) : launcher(launcher), driver(launcher.driver), library_(dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL)) {
  if (!library_) throw DriverError("no CUDA driver: " + std::string(dlerror()), true);
  const auto find = [&](auto& function, const char* symbol, bool required = true) {
    function = reinterpret_cast<std::decay_t<decltype(function)>>(dlsym(library_, symbol));
    if (required && !function) throw DriverError(path + " has no " + symbol + ": not a CUDA driver of version 11 or newer", true);
  };
  find(cuMemGetInfo, "cuMemGetInfo_v2");
  find(cuMemcpyDtoDAsync, "cuMemcpyDtoDAsync_v2");
  find(cuMemsetD8Async, "cuMemsetD8Async");
  find(cuStreamCreate, "cuStreamCreate");
  find(cuStreamDestroy, "cuStreamDestroy_v2");
  find(cuStreamSynchronize, "cuStreamSynchronize");
  find(cuEventCreate, "cuEventCreate");
  find(cuEventRecord, "cuEventRecord");
  find(cuEventSynchronize, "cuEventSynchronize");
  find(cuEventElapsedTime, "cuEventElapsedTime");
  find(cuEventDestroy, "cuEventDestroy_v2");
  find(cuStreamBeginCapture, "cuStreamBeginCapture_v2", false);
  find(cuStreamEndCapture, "cuStreamEndCapture", false);
  find(cuGraphInstantiateWithFlags, "cuGraphInstantiateWithFlags", false);
  find(cuGraphLaunch, "cuGraphLaunch", false);
  find(cuGraphExecDestroy, "cuGraphExecDestroy", false);
  find(cuGraphDestroy, "cuGraphDestroy", false);
  find(cuDeviceGetPCIBusId, "cuDeviceGetPCIBusId", false);
  // A stream that waits for the default stream, on which cuMemcpyHtoD and DtoH run: no order between them needs care.
  check(cuStreamCreate(&stream_, 0), "cuStreamCreate");
}

Gpu::~Gpu() {
  if (stream_) {
    // Nothing that the stream still runs may outlive its memory; after an error the call fails, and that is all right.
    cuStreamSynchronize(stream_);
    cuStreamDestroy(stream_);
  }
  dlclose(library_);
}

size_t Gpu::free_memory() const {
  size_t free_bytes = 0, total = 0;
  check(cuMemGetInfo(&free_bytes, &total), "cuMemGetInfo");
  return free_bytes;
}

void Gpu::copy(CUdeviceptr to, CUdeviceptr from, size_t bytes) const {
  if (bytes) check(cuMemcpyDtoDAsync(to, from, bytes, stream_), "cuMemcpyDtoDAsync of " + std::to_string(bytes) + " B");
}

void Gpu::fill(CUdeviceptr to, uint8_t value, size_t bytes) const {
  if (bytes) check(cuMemsetD8Async(to, value, bytes, stream_), "cuMemsetD8Async of " + std::to_string(bytes) + " B");
}

std::string gigabytes(size_t bytes) {
  char text[32];
  std::snprintf(text, sizeof text, "%.2f GB", double(bytes) * 1e-9);
  return text;
}

namespace {
RequestError too_little(size_t bytes, size_t free_bytes, const std::string& what) {
  return RequestError(what + " needs " + gigabytes(bytes) + " of device memory, the device has " + gigabytes(free_bytes) + " free; ask for a smaller shape");
}
}  // namespace

void require_memory(const Gpu& gpu, size_t bytes, const std::string& what) {
  const size_t free_bytes = gpu.free_memory();
  if (bytes > free_bytes) throw too_little(bytes, free_bytes, what);
}

DeviceMemory::DeviceMemory(const Gpu& gpu, size_t bytes, const std::string& what) : gpu_(gpu), bytes_(bytes ? bytes : 1) {
  require_memory(gpu, bytes_, what);
  const CUresult result = gpu.driver.cuMemAlloc(&base_, bytes_);
  if (result == 2) throw too_little(bytes_, gpu.free_memory(), what);  // CUDA_ERROR_OUT_OF_MEMORY: what is free may be in pieces
  gpu.check(result, "cuMemAlloc of " + std::to_string(bytes_) + " B");
}

double Event::since(const Event& start) const {
  gpu_.check(gpu_.cuEventSynchronize(event_), "cuEventSynchronize");
  float milliseconds = 0;
  gpu_.check(gpu_.cuEventElapsedTime(&milliseconds, start.event_, event_), "cuEventElapsedTime");
  return double(milliseconds) * 1e3;
}

Image::Image(const Gpu& gpu, const std::string& path) : gpu_(gpu) {
  std::ifstream file(path, std::ios::binary);
  const std::string bytes{std::istreambuf_iterator<char>(file), {}};
  if (!file) throw RequestError("cannot read the image " + path);
  gpu.check(gpu.driver.cuModuleLoadData(&module_, bytes.c_str()), "cuModuleLoadData(" + path + ")");
}

CUfunction Image::function(const std::string& name) const {
  CUfunction function = nullptr;
  gpu_.check(gpu_.driver.cuModuleGetFunction(&function, module_, name.c_str()), "cuModuleGetFunction(" + name + ")");
  return function;
}

void enqueue(const Gpu& gpu, const Launch& l) {
  void* arguments[] = {const_cast<uint8_t*>(l.params.data())};
  const CUresult result = gpu.driver.cuLaunchKernel(l.function, unsigned(l.grid.x), unsigned(l.grid.y), unsigned(l.grid.z), unsigned(l.threads), 1, 1, unsigned(l.shared),
                                                    gpu.stream(), arguments, nullptr);
  gpu.check(result, "cuLaunchKernel(" + l.name + ")");
}

Replay::Replay(const Gpu& gpu, std::vector<Launch> launches) : gpu_(gpu), launches_(std::move(launches)) {
  if (!gpu.graphs()) return;
  gpu.check(gpu.cuStreamBeginCapture(gpu.stream(), 1), "cuStreamBeginCapture");  // 1: thread local
  try {
    for (const Launch& launch : launches_) enqueue(gpu, launch);
  } catch (...) {
    // A stream that is left capturing could do nothing else.
    if (gpu.cuStreamEndCapture(gpu.stream(), &graph_) == 0 && graph_) gpu.cuGraphDestroy(graph_);
    throw;
  }
  gpu.check(gpu.cuStreamEndCapture(gpu.stream(), &graph_), "cuStreamEndCapture");
  const CUresult result = gpu.cuGraphInstantiateWithFlags(&executable_, graph_, 0);
  if (result != 0) gpu.cuGraphDestroy(graph_);
  gpu.check(result, "cuGraphInstantiateWithFlags");
}

Replay::~Replay() {
  if (executable_) gpu_.cuGraphExecDestroy(executable_);
  if (graph_) gpu_.cuGraphDestroy(graph_);
}

void Replay::run() const {
  if (executable_) return gpu_.check(gpu_.cuGraphLaunch(executable_, gpu_.stream()), "cuGraphLaunch(" + launches_.front().name + ")");
  for (const Launch& launch : launches_) enqueue(gpu_, launch);
}

template <class F>
F Nvml::find(const char* symbol) const {
  return reinterpret_cast<F>(dlsym(library_, symbol));
}

Nvml::Nvml(const Gpu& gpu) {
  // The emulator is no device that NVML could know.
  if (gpu.driver.emulated() || !gpu.cuDeviceGetPCIBusId) return;
  library_ = dlopen("libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL);
  if (!library_) return;
  const auto init = find<int (*)()>("nvmlInit_v2");
  const auto by_bus = find<int (*)(const char*, Device*)>("nvmlDeviceGetHandleByPciBusId_v2");
  char bus[32] = "";
  // By PCI bus: CUDA_VISIBLE_DEVICES renumbers devices for CUDA, not for NVML.
  if (!init || !by_bus || init() != 0 || gpu.cuDeviceGetPCIBusId(bus, sizeof bus, gpu.driver.device()) != 0 || by_bus(bus, &device_) != 0) device_ = nullptr;
}

Nvml::~Nvml() {
  if (!library_) return;
  if (const auto shutdown = find<int (*)()>("nvmlShutdown")) shutdown();
  dlclose(library_);
}

Json Nvml::number(const char* symbol, unsigned kind, double unit) const {
  unsigned value = 0;
  // Power takes no kind; the others do.
  if (kind == ~0u) {
    const auto ask = find<int (*)(Device, unsigned*)>(symbol);
    return ask && ask(device_, &value) == 0 ? Json(value * unit) : Json();
  }
  const auto ask = find<int (*)(Device, unsigned, unsigned*)>(symbol);
  return ask && ask(device_, kind, &value) == 0 ? Json(value * unit) : Json();
}

Json Nvml::sm_clock() const { return device_ ? number("nvmlDeviceGetClockInfo", 1, 1) : Json(); }

Json Nvml::clocks() const {
  if (!device_) return Json();
  Json clocks = Json::object().set("sm_mhz", sm_clock()).set("memory_mhz", number("nvmlDeviceGetClockInfo", 2, 1));
  return clocks.set("power_w", number("nvmlDeviceGetPowerUsage", ~0u, 1e-3)).set("temperature_c", number("nvmlDeviceGetTemperature", 0, 1));
}

Json Nvml::celsius() const { return device_ ? number("nvmlDeviceGetTemperature", 0, 1) : Json(); }

Json Nvml::power_limit() const { return device_ ? number("nvmlDeviceGetEnforcedPowerLimit", ~0u, 1e-3) : Json(); }

Json Nvml::uuid() const {
  char text[96] = "";
  if (!device_) return Json();
  const auto ask = find<int (*)(Device, char*, unsigned)>("nvmlDeviceGetUUID");
  return ask && ask(device_, text, sizeof text) == 0 ? Json(text) : Json();
}

Json Nvml::driver_version() const {
  char text[96] = "";
  if (!device_) return Json();
  const auto ask = find<int (*)(char*, unsigned)>("nvmlSystemGetDriverVersion");
  return ask && ask(text, sizeof text) == 0 ? Json(text) : Json();
}

}  // namespace runner
