// Generated file. Do not edit.
//   template  generator/bindings/table.ts
//   remake    npx gen
/* Tuning tables of this folder, for antkv_table.h: which kernel and launch is fastest, by device, contract, mode and shape. No parsing, no allocation. */
#ifndef ANTKV_TABLES_H
#define ANTKV_TABLES_H

#include <stdint.h>

#define ANTKV_TABLES_VERSION 1
#define ANTKV_TABLE_CONTRACT_COUNT 0

/* How far an answer can be trusted, best first. */
enum {
  ANTKV_QUALITY_MEASURED = 0,
  ANTKV_QUALITY_INTERPOLATED = 1,
  ANTKV_QUALITY_STALE = 2,
  ANTKV_QUALITY_SIBLING = 3,
  ANTKV_QUALITY_ARCH = 4,
  ANTKV_QUALITY_MODELLED = 5,
  ANTKV_QUALITY_DEFAULT = 6,
};

typedef struct antkv_table_row {
  const char* file;
  int32_t arch; /* of its kernels; 80: sm_80 */
  int32_t identity[6]; /* cc, sms, sharedPerBlock, l2Bytes, busBits, memoryMhz */
  int32_t streams_first, streams_count, tokens_first, tokens_count; /* the axes, in half octaves */
  int32_t sibling, other; /* regret that is added on such devices, in thousandths */
} antkv_table_row;

typedef struct antkv_table_contract {
  const char* name;
  int32_t columns; /* of a block; 0 for ops other than decode */
  int32_t first, count; /* its entries */
} antkv_table_contract;

typedef struct antkv_table_entry {
  int32_t table, origin; /* origin 0: measured, 1: copied, 2: modelled */
  int32_t choices;   /* its first choice */
  int32_t planes[3]; /* by mode (antkv_shape.spread): its first row of cells, -1 without */
} antkv_table_entry;

typedef struct antkv_table_choice {
  uint16_t kernel; /* row of antkv_kernels.h */
  uint16_t ctas;
  uint8_t spread, merge, stale;
} antkv_table_choice;

static const antkv_table_row antkv_table_rows[] = {
  {"", 0, {0, 0, 0, 0, 0, 0}, 0, 0, 0, 0, 0, 0},
};

/* By name. */
static const antkv_table_contract antkv_table_contracts[] = {
  {"", 0, 0, 0},
};

static const antkv_table_entry antkv_table_entries[] = {
  {0, 0, 0, {-1, -1, -1}},
};

static const antkv_table_choice antkv_table_choices[] = {
  {0, 0, 0, 0, 0},
};

/* The first cell of each row of cells. */
static const uint32_t antkv_table_lines[] = {
  0,
};

/* choice, from its entry's first << 16 | quality (0 measured, 1 interpolated, 2 modelled, 3 default) << 14 | expected regret in thousandths */
static const uint32_t antkv_table_cells[] = {
  0,
};

#endif
