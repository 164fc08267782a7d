// antkv_tables.h and antkv_tables.py: the tuning tables of a folder as constant arrays, for harness/antkv_table.h and harness/python/antkv_table.py.
import { contractName, kernelName, type Kernel } from '../name.ts';
import { sharedBytes } from '../shared.ts';
import { usesOwnInstructions } from '../tile.ts';
import { IDENTITY_KEYS } from '../table/find.ts';
import type { Flat } from '../table/flat.ts';
import { QUALITIES } from '../table/schema.ts';
import { VERSIONS } from '../versions.ts';
import { kernelsDigest, rowOrder } from './kernels.ts';

const upper = (word: string): string => word.toUpperCase();

/** `items` with commas, several a line of at most 150 characters. */
function lines(items: readonly (string | number)[], indent = '  '): string {
  const out: string[] = [];
  let line = '';
  for (const item of items) {
    if (line.length + String(item).length > 148) {
      out.push(line);
      line = '';
    }
    line += line === '' ? `${indent}${item},` : ` ${item},`;
  }
  return [...out, line].filter((text) => text !== '').join('\n');
}

/** C11 has no empty arrays: each ends with a row that no index reaches. */
const array = (type: string, name: string, items: readonly (string | number)[], end: string | number): string => `static const ${type} ${name}[] = {\n${lines([...items, end])}\n};`;

const tableNumbers = ({ table: { arch, axes, device, elsewhere } }: Flat['tables'][number]): number[] => [
  Number(arch.slice(2)), ...IDENTITY_KEYS.map((key) => device[key]), axes.streams.first, axes.streams.count, axes.streams.power ?? 1, axes.tokens.first, axes.tokens.count, axes.tokens.power ?? 1, elsewhere.sibling, elsewhere.arch,
];

/** antkv_tables.h. Rows of kernels are those of antkv_kernels.h for the same `kernels`. */
export const printTables = ({ tables, contracts, entries, choices, rows, cells }: Flat, kernels: readonly Kernel[]): string => `/* Tuning tables of this folder, for antkv_table.h: which kernel and launch is fastest, by device, contract, mode and shape. No parsing, no allocation. */
#ifndef ANTKV_TABLES_H
#define ANTKV_TABLES_H

#include <stdint.h>

#define ANTKV_TABLES_VERSION ${VERSIONS.tableArrays}
/* ANTKV_KERNELS_DIGEST of the antkv_kernels.h whose rows are meant. */
#define ANTKV_TABLES_KERNELS ${kernelsDigest(kernels)}
#define ANTKV_TABLE_CONTRACT_COUNT ${contracts.length}

/* How far an answer can be trusted, best first. */
enum {
${QUALITIES.map((quality, i) => `  ANTKV_QUALITY_${upper(quality)} = ${i},`).join('\n')}
};

typedef struct antkv_table_row {
  const char* file;
  int32_t arch; /* of its kernels; 80: sm_80 */
  int32_t identity[${IDENTITY_KEYS.length}]; /* ${IDENTITY_KEYS.join(', ')} */
  int32_t streams_first, streams_count, streams_power, tokens_first, tokens_count, tokens_power; /* the axes: steps of half octaves, with a power of 2 of the square */
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

${array('antkv_table_row', 'antkv_table_rows', tables.map((named) => {
  const [arch, ...numbers] = tableNumbers(named);
  const count = IDENTITY_KEYS.length;
  return `{"${named.file}", ${arch}, {${numbers.slice(0, count).join(', ')}}, ${numbers.slice(count).join(', ')}}`;
}), `{"", 0, {${IDENTITY_KEYS.map(() => 0).join(', ')}}, 0, 0, 1, 0, 0, 1, 0, 0}`)}

/* By name. */
${array('antkv_table_contract', 'antkv_table_contracts', contracts.map(({ name, columns, first, count }) => `{"${name}", ${columns}, ${first}, ${count}}`), '{"", 0, 0, 0}')}

${array('antkv_table_entry', 'antkv_table_entries', entries.map(({ table, origin, choices: first, planes }) => `{${table}, ${origin}, ${first}, {${planes.join(', ')}}}`), '{0, 0, 0, {-1, -1, -1}}')}

${array('antkv_table_choice', 'antkv_table_choices', choices.map(({ kernel, ctas, spread, merge, stale }) => `{${kernel}, ${ctas}, ${spread}, ${merge}, ${stale}}`), '{0, 0, 0, 0, 0}')}

/* The first cell of each row of cells. */
${array('uint32_t', 'antkv_table_lines', rows, 0)}

/* choice, from its entry's first << 16 | quality (0 measured, 1 interpolated, 2 modelled, 3 default) << 14 | expected regret in thousandths */
${array('uint32_t', 'antkv_table_cells', cells, 0)}

#endif
`;

const pythonRow = (items: readonly (string | number)[]): string => `(${items.map((item) => (typeof item === 'number' ? item : JSON.stringify(item))).join(', ')})`;
const pythonList = (name: string, rows: readonly string[]): string => (rows.length === 0 ? `${name} = ()` : `${name} = (\n${rows.map((row) => `    ${row},`).join('\n')}\n)`);
const pythonNumbers = (name: string, numbers: readonly number[]): string => (numbers.length === 0 ? `${name} = ()` : `${name} = (\n${lines(numbers, '    ')}\n)`);

/** antkv_tables.py: the same arrays, and the rows of kernels that a look-up needs. */
export const printTablesPython = ({ tables, contracts, entries, choices, rows, cells }: Flat, kernels: readonly Kernel[]): string => `"""Tuning tables and kernels of this folder, for antkv_table.py."""

TABLES_VERSION = ${VERSIONS.tableArrays}

# contract, symbol, architecture (80: sm_80), bytes of dynamic shared memory, decode by look-up, for that architecture alone
${pythonList('KERNELS', rowOrder(kernels).map((kernel) => pythonRow([contractName(kernel.contract), kernelName(kernel), Number(kernel.arch.name.slice(2)), sharedBytes(kernel.contract, kernel.tile), kernel.contract.op === 'decode' && kernel.tile.algorithm !== undefined ? 1 : 0, usesOwnInstructions(kernel.tile) ? 1 : 0])))}

# file, architecture of its kernels, device (${IDENTITY_KEYS.join(', ')}), axes (first, count and power of streams and of tokens), regret on siblings, on other devices
${pythonList('TABLES', tables.map((named) => pythonRow([named.file, ...tableNumbers(named)])))}

# name, columns of a block (0 for ops other than decode), first entry, entries
${pythonList('CONTRACTS', contracts.map(({ name, columns, first, count }) => pythonRow([name, columns, first, count])))}

# table, origin (0 measured, 1 copied, 2 modelled), first choice, first row of cells of each mode (-1 without)
${pythonList('ENTRIES', entries.map(({ table, origin, choices: first, planes }) => pythonRow([table, origin, first, ...planes])))}

# row of KERNELS, CTAs, spread, merge, stale
${pythonList('CHOICES', choices.map(({ kernel, ctas, spread, merge, stale }) => pythonRow([kernel, ctas, spread, merge, stale])))}

# the first cell of each row of cells
${pythonNumbers('LINES', rows)}

# choice, from its entry's first << 16 | quality (0 measured, 1 interpolated, 2 modelled, 3 default) << 14 | expected regret in thousandths
${pythonNumbers('CELLS', cells)}
`;
