// The CUDA driver by dlopen: no CUDA headers, so that the runner builds with g++ alone and also drives the emulator, which is a drop-in libcuda.
#pragma once
#include <cstdint>
#include <stdexcept>
#include <string>

namespace runner {

// Types and numbers of cuda.h (CUDA Driver API reference); only what is used.
using CUresult = int;
using CUdevice = int;
using CUdeviceptr = unsigned long long;
using CUcontext = struct CUctx_st*;
using CUmodule = struct CUmod_st*;
using CUfunction = struct CUfunc_st*;
using CUstream = struct CUstream_st*;
enum : int {
  kAttributeMultiprocessors = 16,
  kAttributeMemoryKhz = 36,
  kAttributeBusBits = 37,
  kAttributeComputeMajor = 75,
  kAttributeComputeMinor = 76,
  kAttributeSharedOptin = 97,
  kFunctionMaxThreads = 0,
  kFunctionDynamicShared = 8,
};

/// A driver call failed. `fatal`: the context is lost, and only a new process helps.
struct DriverError : std::runtime_error {
  DriverError(const std::string& message, bool fatal) : std::runtime_error(message), fatal(fatal) {}
  bool fatal;
};

class Driver {
 public:
  /// Opens the driver library at `path` (a soname or a file) and a context on the first device. Throws DriverError.
  explicit Driver(const std::string& path);

  CUresult (*cuDriverGetVersion)(int*);
  CUresult (*cuDeviceGetName)(char*, int, CUdevice);
  CUresult (*cuDeviceGetAttribute)(int*, int, CUdevice);
  CUresult (*cuDeviceTotalMem)(size_t*, CUdevice);
  CUresult (*cuModuleLoadData)(CUmodule*, const void*);
  CUresult (*cuModuleUnload)(CUmodule);
  CUresult (*cuModuleGetFunction)(CUfunction*, CUmodule, const char*);
  CUresult (*cuFuncGetAttribute)(int*, int, CUfunction);
  CUresult (*cuFuncSetAttribute)(CUfunction, int, int);
  CUresult (*cuLaunchKernel)(CUfunction, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, CUstream, void**, void**);
  CUresult (*cuCtxSynchronize)();
  CUresult (*cuMemAlloc)(CUdeviceptr*, size_t);
  CUresult (*cuMemFree)(CUdeviceptr);
  CUresult (*cuMemcpyHtoD)(CUdeviceptr, const void*, size_t);
  CUresult (*cuMemcpyDtoH)(void*, CUdeviceptr, size_t);
  CUresult (*cuFuncGetParamInfo)(CUfunction, size_t, size_t*, size_t*);  ///< since CUDA 12.4; null before

  // The emulator's own, null on a real driver.
  const char* (*emu_last_report)();
  const char* (*emu_counters)();
  void (*emu_set)(const char*, long long);

  bool emulated() const { return emu_last_report != nullptr; }
  CUdevice device() const { return device_; }
  /// Throws DriverError with the call, the error's name and text, and the emulator's report, unless `result` is success.
  void check(CUresult result, const std::string& call) const;
  int attribute(int which) const;

 private:
  void* library_;
  CUdevice device_ = 0;
  CUcontext context_ = nullptr;
  CUresult (*cuInit)(unsigned);
  CUresult (*cuGetErrorName)(CUresult, const char**);
  CUresult (*cuGetErrorString)(CUresult, const char**);
  CUresult (*cuDeviceGetCount)(int*);
  CUresult (*cuDeviceGet)(CUdevice*, int);
  CUresult (*cuDevicePrimaryCtxRetain)(CUcontext*, CUdevice);
  CUresult (*cuCtxSetCurrent)(CUcontext);
};

}  // namespace runner
