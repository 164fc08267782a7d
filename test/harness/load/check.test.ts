// Tests templates/antkv_launch.h as antkv_load.h uses it: params written by generator/abi.ts, grids against generator/launch.ts, and a refusal for every mistake.
import { execa } from 'execa';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { paramStruct } from '../../../generator/abi.ts';
import { findArch } from '../../../generator/arch.ts';
import { needOf } from '../../../generator/bindings/kernels.ts';
import { gridOfTile } from '../../../generator/launch.ts';
import { parseContractName } from '../../../generator/name.ts';
import { defaultTile } from '../../../generator/tile.ts';
import { compile, generatedFolder, GOOD, paramsHex, POINTER, ROOT } from './build.ts';

type Op = keyof typeof GOOD;

const sm80 = findArch('sm80')!;
const AXES = '_d128_k8c8b_v8c8bq8_f16_pre_gain';
const CONTRACT: Readonly<Record<Op, string>> = {
  encode: `antkv_encode${AXES}`, append: `antkv_append${AXES}`, decode: `antkv_decode${AXES}`, unpack: `antkv_unpack${AXES}`, combine: 'antkv_combine_d128_f16', score: 'antkv_score_d128_f16', select: 'antkv_select', kmeans: 'antkv_kmeans_k8c8b_f16',
};

const client = await compile([join(ROOT, 'test/harness/load/client.c')], ['-I', generatedFolder(), '-I', join(ROOT, 'harness'), '-g', '-fsanitize=undefined', '-fno-sanitize-recover=all']);

/** One answer for each [contract, params in hex]. */
async function check(cases: readonly (readonly [contract: string, hex: string])[]): Promise<string[]> {
  const { stdout } = await execa(client, [], { input: cases.flatMap(([contract, hex]) => [`row ${contract}`, `grid ${hex}`]).join('\n'), timeout: 20_000 });
  return stdout.split('\n');
}

const ceil = Math.ceil;
/** A part of a grid of generator/launch.ts for these params. */
const evaluate = (part: string, p: Readonly<Record<string, number>>): number => Number(new Function('ceil', ...Object.keys(p), `return ${part}`)(ceil, ...Object.values(p)));

const SHAPES: Readonly<Record<Op, readonly Record<string, number>[]>> = {
  encode: [{}, { max_tokens: 1, max_anchors: 0 }, { max_tokens: 33, max_anchors: 17, batch: 7 }],
  append: [{}, { batch: 1, cu_q: POINTER }],
  decode: [{}, { q_heads: 128, kv_heads: 8, max_q_len: 16, rows: 20, cu_q: POINTER }, { q_heads: 24, max_q_len: 3, rows: 3 }, { splits: 9, partial_o: POINTER, partial_lse: POINTER, out: 0 }, { spread: 1 }],
  combine: [{}, { q_heads: 5, rows: 1000000 }],
  score: [{}, { max_tokens: 65, batch: 1 }],
  select: [{}, { batch: 65535, kv_heads: 70000 }],
  unpack: [{}, { max_tokens: 31, max_anchor_pages: 4 }],
  kmeans: [{}, { splits: 1, heads: 1, step: 0 }],
};

test('grids are those of generator/launch.ts', async () => {
  const cases = (Object.keys(SHAPES) as Op[]).flatMap((op) => SHAPES[op].map((change) => ({ op, params: { max_anchors: 0, max_anchor_pages: 0, spread: 0, ...GOOD[op], ...change } })));
  const got = await check(cases.map(({ op, params }) => [CONTRACT[op], paramsHex(op, Object.fromEntries(Object.entries(params).filter(([name]) => paramStruct(op).fields.some((f) => f.name === name))))]));
  cases.forEach(({ op, params }, i) => {
    const want = gridOfTile(parseContractName(CONTRACT[op]), defaultTile(parseContractName(CONTRACT[op]), sm80)).map((part) => evaluate(part, params));
    assert.is(got[i], `grid 0 ${want.join(' ')}`, `${op} ${JSON.stringify(SHAPES[op])}`);
  });
});

const MISTAKES: readonly (readonly [op: Op, change: Record<string, number>, want: RegExp])[] = [
  ['decode', { struct_size: 376 }, /^grid 8 decode: struct_size is 376, antkv_decode_params has 392 bytes; set it with ANTKV_INIT/],
  ['combine', { struct_size: 376 }, /^grid 8 combine: struct_size is 376, antkv_combine_params has 80 bytes/],
  ['decode', { abi_version: 1 }, /^grid 4 decode: abi_version is 1, the kernels are of 3; compile with the antkv.h of their folder/],
  ['decode', { abi_version: 0 }, /^grid 4 decode: abi_version is 0/],
  ['decode', { pages: POINTER + 8 }, /^grid 10 decode: pages is 0x7f0000000008; start the array at a multiple of 16 bytes/],
  ['decode', { kv_len: POINTER + 4 }, /^grid 10 decode: kv_len/],
  ['decode', { q_row_stride: 8200 }, /^grid 10 decode: q_row_stride is 8200 bytes; pad to a multiple of 16/],
  ['decode', { splits: 4 }, /^grid 9 decode: splits is 4 but partial_o or partial_lse is null; antkv_workspace says their bytes/],
  ['decode', { splits: 4, partial_o: POINTER }, /^grid 9 decode: splits is 4/],
  ['decode', { splits: 0 }, /^grid 11 decode: splits is 0; use antkv_kernel.splits/],
  ['decode', { out: 0 }, /^grid 9 decode: out is null; with one split, or with counters, decode writes it/],
  ['decode', { out: 0, splits: 4, partial_o: POINTER, partial_lse: POINTER, counters: POINTER }, /^grid 9 decode: out is null; with one split, or with counters/],
  ['decode', { splits: 4, counters: POINTER }, /^grid 9 decode: splits is 4 but partial_o/],
  ['decode', { counters: POINTER + 4 }, /^grid 10 decode: counters/],
  ['decode', { spread: 2 }, /^grid 11 decode: spread is 2; 0 or 1/],
  ['decode', { page_size: 48 }, /^grid 11 decode: page_size is 48; it is one of 16, 32, 64, 128, 256/],
  ['decode', { page_size: 0 }, /^grid 11 decode: page_size is 0/],
  ['decode', { q_heads: 30 }, /^grid 11 decode: q_heads 30 is not 1 to 16 times kv_heads 8/],
  ['decode', { q_heads: 8 * 17 }, /^grid 11 decode: q_heads 136/],
  ['decode', { kv_heads: 0 }, /^grid 11 decode: kv_heads is 0/],
  ['decode', { batch: 65536, rows: 65536 }, /^grid 11 decode: batch is 65536/],
  ['decode', { rows: 2 }, /^grid 9 decode: cu_q is null, so each sequence has one row, but rows is 2 and batch 3/],
  ['decode', { rows: 4, cu_q: POINTER }, /^grid 11 decode: rows is 4; 1 to batch \* max_q_len/],
  ['decode', { max_q_len: 17 }, /^grid 11 decode: max_q_len is 17; 1 to 16; longer queries go through unpack/],
  ['decode', { max_q_len: 0 }, /^grid 11 decode: max_q_len is 0/],
  ['decode', { ring_k: 0 }, /^grid 9 decode: segments is 7 but ring_k or ring_v is null; without a ring clear bit 2/],
  ['decode', { ring_rows: 0 }, /^grid 11 decode: ring_rows is 0; it is window \+ flush block \+ 16/],
  ['decode', { segments: 8 }, /^grid 11 decode: segments is 8/],
  ['decode', { block_table: 0 }, /^grid 9 decode: there is no page index; give block_table, or page_indptr with page_indices/],
  ['decode', { block_table: 0, page_indptr: POINTER }, /^grid 9 decode: there is no page index/],
  ['decode', { page_indptr: POINTER, page_indices: POINTER }, /^grid 11 decode: block_table and page_indptr are both given/],
  ['decode', { max_pages: 0 }, /^grid 11 decode: max_pages is 0; it is the row stride of block_table/],
  ['decode', { page_stride: 2176 }, /^grid 11 decode: page_stride is 2176 bytes, but what it steps over has 2192/],
  ['decode', { page_head_stride: 0 }, /^grid 11 decode: page_head_stride is 0 bytes, but what it steps over has 2192/],
  ['decode', { anchor_table: POINTER }, /^grid 9 decode: anchor_table is given but anchors is null/],
  ['decode', { anchor_table: POINTER, anchors: POINTER }, /^grid 11 decode: max_anchor_pages is 0/],
  ['decode', { anchor_table: POINTER, anchors: POINTER, max_anchor_pages: 2, anchor_page_stride: 65536, anchor_head_stride: 8192 }, /^grid 11 decode: anchor_head_stride is 8192 bytes, but what it steps over has 8256/],
  ['decode', { scale: 0 }, /^grid 11 decode: scale is 0; it is finite and above 0, usually 1 \/ sqrt/],
  ['decode', { scale: NaN }, /^grid 11 decode: scale is -?nan/],
  ['decode', { attention_factor: 0 }, /^grid 11 decode: attention_factor is 0; it is 1 for RoPE without YaRN/],
  ['decode', { rotary_dim: 130 }, /^grid 11 decode: rotary_dim is 130; 2 to the head dim/],
  ['decode', { rotary_dim: 63 }, /^grid 11 decode: rotary_dim is 63; it is even/],
  ['decode', { rope_interleaved: 2 }, /^grid 11 decode: rope_interleaved is 2/],
  ['decode', { kv_heads: 40000, q_heads: 40000 * 16, page_stride: 40000 * 2192, q_row_stride: 2 ** 28, out_row_stride: 2 ** 28, segments: 3 }, /^grid 11 decode: grid.y would be 80000, not 1 to 65535/],
  ['decode', { scale: Infinity }, /^grid 11 decode: scale is inf; it is finite/],
  ['decode', { attention_factor: Infinity }, /^grid 11 decode: attention_factor is inf/],
  ['decode', { max_anchor_pages: -1 }, /^grid 11 decode: max_anchor_pages is -1; it is the row stride of anchor_table; 0 without anchors/],
  ['decode', { splits: 65536, partial_o: POINTER, partial_lse: POINTER }, /^grid 11 decode: splits is 65536; use antkv_kernel.splits; they are 1 to 65535/],
  ['combine', { splits: 65536 }, /^grid 11 combine: splits is 65536; the same as decode's, 1 to 65535/],
  ['score', { scale: Infinity }, /^grid 11 score: scale is inf; it is finite/],
  ['score', { max_tokens: (1 << 30) + 1, score_stride: 2 ** 31 - 1 }, /^grid 11 score: max_tokens is 1073741825; it is the host bound on keys per sequence, 1 to 2\^30/],
  ['decode', { ring_head_stride: 2 ** 62, ring_slot_stride: 2 ** 62 }, /^grid 11 decode: ring_slot_stride is 4611686018427387904 bytes, but what it steps over has 32281802128991/], // 7 * 2^62: no overflow
  ['encode', { max_anchor_pages: -1 }, /^grid 11 encode: max_anchor_pages is -1; .*0 without anchors/],
  ['encode', { max_tokens: (1 << 30) + 1 }, /^grid 11 encode: max_tokens is 1073741825; it is the host bound on input rows per sequence, 1 to 2\^30/],
  ['unpack', { max_tokens: 2 ** 31 - 1 }, /^grid 11 unpack: max_tokens is 2147483647; it is the host bound on tokens per sequence, 1 to 2\^30/],
  ['encode', { max_tokens: 0 }, /^grid 11 encode: max_tokens is 0; it is the host bound/],
  ['encode', { keys_unrotated: 2 }, /^grid 11 encode: keys_unrotated is 2/],
  ['encode', { keep_indices: POINTER }, /^grid 9 encode: keep_indices is given but anchor_table is null/],
  ['encode', { keep_indices: POINTER, anchor_table: POINTER, anchors: POINTER, max_anchor_pages: 1, anchor_page_stride: 70000, anchor_head_stride: 8256 }, /^grid 11 encode: max_anchors is 25; 1 anchor pages hold 16/],
  ['encode', { keep_indices: POINTER, max_anchors: 0 }, /^grid 11 encode: max_anchors is 0/],
  ['encode', { anchor_score: POINTER }, /^grid 9 encode: of anchor_score and keep_scores one is null; give both, or none/],
  ['encode', { anchor_score: POINTER, keep_scores: POINTER, score_stride: 512 }, /^grid 9 encode: anchor_score is given but keep_indices is null/],
  ['encode', { score_rows: POINTER }, /^grid 9 encode: score_rows is given but keep_scores is null/],
  ['encode', { keep_bitmap: POINTER }, /^grid 11 encode: keep_words is 0; it is the row stride of keep_bitmap/],
  ['append', { ring_v: 0 }, /^grid 9 append: ring_k or ring_v is null; coded recipes keep their newest tokens there/],
  ['append', { q_heads: 31 }, /^grid 11 append: q_heads 31/],
  ['append', { window: -1 }, /^grid 11 append: window is -1/],
  ['append', { flush_block: 0 }, /^grid 11 append: flush_block is 0; it is a multiple of page_size/],
  ['append', { flush_block: 96 }, /^grid 11 append: flush_block is 96; it is a multiple of page_size, 64/],
  ['append', { ring_rows: 271 }, /^grid 11 append: ring_rows is 271; it is at least window \+ flush_block \+ 16/],
  ['append', { budget_permille: 1001 }, /^grid 11 append: budget_permille is 1001/],
  ['append', { first_tokens: -1 }, /^grid 11 append: first_tokens is -1/],
  ['append', { budget_tokens: -1 }, /^grid 11 append: budget_tokens is -1; tokens, or 0 for budget_permille/],
  ['append', { extra_tokens: -1 }, /^grid 11 append: extra_tokens is -1/],
  ['append', { policy: 4 }, /^grid 11 append: policy is 4; 0 column, 1 smallest key, 2 largest key, 3 none/],
  ['append', { ring_count: 0 }, /^grid 9 append: one of ring_score and ring_count is null; give both, or none/],
  ['append', { anchor_table: POINTER, anchors: POINTER, max_anchor_pages: 2, anchor_page_stride: 70000, anchor_head_stride: 8256 }, /^grid 9 append: anchor_table is given but ring_score or anchor_score is null/],
  ['append', { ring_scores: POINTER, ring_score: 0, ring_count: 0 }, /^grid 9 append: ring_scores is given but ring_score is null; that is where they are added/],
  ['unpack', { max_tokens: 0 }, /^grid 11 unpack: max_tokens is 0/],
  ['unpack', { page_size: 8 }, /^grid 11 unpack: page_size is 8/],
  ['combine', { partial_lse: 0 }, /^grid 9 combine: partial_o is given but partial_lse or out is null/],
  ['combine', { partial_o: 0 }, /^grid 9 combine: partial_o is null: there is nothing to merge/],
  ['combine', { ring_scores: POINTER }, /^grid 11 combine: ring_rows is 0/],
  ['combine', { rows: 0 }, /^grid 11 combine: rows is 0/],
  ['score', { q_heads: 7 }, /^grid 11 score: q_heads 7/],
  ['score', { score_stride: 512 }, /^grid 11 score: score_stride is 512; it is at least max_tokens/],
  ['score', { accumulate: 2 }, /^grid 11 score: accumulate is 2; 0 or 1/],
  ['score', { newest_rows: 128 }, /^grid 11 score: newest_rows is 128; without cu_sampled all rows count: leave it 0/],
  ['score', { cu_sampled: POINTER }, /^grid 9 score: cu_sampled is given but sampled_rows is null/],
  ['score', { cu_sampled: POINTER, sampled_rows: POINTER, newest_rows: -1 }, /^grid 11 score: newest_rows is -1; 0 or more/],
  ['score', { softcap: 30 }, /^grid 11 score: softcap is 30, but antkv_score_d128_f16 has none: leave it 0/],
  ['select', { keep_words: 0 }, /^grid 11 select: keep_words is 0/],
  ['select', { budget_permille: 1001 }, /^grid 11 select: budget_permille is 1001/],
  ['select', { budget_tokens: -2 }, /^grid 11 select: budget_tokens is -2/],
  ['kmeans', { tokens: 0 }, /^grid 11 kmeans: tokens is 0; 1 to 2\^30/],
  ['kmeans', { step: 3 }, /^grid 11 kmeans: step is 3/],
  ['kmeans', { loss_scale: 0 }, /^grid 11 kmeans: value_scale 1024, weight_scale 1024, loss_scale 0/],
  ['select', { batch: 70000 }, /^grid 11 select: grid.y would be 70000/],
];

/** [op, strides, the one that is named, what it steps over]; counts of {@link GOOD}, 32 query and 8 KV heads of 256 bytes. */
const STRIDES: readonly (readonly [op: Op, change: Record<string, number>, field: string, least: number])[] = [
  ...(['q', 'out'] as const).flatMap((name) =>
    ([[{ row: 0 }, 'row', 256], [{ row: 8176 }, 'row', 8192], [{ head: 0 }, 'head', 256], [{ head: 240 }, 'head', 256], [{ head: -256 }, 'head', 256], [{ row: 256 }, 'row', 8192], [{ row: 256, head: 752 }, 'head', 768]] as const).map(
      ([change, field, least]) => ['decode', Object.fromEntries(Object.entries(change).map(([axis, stride]) => [`${name}_${axis}_stride`, stride])), `${name}_${field}_stride`, least] as const,
    ),
  ),
  ['decode', { ring_row_stride: 0 }, 'ring_row_stride', 256], ['decode', { ring_row_stride: 16 }, 'ring_row_stride', 256], ['decode', { ring_head_stride: 0 }, 'ring_head_stride', 256], ['decode', { ring_head_stride: 271 * 256 }, 'ring_head_stride', 272 * 256],
  ['decode', { ring_slot_stride: 0 }, 'ring_slot_stride', 256], ['decode', { ring_slot_stride: 7 * 272 * 256 }, 'ring_slot_stride', 8 * 272 * 256],
  ['decode', { page_stride: 2192 }, 'page_stride', 8 * 2192], ['decode', { page_head_stride: 3 * 2192 }, 'page_stride', 22 * 2192], ['append', { ring_row_stride: 240 }, 'ring_row_stride', 256], ['append', { k_row_stride: 256 }, 'k_row_stride', 2048],
  ['append', { k_row_stride: 0, cu_q: POINTER }, 'k_row_stride', 256], ['append', { v_head_stride: 0 }, 'v_head_stride', 256], ['combine', { out_head_stride: 0 }, 'out_head_stride', 256], ['combine', { out_row_stride: 8176 }, 'out_row_stride', 8192],
  ...(['encode', 'unpack', 'score'] as const).flatMap((op) => [[op, { k_row_stride: 0 }, 'k_row_stride', 256], [op, { k_row_stride: 256 }, 'k_row_stride', 2048], [op, { k_head_stride: 240 }, 'k_head_stride', 256]] as const),
  ...(['encode', 'unpack'] as const).map((op) => [op, { v_row_stride: 2032 }, 'v_row_stride', 2048] as const), ['score', { q_head_stride: 0 }, 'q_head_stride', 256], ['score', { q_row_stride: 512 }, 'q_row_stride', 8192],
  ['kmeans', { x_row_stride: 240 }, 'x_row_stride', 256], ['kmeans', { x_head_stride: 0 }, 'x_head_stride', 256], ['kmeans', { x_head_stride: 4999 * 256 }, 'x_head_stride', 5000 * 256],
];

test('a stride that is too small for what it steps over is refused, with the least that it can be', async () => {
  const got = await check(STRIDES.map(([op, change]) => [CONTRACT[op], paramsHex(op, { ...GOOD[op], ...change })]));
  STRIDES.forEach(([op, change, field, least], i) => assert.match(got[i]!, new RegExp(`^grid 11 ${op}: ${field} is -?\\d+ bytes, but what it steps over has ${least}$`), `${op} ${JSON.stringify(change)}`));
});

test('strides of axes of length 1 are anything, axes come in any order, and what is not there has no strides', async () => {
  const one = { batch: 1, rows: 1, kv_heads: 1, q_heads: 1, page_head_stride: 0, ring_head_stride: 0, ring_slot_stride: 0 };
  const fine: readonly (readonly [Op, Record<string, number>])[] = [
    ['decode', { ...one, q_row_stride: 0, q_head_stride: 0, out_row_stride: 0, out_head_stride: -16 }],
    ['decode', { q_row_stride: 256, q_head_stride: 768, out_row_stride: 256, out_head_stride: 768 }],
    ['decode', { ring_head_stride: 256, ring_row_stride: 8 * 256 }], // rows outside heads
    ['decode', { page_stride: 2192, page_head_stride: 50 * 2192 }], // a pool per KV head
    ['decode', { segments: 3, ring_row_stride: 0, ring_head_stride: 0, ring_slot_stride: 0 }],
    ['decode', { out: 0, out_row_stride: 0, out_head_stride: 0, splits: 4, partial_o: POINTER, partial_lse: POINTER }],
    ['append', { cu_q: POINTER, k_row_stride: 256, v_row_stride: 256 }], // how many rows there are the host cannot see: may be one
    ['encode', { ...one, max_tokens: 1, k_row_stride: 0, v_row_stride: 0, k_head_stride: 0, v_head_stride: 0 }],
    ['score', { o_row_stride: 0, o_head_stride: 0, v_row_stride: 0, v_head_stride: 0 }], // of form "exact" alone
    ['combine', { partial_o: 0, lse: POINTER, ring_scores: POINTER, ring_rows: 272, out_row_stride: 0, out_head_stride: 0 }],
    ['kmeans', { heads: 1, x_head_stride: 0 }],
  ];
  const fields = (op: Op, values: Record<string, number>) => Object.fromEntries(Object.entries(values).filter(([name]) => paramStruct(op).fields.some((field) => field.name === name)));
  const got = await check(fine.map(([op, change]) => [CONTRACT[op], paramsHex(op, { ...GOOD[op], ...fields(op, change) })]));
  fine.forEach(([op, change], i) => assert.match(got[i]!, /^grid 0 /, `${op} ${JSON.stringify(change)}`));
});

test('every mistake is refused by name, with its fix', async () => {
  const got = await check(MISTAKES.map(([op, change]) => [CONTRACT[op], paramsHex(op, { ...GOOD[op], ...change })]));
  MISTAKES.forEach(([op, change, want], i) => assert.match(got[i]!, want, `${op} ${JSON.stringify(change)}`));
});

test('every pointer that a contract needs is missed by name', async () => {
  const cases = (Object.keys(GOOD) as Op[]).flatMap((op) =>
    paramStruct(op).fields.filter(({ name, type }) => type === 'ptr' && ['always', 'keys', 'values', 'rope'].includes(needOf(op, name) ?? '')).map(({ name }) => [op, name] as const),
  );
  assert.ok(cases.length > 25);
  const got = await check(cases.map(([op, name]) => [CONTRACT[op], paramsHex(op, { ...GOOD[op], [name]: 0 })]));
  cases.forEach(([op, name], i) => assert.is(got[i], `grid 9 ${op}: ${name} is null; antkv.h says what it points to`));
});

const EXACT_APPEND = { ...GOOD.append, k_codebook: 0, v_codebook: 0, inv_freq: 0, rotary_dim: 0, attention_factor: 0, ring_k: 0, ring_v: 0, ring_score: 0, ring_count: 0, window: 0, flush_block: 1, ring_rows: 0, page_stride: 1 << 20, page_head_stride: 1 << 16 };

test('what a contract does not need may be null', async () => {
  const exact = { ...GOOD.decode, k_codebook: 0, v_codebook: 0, inv_freq: 0, rotary_dim: 0, attention_factor: 0, segments: 1, ring_k: 0, ring_v: 0, ring_rows: 0, page_stride: 1 << 20, page_head_stride: 1 << 16 };
  const post = { ...GOOD.decode, inv_freq: 0, rotary_dim: 0, attention_factor: 0 };
  const got = await check([
    ['antkv_decode_d128_kf16_vf16_f16', paramsHex('decode', exact)],
    ['antkv_decode_d128_k8c8b_v8c8bq8_f16_gain', paramsHex('decode', post)],
    ['antkv_score_d128_f16_exact', paramsHex('score', GOOD.score)],
    ['antkv_encode_d128_k8c8b_v8c8bq8_f16_gain', paramsHex('encode', { ...GOOD.encode, inv_freq: 0, rotary_dim: 0 })],
    ['antkv_encode_d128_k8c8b_v8c8bq8_f16_gain', paramsHex('encode', { ...GOOD.encode, inv_freq: 0, keys_unrotated: 1 })],
    ['antkv_append_d128_kf16_vf16_f16', paramsHex('append', EXACT_APPEND)],
    ['antkv_append_d128_kf16_vf16_f16', paramsHex('append', { ...EXACT_APPEND, ring_k: POINTER })],
    ['antkv_append_d128_k8c8b_v8c8bq8_f16_gain', paramsHex('append', { ...GOOD.append, inv_freq: 0, rotary_dim: 0, ring_score: 0, ring_count: 0 })],
    ['antkv_select', 'null'],
  ]);
  assert.equal(got, [
    'grid 0 1 8 3', 'grid 0 1 8 3', 'grid 9 score: v is null; antkv.h says what it points to', 'grid 0 40 8 3', 'grid 9 encode: keys_unrotated is 1 but inv_freq is null', 'grid 0 8 3 1',
    'grid 11 append: ring_k, ring_v, ring_score, ring_count or anchor_table is given, but exact recipes have no ring and no anchors: leave them null', 'grid 0 8 3 1', 'grid 9 select: params is null',
  ]);
});

test.run();
