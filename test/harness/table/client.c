// Answers the questions on stdin from antkv_table.h, one line each; "time" measures a look-up, in nanoseconds.
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "antkv_table.h"

static const char* const merges[] = {"none", "last", "combine"};

static double now(void) {
  struct timespec t;
  timespec_get(&t, TIME_UTC);
  return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

int main(void) {
  static char line[1024], contract[256];
  while (fgets(line, sizeof line, stdin)) {
    antkv_table_device d;
    antkv_table_ask a;
    antkv_table_answer r;
    int timed = strncmp(line, "time ", 5) == 0, i, batch;
    if (sscanf(line + 5, "%255s %d %d %d %d %d %d %d %d %d %d %d %d", contract, &d.arch, &d.multiprocessors, &d.shared_per_block, &d.l2_bytes, &d.bus_bits, &d.memory_mhz, &a.batch, &a.q_heads,
               &a.kv_heads, &a.q_len, &a.tokens, &a.spread) != 13)
      return 1;
    antkv_table_find(&d, contract, &a, &r);
    if (!timed) {
      printf("%s %d %d %s %s %d %s\n", r.kernel < 0 ? "-" : antkv_kernel_rows[r.kernel].symbol, r.splits, r.spread, merges[r.merge], antkv_table_quality(r.quality), r.regret,
             r.table < 0 ? "-" : antkv_table_rows[r.table].file);
    } else {
      double best = 1e30;
      long sum = 0;
      for (batch = 0; batch < 50; batch++) { /* the best batch: others share the processor */
        const double start = now();
        double each;
        for (i = 0; i < 20000; i++) {
          a.tokens = 1 + (a.tokens * 5 + i) % 200000;
          antkv_table_find(&d, contract, &a, &r);
          sum += r.kernel;
        }
        each = (now() - start) / 20000;
        if (each < best) best = each;
      }
      printf("%.1f %ld\n", best, sum);
    }
  }
  return 0;
}
