// Opening the driver and reporting its errors.
#include "driver.h"

#include <dlfcn.h>

namespace runner {

Driver::Driver(const std::string& path) : library_(dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL)) {
  if (!library_) throw DriverError("no CUDA driver: " + std::string(dlerror()) + "; install one, or use the emulated one (--device emulated)", true);
  const auto find = [&](auto& function, const char* symbol, bool required = true) {
    function = reinterpret_cast<std::decay_t<decltype(function)>>(dlsym(library_, symbol));
    if (required && !function) throw DriverError(path + " has no " + symbol + ": not a CUDA driver of version 11 or newer", true);
  };
  find(cuInit, "cuInit");
  find(cuGetErrorName, "cuGetErrorName");
  find(cuGetErrorString, "cuGetErrorString");
  find(cuDriverGetVersion, "cuDriverGetVersion");
  find(cuDeviceGetCount, "cuDeviceGetCount");
  find(cuDeviceGet, "cuDeviceGet");
  find(cuDeviceGetName, "cuDeviceGetName");
  find(cuDeviceGetAttribute, "cuDeviceGetAttribute");
  find(cuDeviceTotalMem, "cuDeviceTotalMem_v2");
  find(cuDevicePrimaryCtxRetain, "cuDevicePrimaryCtxRetain");
  find(cuCtxSetCurrent, "cuCtxSetCurrent");
  find(cuCtxSynchronize, "cuCtxSynchronize");
  find(cuModuleLoadData, "cuModuleLoadData");
  find(cuModuleUnload, "cuModuleUnload");
  find(cuModuleGetFunction, "cuModuleGetFunction");
  find(cuFuncGetAttribute, "cuFuncGetAttribute");
  find(cuFuncSetAttribute, "cuFuncSetAttribute");
  find(cuLaunchKernel, "cuLaunchKernel");
  find(cuMemAlloc, "cuMemAlloc_v2");
  find(cuMemFree, "cuMemFree_v2");
  find(cuMemcpyHtoD, "cuMemcpyHtoD_v2");
  find(cuMemcpyDtoH, "cuMemcpyDtoH_v2");
  find(cuFuncGetParamInfo, "cuFuncGetParamInfo", false);
  find(emu_last_report, "antkv_emu_last_report", false);
  find(emu_counters, "antkv_emu_counters", false);
  find(emu_set, "antkv_emu_set", false);

  check(cuInit(0), "cuInit");
  int count = 0;
  check(cuDeviceGetCount(&count), "cuDeviceGetCount");
  if (count == 0) throw DriverError("the driver " + path + " sees no device", true);
  check(cuDeviceGet(&device_, 0), "cuDeviceGet");
  check(cuDevicePrimaryCtxRetain(&context_, device_), "cuDevicePrimaryCtxRetain");
  check(cuCtxSetCurrent(context_), "cuCtxSetCurrent");
}

void Driver::check(CUresult result, const std::string& call) const {
  if (result == 0) return;
  const char *name = nullptr, *text = nullptr;
  cuGetErrorName(result, &name);
  cuGetErrorString(result, &text);
  std::string message = call + ": " + (name ? name : "error " + std::to_string(result)) + (text ? std::string(" (") + text + ")" : "");
  const char* report = emu_last_report ? emu_last_report() : nullptr;
  if (report && *report) message += "\n" + std::string(report);
  // Errors from 700 to 720 (illegal address, launch timeout, assert, launch failure ...) leave a real context unusable.
  throw DriverError(message, !emulated() && result >= 700 && result <= 720);
}

int Driver::attribute(int which) const {
  int value = 0;
  check(cuDeviceGetAttribute(&value, which, device_), "cuDeviceGetAttribute");
  return value;
}

}  // namespace runner
