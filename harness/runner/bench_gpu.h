// What timing needs of a GPU beyond driver.h: a stream, events, graphs, images of any function, device memory with a clear refusal, and clocks.
#pragma once
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "kernel.h"

namespace runner {

using CUevent = struct CUevent_st*;
using CUgraph = struct CUgraph_st*;
using CUgraphExec = struct CUgraphExec_st*;

constexpr size_t kMiB = size_t(1) << 20;

/// A device with one stream, on which everything below happens.
class Gpu {
 public:
  /// `path` is the library that the launcher's driver was opened from. Throws DriverError.
  Gpu(Launcher& launcher, const std::string& path);
  Gpu(const Gpu&) = delete;
  ~Gpu();

  Launcher& launcher;
  const Driver& driver;
  CUstream stream() const { return stream_; }
  /// False: the driver has no stream capture, and launches are enqueued one by one.
  bool graphs() const { return cuStreamBeginCapture && cuStreamEndCapture && cuGraphInstantiateWithFlags && cuGraphLaunch; }
  int l2_bytes() const { return driver.attribute(38); }
  size_t free_memory() const;
  void copy(CUdeviceptr to, CUdeviceptr from, size_t bytes) const;
  void fill(CUdeviceptr to, uint8_t value, size_t bytes) const;
  void synchronize() const { driver.check(cuStreamSynchronize(stream_), "cuStreamSynchronize"); }
  /// Throws DriverError, naming `call`, if `result` is no success.
  void check(CUresult result, const std::string& call) const { driver.check(result, call); }

  CUresult (*cuStreamSynchronize)(CUstream);
  CUresult (*cuEventCreate)(CUevent*, unsigned);
  CUresult (*cuEventRecord)(CUevent, CUstream);
  CUresult (*cuEventSynchronize)(CUevent);
  CUresult (*cuEventElapsedTime)(float*, CUevent, CUevent);
  CUresult (*cuEventDestroy)(CUevent);
  // Null where the driver lacks them.
  CUresult (*cuStreamBeginCapture)(CUstream, int);
  CUresult (*cuStreamEndCapture)(CUstream, CUgraph*);
  CUresult (*cuGraphInstantiateWithFlags)(CUgraphExec*, CUgraph, unsigned long long);
  CUresult (*cuGraphLaunch)(CUgraphExec, CUstream);
  CUresult (*cuGraphExecDestroy)(CUgraphExec);
  CUresult (*cuGraphDestroy)(CUgraph);
  CUresult (*cuDeviceGetPCIBusId)(char*, int, CUdevice);

 private:
  CUresult (*cuMemGetInfo)(size_t*, size_t*);
  CUresult (*cuMemcpyDtoDAsync)(CUdeviceptr, CUdeviceptr, size_t, CUstream);
  CUresult (*cuMemsetD8Async)(CUdeviceptr, unsigned char, size_t, CUstream);
  CUresult (*cuStreamCreate)(CUstream*, unsigned);
  CUresult (*cuStreamDestroy)(CUstream);
  void* library_;
  CUstream stream_ = nullptr;
};

/// Bytes as people read them: "12.3 GB".
std::string gigabytes(size_t bytes);

/// Throws RequestError if the device has less than `bytes` free: `what` says what needs them.
void require_memory(const Gpu& gpu, size_t bytes, const std::string& what);

/// Device memory, freed with the object.
class DeviceMemory {
 public:
  /// Throws as require_memory.
  DeviceMemory(const Gpu& gpu, size_t bytes, const std::string& what);
  DeviceMemory(const DeviceMemory&) = delete;
  ~DeviceMemory() { gpu_.driver.cuMemFree(base_); }
  CUdeviceptr at() const { return base_; }
  size_t bytes() const { return bytes_; }

 private:
  const Gpu& gpu_;
  CUdeviceptr base_ = 0;
  size_t bytes_;
};

/// A moment on the stream.
class Event {
 public:
  explicit Event(const Gpu& gpu) : gpu_(gpu) { gpu.check(gpu.cuEventCreate(&event_, 0), "cuEventCreate"); }
  Event(const Event&) = delete;
  ~Event() { gpu_.cuEventDestroy(event_); }
  void record() { gpu_.check(gpu_.cuEventRecord(event_, gpu_.stream()), "cuEventRecord"); }
  /// Microseconds since `start`; waits for this event.
  double since(const Event& start) const;

 private:
  const Gpu& gpu_;
  CUevent event_ = nullptr;
};

/// A loaded fatbin of functions that are no kernels of ours. Unloaded with the object.
class Image {
 public:
  /// Throws RequestError if the file cannot be read, DriverError if the driver refuses it.
  Image(const Gpu& gpu, const std::string& path);
  Image(const Image&) = delete;
  ~Image() { gpu_.driver.cuModuleUnload(module_); }
  CUfunction function(const std::string& name) const;

 private:
  const Gpu& gpu_;
  CUmodule module_ = nullptr;
};

/// One kernel launch, ready to be enqueued any number of times.
struct Launch {
  std::string name;
  CUfunction function;
  Grid grid;
  int threads;
  size_t shared;
  std::vector<uint8_t> params;  ///< the kernel's one argument
};

/// The launch of a kernel with parameter struct `params`. Throws RequestError if antkv_check refuses the struct.
template <class P>
Launch launch_of(const Kernel& kernel, CUfunction function, const P& params) {
  const Grid grid = kernel.grid(&params, sizeof(P));
  const auto* bytes = reinterpret_cast<const uint8_t*>(&params);
  return {kernel.name, function, grid, kernel.threads, kernel.shared, std::vector<uint8_t>(bytes, bytes + sizeof(P))};
}

/// Enqueues one launch.
void enqueue(const Gpu& gpu, const Launch& launch);

/// Launches that run in order as one CUDA graph, or one by one where there are no graphs.
class Replay {
 public:
  Replay(const Gpu& gpu, std::vector<Launch> launches);
  Replay(const Replay&) = delete;
  ~Replay();
  /// Enqueues them once.
  void run() const;

 private:
  const Gpu& gpu_;
  std::vector<Launch> launches_;
  CUgraph graph_ = nullptr;
  CUgraphExec executable_ = nullptr;
};

/// Clocks, power and temperature of the device by NVML, if libnvidia-ml.so.1 is there.
class Nvml {
 public:
  explicit Nvml(const Gpu& gpu);
  Nvml(const Nvml&) = delete;
  ~Nvml();
  /// {sm_mhz, memory_mhz, power_w, temperature_c}, each null if unknown; null without NVML.
  Json clocks() const;
  /// SM clock in MHz, or null.
  Json sm_clock() const;
  /// Temperature of the GPU, or null.
  Json celsius() const;
  /// The most that the device may draw now, in W, or null.
  Json power_limit() const;
  /// "GPU-…", or null.
  Json uuid() const;
  /// The driver's version as users know it, "580.82.07", or null.
  Json driver_version() const;

 private:
  using Device = struct nvmlDevice_st*;
  Json number(const char* symbol, unsigned kind, double unit) const;
  template <class F>
  F find(const char* symbol) const;
  void* library_ = nullptr;
  Device device_ = nullptr;
};

}  // namespace runner
