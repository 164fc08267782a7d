/* antkv_table.h: which kernel and launch a tuning table chooses. C11 and C++17, no CUDA. Part of antkv_load.h, and of use without it.

   Clamps a shape to the table's axes and indexes: no allocation, no parsing, well under a microsecond. The tables are constant arrays in antkv_tables.h of the
   generated folder. The twins are generator/table/find.ts and harness/python/antkv_table.py; test/golden/table.json of the sources holds for all three. */
#ifndef ANTKV_TABLE_H
#define ANTKV_TABLE_H

#include <stdint.h>
#include <string.h>

#include "antkv_kernels.h"
#include "antkv_tables.h"

#if ANTKV_TABLES_KERNELS != ANTKV_KERNELS_DIGEST
#error "antkv_kernels.h and antkv_tables.h are of different folders: take both anew from the same generated folder"
#endif

#if ANTKV_TABLES_VERSION != 2
#error "antkv_tables.h and antkv_table.h are of different releases: take both from the same one"
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* What a device is, whatever its name. cuDeviceGetAttribute has them: 75 and 76 (as 10 * major + minor), 16, 97, 38, 37, and 36 / 1000, at least 1. */
typedef struct antkv_table_device {
  int32_t arch, multiprocessors, shared_per_block, l2_bytes, bus_bits, memory_mhz;
} antkv_table_device;

enum { ANTKV_SPREAD_SEQUENCE = 0, ANTKV_SPREAD_ALL = 1, ANTKV_SPREAD_FASTEST = 2 };
enum { ANTKV_MERGE_NONE = 0, ANTKV_MERGE_LAST = 1, ANTKV_MERGE_COMBINE = 2 };

/* A question: the shape as the host bounds it. batch and kv_heads are 1 to 65535, q_heads / kv_heads (rounded down) and q_len 1 to 16, tokens 1 to 2^30, as launches have
   them (ANTKV_MAX_... of antkv_kernels.h); a number beyond counts as the nearest bound. `spread` is one of ANTKV_SPREAD_..., and ignored for ops other than decode. */
typedef struct antkv_table_ask {
  int32_t batch, q_heads, kv_heads, q_len, tokens, spread;
} antkv_table_ask;

typedef struct antkv_table_answer {
  int32_t kernel;  /* row of antkv_kernel_rows; -1: no kernel of the contract runs on this device */
  int32_t splits;  /* 0: the loader's rule decides; ops without splits have 0 too */
  int32_t spread;  /* 0 or 1 */
  int32_t merge;   /* ANTKV_MERGE_...: what was fastest; with counters the last CTA merges in any case */
  int32_t quality; /* ANTKV_QUALITY_... */
  int32_t regret;  /* expected loss against the best that is known, in thousandths; -1: unknown */
  int32_t table;   /* row of antkv_table_rows; -1: none */
} antkv_table_answer;

/* The nearest of 1, 1.5, 2, 3, 4, 6 ... as its number: 2 k is 2^k, 2 k + 1 is 1.5 x 2^k. `x` from 1 to 2^52 - 1; what is beyond counts as the nearest of these. */
static inline int32_t antkv_table_step(int64_t x) {
  const uint64_t most = ((uint64_t)1 << 52) - 1, whole = x < 1 ? 1u : (uint64_t)x > most ? most : (uint64_t)x;
  const int32_t k = 63 - __builtin_clzll(whole);
  const int32_t quarter = (int32_t)((whole << 2 >> k) & 3);
  return 2 * k + ((quarter + 1) >> 1);
}

/* The place of `x` on an axis, clamped to its ends; with a power of 2 that of its square. */
static inline int32_t antkv_i_place(int32_t first, int32_t count, int32_t power, int64_t x) {
  const int64_t most = ((int64_t)1 << 26) - 1, near = x < 1 ? 1 : x < most ? x : most;
  const int32_t at = antkv_table_step(power == 2 ? near * near : near) - first;
  return at < 0 ? 0 : at < count ? at : count - 1;
}

/* The first kernel row of a contract, ANTKV_KERNEL_COUNT if there is none: rows are sorted. */
static inline int32_t antkv_i_first_row(const char* contract) {
  int32_t low = 0, high = ANTKV_KERNEL_COUNT;
  while (low < high) {
    const int32_t middle = (low + high) / 2;
    if (strcmp(antkv_kernel_rows[middle].contract, contract) < 0) low = middle + 1;
    else high = middle;
  }
  return low < ANTKV_KERNEL_COUNT && strcmp(antkv_kernel_rows[low].contract, contract) == 0 ? low : ANTKV_KERNEL_COUNT;
}

/* Whether a device has the instructions of a kernel, with its own code or PTX that the driver compiles, and room in its blocks for its shared memory. */
static inline int antkv_i_runs(const antkv_kernel_row* row, const antkv_table_device* device) {
  return (row->own ? row->arch == device->arch : row->arch <= device->arch) && row->shared_bytes <= device->shared_per_block;
}

/* The default: the newest architecture's kernel that the device runs; of those the first. -1: none. */
static inline int32_t antkv_table_default(const antkv_table_device* device, const char* contract) {
  int32_t i, best = -1;
  for (i = antkv_i_first_row(contract); i < ANTKV_KERNEL_COUNT && strcmp(antkv_kernel_rows[i].contract, contract) == 0; i++) {
    const antkv_kernel_row* row = &antkv_kernel_rows[i];
    if (!antkv_i_runs(row, device)) continue;
    if (best < 0 || row->arch > antkv_kernel_rows[best].arch) best = i;
  }
  return best;
}

/* How a table's device and the asked one compare. */
enum { ANTKV_I_SAME = 0, ANTKV_I_SIBLING = 1, ANTKV_I_OTHER = 2 };
static inline int antkv_i_match(const antkv_table_row* table, const antkv_table_device* d) {
  const int32_t* t = table->identity;
  if (t[0] != d->arch || t[1] != d->multiprocessors) return ANTKV_I_OTHER;
  return t[2] == d->shared_per_block && t[3] == d->l2_bytes && t[4] == d->bus_bits && t[5] == d->memory_mhz ? ANTKV_I_SAME : ANTKV_I_SIBLING;
}

/* Negative: entry `a` is asked before `b`. How far apart two numbers of SMs are is compared as ratios, crosswise: whole numbers only. */
static inline int64_t antkv_i_compare(const antkv_table_entry* a, const antkv_table_entry* b, const antkv_table_device* d) {
  const antkv_table_row *s = &antkv_table_rows[a->table], *t = &antkv_table_rows[b->table];
  const int64_t x = s->identity[1], y = t->identity[1], n = d->multiprocessors;
  int64_t order = antkv_i_match(s, d) - antkv_i_match(t, d);
  if (!order) order = (s->identity[0] / 10 != d->arch / 10) - (t->identity[0] / 10 != d->arch / 10);
  if (!order) order = (x > n ? x : n) * (y > n ? n : y) - (y > n ? y : n) * (x > n ? n : x);
  if (!order) order = a->origin - b->origin;
  if (!order) order = t->arch - s->arch;
  return order ? order : a->table - b->table; /* tables are sorted by file */
}

static inline const antkv_table_contract* antkv_i_contract(const char* contract) {
  int32_t low = 0, high = ANTKV_TABLE_CONTRACT_COUNT;
  while (low < high) {
    const int32_t middle = (low + high) / 2, order = strcmp(antkv_table_contracts[middle].name, contract);
    if (order == 0) return &antkv_table_contracts[middle];
    if (order < 0) low = middle + 1;
    else high = middle;
  }
  return (const antkv_table_contract*)0;
}

static inline int64_t antkv_i_clamp(int64_t x, int64_t least, int64_t most) { return x < least ? least : x < most ? x : most; }
/* A question within the bounds: no sum or product of its numbers overflows 64 bits. q_heads becomes a multiple of kv_heads. */
static inline antkv_table_ask antkv_i_bounded(const antkv_table_ask* ask) {
  antkv_table_ask a;
  a.batch = (int32_t)antkv_i_clamp(ask->batch, 1, ANTKV_MAX_GRID), a.kv_heads = (int32_t)antkv_i_clamp(ask->kv_heads, 1, ANTKV_MAX_GRID);
  a.q_heads = a.kv_heads * (int32_t)antkv_i_clamp(ask->q_heads / a.kv_heads, 1, ANTKV_MAX_RATIO);
  a.q_len = (int32_t)antkv_i_clamp(ask->q_len, 1, ANTKV_MAX_Q_LEN), a.tokens = (int32_t)antkv_i_clamp(ask->tokens, 1, ANTKV_MAX_TOKENS);
  a.spread = (int32_t)antkv_i_clamp(ask->spread, ANTKV_SPREAD_SEQUENCE, ANTKV_SPREAD_FASTEST);
  return a;
}

/* What an entry says of a shape; 0 if the device does not run the chosen kernel. */
static inline int antkv_i_answer(const antkv_table_entry* entry, int32_t columns, const antkv_table_device* device, const antkv_table_ask* ask, antkv_table_answer* answer) {
  static const uint8_t qualities[] = {ANTKV_QUALITY_MEASURED, ANTKV_QUALITY_INTERPOLATED, ANTKV_QUALITY_MODELLED, ANTKV_QUALITY_DEFAULT};
  const antkv_table_row* table = &antkv_table_rows[entry->table];
  const int64_t ratio = ask->q_heads / ask->kv_heads;
  const int64_t lines = columns ? ask->kv_heads * ((ask->q_len * ratio + columns - 1) / columns) : ask->kv_heads;
  const int64_t streams = ask->batch * lines;
  const int32_t row = antkv_i_place(table->streams_first, table->streams_count, table->streams_power, streams);
  const int32_t column = antkv_i_place(table->tokens_first, table->tokens_count, table->tokens_power, ask->tokens);
  const uint32_t cell = antkv_table_cells[antkv_table_lines[entry->planes[columns ? ask->spread : 0] + row] + (uint32_t)column];
  const antkv_table_choice* choice = &antkv_table_choices[entry->choices + (int32_t)(cell >> 16)];
  const int match = antkv_i_match(table, device);
  int64_t splits = choice->ctas, most;
  if (!antkv_i_runs(&antkv_kernel_rows[choice->kernel], device)) return 0;
  if (splits && choice->spread) splits = splits / lines > 1 ? splits / lines : 1;
  if (splits && !choice->spread) {
    most = ((int64_t)ask->tokens + 31) / 32; /* a share of fewer than 32 tokens is none */
    splits = splits < most ? splits : most > 1 ? most : 1;
  }
  answer->kernel = choice->kernel, answer->table = entry->table;
  answer->splits = (int32_t)(splits < 1024 ? splits : 1024);
  answer->spread = choice->spread;
  answer->merge = splits > 1 ? choice->merge : (int32_t)ANTKV_MERGE_NONE;
  answer->quality = qualities[cell >> 14 & 3];
  if (choice->stale && answer->quality < ANTKV_QUALITY_STALE) answer->quality = ANTKV_QUALITY_STALE;
  if (match == ANTKV_I_SIBLING && answer->quality < ANTKV_QUALITY_SIBLING) answer->quality = ANTKV_QUALITY_SIBLING;
  if (match == ANTKV_I_OTHER && answer->quality < ANTKV_QUALITY_ARCH) answer->quality = ANTKV_QUALITY_ARCH;
  if (entry->origin == 2 && answer->quality < ANTKV_QUALITY_MODELLED) answer->quality = ANTKV_QUALITY_MODELLED;
  answer->regret = (int32_t)(cell & 0x3fff) + (match == ANTKV_I_SIBLING ? table->sibling : match == ANTKV_I_OTHER ? table->other : 0);
  if (answer->regret > 9999) answer->regret = 9999;
  return 1;
}

/* Always an answer, unless no kernel of the contract runs on the device at all (kernel -1). */
static inline void antkv_table_find(const antkv_table_device* device, const char* contract, const antkv_table_ask* any, antkv_table_answer* answer) {
  const antkv_table_ask bounded = antkv_i_bounded(any), *ask = &bounded;
  const antkv_table_contract* found = antkv_i_contract(contract);
  const antkv_table_entry *last = (const antkv_table_entry*)0, *best;
  int32_t i, mode;
  do { /* the ladder, rung by rung: the next one after `last` */
    best = (const antkv_table_entry*)0;
    for (i = 0; found && i < found->count; i++) {
      const antkv_table_entry* entry = &antkv_table_entries[found->first + i];
      mode = found->columns ? ask->spread : 0;
      if (entry->planes[mode] < 0 || antkv_table_rows[entry->table].arch > device->arch) continue;
      if (entry->origin == 2 && antkv_i_match(&antkv_table_rows[entry->table], device) == ANTKV_I_OTHER) continue; /* modelled for one device: says nothing of another one */
      if (last && antkv_i_compare(entry, last, device) <= 0) continue;
      if (!best || antkv_i_compare(entry, best, device) < 0) best = entry;
    }
    if (best && antkv_i_answer(best, found->columns, device, ask, answer)) return;
    last = best;
  } while (best);
  answer->kernel = antkv_table_default(device, contract);
  answer->splits = 0, answer->merge = ANTKV_MERGE_NONE, answer->quality = ANTKV_QUALITY_DEFAULT, answer->regret = -1, answer->table = -1;
  answer->spread = 0;
  if (answer->kernel >= 0 && antkv_kernel_rows[answer->kernel].op == ANTKV_OP_DECODE)
    /* Kernels that look up (which have no tile of tokens) are mostly faster spread, the others not. */
    answer->spread = ask->spread == ANTKV_SPREAD_ALL || (ask->spread == ANTKV_SPREAD_FASTEST && antkv_kernel_rows[answer->kernel].tokens == 0);
}

/* A word for a quality. */
static inline const char* antkv_table_quality(int32_t quality) {
  static const char* const words[] = {"measured", "interpolated", "stale", "sibling", "arch", "modelled", "default"};
  return quality >= 0 && quality < (int32_t)(sizeof words / sizeof *words) ? words[quality] : "unknown";
}

#ifdef __cplusplus
}
#endif
#endif /* ANTKV_TABLE_H */
