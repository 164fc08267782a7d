// Memory calls of the emulated driver.
#include <string.h>

#include "context.h"
#include "memory.h"
#include "report.h"

using namespace antkv_emu;

namespace {

/// INVALID_VALUE unless the range lies in one live allocation; empty ranges are always good.
CUresult need(CUdeviceptr p, size_t bytes, const char* call) {
  if (!bytes || owned(p, bytes)) return CUDA_SUCCESS;
  return fail(CUDA_ERROR_INVALID_VALUE, text("%s; %s of %zu bytes", explain(p, bytes).c_str(), call, bytes));
}
CUresult need_host(const void* p, size_t bytes, const char* call) {
  if (!bytes || (p && !in_arena(uintptr_t(p)))) return CUDA_SUCCESS;
  return fail(CUDA_ERROR_INVALID_VALUE, text("bad-host-pointer: %p is %s; %s of %zu bytes", p, p ? "device memory" : "null", call, bytes));
}

template <class T>
CUresult fill(CUdeviceptr to, T value, size_t n, const char* call) {
  if (to % sizeof(T)) return fail(CUDA_ERROR_INVALID_VALUE, text("misaligned: %#llx; %s", to, call));
  if (const CUresult bad = need(to, n * sizeof(T), call)) return bad;
  for (size_t i = 0; i < n; i++) memcpy(reinterpret_cast<char*>(to) + i * sizeof(T), &value, sizeof(T));
  return CUDA_SUCCESS;
}

CUresult to_device(CUdeviceptr to, const void* from, size_t bytes) {
  if (const CUresult bad = need(to, bytes, "cuMemcpyHtoD (destination)")) return bad;
  if (const CUresult bad = need_host(from, bytes, "cuMemcpyHtoD (source)")) return bad;
  if (bytes) memcpy(reinterpret_cast<void*>(to), from, bytes);
  return CUDA_SUCCESS;
}
CUresult to_host(void* to, CUdeviceptr from, size_t bytes) {
  if (const CUresult bad = need(from, bytes, "cuMemcpyDtoH (source)")) return bad;
  if (const CUresult bad = need_host(to, bytes, "cuMemcpyDtoH (destination)")) return bad;
  if (bytes) memcpy(to, reinterpret_cast<const void*>(from), bytes);
  return CUDA_SUCCESS;
}
CUresult on_device(CUdeviceptr to, CUdeviceptr from, size_t bytes) {
  if (const CUresult bad = need(to, bytes, "cuMemcpyDtoD (destination)")) return bad;
  if (const CUresult bad = need(from, bytes, "cuMemcpyDtoD (source)")) return bad;
  if (bytes) memmove(reinterpret_cast<void*>(to), reinterpret_cast<const void*>(from), bytes);
  return CUDA_SUCCESS;
}

}  // namespace

ANTKV_EMU_API CUresult cuMemAlloc_v2(CUdeviceptr* out, size_t bytes) {
  ANTKV_ENTER;
  if (!out) return CUDA_ERROR_INVALID_VALUE;
  if (const CUresult bad = not_while_capturing("cuMemAlloc")) return bad;
  return allocate(bytes, out);
}
ANTKV_EMU_API CUresult cuMemFree_v2(CUdeviceptr p) {
  ANTKV_ENTER;
  if (const CUresult bad = not_while_capturing("cuMemFree")) return bad;
  return release(p);
}
ANTKV_EMU_API CUresult cuMemGetInfo_v2(size_t* free_bytes, size_t* total_bytes) {
  ANTKV_ENTER;
  if (!free_bytes || !total_bytes) return CUDA_ERROR_INVALID_VALUE;
  *free_bytes = free_memory();
  *total_bytes = total_memory();
  return CUDA_SUCCESS;
}

ANTKV_EMU_API CUresult cuMemcpyHtoD_v2(CUdeviceptr to, const void* from, size_t bytes) {
  ANTKV_ENTER;
  if (const CUresult bad = not_while_capturing("cuMemcpyHtoD")) return bad;
  return to_device(to, from, bytes);
}
ANTKV_EMU_API CUresult cuMemcpyDtoH_v2(void* to, CUdeviceptr from, size_t bytes) {
  ANTKV_ENTER;
  if (const CUresult bad = not_while_capturing("cuMemcpyDtoH")) return bad;
  return to_host(to, from, bytes);
}
ANTKV_EMU_API CUresult cuMemcpyDtoD_v2(CUdeviceptr to, CUdeviceptr from, size_t bytes) {
  ANTKV_ENTER;
  if (const CUresult bad = not_while_capturing("cuMemcpyDtoD")) return bad;
  return on_device(to, from, bytes);
}
ANTKV_EMU_API CUresult cuMemcpyHtoDAsync_v2(CUdeviceptr to, const void* from, size_t bytes, CUstream stream) {
  ANTKV_ENTER;
  return enqueue(stream, [=] { return to_device(to, from, bytes); });
}
ANTKV_EMU_API CUresult cuMemcpyDtoHAsync_v2(void* to, CUdeviceptr from, size_t bytes, CUstream stream) {
  ANTKV_ENTER;
  return enqueue(stream, [=] { return to_host(to, from, bytes); });
}
ANTKV_EMU_API CUresult cuMemcpyDtoDAsync_v2(CUdeviceptr to, CUdeviceptr from, size_t bytes, CUstream stream) {
  ANTKV_ENTER;
  return enqueue(stream, [=] { return on_device(to, from, bytes); });
}

ANTKV_EMU_API CUresult cuMemsetD8_v2(CUdeviceptr to, unsigned char value, size_t n) {
  ANTKV_ENTER;
  if (const CUresult bad = not_while_capturing("cuMemsetD8")) return bad;
  return fill(to, value, n, "cuMemsetD8");
}
ANTKV_EMU_API CUresult cuMemsetD16_v2(CUdeviceptr to, unsigned short value, size_t n) {
  ANTKV_ENTER;
  if (const CUresult bad = not_while_capturing("cuMemsetD16")) return bad;
  return fill(to, value, n, "cuMemsetD16");
}
ANTKV_EMU_API CUresult cuMemsetD32_v2(CUdeviceptr to, unsigned value, size_t n) {
  ANTKV_ENTER;
  if (const CUresult bad = not_while_capturing("cuMemsetD32")) return bad;
  return fill(to, value, n, "cuMemsetD32");
}
ANTKV_EMU_API CUresult cuMemsetD8Async(CUdeviceptr to, unsigned char value, size_t n, CUstream stream) {
  ANTKV_ENTER;
  return enqueue(stream, [=] { return fill(to, value, n, "cuMemsetD8Async"); });
}
ANTKV_EMU_API CUresult cuMemsetD16Async(CUdeviceptr to, unsigned short value, size_t n, CUstream stream) {
  ANTKV_ENTER;
  return enqueue(stream, [=] { return fill(to, value, n, "cuMemsetD16Async"); });
}
ANTKV_EMU_API CUresult cuMemsetD32Async(CUdeviceptr to, unsigned value, size_t n, CUstream stream) {
  ANTKV_ENTER;
  return enqueue(stream, [=] { return fill(to, value, n, "cuMemsetD32Async"); });
}
