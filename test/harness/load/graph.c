// Captures a launch of antkv_load.h into a CUDA graph, replays it, and compares with a plain launch: combine over 3 splits, 5 rows, 8 heads. argv: folder.
#define ANTKV_LOAD_IMPLEMENTATION
#include "antkv_load.h"

enum { D = 64, ROWS = 5, HEADS = 8, SPLITS = 3, COLUMNS = ROWS * HEADS };
#define CUDA(name, ...) ((int (*)(__VA_ARGS__))antkv_symbol(&lib, name))
#define NEED(call) \
  if (call) return printf("line %d: %s\n", __LINE__, antkv_last_error()), 2

static float partial_o[SPLITS * COLUMNS * D], partial_lse[SPLITS * COLUMNS];
static uint16_t plain[COLUMNS * D], replayed[COLUMNS * D];

int main(int argc, char** argv) {
  antkv_library lib;
  antkv_kernel combine;
  antkv_combine_params p;
  uint64_t memory;
  void *stream, *graph, *ready;
  uint32_t seed = 1;
  size_t i;
  for (i = 0; i < sizeof partial_o / 4; i++) partial_o[i] = (float)((seed = seed * 1664525u + 1013904223u) >> 8) / 8388608.0f - 1;
  for (i = 0; i < sizeof partial_lse / 4; i++) partial_lse[i] = (float)((seed = seed * 1664525u + 1013904223u) >> 8) / 4194304.0f;
  NEED(argc < 2 || antkv_open(&lib, argv[1], 0));
  NEED(antkv_get(&lib, "antkv_combine_d64_f16", NULL, &combine));
  NEED(CUDA("cuMemAlloc_v2", uint64_t*, size_t)(&memory, sizeof partial_o + sizeof partial_lse + sizeof plain));
  NEED(CUDA("cuMemcpyHtoD_v2", uint64_t, const void*, size_t)(memory, partial_o, sizeof partial_o));
  NEED(CUDA("cuMemcpyHtoD_v2", uint64_t, const void*, size_t)(memory + sizeof partial_o, partial_lse, sizeof partial_lse));
  NEED(CUDA("cuStreamCreate", void**, unsigned)(&stream, 1)); /* 1: does not wait for the default stream */
  ANTKV_INIT(p);
  p.partial_o = (const float*)(uintptr_t)memory;
  p.partial_lse = (const float*)(uintptr_t)(memory + sizeof partial_o);
  p.out = (void*)(uintptr_t)(memory + sizeof partial_o + sizeof partial_lse);
  p.out_row_stride = HEADS * D * 2, p.out_head_stride = D * 2;
  p.rows = ROWS, p.q_heads = HEADS, p.splits = SPLITS;

  NEED(antkv_launch(&combine, &p, stream));
  NEED(CUDA("cuStreamSynchronize", void*)(stream));
  NEED(CUDA("cuMemcpyDtoH_v2", void*, uint64_t, size_t)(plain, (uint64_t)(uintptr_t)p.out, sizeof plain));
  NEED(CUDA("cuMemsetD8_v2", uint64_t, unsigned char, size_t)((uint64_t)(uintptr_t)p.out, 0xff, sizeof plain));
  NEED(CUDA("cuStreamBeginCapture_v2", void*, int)(stream, 0)); /* 0, global: calls that could synchronise fail on every thread */
  NEED(antkv_launch(&combine, &p, stream));
  NEED(CUDA("cuStreamEndCapture", void*, void**)(stream, &graph));
  NEED(CUDA("cuGraphInstantiateWithFlags", void**, void*, uint64_t)(&ready, graph, 0));
  NEED(CUDA("cuGraphLaunch", void*, void*)(ready, stream));
  NEED(CUDA("cuStreamSynchronize", void*)(stream));
  NEED(CUDA("cuMemcpyDtoH_v2", void*, uint64_t, size_t)(replayed, (uint64_t)(uintptr_t)p.out, sizeof plain));
  printf("%s\n", memcmp(plain, replayed, sizeof plain) ? "the graph gave another answer" : "equal");
  antkv_close(&lib);
  return 0;
}
