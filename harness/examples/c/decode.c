// One decode step from C: loads a kernel by its contract, runs it on the packed cache in a file, and compares with the fp64 answer there.
//   cc -I generated -I harness -o decode harness/examples/c/decode.c -ldl -lm && ./decode generated test/fixtures/decode-antkv-1.bin
// A third argument fixes the number of splits. Exit code 0: right; 1: more than 4e-3 off; 2: something failed, and stderr says what.
#define ANTKV_LOAD_IMPLEMENTATION
#include "antkv_load.h"
#include "antkv_format.h" /* antkv_half_value */
#define TRY(call) if (call) return fprintf(stderr, "%s\n%s\n", #call, antkv_last_error()), 2
#define CUDA(name, ...) ((int (*)(__VA_ARGS__))antkv_symbol(&lib, name))
static _Alignas(16) struct { /* test/fixtures/make-decode.ts wrote it */
  int32_t d, q_heads, kv_heads, page_size, max_pages, pages, max_anchor_pages, anchor_pages, ring_rows, coded_len, kv_len, rotary_dim;
  int32_t k_bytes, v_bytes, page, anchor; /* of one KV head: codebooks, a page's block, an anchor page */
  unsigned char arrays[1 << 18];
} f;
static uint16_t got[1 << 12];
static uint64_t at; /* device address of the next array; those of the file are padded to 16 bytes */
static void* take(int64_t bytes) {
  at += (uint64_t)(bytes + 15) / 16 * 16;
  return (void*)(uintptr_t)(at - (uint64_t)(bytes + 15) / 16 * 16);
}

int main(int argc, char** argv) {
  FILE* file = argc > 2 ? fopen(argv[2], "rb") : NULL;
  if (!file || fread(&f, 1, sizeof f, file) < 64) return fprintf(stderr, "usage: %s GENERATED-FOLDER FIXTURE [SPLITS]\n", argv[0]), 2;
  antkv_library lib;
  antkv_kernel decode;
  antkv_decode_params p;
  antkv_shape shape = {.batch = 1, .q_heads = f.q_heads, .kv_heads = f.kv_heads, .max_tokens = f.kv_len, .splits = argc > 3 ? atoi(argv[3]) : 0};
  size_t o_bytes, lse_bytes, counter_bytes;
  TRY(antkv_open(&lib, argv[1], 0));
  TRY(antkv_get(&lib, "antkv_decode_d64_k8c8b_v8c8bq8_f16_pre_gain", &shape, &decode)); /* preset antkv-1 */
  TRY(antkv_workspace(&decode, &o_bytes, &lse_bytes, &counter_bytes));

  const int row = f.d * 2, count = f.q_heads * f.d; /* bytes of a head's row of halves; numbers in the output */
  TRY(CUDA("cuMemAlloc_v2", uint64_t*, size_t)(&at, sizeof f + o_bytes + lse_bytes + counter_bytes + sizeof got));
  TRY(CUDA("cuMemcpyHtoD_v2", uint64_t, const void*, size_t)(at, f.arrays, sizeof f.arrays));
  const uint64_t base = at;
  ANTKV_INIT(p);
  p.q = take(count * 2), p.k_codebook = take(f.k_bytes), p.v_codebook = take(f.v_bytes), p.inv_freq = take(f.rotary_dim * 2), p.block_table = take(f.max_pages * 4);
  p.pages = take(f.pages * f.page), p.anchor_table = take(f.max_anchor_pages * 4), p.anchors = take(f.anchor_pages * f.anchor);
  p.ring_k = take(f.ring_rows * row), p.ring_v = take(f.ring_rows * row), p.coded_len = take(4), p.kv_len = take(4);
  const double* want = (const double*)(f.arrays + (at - base));
  at = base + sizeof f.arrays, p.partial_o = take((int64_t)o_bytes), p.partial_lse = take((int64_t)lse_bytes);
  if (counter_bytes) TRY(CUDA("cuMemsetD8_v2", uint64_t, unsigned char, size_t)(at, 0, counter_bytes)); /* once: every launch leaves them zero */
  p.counters = take((int64_t)counter_bytes), p.out = take(count * 2);
  p.q_row_stride = p.out_row_stride = count * 2, p.q_head_stride = p.out_head_stride = row;
  p.ring_row_stride = row, p.ring_head_stride = p.ring_slot_stride = f.ring_rows * row;
  p.page_stride = p.page_head_stride = f.page, p.anchor_page_stride = p.anchor_head_stride = f.anchor; /* with one KV head */
  p.batch = p.rows = p.max_q_len = 1, p.q_heads = f.q_heads, p.kv_heads = f.kv_heads, p.page_size = f.page_size, p.max_pages = f.max_pages;
  p.max_anchor_pages = f.max_anchor_pages, p.ring_rows = f.ring_rows, p.segments = 7, p.splits = decode.splits;
  p.rotary_dim = f.rotary_dim, p.attention_factor = 1, p.scale = 1 / sqrtf((float)f.d);
  TRY(antkv_launch(&decode, &p, NULL));
  TRY(CUDA("cuMemcpyDtoH_v2", void*, uint64_t, size_t)(got, (uint64_t)(uintptr_t)p.out, (size_t)count * 2));

  double error = 0, size = 0;
  for (int i = 0; i < count; i++) error += pow(antkv_half_value(got[i]) - want[i], 2), size += want[i] * want[i];
  printf("%s, %d splits: relative error %.2e\n", decode.row->symbol, p.splits, sqrt(error / size));
  antkv_close(&lib);
  return !(sqrt(error / size) <= 4e-3);
}
