// The part of cuda.h that the emulated driver implements: types, codes and attribute numbers (CUDA driver API reference, 12.4).
#pragma once
#include <stddef.h>
#include <stdint.h>

#define ANTKV_EMU_API extern "C" __attribute__((visibility("default")))

enum CUresult : int {
  CUDA_SUCCESS = 0,
  CUDA_ERROR_INVALID_VALUE = 1,
  CUDA_ERROR_OUT_OF_MEMORY = 2,
  CUDA_ERROR_NOT_INITIALIZED = 3,
  CUDA_ERROR_INVALID_DEVICE = 101,
  CUDA_ERROR_INVALID_IMAGE = 200,
  CUDA_ERROR_INVALID_CONTEXT = 201,
  CUDA_ERROR_NO_BINARY_FOR_GPU = 209,
  CUDA_ERROR_FILE_NOT_FOUND = 301,
  CUDA_ERROR_OPERATING_SYSTEM = 304,
  CUDA_ERROR_INVALID_HANDLE = 400,
  CUDA_ERROR_NOT_FOUND = 500,
  CUDA_ERROR_ILLEGAL_ADDRESS = 700,
  CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES = 701,
  CUDA_ERROR_MISALIGNED_ADDRESS = 716,
  CUDA_ERROR_LAUNCH_FAILED = 719,
  CUDA_ERROR_NOT_SUPPORTED = 801,
  CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED = 900,
  CUDA_ERROR_STREAM_CAPTURE_INVALIDATED = 901,
  CUDA_ERROR_ILLEGAL_STATE = 401,
  CUDA_ERROR_UNKNOWN = 999,
};

using CUdevice = int;
using CUdeviceptr = unsigned long long;
struct CUctx_st;
struct CUmod_st;
struct CUfunc_st;
struct CUlib_st;
struct CUkern_st;
struct CUstream_st;
struct CUevent_st;
struct CUgraph_st;
struct CUgraphExec_st;
using CUcontext = CUctx_st*;
using CUmodule = CUmod_st*;
using CUfunction = CUfunc_st*;
using CUlibrary = CUlib_st*;
using CUkernel = CUkern_st*;
using CUstream = CUstream_st*;
using CUevent = CUevent_st*;
using CUgraph = CUgraph_st*;
using CUgraphExec = CUgraphExec_st*;
struct CUuuid {
  char bytes[16];
};

// CUdevice_attribute
enum : int {
  ATTR_MAX_THREADS_PER_BLOCK = 1, ATTR_MAX_BLOCK_X = 2, ATTR_MAX_BLOCK_Y = 3, ATTR_MAX_BLOCK_Z = 4,
  ATTR_MAX_GRID_X = 5, ATTR_MAX_GRID_Y = 6, ATTR_MAX_GRID_Z = 7, ATTR_SHARED_PER_BLOCK = 8, ATTR_CONSTANT_MEMORY = 9,
  ATTR_WARP_SIZE = 10, ATTR_MAX_PITCH = 11, ATTR_REGISTERS_PER_BLOCK = 12, ATTR_CLOCK_KHZ = 13, ATTR_SM_COUNT = 16,
  ATTR_INTEGRATED = 18, ATTR_COMPUTE_MODE = 20, ATTR_CONCURRENT_KERNELS = 31, ATTR_ECC = 32, ATTR_PCI_BUS = 33, ATTR_PCI_DEVICE = 34,
  ATTR_MEMORY_KHZ = 36, ATTR_BUS_BITS = 37, ATTR_L2_BYTES = 38, ATTR_THREADS_PER_SM = 39, ATTR_ASYNC_ENGINES = 40,
  ATTR_UNIFIED_ADDRESSING = 41, ATTR_CC_MAJOR = 75, ATTR_CC_MINOR = 76, ATTR_SHARED_PER_SM = 81, ATTR_REGISTERS_PER_SM = 82,
  ATTR_COOPERATIVE_LAUNCH = 95, ATTR_SHARED_OPTIN = 97, ATTR_BLOCKS_PER_SM = 106, ATTR_SHARED_RESERVED = 111,
};

// CUfunction_attribute
enum : int {
  FUNC_MAX_THREADS = 0, FUNC_STATIC_SHARED = 1, FUNC_CONST = 2, FUNC_LOCAL = 3, FUNC_REGISTERS = 4, FUNC_PTX_VERSION = 5,
  FUNC_BINARY_VERSION = 6, FUNC_CACHE_MODE_CA = 7, FUNC_MAX_DYNAMIC_SHARED = 8, FUNC_CARVEOUT = 9,
};

// cuLaunchKernel's `extra`
inline void* const LAUNCH_PARAM_END = nullptr;
inline void* const LAUNCH_PARAM_BUFFER_POINTER = reinterpret_cast<void*>(1);
inline void* const LAUNCH_PARAM_BUFFER_SIZE = reinterpret_cast<void*>(2);
