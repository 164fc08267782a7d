/* antkv_load.h: finds, loads and launches antkv kernels through the CUDA driver. C11 and C++17, Linux, no CUDA headers; link with -ldl.

   Copy this file and antkv_table.h, put a generated folder (antkv.h, antkv_kernels.h, antkv_launch.h, antkv_tables.h) on the include path and, in exactly one
   source file, write

     #define ANTKV_LOAD_IMPLEMENTATION
     #include "antkv_load.h"

   One decode step (every call returns a status; 0 is success, else antkv_last_error() says what to change):

     antkv_library lib;
     antkv_kernel decode;
     antkv_shape shape = {0};
     size_t o_bytes, lse_bytes, counter_bytes;
     antkv_open(&lib, "generated", 0);                        // the folder, and a CUDA device
     shape.batch = 16, shape.q_heads = 32, shape.kv_heads = 8;
     shape.max_tokens = 131072;                               // bounds, fixed when a graph is captured
     shape.spread = 1;                                        // lengths differ; 0: a sequence's bits never depend on the others; 2: whichever is faster
     antkv_get(&lib, "antkv_decode_d128_k8c8b_v8c8bq8_f16_pre_gain", &shape, &decode);
     antkv_workspace(&decode, &o_bytes, &lse_bytes, &counter_bytes);  // allocate once, one per concurrent stream; fill the counters with 0
     antkv_decode_params p;
     ANTKV_INIT(p);                                           // clears it, sets struct_size and abi_version
     p.splits = decode.splits, p.spread = decode.shape.spread;
     p.counters = ..., p.q = ..., p.pages = ...;              // every field that antkv.h does not call optional
     antkv_launch(&decode, &p, stream);
     antkv_close(&lib);

   A recipe of transform "basis" (every coded preset) wants rows of values as T v in encode, append and score, and its output back by T^-1: matrices of the
   codebook file, folded into the model's weights once, or applied by the caller (generator/CACHE.md, "Basis of values"). Kernels and this loader do not know of it.

   Without counters, decode with splits > 1 leaves its parts to a second launch, which merges them:

     antkv_get(&lib, "antkv_combine_d128_f16", NULL, &combine);
     antkv_combine_params c = antkv_merge(&p);                // with counters: only what is left to do, ring scores
     antkv_launch(&combine, &c, stream);

   antkv_get asks the tuning tables of the folder (antkv_table.h) for kernel and splits, and says in decode.quality and decode.regret how far they can be trusted:
   0 is measured on such a device, ANTKV_QUALITY_DEFAULT means that no table knows the device or the shape. It reads files, loads code and may compile PTX: call it before the first token and outside of graph capture; equal requests
   are answered from what is loaded. antkv_launch checks the struct, then makes one driver call: no allocation, no synchronisation,
   safe to capture, and safe from several threads at once. open, get and close of one library are for one thread at a time.
   The library uses the calling thread's context if that is one of `device`, else the device's primary context, the one that the CUDA
   runtime and PyTorch use. ANTKV_LIBCUDA in the environment names another driver library, such as the emulated one. */
#ifndef ANTKV_LOAD_H
#define ANTKV_LOAD_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "antkv.h"
#include "antkv_launch.h"
#include "antkv_table.h"

#ifndef ANTKV_KERNELS_DIGEST
#error "antkv_kernels.h is older than antkv_load.h: take both from the same release"
#endif
#if ANTKV_KERNELS_ABI_VERSION != ANTKV_ABI_VERSION || ANTKV_KERNELS_LAYOUT_VERSION != ANTKV_LAYOUT_VERSION
#error "antkv.h and antkv_kernels.h are of different releases: take both from the same generated folder"
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* The problem as the host bounds it. Numbers that are 0 take the default in brackets. Decode's is held against what its launch takes; of other ops, for which a table may
   know shapes too, a number beyond counts as the nearest bound. */
typedef struct antkv_shape {
  int32_t batch;      /* sequences, 1 to 65535 */
  int32_t q_heads;    /* 1 to 16 times kv_heads */
  int32_t kv_heads;   /* 1 to 65535; times the groups of query columns of a CTA too */
  int32_t max_tokens; /* largest kv_len that the launches will see, 1 to 2^30 */
  int32_t max_q_len;  /* query rows per sequence, 1 to 16 [1] */
  int32_t rows;       /* query rows of all sequences, 1 to batch * max_q_len [batch * max_q_len] */
  int32_t splits;     /* 1 to 65535: CTAs that share a sequence and KV head, with spread all sequences of a KV head [chosen to fill the device] */
  int32_t spread;     /* 1: sequences of different lengths are cut into equal shares of work; 0: each by its own length alone; 2: whichever is faster */
} antkv_shape;

/* The driver calls that are made (CUDA Driver API reference). The last one is of CUDA 12.4 and may be missing. */
#define ANTKV_I_DRIVER(X) \
  X(init, "cuInit", (unsigned)) \
  X(error_name, "cuGetErrorName", (int, const char**)) \
  X(error_string, "cuGetErrorString", (int, const char**)) \
  X(device_get, "cuDeviceGet", (int*, int)) \
  X(device_attribute, "cuDeviceGetAttribute", (int*, int, int)) \
  X(primary_retain, "cuDevicePrimaryCtxRetain", (void**, int)) \
  X(primary_release, "cuDevicePrimaryCtxRelease_v2", (int)) \
  X(context_get, "cuCtxGetCurrent", (void**)) \
  X(context_set, "cuCtxSetCurrent", (void*)) \
  X(context_push, "cuCtxPushCurrent_v2", (void*)) \
  X(context_pop, "cuCtxPopCurrent_v2", (void**)) \
  X(context_device, "cuCtxGetDevice", (int*)) \
  X(module_load, "cuModuleLoad", (void**, const char*)) \
  X(module_unload, "cuModuleUnload", (void*)) \
  X(module_function, "cuModuleGetFunction", (void**, void*, const char*)) \
  X(function_attribute, "cuFuncGetAttribute", (int*, int, void*)) \
  X(function_set, "cuFuncSetAttribute", (void*, int, int)) \
  X(occupancy, "cuOccupancyMaxActiveBlocksPerMultiprocessor", (int*, void*, int, size_t)) \
  X(launch, "cuLaunchKernel", (void*, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, void*, void**, void**)) \
  X(param_info, "cuFuncGetParamInfo", (void*, size_t, size_t*, size_t*))

typedef struct antkv_library {
  void *driver, *context;
  int device, retained;
  antkv_table_device is; /* what the device is */
  char folder[1024];
#define ANTKV_I_MEMBER(name, symbol, arguments) int(*name) arguments;
  struct {
    ANTKV_I_DRIVER(ANTKV_I_MEMBER)
  } cu;
  struct {
    void *module, *function;
  } loaded[ANTKV_KERNEL_COUNT + 1];
} antkv_library;

/* A loaded kernel; a plain value that may be copied, valid until antkv_close. */
typedef struct antkv_kernel {
  antkv_library* library;
  const antkv_kernel_row* row;
  void* function; /* CUfunction */
  antkv_shape shape; /* .spread is 0 or 1: for antkv_decode_params.spread */
  int32_t splits;    /* for antkv_decode_params.splits; 1: nothing to merge */
  int32_t merge;     /* ANTKV_MERGE_...: who merges fastest; with counters the last CTA does in any case */
  int32_t quality;   /* ANTKV_QUALITY_...: how far choice and splits can be trusted (antkv_table_quality has words) */
  int32_t regret;    /* expected loss against the best that is known, in thousandths; -1: unknown */
} antkv_kernel;

/* Clears a params struct and sets struct_size and abi_version. */
#define ANTKV_INIT(p) ((void)memset(&(p), 0, sizeof(p)), (p).struct_size = (uint32_t)sizeof(p), (p).abi_version = ANTKV_ABI_VERSION)

/* Opens the driver and CUDA device `device`, and checks that `folder` holds the kernels of the antkv_kernels.h that this file is compiled with. */
int antkv_open(antkv_library* lib, const char* folder, int device);
/* The best kernel of `contract` for the device and `shape`, loaded, and for decode the number of splits; an empty one where it fails. Other ops take a null shape, and then the default kernel. */
int antkv_get(antkv_library* lib, const char* contract, const antkv_shape* shape, antkv_kernel* kernel);
/* Bytes of partial_o, partial_lse and counters for decode's splits; 0 when nothing is split. All are multiples of 256: one buffer can hold the three.
   The counters are zero before the first launch; every launch leaves them so. */
int antkv_workspace(const antkv_kernel* kernel, size_t* partial_o_bytes, size_t* partial_lse_bytes, size_t* counter_bytes);
/* Checks `params` (the op's struct) and launches on `stream` (a CUstream or cudaStream_t; null: the default stream). */
int antkv_launch(const antkv_kernel* kernel, const void* params, void* stream);
/* The params of combine that finish what `decode` leaves: parts in its workspace, and raw ring scores. */
antkv_combine_params antkv_merge(const antkv_decode_params* decode);
/* The grid that antkv_launch uses, for those who build graphs themselves. */
int antkv_grid(const antkv_kernel* kernel, const void* params, uint32_t grid[3]);
/* A function of the driver by name ("cuMemAlloc_v2"), for programs that link no CUDA; null if it has none. */
void* antkv_symbol(const antkv_library* lib, const char* name);
/* Unloads all kernels. */
void antkv_close(antkv_library* lib);
/* What a status means. */
const char* antkv_strerror(int status);
/* The last failure on this thread: what was wrong, where, and what to do. */
const char* antkv_last_error(void);

#ifdef __cplusplus
}
#endif
#endif /* ANTKV_LOAD_H */

#if defined(ANTKV_LOAD_IMPLEMENTATION) && !defined(ANTKV_LOAD_IMPLEMENTED)
#define ANTKV_LOAD_IMPLEMENTED
#include <dlfcn.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#ifdef __cplusplus
static thread_local char antkv_i_text[1024];
#else
static _Thread_local char antkv_i_text[1024];
#endif

__attribute__((format(printf, 2, 3))) static int antkv_i_fail(int status, const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(antkv_i_text, sizeof antkv_i_text, format, arguments);
  va_end(arguments);
  return status;
}

const char* antkv_last_error(void) { return antkv_i_text; }
const char* antkv_strerror(int status) {
  static const char* const texts[] = {
      "success", "no usable CUDA driver", "no usable CUDA device", "not a generated folder", "another version, or other kernels than the headers", "unknown contract",
      "kernel file missing or refused", "bad shape", "wrong parameter struct", "a needed pointer is null", "misaligned pointer or stride",
      "number out of range", "a CUDA driver call failed", "empty kernel, or one of another op"};
  return status >= 0 && status < (int)(sizeof texts / sizeof *texts) ? texts[status] : "unknown status";
}

void* antkv_symbol(const antkv_library* lib, const char* name) { return dlsym(lib->driver, name); }

/* What to do about an error of the driver, as far as it is known. */
static const char* antkv_i_hint(int code) {
  switch (code) {
    case 2: return "; the device's memory is full: free some, nvidia-smi says who holds it";
    case 34: return "; this is the stub library of a CUDA toolkit: take its stubs folder off LD_LIBRARY_PATH, the driver brings the real libcuda.so.1";
    case 46: case 802: return "; the device is not ready, or another process has it for itself: nvidia-smi says; with NVSwitch nvidia-fabricmanager has to run";
    case 100: return "; no GPU is visible: nvidia-smi lists them; CUDA_VISIBLE_DEVICES may hide all, and a container needs --gpus";
    case 803: case 804: return "; libcuda.so.1 and the kernel's driver are of different versions: restart after an update of the driver, or take a compat folder off LD_LIBRARY_PATH";
    case 999: return "; is the kernel's driver loaded, and are there /dev/nvidia* (nvidia-smi)?";
    case 200: case 300: return "; the file is no image of a kernel, or cut off: build it again (npx gen), or copy it anew";
    case 301: return "; the driver cannot read the file: is it a file, and readable?";
    case 209: return "; the file has no code for this device: build it again with the PTX (gen does)";
    case 218: case 222: return "; the driver is older than the nvcc that wrote the PTX: update it, or build with an older toolkit (gen doctor)";
    case 500: return "; the file is of another release than antkv_kernels.h: build it again (npx gen), or copy it anew";
    case 701: return "; a block of this device has not the registers or shared memory that the kernel takes: is its file of the build that antkv_kernels.h is of? Build it again (npx gen)";
    case 709: return "; the context was destroyed while the library used it: antkv_close comes before cuCtxDestroy and cudaDeviceReset, antkv_open after";
    case 700: case 702: case 710: case 714: case 715: case 716: case 717: case 718: case 719: return "; an earlier kernel of this context failed, and the context is lost: start a new process";
    default: return "";
  }
}

static int antkv_i_cuda(const antkv_library* lib, int code, const char* call, const char* what) {
  const char *name = NULL, *text = NULL;
  const char* (*report)(void) = NULL; /* the emulated driver's: it knows which thread did what */
  void* found;
  if (code == 0) return ANTKV_OK;
  found = dlsym(lib->driver, "antkv_emu_last_report");
  memcpy(&report, &found, sizeof found);
  lib->cu.error_name(code, &name);
  lib->cu.error_string(code, &text);
  return antkv_i_fail(ANTKV_ERROR_CUDA, "%s(%s): %s (%d, %s)%s%s", call, what, name ? name : "unknown error", code, text ? text : "no text", report ? "\n" : antkv_i_hint(code), report ? report() : "");
}

/* Makes the library's context current for the calls until antkv_i_leave: a thread may have none, or another. */
static int antkv_i_enter(const antkv_library* lib, int* pushed) {
  void* current = NULL;
  lib->cu.context_get(&current);
  *pushed = current != lib->context;
  return *pushed ? antkv_i_cuda(lib, lib->cu.context_push(lib->context), "cuCtxPushCurrent", "") : ANTKV_OK;
}
static void antkv_i_leave(const antkv_library* lib, int pushed) {
  void* popped;
  if (pushed) lib->cu.context_pop(&popped);
}

static int antkv_i_open_driver(antkv_library* lib) {
  const char* chosen = getenv("ANTKV_LIBCUDA");
  const char* path = chosen && *chosen ? chosen : "libcuda.so.1";
#define ANTKV_I_SYMBOL(name, symbol, arguments) {symbol, &lib->cu.name},
  const struct {
    const char* name;
    void* to;
  } symbols[] = {ANTKV_I_DRIVER(ANTKV_I_SYMBOL)};
  const size_t count = sizeof symbols / sizeof *symbols;
  size_t i;
  int code;
  lib->driver = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (!lib->driver) return antkv_i_fail(ANTKV_ERROR_DRIVER, "no CUDA driver: %s; install one, or point ANTKV_LIBCUDA to a libcuda.so.1", dlerror());
  for (i = 0; i < count; i++) {
    void* found = dlsym(lib->driver, symbols[i].name);
    memcpy(symbols[i].to, &found, sizeof found); /* ISO C has no cast from object to function pointer */
    if (!found && i + 1 < count)
      return antkv_i_fail(ANTKV_ERROR_DRIVER, "%s has no %s: not a CUDA driver of version 11 or newer; update it, or unset ANTKV_LIBCUDA", path, symbols[i].name);
  }
  code = lib->cu.init(0);
  if (!antkv_i_cuda(lib, code, "cuInit", path)) return ANTKV_OK;
  return code == 100 ? ANTKV_ERROR_DEVICE : ANTKV_ERROR_DRIVER; /* with that text */
}

/* The folder's own antkv_kernels.h tells a folder of other kernels, which load well and then get too little shared memory, or another struct. */
static int antkv_i_check_folder(const antkv_library* lib) {
  char path[1100], line[256];
  int abi = 0, layout = 0;
  unsigned long long digest = 0;
  FILE* file;
  snprintf(path, sizeof path, "%s/antkv_kernels.h", lib->folder);
  file = fopen(path, "r");
  if (!file) return antkv_i_fail(ANTKV_ERROR_FOLDER, "%s: %s; give antkv_open the folder that `gen` wrote, or that of an unpacked release", path, strerror(errno));
  while (!digest && fgets(line, sizeof line, file)) { /* it stands behind the versions */
    sscanf(line, "#define ANTKV_KERNELS_ABI_VERSION %d", &abi);
    sscanf(line, "#define ANTKV_KERNELS_LAYOUT_VERSION %d", &layout);
    sscanf(line, "#define ANTKV_KERNELS_DIGEST %llx", &digest);
  }
  fclose(file);
  if (abi != ANTKV_ABI_VERSION || layout != ANTKV_LAYOUT_VERSION)
    return antkv_i_fail(ANTKV_ERROR_VERSION, "%s is of ABI version %d and layout version %d, this program was compiled for %d and %d: compile it with that folder's headers",
                        lib->folder, abi, layout, ANTKV_ABI_VERSION, ANTKV_LAYOUT_VERSION);
  if (digest != ANTKV_KERNELS_DIGEST)
    return antkv_i_fail(ANTKV_ERROR_VERSION, "%s holds kernels %016llx, this program was compiled for kernels %016llx: compile it with that folder's headers (antkv_kernels.h and those beside it, copied anew), or open the folder that yours came from",
                        lib->folder, digest, ANTKV_KERNELS_DIGEST);
  return ANTKV_OK;
}

/* The thread's own context if it is one of the device, else the primary one. */
static int antkv_i_take_context(antkv_library* lib) {
  void* current = NULL;
  int device = -1, status;
  lib->cu.context_get(&current);
  if (current && lib->cu.context_device(&device) == 0 && device == lib->device) {
    lib->context = current;
    return ANTKV_OK;
  }
  status = antkv_i_cuda(lib, lib->cu.primary_retain(&lib->context, lib->device), "cuDevicePrimaryCtxRetain", "");
  if (status) return status;
  lib->retained = 1;
  return current ? ANTKV_OK : antkv_i_cuda(lib, lib->cu.context_set(lib->context), "cuCtxSetCurrent", "");
}

int antkv_open(antkv_library* lib, const char* folder, int device) {
  int status, major = 0, minor = 0;
  memset(lib, 0, sizeof *lib);
  if (strlen(folder) >= sizeof lib->folder) return antkv_i_fail(ANTKV_ERROR_FOLDER, "the folder's path has more than %d characters", (int)sizeof lib->folder - 1);
  strcpy(lib->folder, folder);
  status = antkv_i_check_folder(lib);
  if (!status) status = antkv_i_open_driver(lib);
  if (status) return status;
  if (lib->cu.device_get(&lib->device, device) != 0) return antkv_i_fail(ANTKV_ERROR_DEVICE, "no CUDA device %d: nvidia-smi lists them; CUDA_VISIBLE_DEVICES may hide some", device);
  lib->cu.device_attribute(&lib->is.multiprocessors, 16, lib->device);
  lib->cu.device_attribute(&lib->is.shared_per_block, 97, lib->device); /* with opt-in */
  lib->cu.device_attribute(&major, 75, lib->device); /* compute capability */
  lib->cu.device_attribute(&minor, 76, lib->device);
  lib->cu.device_attribute(&lib->is.l2_bytes, 38, lib->device);
  lib->cu.device_attribute(&lib->is.bus_bits, 37, lib->device);
  lib->cu.device_attribute(&lib->is.memory_mhz, 36, lib->device); /* in kHz */
  lib->is.memory_mhz = lib->is.memory_mhz < 1000 ? 1 : lib->is.memory_mhz / 1000; /* cut off; 1 if the driver says none: as tables have it */
  lib->is.arch = 10 * major + minor;
  if (lib->is.multiprocessors < 1 || !major) return antkv_i_fail(ANTKV_ERROR_DEVICE, "device %d does not say what it is: is the driver in order (nvidia-smi)?", device);
  status = antkv_i_take_context(lib);
  if (status) antkv_close(lib);
  return status;
}

void antkv_close(antkv_library* lib) {
  int i, pushed;
  if (lib->context && antkv_i_enter(lib, &pushed) == ANTKV_OK) {
    for (i = 0; i < ANTKV_KERNEL_COUNT; i++)
      if (lib->loaded[i].module) lib->cu.module_unload(lib->loaded[i].module);
    antkv_i_leave(lib, pushed);
  }
  if (lib->retained) lib->cu.primary_release(lib->device);
  memset(lib, 0, sizeof *lib); /* the driver stays open: it does not survive being closed and opened again */
}

/* Equal characters at both ends: enough to name what a slip of the hand meant. */
static int antkv_i_likeness(const char* a, const char* b) {
  const int a_size = (int)strlen(a), b_size = (int)strlen(b), most = a_size < b_size ? a_size : b_size;
  int front = 0, back = 0;
  while (front < most && a[front] == b[front]) front++;
  while (front + back < most && a[a_size - 1 - back] == b[b_size - 1 - back]) back++;
  return front + back;
}

static int antkv_i_unknown(const char* contract) {
  const char* near[3] = {"", "", ""};
  int likeness[3] = {0, 0, 0}, i, at;
  for (i = 0; i < ANTKV_KERNEL_COUNT; i++) {
    const antkv_kernel_row* row = &antkv_kernel_rows[i];
    const int here = antkv_i_likeness(contract, row->contract);
    if (i && strcmp(row->contract, row[-1].contract) == 0) continue;
    for (at = 3; at > 0 && here > likeness[at - 1]; at--) {
      if (at < 3) likeness[at] = likeness[at - 1], near[at] = near[at - 1];
      likeness[at - 1] = here, near[at - 1] = row->contract;
    }
  }
  return antkv_i_fail(ANTKV_ERROR_CONTRACT, "no contract \"%s\" in antkv_kernels.h; near it: %s %s %s; others are written by `gen` (gen list)", contract, near[0], near[1], near[2]);
}

static int antkv_i_load(antkv_library* lib, const antkv_kernel_row* row, void** module, void** function) {
  char path[1300];
  int status, threads = 0;
  size_t offset = 0, bytes = 0;
  FILE* file;
  snprintf(path, sizeof path, "%s/%s", lib->folder, row->file);
  file = fopen(path, "rb");
  if (!file) return antkv_i_fail(ANTKV_ERROR_IMAGE, "%s: %s; `npx gen --arch sm%d` builds it where nvcc is, releases contain it", path, strerror(errno), row->arch);
  fclose(file);
  status = antkv_i_cuda(lib, lib->cu.module_load(module, path), "cuModuleLoad", path);
  if (!status) status = antkv_i_cuda(lib, lib->cu.module_function(function, *module, row->symbol), "cuModuleGetFunction", row->symbol);
  if (status) return ANTKV_ERROR_IMAGE;
  if (lib->cu.param_info && lib->cu.param_info(*function, 0, &offset, &bytes) == 0 && (int64_t)bytes != row->params_bytes)
    return antkv_i_fail(ANTKV_ERROR_IMAGE, "%s takes %d bytes of parameters, antkv_kernels.h says %d: the file is of another release; build it again", path, (int)bytes, row->params_bytes);
  /* Beyond 48 KB dynamic shared memory must be asked for (CUDA C++ Programming Guide, "Shared Memory"). */
  if (row->shared_bytes > 48 * 1024) status = antkv_i_cuda(lib, lib->cu.function_set(*function, 8, row->shared_bytes), "cuFuncSetAttribute: dynamic shared memory", row->symbol);
  if (!status) status = antkv_i_cuda(lib, lib->cu.function_attribute(&threads, 0, *function), "cuFuncGetAttribute", row->symbol);
  if (status) return status;
  return threads >= row->threads ? ANTKV_OK : antkv_i_fail(ANTKV_ERROR_IMAGE, "%s runs at most %d threads per block here, not %d", row->symbol, threads, row->threads);
}

/* Groups of query columns times KV heads: grid.y. */
static int64_t antkv_i_lines(const antkv_kernel* k) {
  const antkv_shape* s = &k->shape;
  return s->kv_heads * antkv_i_ceil((int64_t)s->max_q_len * (s->q_heads / s->kv_heads), k->row->columns);
}

/* Splits that cost least by a simple rule, where no tuning table says better: within 8 % of the best that was measured on an H200 (batch 1 to 16,
   1024 to 65,536 tokens, coded and exact). The cost counts sixteenths of the time of a block that has its SM to itself and takes one step: a split
   takes its steps and one more to start; r blocks on an SM slow each other down to (1 + r) / 2; a merge costs one step and 1/16 per split. */
static int32_t antkv_i_choose_splits(const antkv_kernel* k, int64_t resident) {
  const antkv_shape* s = &k->shape;
  const int64_t sms = k->library->is.multiprocessors, lines = antkv_i_lines(k), blocks = s->batch * lines;
  const int64_t steps = antkv_i_ceil(s->max_tokens, k->row->tokens ? k->row->tokens : k->row->threads); /* "lookup": each warp takes 32 tokens */
  int64_t splits, best = 1, best_cost = INT64_MAX;
  if (resident < 1) resident = 1;
  if (s->spread) { /* one wave: all shares are equal; a share of fewer than 256 tokens is not worth its start, and more than 1024 were never timed */
    const int64_t most = s->batch * antkv_i_ceil(s->max_tokens, 256) < 1024 ? s->batch * antkv_i_ceil(s->max_tokens, 256) : 1024;
    splits = sms * resident / lines;
    return (int32_t)(splits < 1 ? 1 : splits < most ? splits : most);
  }
  for (splits = 1; splits <= steps && splits <= 256; splits++) {
    const int64_t waves = blocks * splits / (sms * resident), rest = antkv_i_ceil(blocks * splits % (sms * resident), sms);
    const int64_t slowness = waves * (1 + resident) + (rest ? 1 + rest : 0);
    const int64_t cost = 8 * (antkv_i_ceil(steps, splits) + 1) * slowness + (splits > 1 ? 16 + splits : 0);
    if (cost < best_cost) best = splits, best_cost = cost;
  }
  return (int32_t)best;
}

static int antkv_i_check_shape(antkv_shape* s) {
  if (s->max_q_len == 0) s->max_q_len = 1;
  if (s->batch < 1 || s->kv_heads < 1 || s->max_tokens < 1 || s->batch > ANTKV_MAX_GRID || s->kv_heads > ANTKV_MAX_GRID || s->max_tokens > ANTKV_MAX_TOKENS)
    return antkv_i_fail(ANTKV_ERROR_SHAPE, "antkv_shape: batch %d, kv_heads %d, max_tokens %d: each is at least 1, batch and kv_heads at most %d, max_tokens at most 2^30", s->batch, s->kv_heads,
                        s->max_tokens, ANTKV_MAX_GRID);
  if (s->q_heads < s->kv_heads || s->q_heads % s->kv_heads || s->q_heads / s->kv_heads > ANTKV_MAX_RATIO)
    return antkv_i_fail(ANTKV_ERROR_SHAPE, "antkv_shape: q_heads %d is not 1 to 16 times kv_heads %d", s->q_heads, s->kv_heads);
  if (s->max_q_len < 1 || s->max_q_len > ANTKV_MAX_Q_LEN) return antkv_i_fail(ANTKV_ERROR_SHAPE, "antkv_shape: max_q_len %d is not 1 to 16; longer queries go through unpack", s->max_q_len);
  if (s->rows == 0) s->rows = s->batch * s->max_q_len;
  if (s->rows < 1 || s->rows > s->batch * s->max_q_len)
    return antkv_i_fail(ANTKV_ERROR_SHAPE, "antkv_shape: rows %d is not 1 to batch * max_q_len, %d; 0 means all of these", s->rows, s->batch * s->max_q_len);
  if (s->splits < 0 || s->splits > ANTKV_MAX_GRID) return antkv_i_fail(ANTKV_ERROR_SHAPE, "antkv_shape: splits %d is not 0 to %d; 0 lets antkv_get choose", s->splits, ANTKV_MAX_GRID);
  if (s->spread < ANTKV_SPREAD_SEQUENCE || s->spread > ANTKV_SPREAD_FASTEST)
    return antkv_i_fail(ANTKV_ERROR_SHAPE, "antkv_shape: spread is %d, not 0, 1 or 2; clear the struct before you fill it", s->spread);
  return ANTKV_OK;
}

/* Why no kernel of a contract runs here. */
static int antkv_i_none(const antkv_library* lib, const char* contract) {
  int i = antkv_i_first_row(contract), large = 0;
  if (i == ANTKV_KERNEL_COUNT) return antkv_i_unknown(contract);
  for (; i < ANTKV_KERNEL_COUNT && strcmp(antkv_kernel_rows[i].contract, contract) == 0; i++)
    if (antkv_kernel_rows[i].own ? antkv_kernel_rows[i].arch == lib->is.arch : antkv_kernel_rows[i].arch <= lib->is.arch) large = antkv_kernel_rows[i].shared_bytes;
  if (large)
    return antkv_i_fail(ANTKV_ERROR_DEVICE, "%s needs %d bytes of shared memory, blocks of this device have %d; `npx gen --arch sm%d --out DIR` writes a kernel that fits", contract, large,
                        lib->is.shared_per_block, lib->is.arch);
  if (lib->is.arch >= 80) return antkv_i_fail(ANTKV_ERROR_DEVICE, "no kernel of %s in this folder runs on sm_%d; `npx gen --arch sm%d --out DIR` writes one", contract, lib->is.arch, lib->is.arch);
  return antkv_i_fail(ANTKV_ERROR_DEVICE, "no kernel of %s for sm_%d: antkv needs sm_80 (Ampere) or newer", contract, lib->is.arch);
}

/* Kernel, splits and spread from the tables. A shape that bounds nothing, of an op that needs none, is no question: it gets the default. */
static int antkv_i_choose(const antkv_library* lib, const char* contract, antkv_kernel* kernel) {
  antkv_shape* s = &kernel->shape;
  antkv_table_ask ask;
  antkv_table_answer answer;
  const int32_t row = antkv_table_default(&lib->is, contract);
  if (row < 0) return antkv_i_none(lib, contract);
  kernel->row = &antkv_kernel_rows[row], kernel->quality = ANTKV_QUALITY_DEFAULT, kernel->regret = -1;
  if (s->batch < 1 || s->kv_heads < 1 || s->max_tokens < 1) return ANTKV_OK;
  ask.batch = s->batch, ask.q_heads = s->q_heads, ask.kv_heads = s->kv_heads, ask.q_len = s->max_q_len, ask.tokens = s->max_tokens, ask.spread = s->spread;
  antkv_table_find(&lib->is, contract, &ask, &answer);
  kernel->row = &antkv_kernel_rows[answer.kernel], kernel->splits = answer.splits, kernel->merge = answer.merge, kernel->quality = answer.quality, kernel->regret = answer.regret;
  s->spread = answer.spread;
  return ANTKV_OK;
}

int antkv_get(antkv_library* lib, const char* contract, const antkv_shape* shape, antkv_kernel* kernel) {
  int i, status, pushed, resident = 1, decode;
  memset(kernel, 0, sizeof *kernel);
  i = antkv_i_first_row(contract);
  if (i == ANTKV_KERNEL_COUNT) return antkv_i_unknown(contract);
  if (shape) kernel->shape = *shape;
  decode = antkv_kernel_rows[i].op == ANTKV_OP_DECODE;
  if (decode && antkv_table_default(&lib->is, contract) >= 0) { /* that nothing runs here matters more than the shape */
    if (!shape) return antkv_i_fail(ANTKV_ERROR_SHAPE, "antkv_get(%s): decode needs a shape", contract);
    status = antkv_i_check_shape(&kernel->shape);
    if (status) return status;
  }
  status = antkv_i_choose(lib, contract, kernel);
  if (!status && decode && antkv_i_lines(kernel) > ANTKV_MAX_GRID) /* with all bounds kept, no number of bytes in antkv_workspace exceeds 2^63 */
    status = antkv_i_fail(ANTKV_ERROR_SHAPE, "antkv_shape: kv_heads %d times groups of %d of max_q_len * q_heads / kv_heads query columns are %lld, more than grid.y takes, %d", kernel->shape.kv_heads,
                          kernel->row->columns, (long long)antkv_i_lines(kernel), ANTKV_MAX_GRID);
  if (!status) status = antkv_i_enter(lib, &pushed);
  if (status) return memset(kernel, 0, sizeof *kernel), status;
  i = (int)(kernel->row - antkv_kernel_rows);
  if (!lib->loaded[i].function) {
    void *module = NULL, *function = NULL;
    status = antkv_i_load(lib, kernel->row, &module, &function);
    if (status && module) lib->cu.module_unload(module);
    if (!status) lib->loaded[i].module = module, lib->loaded[i].function = function;
  }
  kernel->library = lib, kernel->function = lib->loaded[i].function;
  if (decode && kernel->shape.splits > 0) kernel->splits = kernel->shape.splits;
  if (!status && decode && kernel->splits == 0) {
    status = antkv_i_cuda(lib, lib->cu.occupancy(&resident, kernel->function, kernel->row->threads, (size_t)kernel->row->shared_bytes), "cuOccupancyMaxActiveBlocksPerMultiprocessor", kernel->row->symbol);
    kernel->splits = antkv_i_choose_splits(kernel, resident);
  }
  if (kernel->splits < 1) kernel->splits = 1;
  if (kernel->splits == 1) kernel->merge = ANTKV_MERGE_NONE;
  else if (kernel->merge == ANTKV_MERGE_NONE) kernel->merge = ANTKV_MERGE_LAST;
  antkv_i_leave(lib, pushed);
  if (status) memset(kernel, 0, sizeof *kernel); /* what did not load has no workspace and no grid */
  return status;
}

int antkv_workspace(const antkv_kernel* kernel, size_t* partial_o_bytes, size_t* partial_lse_bytes, size_t* counter_bytes) {
  const antkv_shape* s = &kernel->shape;
  const size_t columns = kernel->splits > 1 ? (size_t)kernel->splits * (size_t)s->rows * (size_t)s->q_heads : 0;
  *partial_o_bytes = *partial_lse_bytes = *counter_bytes = 0;
  if (!kernel->row || kernel->row->op != ANTKV_OP_DECODE) return antkv_i_fail(ANTKV_ERROR_KERNEL, "antkv_workspace: not a decode kernel from antkv_get");
  *partial_o_bytes = (columns * (size_t)kernel->row->head_dim * 4 + 255) / 256 * 256;
  *partial_lse_bytes = (columns * 4 + 255) / 256 * 256;
  if (columns) *counter_bytes = ((size_t)s->batch * (size_t)antkv_i_lines(kernel) * 4 + 255) / 256 * 256;
  return ANTKV_OK;
}

antkv_combine_params antkv_merge(const antkv_decode_params* decode) {
  antkv_combine_params p;
  ANTKV_INIT(p);
  p.out = decode->out, p.lse = decode->lse, p.ring_scores = decode->ring_scores;
  if (!decode->counters) p.partial_o = decode->partial_o, p.partial_lse = decode->partial_lse;
  p.out_row_stride = decode->out_row_stride, p.out_head_stride = decode->out_head_stride;
  p.rows = decode->rows, p.q_heads = decode->q_heads, p.splits = decode->splits, p.ring_rows = decode->ring_rows;
  return p;
}

int antkv_grid(const antkv_kernel* kernel, const void* params, uint32_t grid[3]) {
  if (!kernel->function) return antkv_i_fail(ANTKV_ERROR_KERNEL, "the kernel is empty: antkv_get did not succeed for it; look at its status");
  return antkv_check(kernel->row, params, grid, antkv_i_text, sizeof antkv_i_text);
}

int antkv_launch(const antkv_kernel* kernel, const void* params, void* stream) {
  uint32_t grid[3];
  void* arguments[1];
  int pushed, status = antkv_grid(kernel, params, grid);
  if (!status) status = antkv_i_enter(kernel->library, &pushed);
  if (status) return status;
  memcpy(arguments, &params, sizeof params); /* the driver reads it, but has no const */
  status = kernel->library->cu.launch(kernel->function, grid[0], grid[1], grid[2], (unsigned)kernel->row->threads, 1, 1, (unsigned)kernel->row->shared_bytes, stream, arguments, NULL);
  status = antkv_i_cuda(kernel->library, status, "cuLaunchKernel", kernel->row->symbol);
  antkv_i_leave(kernel->library, pushed);
  return status;
}
#endif /* ANTKV_LOAD_IMPLEMENTATION */
