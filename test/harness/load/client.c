// Runs the commands on stdin through antkv_load.h, one line of answer each: status, text of the failure, numbers. Params come as hex, so that tests write the bytes.
#define ANTKV_LOAD_IMPLEMENTATION
#include "antkv_load.h"

static antkv_library lib;
static antkv_kernel kernel; /* the one that `get` found last */
static union {
  uint64_t align;
  unsigned char bytes[1024];
} params;
static const void* given; /* params, or null for "null" */

static void read_params(const char* hex) {
  size_t i;
  unsigned value;
  given = strcmp(hex, "null") == 0 ? NULL : params.bytes;
  for (i = 0; i < sizeof params.bytes && sscanf(hex + 2 * i, "%2x", &value) == 1; i++) params.bytes[i] = (unsigned char)value;
}

int main(void) {
  static char line[8192];
  while (fgets(line, sizeof line, stdin)) {
    static char command[16], word[4096];
    int n[8] = {0, 0, 0, 0, 0, 0, 0, 0}, status = -1, device = 0;
    uint32_t grid[3];
    size_t o = 0, lse = 0, counters = 0, i;
    if (sscanf(line, "%15s %4095s %d %d %d %d %d %d %d %d", command, word, n, n + 1, n + 2, n + 3, n + 4, n + 5, n + 6, n + 7) < 1) continue;
    if (strcmp(command, "open") == 0) {
      device = n[0];
      status = antkv_open(&lib, word, device);
      printf("open %d %s\n", status, status ? antkv_last_error() : "");
    } else if (strcmp(command, "get") == 0) {
      antkv_shape shape;
      shape.batch = n[0], shape.q_heads = n[1], shape.kv_heads = n[2], shape.max_tokens = n[3], shape.max_q_len = n[4], shape.rows = n[5], shape.splits = n[6], shape.spread = n[7];
      status = antkv_get(&lib, word, n[0] ? &shape : NULL, &kernel);
      if (!status && n[0] && antkv_workspace(&kernel, &o, &lse, &counters)) o = lse = counters = 1;
      if (status) printf("get %d %s\n", status, antkv_last_error());
      else
        printf("get 0 %s splits %d workspace %lu %lu %lu %s %d spread %d merge %d\n", kernel.row->symbol, kernel.splits, (unsigned long)o, (unsigned long)lse, (unsigned long)counters,
               antkv_table_quality(kernel.quality), kernel.regret, kernel.shape.spread, kernel.merge);
    } else if (strcmp(command, "workspace") == 0) {
      status = antkv_workspace(&kernel, &o, &lse, &counters);
      printf("workspace %d %lu %lu %lu %s\n", status, (unsigned long)o, (unsigned long)lse, (unsigned long)counters, status ? antkv_last_error() : "");
    } else if (strcmp(command, "row") == 0) { /* the row of a contract, without a driver */
      for (i = 0; i < ANTKV_KERNEL_COUNT && strcmp(antkv_kernel_rows[i].contract, word); i++) continue;
      memset(&kernel, 0, sizeof kernel);
      kernel.row = &antkv_kernel_rows[i], kernel.function = &kernel;
    } else if (strcmp(command, "grid") == 0) {
      read_params(word);
      status = antkv_grid(&kernel, given, grid);
      if (status) printf("grid %d %s\n", status, antkv_last_error());
      else printf("grid 0 %u %u %u\n", grid[0], grid[1], grid[2]);
    } else if (strcmp(command, "launch") == 0) {
      read_params(word);
      status = antkv_launch(&kernel, given, (void*)(uintptr_t)n[0]);
      printf("launch %d %s\n", status, status ? antkv_last_error() : "");
    } else if (strcmp(command, "merge") == 0) {
      antkv_combine_params c;
      read_params(word);
      c = antkv_merge((const antkv_decode_params*)given);
      printf("merge ");
      for (i = 0; i < sizeof c; i++) printf("%02x", ((const unsigned char*)&c)[i]);
      printf("\n");
    } else if (strcmp(command, "close") == 0) {
      antkv_close(&lib);
      printf("close %d %d\n", lib.driver == NULL, lib.context == NULL);
    } else if (strcmp(command, "texts") == 0) {
      for (status = 0; status <= ANTKV_ERROR_KERNEL + 1; status++) printf("%s\n", antkv_strerror(status));
    }
  }
  return 0;
}
