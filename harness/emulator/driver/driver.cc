// cuInit, devices, contexts, errors, entry points by name, and the emulator's own exports.
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

#include "context.h"
#include "counters.h"
#include "launch.h"
#include "memory.h"
#include "report.h"

namespace antkv_emu {
namespace {

const Arch* device = nullptr;
int retained = 0;
char primary_context;  // only its address matters
CUcontext primary() { return reinterpret_cast<CUcontext>(&primary_context); }
thread_local std::vector<CUcontext> contexts;

CUresult need_init() { return device ? CUDA_SUCCESS : fail(CUDA_ERROR_NOT_INITIALIZED, "not-initialised: call cuInit(0) first"); }
CUresult need_device(CUdevice d) {
  if (const CUresult bad = need_init()) return bad;
  return d ? fail(CUDA_ERROR_INVALID_DEVICE, text("bad-device: device %d of 1", d)) : CUDA_SUCCESS;
}

bool set(const char* key, long long value) {
  struct Key {
    const char* name;
    long long Settings::*field;
  };
  constexpr Key kKeys[] = {{"order", &Settings::order}, {"race", &Settings::race}, {"counters", &Settings::counters}, {"smem_limit", &Settings::shared_limit},
                           {"warp_order", &Settings::warp_order}};
  for (const Key& k : kKeys) {
    if (strcmp(k.name, key)) continue;
    settings.*k.field = value;
    return true;
  }
  return false;
}

}  // namespace

std::recursive_mutex& driver_lock() {
  static std::recursive_mutex lock;
  return lock;
}
const Arch& arch() { return *device; }
bool initialised() { return device != nullptr; }

CUresult initialise() {
  if (device) return CUDA_SUCCESS;
  const Arch* chosen = chosen_arch();
  if (!chosen) return fail(CUDA_ERROR_INVALID_VALUE, text("bad-arch: ANTKV_EMU_ARCH=%s; choose 80, 86, 89 or 90", getenv("ANTKV_EMU_ARCH")));
  if (!reserve_memory()) return fail(CUDA_ERROR_OUT_OF_MEMORY, "out-of-memory: cannot reserve 272 GiB of addresses; is there a limit on virtual memory (ulimit -v)?");
  const char* const kEnvironment[][2] = {{"ANTKV_EMU_ORDER", "order"}, {"ANTKV_EMU_RACE", "race"}, {"ANTKV_EMU_COUNTERS", "counters"}, {"ANTKV_EMU_WARP_ORDER", "warp_order"}};
  for (const auto& [variable, key] : kEnvironment) {
    if (const char* value = getenv(variable)) set(key, atoll(value));
  }
  device = chosen;
  return CUDA_SUCCESS;
}

CUresult need_context() {
  if (const CUresult bad = need_init()) return bad;
  return contexts.empty() || !contexts.back() ? fail(CUDA_ERROR_INVALID_CONTEXT, "no-context: this thread has none; call cuDevicePrimaryCtxRetain and cuCtxSetCurrent")
                                              : CUDA_SUCCESS;
}

}  // namespace antkv_emu

using namespace antkv_emu;
#define ANTKV_DEVICE(d)                                        \
  std::lock_guard<std::recursive_mutex> hold(driver_lock());   \
  if (const CUresult bad_device = need_device(d)) return bad_device

ANTKV_EMU_API CUresult cuInit(unsigned flags) {
  std::lock_guard<std::recursive_mutex> hold(driver_lock());
  return flags ? CUDA_ERROR_INVALID_VALUE : initialise();
}
ANTKV_EMU_API CUresult cuDriverGetVersion(int* version) {
  if (!version) return CUDA_ERROR_INVALID_VALUE;
  *version = 12040;
  return CUDA_SUCCESS;
}
ANTKV_EMU_API CUresult cuDeviceGetCount(int* count) {
  ANTKV_DEVICE(0);
  if (!count) return CUDA_ERROR_INVALID_VALUE;
  *count = 1;
  return CUDA_SUCCESS;
}
ANTKV_EMU_API CUresult cuDeviceGet(CUdevice* d, int ordinal) {
  ANTKV_DEVICE(ordinal);
  if (!d) return CUDA_ERROR_INVALID_VALUE;
  *d = 0;
  return CUDA_SUCCESS;
}
ANTKV_EMU_API CUresult cuDeviceGetName(char* name, int bytes, CUdevice d) {
  ANTKV_DEVICE(d);
  if (!name || bytes <= 0) return CUDA_ERROR_INVALID_VALUE;
  strncpy(name, "antkv emulator", size_t(bytes));
  name[bytes - 1] = 0;
  return CUDA_SUCCESS;
}
ANTKV_EMU_API CUresult cuDeviceGetUuid_v2(CUuuid* uuid, CUdevice d) {
  ANTKV_DEVICE(d);
  if (!uuid) return CUDA_ERROR_INVALID_VALUE;
  memcpy(uuid->bytes, "antkv emulator  ", 16);
  return CUDA_SUCCESS;
}
ANTKV_EMU_API CUresult cuDeviceGetUuid(CUuuid* uuid, CUdevice d) { return cuDeviceGetUuid_v2(uuid, d); }
ANTKV_EMU_API CUresult cuDeviceTotalMem_v2(size_t* bytes, CUdevice d) {
  ANTKV_DEVICE(d);
  if (!bytes) return CUDA_ERROR_INVALID_VALUE;
  *bytes = total_memory();
  return CUDA_SUCCESS;
}
ANTKV_EMU_API CUresult cuDeviceGetAttribute(int* value, int attribute, CUdevice d) {
  ANTKV_DEVICE(d);
  if (!value) return CUDA_ERROR_INVALID_VALUE;
  const Arch& a = arch();
  auto number = [&]() -> int {
    switch (attribute) {
      case ATTR_MAX_THREADS_PER_BLOCK: case ATTR_MAX_BLOCK_X: case ATTR_MAX_BLOCK_Y: return kMaxThreads;
      case ATTR_MAX_BLOCK_Z: return 64;
      case ATTR_MAX_GRID_X: return 2147483647;
      case ATTR_MAX_GRID_Y: case ATTR_MAX_GRID_Z: return kMaxGridYZ;
      case ATTR_SHARED_PER_BLOCK: return kSharedDefault;
      case ATTR_CONSTANT_MEMORY: return 64 << 10;
      case ATTR_WARP_SIZE: return kWarp;
      case ATTR_MAX_PITCH: return 2147483647;
      case ATTR_REGISTERS_PER_BLOCK: case ATTR_REGISTERS_PER_SM: return 64 << 10;
      case ATTR_CLOCK_KHZ: return a.clock_khz;
      case ATTR_SM_COUNT: return a.sms;
      case ATTR_CONCURRENT_KERNELS: case ATTR_UNIFIED_ADDRESSING: return 1;
      case ATTR_MEMORY_KHZ: return a.memory_khz;
      case ATTR_BUS_BITS: return a.bus_bits;
      case ATTR_L2_BYTES: return a.l2_bytes;
      case ATTR_THREADS_PER_SM: return a.threads_per_sm;
      case ATTR_CC_MAJOR: return a.cc / 10;
      case ATTR_CC_MINOR: return a.cc % 10;
      case ATTR_SHARED_PER_SM: return a.shared_per_sm;
      case ATTR_SHARED_OPTIN: return settings.shared_limit ? int(settings.shared_limit) : a.shared_optin;
      case ATTR_BLOCKS_PER_SM: return a.blocks_per_sm;
      case ATTR_SHARED_RESERVED: return kSharedReserved;
      default: return 0;  // features that the emulator lacks: cooperative launch, managed memory, …
    }
  };
  if (attribute < 1 || attribute > 150) return fail(CUDA_ERROR_INVALID_VALUE, text("bad-attribute: device attribute %d", attribute));
  *value = number();
  return CUDA_SUCCESS;
}

ANTKV_EMU_API CUresult cuDevicePrimaryCtxRetain(CUcontext* context, CUdevice d) {
  ANTKV_DEVICE(d);
  if (!context) return CUDA_ERROR_INVALID_VALUE;
  retained++;
  *context = primary();
  return CUDA_SUCCESS;
}
ANTKV_EMU_API CUresult cuDevicePrimaryCtxRelease_v2(CUdevice d) {
  ANTKV_DEVICE(d);
  if (!retained) return fail(CUDA_ERROR_INVALID_CONTEXT, "bad-release: the primary context was released more often than retained");
  retained--;
  return CUDA_SUCCESS;
}
ANTKV_EMU_API CUresult cuDevicePrimaryCtxRelease(CUdevice d) { return cuDevicePrimaryCtxRelease_v2(d); }
ANTKV_EMU_API CUresult cuCtxSetCurrent(CUcontext context) {
  ANTKV_DEVICE(0);
  if (context && (context != primary() || !retained)) return fail(CUDA_ERROR_INVALID_CONTEXT, "bad-context: not a retained context");
  if (contexts.empty()) contexts.push_back(nullptr);
  contexts.back() = context;
  return CUDA_SUCCESS;
}
ANTKV_EMU_API CUresult cuCtxGetCurrent(CUcontext* context) {
  ANTKV_DEVICE(0);
  if (!context) return CUDA_ERROR_INVALID_VALUE;
  *context = contexts.empty() ? nullptr : contexts.back();
  return CUDA_SUCCESS;
}
ANTKV_EMU_API CUresult cuCtxPushCurrent_v2(CUcontext context) {
  ANTKV_DEVICE(0);
  if (context != primary() || !retained) return fail(CUDA_ERROR_INVALID_CONTEXT, "bad-context: not a retained context");
  contexts.push_back(context);
  return CUDA_SUCCESS;
}
ANTKV_EMU_API CUresult cuCtxPopCurrent_v2(CUcontext* context) {
  ANTKV_ENTER;
  if (context) *context = contexts.back();
  contexts.pop_back();
  return CUDA_SUCCESS;
}
ANTKV_EMU_API CUresult cuCtxGetDevice(CUdevice* d) {
  ANTKV_ENTER;
  if (!d) return CUDA_ERROR_INVALID_VALUE;
  *d = 0;
  return CUDA_SUCCESS;
}
ANTKV_EMU_API CUresult cuCtxSynchronize() {
  ANTKV_ENTER;
  return not_while_capturing("cuCtxSynchronize");
}

namespace {
struct ErrorName {
  CUresult code;
  const char *name, *what;
};
constexpr ErrorName kErrors[] = {
    {CUDA_SUCCESS, "CUDA_SUCCESS", "no error"},
    {CUDA_ERROR_INVALID_VALUE, "CUDA_ERROR_INVALID_VALUE", "invalid argument"},
    {CUDA_ERROR_OUT_OF_MEMORY, "CUDA_ERROR_OUT_OF_MEMORY", "out of memory"},
    {CUDA_ERROR_NOT_INITIALIZED, "CUDA_ERROR_NOT_INITIALIZED", "initialization error"},
    {CUDA_ERROR_INVALID_DEVICE, "CUDA_ERROR_INVALID_DEVICE", "invalid device ordinal"},
    {CUDA_ERROR_INVALID_IMAGE, "CUDA_ERROR_INVALID_IMAGE", "device kernel image is invalid"},
    {CUDA_ERROR_INVALID_CONTEXT, "CUDA_ERROR_INVALID_CONTEXT", "invalid device context"},
    {CUDA_ERROR_NO_BINARY_FOR_GPU, "CUDA_ERROR_NO_BINARY_FOR_GPU", "no kernel image is available for execution on the device"},
    {CUDA_ERROR_FILE_NOT_FOUND, "CUDA_ERROR_FILE_NOT_FOUND", "file not found"},
    {CUDA_ERROR_OPERATING_SYSTEM, "CUDA_ERROR_OPERATING_SYSTEM", "OS call failed or operation not supported on this OS"},
    {CUDA_ERROR_INVALID_HANDLE, "CUDA_ERROR_INVALID_HANDLE", "invalid resource handle"},
    {CUDA_ERROR_ILLEGAL_STATE, "CUDA_ERROR_ILLEGAL_STATE", "the operation cannot be performed in the present state"},
    {CUDA_ERROR_NOT_FOUND, "CUDA_ERROR_NOT_FOUND", "named symbol not found"},
    {CUDA_ERROR_ILLEGAL_ADDRESS, "CUDA_ERROR_ILLEGAL_ADDRESS", "an illegal memory access was encountered"},
    {CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES, "CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES", "too many resources requested for launch"},
    {CUDA_ERROR_MISALIGNED_ADDRESS, "CUDA_ERROR_MISALIGNED_ADDRESS", "misaligned address"},
    {CUDA_ERROR_LAUNCH_FAILED, "CUDA_ERROR_LAUNCH_FAILED", "unspecified launch failure"},
    {CUDA_ERROR_NOT_SUPPORTED, "CUDA_ERROR_NOT_SUPPORTED", "operation not supported"},
    {CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED", "operation not permitted when stream is capturing"},
    {CUDA_ERROR_STREAM_CAPTURE_INVALIDATED, "CUDA_ERROR_STREAM_CAPTURE_INVALIDATED", "operation failed due to a previous error during capture"},
    {CUDA_ERROR_UNKNOWN, "CUDA_ERROR_UNKNOWN", "unknown error"},
};
const ErrorName* find_error(CUresult code) {
  for (const ErrorName& e : kErrors) {
    if (e.code == code) return &e;
  }
  return nullptr;
}
}  // namespace

ANTKV_EMU_API CUresult cuGetErrorName(CUresult code, const char** name) {
  const ErrorName* e = find_error(code);
  if (name) *name = e ? e->name : nullptr;
  return e && name ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}
ANTKV_EMU_API CUresult cuGetErrorString(CUresult code, const char** what) {
  const ErrorName* e = find_error(code);
  if (what) *what = e ? e->what : nullptr;
  return e && what ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

/// Base names give the newest version of a call, as with the real driver ("cuMemAlloc": cuMemAlloc_v2).
ANTKV_EMU_API CUresult cuGetProcAddress_v2(const char* symbol, void** found, int, uint64_t, int* status) {
  if (!symbol || !found) return CUDA_ERROR_INVALID_VALUE;
  Dl_info self;
  void* library = dladdr(reinterpret_cast<void*>(&cuInit), &self) ? dlopen(self.dli_fname, RTLD_NOW | RTLD_NOLOAD) : nullptr;
  *found = library ? dlsym(library, (std::string(symbol) + "_v2").c_str()) : nullptr;
  if (library && !*found) *found = dlsym(library, symbol);
  if (library) dlclose(library);
  if (status) *status = *found ? 0 : 1;
  return *found ? CUDA_SUCCESS : fail(CUDA_ERROR_NOT_FOUND, text("not-found: the emulated driver has no %s", symbol));
}
ANTKV_EMU_API CUresult cuGetProcAddress(const char* symbol, void** found, int version, uint64_t flags) {
  return cuGetProcAddress_v2(symbol, found, version, flags, nullptr);
}

/// Text of the last failure, launch or other call, or "".
ANTKV_EMU_API const char* antkv_emu_last_report() { return last_report().c_str(); }
/// JSON of the last launch that ran with "counters" 1 (README.md).
ANTKV_EMU_API const char* antkv_emu_counters() { return counters_json().c_str(); }
/// Settings of README.md; an unknown key goes to the last report.
ANTKV_EMU_API void antkv_emu_set(const char* key, long long value) {
  std::lock_guard<std::recursive_mutex> hold(driver_lock());
  if (!key || !set(key, value)) fail(CUDA_ERROR_INVALID_VALUE, text("bad-setting: antkv_emu_set has no \"%s\"; it has order, race, counters, smem_limit, warp_order", key ? key : ""));
}
