// antkv.h: parameter structs, versions, launch geometry and byte numbers for C11 and C++17. Host and device code include it.
import { PARAM_STRUCTS, structLayout, type Field, type ParamStruct } from '../abi.ts';
import { OPS, type CacheContract, type Op } from '../contract.ts';
import { GRID } from '../launch.ts';
import { ANCHOR_ROWS, DRAFT_ROWS, PAGE_SIZES, UNIT_TOKENS } from '../layout.ts';
import { layoutOf } from '../manifest.ts';
import { contractName } from '../name.ts';
import { VERSIONS } from '../versions.ts';

const C_TYPES = { u32: 'uint32_t', i32: 'int32_t', i64: 'int64_t', f32: 'float' } as const;

const typeOf = ({ type, to }: Field): string => (type === 'ptr' ? `${to ?? 'void'}*` : C_TYPES[type]);

function printStruct(s: ParamStruct): string {
  const { offsets, bytes } = structLayout(s);
  const width = Math.max(...s.fields.map((field) => `${typeOf(field)} ${field.name};`.length));
  const lines = s.fields.map((field) => `  ${`${typeOf(field)} ${field.name};`.padEnd(width)}${field.doc === '' ? '' : `  /* ${field.doc} */`}`.trimEnd());
  const last = s.fields.at(-1)!;
  const grid = GRID[s.op as Op];
  return [
    `/* ${s.doc}${grid ? `\n   grid (${grid.join(', ')}), block (32 * warps, 1, 1) */` : '\n   Declared ahead of its kernels. */'}`,
    `typedef struct ${s.name} {`,
    ...lines,
    `} ${s.name};`,
    `ANTKV_STATIC_ASSERT(sizeof(${s.name}) == ${bytes}, "${s.name}: size");`,
    `ANTKV_STATIC_ASSERT(offsetof(${s.name}, ${last.name}) == ${offsets.at(-1)}, "${s.name}: offset of ${last.name}");`,
    '',
  ].join('\n');
}

function printRow(c: CacheContract): string {
  const { unit, pageBytes, anchorPageBytes, ringRowBytes, codebookBytes } = layoutOf(c);
  const pages = PAGE_SIZES.map((size) => pageBytes[String(size)]).join(', ');
  return `  {"${contractName(c)}", ${c.headDim}, ${unit.bytes}, {${pages}}, ${anchorPageBytes}, ${ringRowBytes}, ${codebookBytes.k}, ${codebookBytes.v}}`;
}

/** The header; its rows are those of `contracts`, the contracts with coded pages that are generated beside it. */
export function printHeader(contracts: readonly CacheContract[]): string {
  const rows = [...contracts].sort((a, b) => OPS.indexOf(a.op) - OPS.indexOf(b.op) || (contractName(a) < contractName(b) ? -1 : 1));
  return `/* antkv: parameter structs of every op. C11 and C++17, on 64-bit machines; no CUDA types: a stream is a void*.

   Each kernel takes one of these structs by value as its only argument. Set struct_size to sizeof and abi_version to
   ANTKV_ABI_VERSION. Strides count bytes; one is at least what it steps over, so that nothing overlaps, in whatever order the axes lie;
   of an axis of length 1 it is not looked at. Pointers are device pointers, 16-byte aligned; null means "not there" or "not wanted" where
   the field says so. Set every field, or clear the struct first. \`tokens\` and \`warps\` of a grid are the kernel's own numbers: manifest.json
   has them, with dynamicShared, the dynamic shared memory. Kernels neither allocate nor synchronise; grids depend on host bounds only. */
#ifndef ANTKV_H
#define ANTKV_H

#include <stddef.h>
#include <stdint.h>

/* Rises when a field of a struct moves, changes or goes. */
#define ANTKV_ABI_VERSION ${VERSIONS.abi}
/* Rises when a byte of coded pages, anchor pages, ring or packed codebooks moves. */
#define ANTKV_LAYOUT_VERSION ${VERSIONS.layout}
/* Tokens of a unit, rows of an anchor page, uncommitted rows that a ring holds beyond window + flush block. */
#define ANTKV_UNIT_TOKENS ${UNIT_TOKENS}
#define ANTKV_ANCHOR_ROWS ${ANCHOR_ROWS}
#define ANTKV_DRAFT_ROWS ${DRAFT_ROWS}
/* Page sizes, in tokens. */
#define ANTKV_PAGE_SIZES ${PAGE_SIZES.join(', ')}

#ifdef __cplusplus
#define ANTKV_STATIC_ASSERT(condition, what) static_assert(condition, what)
extern "C" {
#else
#define ANTKV_STATIC_ASSERT(condition, what) _Static_assert(condition, what)
#endif

${PARAM_STRUCTS.map(printStruct).join('\n')}
/* Bytes of a contract's cache, each of one KV head. A ring has ring_rows rows per state slot. */
typedef struct antkv_contract {
  const char* name;
  int32_t head_dim;
  int32_t unit_bytes;        /* ${UNIT_TOKENS} tokens of a coded page */
  int32_t page_bytes[${PAGE_SIZES.length}];     /* a coded page of each of ANTKV_PAGE_SIZES */
  int32_t anchor_page_bytes; /* ${ANCHOR_ROWS} anchor rows with their indices; 0 for exact recipes */
  int32_t ring_row_bytes;    /* K and V of one exact row; 0 for exact recipes */
  int32_t k_codebook_bytes;  /* packed codebook; 0 for exact keys */
  int32_t v_codebook_bytes;
} antkv_contract;

/* Rows for \`static const antkv_contract contracts[] = { ANTKV_CONTRACTS };\` */
#define ANTKV_CONTRACTS \\
${rows.map((row) => printRow(row)).join(', \\\n')}

#ifdef __cplusplus
}
#endif
#endif
`;
}
