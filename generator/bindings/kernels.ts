// antkv_kernels.h: the generated kernels as rows for harness/antkv_load.h, and which pointers and strides each op has, for its checks. C11 and C++17.
import { PARAM_STRUCTS, paramStruct, structLayout, type Field } from '../abi.ts';
import { codecOf } from '../codec.ts';
import { isCacheContract, isCoded, type Contract, type Op } from '../contract.ts';
import { BOUNDS, GRID } from '../launch.ts';
import { UNIT_TOKENS, unitLayout } from '../layout.ts';
import { contractName, kernelName, type Kernel } from '../name.ts';
import { sharedBytes } from '../shared.ts';
import { digest } from '../stamp.ts';
import { threadsOf, usesOwnInstructions } from '../tile.ts';
import { VERSIONS } from '../versions.ts';

/** What a contract may ask of its callers, as bits: a pointer that serves one of them must not be null. */
const NEEDS = {
  always: [1, 'every contract'],
  keys: [2, 'keys are coded'],
  values: [4, 'values are coded'],
  rope: [8, 'keys are coded before RoPE'],
  exact: [16, 'score of form "exact"'],
  sinks: [32, 'learned sink logits'],
  softcap: [64, 'scores are capped'],
  rows: [128, 'score of query rows: of any form but "norm"'],
} as const;
export type Need = keyof typeof NEEDS;

const EVERYWHERE: Readonly<Record<string, Need>> = { k_codebook: 'keys', v_codebook: 'values', inv_freq: 'rope', sink_logits: 'sinks' };

/** Pointers that must not be null, by op. What depends on other fields (splits, segments, page index, anchors) is checked by the loader's own code. */
const REQUIRED: Readonly<Partial<Record<Op, Readonly<Record<string, Need>>>>> = {
  encode: { k: 'always', v: 'always', pages: 'always', cu_tokens: 'always' },
  append: { k: 'always', v: 'always', pages: 'always', seq_len: 'always' },
  decode: { q: 'always', pages: 'always', coded_len: 'always', kv_len: 'always' },
  score: { scores: 'always', q: 'rows', k: 'always', v: 'exact', o: 'exact', lse: 'rows', cu_q: 'rows', cu_k: 'always' },
  select: { scores: 'always', keep_bitmap: 'always', keep_indices: 'always', token_count: 'always' },
  unpack: { k: 'always', v: 'always', pages: 'always', cu_tokens: 'always' },
  kmeans: { x: 'always', centroids: 'always', codebook: 'always', row_loss: 'always', sums: 'always', loss: 'always', energy: 'always', status: 'always' },
};

/** When pointer `field` of `op` must not be null; undefined where that depends on other fields, or null is allowed. */
export const needOf = (op: Op, field: string): Need | undefined => REQUIRED[op]?.[field] ?? EVERYWHERE[field];

/** The needs of a contract. */
export function needsOf(c: Contract): Need[] {
  const needs: Need[] = ['always'];
  if (isCacheContract(c)) {
    if (codecOf(c.k).kind === 'vq') needs.push('keys');
    if (codecOf(c.v).kind === 'vq') needs.push('values');
    if (c.key === 'pre') needs.push('rope');
  }
  if (c.form === 'exact') needs.push('exact');
  if (c.op === 'score' && c.form !== 'norm') needs.push('rows');
  if (c.sink) needs.push('sinks');
  if (c.softcap) needs.push('softcap');
  return needs;
}

const OPS = PARAM_STRUCTS.map((s) => s.op as Op).filter((op) => GRID[op]);
const opName = (op: Op): string => `ANTKV_OP_${op.toUpperCase()}`;
const sum = (needs: readonly Need[]): number => needs.reduce((bits, need) => bits | NEEDS[need][0], 0);
const lines = (rows: readonly string[]): string => rows.map((row) => `  ${row},`).join('\n');

function printKernel(kernel: Kernel): string {
  const { contract, arch, tile } = kernel;
  const name = kernelName(kernel);
  const params = structLayout(paramStruct(contract.op)).bytes;
  const unit = isCacheContract(contract) ? unitLayout(contract).bytes : 0;
  const coded = isCacheContract(contract) && isCoded(contract) ? 1 : 0;
  const launch = [arch.name.slice(2), usesOwnInstructions(tile) ? 1 : 0, threadsOf(tile), tile.tokens ?? 0, sharedBytes(contract, tile), params];
  const codec = contract.op === 'kmeans' ? codecOf(contract.k!) : undefined;
  const layout = [contract.headDim ?? (codec?.kind === 'vq' ? codec.channels : 0), contract.columns ?? 0, unit, coded, sum(needsOf(contract))];
  const strings = [contractName(contract), name, `${arch.name}/${name}.fatbin`].map((text) => `"${text}",\n   `);
  return `{${strings.join('')}${[opName(contract.op), ...launch, ...layout].join(', ')}}`;
}

/** The rows of one op's pointers and byte strides, in the order of the struct. */
function printFields(op: Op): string[] {
  const { name, fields } = paramStruct(op);
  const row = ({ name: field, type }: Field): string => {
    const need = type === 'ptr' ? needOf(op, field) : undefined;
    return `{${opName(op)}, ${type === 'ptr' ? 1 : 0}, ${need ? NEEDS[need][0] : 0}, offsetof(${name}, ${field}), "${field}"}`;
  };
  return fields.filter(({ type }) => type === 'ptr' || type === 'i64').map(row);
}

/** The order of rows: by contract and architecture. Of several with equal contract and architecture the first given stays first: it is the default. */
export function rowOrder(kernels: readonly Kernel[]): Kernel[] {
  const key = ({ contract, arch }: Kernel): string => `${contractName(contract)} ${arch.name.slice(2).padStart(4, '0')}`;
  return [...kernels].sort((a, b) => (key(a) < key(b) ? -1 : key(a) > key(b) ? 1 : 0));
}

/** Rows of `kernels`, in {@link rowOrder}, and of the fields of all ops. */
const rowsOf = (kernels: readonly Kernel[]): { kernels: string[]; fields: string[] } => ({ kernels: rowOrder(kernels).map(printKernel), fields: OPS.flatMap(printFields) });

/** Digest of all that a launch goes by, as a number of C: what was compiled with one cannot use a folder or tables of another. Code that is launched as before has the same. */
export function kernelsDigest(kernels: readonly Kernel[]): string {
  const rows = rowsOf(kernels);
  return `0x${digest([String(VERSIONS.abi), String(VERSIONS.layout), ...rows.kernels, ...rows.fields])}ull`;
}

/** The header; its rows are `kernels`, in {@link rowOrder}. */
export function printKernels(kernels: readonly Kernel[]): string {
  const rows = rowsOf(kernels);
  return `/* Kernels of this folder, for antkv_load.h: what a launch needs to know of each, and what the loader checks before one. Names in
   \`symbol\` and \`file\` change with every tuning; ask for contracts. */
#ifndef ANTKV_KERNELS_H
#define ANTKV_KERNELS_H

#include <stddef.h>
#include <stdint.h>

#include "antkv.h"

/* The versions that the kernels were generated with. */
#define ANTKV_KERNELS_ABI_VERSION ${VERSIONS.abi}
#define ANTKV_KERNELS_LAYOUT_VERSION ${VERSIONS.layout}
/* Of the rows below. antkv_open compares it with that of the folder it opens, antkv_table.h with that of antkv_tables.h. */
#define ANTKV_KERNELS_DIGEST ${kernelsDigest(kernels)}
#define ANTKV_KERNEL_COUNT ${kernels.length}

/* At most: sequences, KV heads, splits, and y and z of a grid; query heads per KV head; query rows of a sequence in decode; tokens of a sequence. */
#define ANTKV_MAX_GRID ${BOUNDS.grid}
#define ANTKV_MAX_RATIO ${BOUNDS.ratio}
#define ANTKV_MAX_Q_LEN ${BOUNDS.qLen}
#define ANTKV_MAX_TOKENS ${BOUNDS.tokens}

${OPS.map((op, i) => `#define ${opName(op)} ${i}`).join('\n')}

/* Bits of antkv_kernel_row.needs and antkv_field_row.need. */
${(Object.keys(NEEDS) as Need[]).map((need) => `#define ANTKV_NEEDS_${need.toUpperCase()} ${NEEDS[need][0]} /* ${NEEDS[need][1]} */`).join('\n')}

typedef struct antkv_kernel_row {
  const char* contract;
  const char* symbol;
  const char* file;     /* below the folder of this header */
  int32_t op;           /* ANTKV_OP_... */
  int32_t arch;         /* 80: sm_80 */
  int32_t own;          /* 1: for that architecture alone, by instructions that nothing newer has; 0: for newer ones too, through PTX */
  int32_t threads;      /* of a block */
  int32_t tokens;       /* that a block takes per step; 0 for ops without */
  int32_t shared_bytes; /* dynamic shared memory of a block */
  int32_t params_bytes; /* sizeof the op's struct */
  int32_t head_dim;     /* of kmeans channels of a code; 0 for ops without */
  int32_t columns;      /* query rows x query heads per KV head of one block; decode only */
  int32_t unit_bytes;   /* ${UNIT_TOKENS} tokens of a coded page; 0 for ops without pages */
  int32_t coded;        /* 1: pages end with an anchor bitmap */
  uint32_t needs;
} antkv_kernel_row;

/* A pointer or a byte stride of a parameter struct. */
typedef struct antkv_field_row {
  uint8_t op;
  uint8_t pointer; /* 0: a stride */
  uint16_t need;   /* not null for kernels that have one of these needs */
  uint16_t offset;
  const char* name;
} antkv_field_row;

/* By contract, then architecture; the first row of a pair is its default. A row of zeros ends the list. */
static const antkv_kernel_row antkv_kernel_rows[ANTKV_KERNEL_COUNT + 1] = {
${lines([...rows.kernels, `{${Array<number>(15).fill(0).join(', ')}}`])}
};

static const char* const antkv_op_names[] = {${OPS.map((op) => `"${op}"`).join(', ')}};

/* By op, in the order of its struct. */
static const antkv_field_row antkv_field_rows[] = {
${lines(rows.fields)}
};

#endif
`;
}
