// A libcuda.so.1 that does nothing but write each call that loads or launches to stdout: what antkv_load.h asks of a driver, seen from outside.
// Environment: FAKE_CC (80), FAKE_SMS (108), FAKE_L2, FAKE_BUS, FAKE_KHZ (0), FAKE_RESIDENT (2 blocks per SM), FAKE_PARAMS (bytes that cuFuncGetParamInfo says; unset: the call fails),
// FAKE_FAIL="call:code" makes that call fail, FAKE_CURRENT=1: the thread has a foreign context of the device, 2: one of another device.
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void* current = NULL;
static char primary, foreign;
static int number(const char* name, int otherwise) { return getenv(name) ? atoi(getenv(name)) : otherwise; }
static int result(const char* call) {
  const char* fail = getenv("FAKE_FAIL");
  const size_t size = strlen(call);
  return fail && strncmp(fail, call, size) == 0 && fail[size] == ':' ? atoi(fail + size + 1) : 0;
}
static const char* context_name(const void* c) { return c == &primary ? "primary" : c == &foreign ? "foreign" : "none"; }

int cuInit(unsigned flags) { return current = number("FAKE_CURRENT", 0) ? &foreign : NULL, (int)flags + result("cuInit"); }
int cuGetErrorName(int code, const char** name) { return *name = code == 222 ? "CUDA_ERROR_UNSUPPORTED_PTX_VERSION" : NULL, 0; }
int cuGetErrorString(int code, const char** text) { return (void)code, *text = NULL, 0; }
int cuDeviceGet(int* device, int ordinal) { return *device = ordinal, ordinal > 1 ? 101 : 0; }
int cuDeviceGetAttribute(int* value, int attribute, int device) {
  const int cc = number("FAKE_CC", 80);
  (void)device;
  *value = attribute == 16 ? number("FAKE_SMS", 108) : attribute == 75 ? cc / 10 : attribute == 76 ? cc % 10 : attribute == 97 ? number("FAKE_SHARED", 232448) : 0;
  if (attribute == 38) *value = number("FAKE_L2", 0);
  if (attribute == 37) *value = number("FAKE_BUS", 0);
  if (attribute == 36) *value = number("FAKE_KHZ", 0);
  return 0;
}
int cuDevicePrimaryCtxRetain(void** context, int device) { return (void)device, *context = &primary, puts("retain"), 0; }
int cuDevicePrimaryCtxRelease_v2(int device) { return (void)device, puts("release"), 0; }
int cuCtxGetCurrent(void** context) { return *context = current, 0; }
int cuCtxSetCurrent(void* context) { return current = context, printf("set %s\n", context_name(context)), 0; }
int cuCtxPushCurrent_v2(void* context) { return current = context, printf("push %s\n", context_name(context)), 0; }
int cuCtxPopCurrent_v2(void** context) { return *context = current, current = &foreign, puts("pop"), 0; }
int cuCtxGetDevice(int* device) { return *device = number("FAKE_CURRENT", 0) == 2 ? 1 : 0, 0; }
int cuModuleLoad(void** module, const char* path) { return *module = &primary, printf("load %s\n", strrchr(path, '/') + 1), result("cuModuleLoad"); }
int cuModuleUnload(void* module) { return (void)module, puts("unload"), 0; }
int cuModuleGetFunction(void** function, void* module, const char* name) { return (void)module, *function = &primary, printf("function %s\n", name), result("cuModuleGetFunction"); }
int cuFuncGetAttribute(int* value, int attribute, void* function) { return (void)function, *value = attribute == 0 ? number("FAKE_THREADS", 1024) : 0, 0; }
int cuFuncSetAttribute(void* function, int attribute, int value) { return (void)function, printf("attribute %d = %d\n", attribute, value), result("cuFuncSetAttribute"); }
#ifndef FAKE_OLD
int cuOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, void* function, int threads, size_t shared) {
  return (void)function, (void)threads, (void)shared, *blocks = number("FAKE_RESIDENT", 2), 0;
}
#endif
int cuFuncGetParamInfo(void* function, size_t index, size_t* offset, size_t* size) {
  (void)function, (void)index;
  return *offset = 0, *size = (size_t)number("FAKE_PARAMS", 0), *size ? 0 : 1;
}
int cuLaunchKernel(void* f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz, unsigned shared, void* stream, void** params, void** extra) {
  (void)f, (void)extra;
  printf("launch (%u, %u, %u) (%u, %u, %u) shared %u stream %u abi %u in %s\n", gx, gy, gz, bx, by, bz, shared, (unsigned)(uintptr_t)stream, ((uint32_t*)params[0])[1], context_name(current));
  return result("cuLaunchKernel");
}
