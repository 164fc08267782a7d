// Modules, libraries, kernels and launches of the emulated driver.
#include <string.h>

#include <algorithm>

#include "context.h"
#include "image.h"
#include "launch.h"
#include "report.h"

using namespace antkv_emu;

namespace {

Kernel* kernel_of(CUfunction f) { return reinterpret_cast<Kernel*>(f); }
LoadedImage* image_of(CUmodule m) { return reinterpret_cast<LoadedImage*>(m); }
LoadedImage* image_of(CUlibrary l) { return reinterpret_cast<LoadedImage*>(l); }
int shared_limit() { return settings.shared_limit ? int(settings.shared_limit) : arch().shared_optin; }

CUresult load(const void* bytes, LoadedImage** made) {
  if (!bytes) return CUDA_ERROR_INVALID_VALUE;
  if (const CUresult bad = not_while_capturing("loading a module")) return bad;
  return load_image(bytes, made);
}
CUresult load_file(const char* path, LoadedImage** made) {
  if (!path) return CUDA_ERROR_INVALID_VALUE;
  if (const CUresult bad = not_while_capturing("loading a module")) return bad;
  return load_image_file(path, made);
}
template <class Handle>
CUresult give(CUresult loaded, LoadedImage* const& made, Handle* out) {
  if (!loaded) *out = reinterpret_cast<Handle>(made);
  return loaded;
}
CUresult need_kernel(const Kernel* k) { return known_kernel(k) ? CUDA_SUCCESS : fail(CUDA_ERROR_INVALID_HANDLE, "bad-handle: the kernel's image is not loaded"); }

/// The parameter struct out of cuLaunchKernel's two ways to pass it.
CUresult take_params(const Kernel& k, void** params, void** extra, std::vector<unsigned char>& out) {
  const uint32_t want = k.image->params_bytes;
  if (params && extra) return fail(CUDA_ERROR_INVALID_VALUE, "bad-launch: kernelParams and extra are both given");
  const void* from = params ? params[0] : nullptr;
  size_t size = want;
  for (int i = 0; extra && extra[i] != LAUNCH_PARAM_END; i += 2) {
    if (extra[i] == LAUNCH_PARAM_BUFFER_POINTER) from = extra[i + 1];
    if (extra[i] == LAUNCH_PARAM_BUFFER_SIZE) size = *static_cast<const size_t*>(extra[i + 1]);
  }
  if (!from) return fail(CUDA_ERROR_INVALID_VALUE, "bad-launch: no kernel parameters");
  if (size != want) return fail(CUDA_ERROR_INVALID_VALUE, text("bad-launch: %zu bytes of parameters, the kernel takes %u; is the struct from another antkv.h?", size, want));
  out.resize(want);
  memcpy(out.data(), from, want);
  return CUDA_SUCCESS;
}

CUresult check_limits(const Kernel& k, const LaunchRequest& r) {
  const unsigned long long threads = 1ull * r.block[0] * r.block[1] * r.block[2];
  for (int i = 0; i < 3; i++) {
    if (!r.grid[i] || !r.block[i]) return fail(CUDA_ERROR_INVALID_VALUE, "bad-launch: a grid or block dimension is 0");
    if (r.grid[i] > (i ? unsigned(kMaxGridYZ) : 2147483647u)) {
      return fail(CUDA_ERROR_INVALID_VALUE, text("bad-launch: grid.%c is %u; at most %u", "xyz"[i], r.grid[i], i ? unsigned(kMaxGridYZ) : 2147483647u));
    }
  }
  if (threads > kMaxThreads) return fail(CUDA_ERROR_INVALID_VALUE, text("thread-limit: %llu threads per block; at most %d", threads, kMaxThreads));
  if (r.block[1] > 1 || r.block[2] > 1) return fail(CUDA_ERROR_NOT_SUPPORTED, "bad-launch: antkv kernels have one-dimensional blocks (thread_index is threadIdx.x)");
  if (int(r.shared_bytes) > shared_limit()) {
    return fail(CUDA_ERROR_INVALID_VALUE, text("shared-limit: %u bytes of dynamic shared memory; sm_%d has at most %d per block", r.shared_bytes, arch().cc, shared_limit()));
  }
  if (int(r.shared_bytes) > std::max(k.shared_optin, kSharedDefault)) {
    return fail(CUDA_ERROR_INVALID_VALUE, text("shared-optin: %u bytes of dynamic shared memory without opt-in; call cuFuncSetAttribute(kernel, "
                                               "CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, %u) first", r.shared_bytes, r.shared_bytes));
  }
  return CUDA_SUCCESS;
}

CUresult set_attribute(Kernel* k, int attribute, int value) {
  if (const CUresult bad = need_kernel(k)) return bad;
  if (attribute == FUNC_CARVEOUT) return CUDA_SUCCESS;
  if (attribute != FUNC_MAX_DYNAMIC_SHARED) return fail(CUDA_ERROR_INVALID_VALUE, text("bad-attribute: function attribute %d cannot be set", attribute));
  if (value < 0 || value > shared_limit()) {
    return fail(CUDA_ERROR_INVALID_VALUE, text("shared-limit: opt-in to %d bytes; sm_%d has at most %d per block", value, arch().cc, shared_limit()));
  }
  k->shared_optin = value;
  return CUDA_SUCCESS;
}

}  // namespace

ANTKV_EMU_API CUresult cuModuleLoadData(CUmodule* out, const void* bytes) {
  ANTKV_ENTER;
  LoadedImage* made = nullptr;
  return out ? give(load(bytes, &made), made, out) : CUDA_ERROR_INVALID_VALUE;
}
ANTKV_EMU_API CUresult cuModuleLoadDataEx(CUmodule* out, const void* bytes, unsigned, int*, void**) { return cuModuleLoadData(out, bytes); }
ANTKV_EMU_API CUresult cuModuleLoadFatBinary(CUmodule* out, const void* bytes) { return cuModuleLoadData(out, bytes); }
ANTKV_EMU_API CUresult cuModuleLoad(CUmodule* out, const char* path) {
  ANTKV_ENTER;
  LoadedImage* made = nullptr;
  return out ? give(load_file(path, &made), made, out) : CUDA_ERROR_INVALID_VALUE;
}
ANTKV_EMU_API CUresult cuModuleUnload(CUmodule m) {
  ANTKV_ENTER;
  return unload_image(image_of(m));
}
ANTKV_EMU_API CUresult cuModuleGetFunction(CUfunction* out, CUmodule m, const char* name) {
  ANTKV_ENTER;
  if (!out || !name) return CUDA_ERROR_INVALID_VALUE;
  Kernel* k = nullptr;
  const CUresult bad = find_kernel(image_of(m), name, &k);
  if (!bad) *out = reinterpret_cast<CUfunction>(k);
  return bad;
}

ANTKV_EMU_API CUresult cuLibraryLoadData(CUlibrary* out, const void* bytes, void*, void**, unsigned, void*, void**, unsigned) {
  ANTKV_ENTER;
  LoadedImage* made = nullptr;
  return out ? give(load(bytes, &made), made, out) : CUDA_ERROR_INVALID_VALUE;
}
ANTKV_EMU_API CUresult cuLibraryLoadFromFile(CUlibrary* out, const char* path, void*, void**, unsigned, void*, void**, unsigned) {
  ANTKV_ENTER;
  LoadedImage* made = nullptr;
  return out ? give(load_file(path, &made), made, out) : CUDA_ERROR_INVALID_VALUE;
}
ANTKV_EMU_API CUresult cuLibraryUnload(CUlibrary l) {
  ANTKV_ENTER;
  return unload_image(image_of(l));
}
ANTKV_EMU_API CUresult cuLibraryGetKernel(CUkernel* out, CUlibrary l, const char* name) {
  ANTKV_ENTER;
  if (!out || !name) return CUDA_ERROR_INVALID_VALUE;
  Kernel* k = nullptr;
  const CUresult bad = find_kernel(image_of(l), name, &k);
  if (!bad) *out = reinterpret_cast<CUkernel>(k);
  return bad;
}
ANTKV_EMU_API CUresult cuKernelGetFunction(CUfunction* out, CUkernel k) {
  ANTKV_ENTER;
  if (!out) return CUDA_ERROR_INVALID_VALUE;
  *out = reinterpret_cast<CUfunction>(k);
  return need_kernel(kernel_of(*out));
}

ANTKV_EMU_API CUresult cuFuncSetAttribute(CUfunction f, int attribute, int value) {
  ANTKV_ENTER;
  return set_attribute(kernel_of(f), attribute, value);
}
ANTKV_EMU_API CUresult cuKernelSetAttribute(int attribute, int value, CUkernel k, CUdevice d) {
  ANTKV_ENTER;
  return d ? CUDA_ERROR_INVALID_DEVICE : set_attribute(reinterpret_cast<Kernel*>(k), attribute, value);
}
ANTKV_EMU_API CUresult cuFuncGetAttribute(int* value, int attribute, CUfunction f) {
  ANTKV_ENTER;
  if (!value) return CUDA_ERROR_INVALID_VALUE;
  const Kernel* k = kernel_of(f);
  if (const CUresult bad = need_kernel(k)) return bad;
  switch (attribute) {
    case FUNC_MAX_THREADS: *value = kMaxThreads; return CUDA_SUCCESS;
    case FUNC_MAX_DYNAMIC_SHARED: *value = k->shared_optin ? k->shared_optin : kSharedDefault; return CUDA_SUCCESS;
    case FUNC_PTX_VERSION: case FUNC_BINARY_VERSION: *value = arch().cc; return CUDA_SUCCESS;
    case FUNC_STATIC_SHARED: case FUNC_CONST: case FUNC_LOCAL: case FUNC_REGISTERS: case FUNC_CACHE_MODE_CA: case FUNC_CARVEOUT:
      *value = 0;  // unknown to a host compiler
      return CUDA_SUCCESS;
    default: return fail(CUDA_ERROR_INVALID_VALUE, text("bad-attribute: function attribute %d", attribute));
  }
}

ANTKV_EMU_API CUresult cuLaunchKernel(CUfunction f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz, unsigned shared_bytes,
                                      CUstream stream, void** params, void** extra) {
  ANTKV_ENTER;
  clear_report();
  Kernel* k = kernel_of(f);
  if (const CUresult bad = need_kernel(k)) return bad;
  LaunchRequest r{k->image, k->image->name, {gx, gy, gz}, {bx, by, bz}, shared_bytes, {}};
  if (const CUresult bad = check_limits(*k, r)) return bad;
  if (const CUresult bad = take_params(*k, params, extra, r.params)) return bad;
  return enqueue(stream, [k, r = std::move(r)] {
    const CUresult bad = need_kernel(k);  // a graph may outlive its module
    return bad ? bad : run_launch(r);
  });
}

/// From threads and shared memory alone: registers are unknown here.
ANTKV_EMU_API CUresult cuOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, CUfunction f, int threads, size_t shared_bytes) {
  ANTKV_ENTER;
  if (!blocks || threads <= 0 || threads > kMaxThreads) return CUDA_ERROR_INVALID_VALUE;
  if (const CUresult bad = need_kernel(kernel_of(f))) return bad;
  const Arch& a = arch();
  const int whole = (threads + kWarp - 1) / kWarp * kWarp;
  const int by_shared = int(size_t(a.shared_per_sm) / (shared_bytes + kSharedReserved));
  *blocks = int(shared_bytes) > shared_limit() ? 0 : std::min({a.threads_per_sm / whole, by_shared, a.blocks_per_sm});
  return CUDA_SUCCESS;
}
