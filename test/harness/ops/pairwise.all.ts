// Everything offered but not committed: a pairwise array over contract, tile and shape axes, run on the emulated driver and compiled by nvcc where it is there.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import PQueue from 'p-queue';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { findArch } from '../../../generator/arch.ts';
import { contractOf, reject, type Contract } from '../../../generator/contract.ts';
import { emitAll } from '../../../generator/emit.ts';
import { kernelName, type Kernel } from '../../../generator/name.ts';
import { misfit, type Tile } from '../../../generator/tile.ts';
import { compileAll } from '../../../tuner/compile.ts';
import { findNvcc } from '../../../tuner/nvcc.ts';
import type { CheckOp, KernelRef, Shape } from '../../../tuner/problem.ts';
import type { Runner } from '../../../tuner/runner.ts';
import { covering, type Row } from './covering.ts';
import { emulated, emulatedRunner, mustPass } from './lab.ts';

const test = suite('ops/pairwise');
const arch = findArch('sm80')!;
// Each built codec on one side: all of them on both (codecs.test.ts) would be twice the rows.
const KEYS = ['2c8b', '4c8b', '8c8bq8', '8c10bq8', '16c8bq8', '16c12b', '16c6b6bq8', '32c12b', 'f16', 'bf16'] as const;
const VALUES = ['2c8bq8', '4c8bq8', '8c8b', '8c10b', '16c8b', '16c12bq8', '16c6b6b', '32c12bq8', 'f16', 'bf16'] as const;

const AXES = {
  op: ['decode', 'encode', 'append', 'unpack'],
  headDim: [64, 96, 128, 256],
  k: KEYS,
  v: VALUES,
  dtype: ['f16', 'bf16'],
  key: ['post', 'pre'],
  gain: ['none', 'k'],
  columns: [8],
  softcap: [false, true],
  sink: [false, true],
  warps: [1, 2, 4, 8],
  tokens: [16, 32, 48, 64, 128],
  stages: [0, 1, 2, 3, 4], // 0: the op has none
  pageSize: [16, 32, 64, 256],
  index: ['table', 'csr'],
  ratio: [1, 2, 4, 5, 7, 8, 16],
  splits: [1, 3],
  anchors: [-1, 0, 60, 1000],
  interleaved: [false, true],
  position: [0, 1_000_000, 4_000_000],
  qLen: [1, 3, 16],
} as const;
/** Many query columns are decode's alone, and one algorithm's: fewer codecs, and shapes that fill them. */
const MANY = { ...AXES, op: ['decode'], columns: [16, 32], k: ['4c8b', '8c10bq8', 'f16', 'bf16'], v: ['2c8bq8', '16c8b', 'f16', 'bf16'], warps: [1, 2, 4], stages: [1, 2, 3, 4], tokens: [16, 32, 64, 128] } as const;
type Choice = Row<typeof AXES> | Row<typeof MANY>;

const kernelOf = (row: Choice): Kernel => ({
  contract: contractOf(row.op, { headDim: row.headDim, k: row.k, v: row.v, dtype: row.dtype, key: row.key, gain: row.gain, columns: row.columns, softcap: row.softcap, sink: row.sink } as Partial<Contract>),
  arch,
  tile: { warps: row.warps, tokens: row.tokens, ...(row.stages > 0 ? { stages: row.stages } : {}) } as Tile,
});
const isExact = (row: Choice): boolean => row.k === row.v;
/** Offered by both pruners; axes that mean nothing to a row stand at one value. */
const valid = (row: Choice): boolean => {
  // What costs least first: most candidates end here.
  if (row.op !== 'decode' && !(row.splits === 1 && row.ratio === 1 && row.qLen === 1 && !row.softcap && !row.sink)) return false;
  if (isExact(row) && row.anchors !== -1) return false;
  const { contract, tile } = kernelOf(row);
  return reject(contract).length === 0 && misfit(contract, tile, arch).length === 0;
};

/** What the ops but decode do not have stands at one value, and what exact sides do not have. */
function settled<R extends Choice>(row: R): R {
  const exact = [row.k, row.v].find((name) => name === 'f16' || name === 'bf16');
  return {
    ...row,
    ...(row.op === 'decode' ? { stages: Math.max(row.stages, 1) } : { splits: 1, ratio: 1, qLen: 1, softcap: false, sink: false, stages: 0 }),
    ...(exact && { dtype: exact }),
    ...(exact === row.k && { key: 'post', gain: 'none' }),
    ...(isExact(row) && { anchors: -1 }),
  };
}

const few = covering(AXES, valid, settled);
const many = covering(MANY, valid, settled);
const rows: readonly Choice[] = [...few.rows, ...many.rows];

/** The shape of a row; `seed` moves the lengths. */
function shapeOf(row: Choice, seed: number): Shape<'decode'> | Shape<'encode'> | Shape<'append'> | Shape<'unpack'> {
  const ends = [row.pageSize + 1, 17 + seed, 0];
  const cache = {
    kv_heads: row.ratio > 4 ? 1 : 2, page_size: row.pageSize, index: row.index, anchor_permille: row.anchors, pad: 16 * (seed % 2), first_pos: ends.map(() => row.position), rope: { interleaved: row.interleaved, theta: 500_000 },
  };
  if (row.op === 'encode') return { ...cache, end: ends };
  if (row.op === 'append') return { ...cache, seq_len: [2 * row.pageSize + 15, 17 + seed, 0], ...(isExact(row) ? {} : { flush_block: row.pageSize, budget_permille: 80 }) };
  if (row.op === 'unpack') return { ...cache, coded_len: ends };
  const heads = { q_heads: cache.kv_heads * row.ratio, splits: row.splits, q_len: [row.qLen, 1, 2] };
  if (isExact(row)) return { ...cache, ...heads, coded_len: ends.map((end) => Math.max(end, row.qLen)) };
  return { ...cache, ...heads, coded_len: ends, kv_len: ends.map((end) => end + 16), ring_rows: 40, ring_scores: seed % 2 === 1, tree_mask: seed % 2 === 0 && row.qLen > 1 };
}

let runner: Runner;
let combines: Map<string, KernelRef>;
// A test, not a hook: uvu swallows what a before hook throws, and the suite would pass without having run.
test('runner and kernels build', async () => {
  runner = await emulatedRunner();
  const wanted = AXES.headDim.flatMap((headDim) => AXES.dtype.map((dtype) => ({ headDim, dtype })));
  combines = new Map(await Promise.all(wanted.map(async (axes) => [`${axes.headDim} ${axes.dtype}`, await emulated('combine', axes)] as const)));
});
test.after(() => runner?.close());

test('the array covers every pair but those that the pruners refuse', () => {
  const decodeOnly = '(ratio=(?!1$)\\d+|splits=3|qLen=(3|16)|softcap=true|sink=true)';
  const exact = 'k=b?f16 (key=pre|gain=k)|[kv]=f16 dtype=bf16|[kv]=bf16 dtype=f16|k=f16 v=bf16|k=bf16 v=f16|headDim=96 [kv]=32c12b(q8)?';
  const refused = new RegExp(`^(op=(encode|append|unpack) (stages=[1-4]|${decodeOnly})|op=decode stages=0|${exact}|stages=0 ${decodeOnly}|${decodeOnly} stages=0)$`);
  assert.equal(few.impossible.filter((pair) => !refused.test(pair)), []);
  const uncut = /^headDim=256 columns=32$|^warps=2 tokens=16$|^warps=4 tokens=(16|32)$/; // registers; units of 16 tokens for each warp
  assert.equal(many.impossible.filter((pair) => !refused.test(pair) && !uncut.test(pair)), []);
  assert.ok(few.rows.length < 125 && many.rows.length < 60, `${few.rows.length} and ${many.rows.length} rows`);
});

test('every row agrees with the reference', async () => {
  // Two compile while one runs.
  const queue = new PQueue({ concurrency: 2 });
  const built = rows.map((row) => queue.add(() => emulated(row.op as CheckOp, kernelOf(row).contract, kernelOf(row).tile)));
  for (const [i, row] of rows.entries()) {
    const kernel = (await built[i])!;
    for (const seed of [1, 2]) {
      const combine = row.op === 'decode' && row.splits > 1 ? { combine: combines.get(`${row.headDim} ${row.dtype}`)! } : {};
      await mustPass(runner, row.op as CheckOp, kernel, shapeOf(row, seed) as Shape<CheckOp>, { seed, ...combine, emulator: { order: seed, race: 1 } });
    }
  }
});

test('combine and select: every tile', async () => {
  for (const warps of [1, 2, 8] as const) {
    for (const headDim of AXES.headDim) {
      await mustPass(runner, 'combine', await emulated('combine', { headDim, dtype: 'f16' }, { warps }), { rows: 3, q_heads: 5, splits: 3, ring_rows: 17, empty_permille: 200 });
    }
    for (const pattern of ['ties', 'special'] as const) await mustPass(runner, 'select', await emulated('select', {}, { warps }), { token_count: [300, 33, 0], kv_heads: 2, pattern, budget_permille: 100, first_tokens: 4 });
  }
});

const SCORE_AXES = {
  headDim: [64, 96, 128, 256],
  dtype: ['f16', 'bf16'],
  form: ['column', 'mass', 'massq', 'exact'],
  softcap: [false, true],
  warps: [2, 4, 8, 16],
  units: [1, 2, 3, 4],
  stages: [2, 3, 4],
  ratio: [1, 4, 5, 16],
  sample: [false, true],
  accumulate: [false, true],
  position: [0, 4_000_000],
  rows: ['all', 'newest'],
} as const;
type ScoreChoice = Row<typeof SCORE_AXES>;
const scoreOf = ({ headDim, dtype, form, softcap, warps, units, stages }: ScoreChoice): Kernel => ({ contract: contractOf('score', { headDim, dtype, form, softcap }), arch, tile: { warps, tokens: 16 * units * warps, stages } });
const scores = covering(SCORE_AXES, (row) => misfit(scoreOf(row).contract, scoreOf(row).tile, arch).length === 0);

test('score: the array covers every pair but keys that no registers are left for', () => {
  assert.equal(scores.impossible.filter((pair) => !/^(headDim=(128|256)|form=exact|warps=16|units=[2-4]) (form=exact|warps=16|units=[2-4])$/.test(pair)), []);
  assert.ok(scores.rows.length < 40, `${scores.rows.length} rows`);
});

test('score: every row agrees with the reference, with no race', async () => {
  const queue = new PQueue({ concurrency: 2 });
  const built = scores.rows.map((row) => queue.add(() => emulated('score', scoreOf(row).contract, scoreOf(row).tile)));
  for (const [i, row] of scores.rows.entries()) {
    const keys = [16 * row.units * row.warps + 17, 40, 0];
    const shape: Shape<'score'> = {
      keys, q_heads: row.ratio, kv_heads: 1, accumulate: row.accumulate, first_pos: keys.map(() => row.position), pad: 16 * (i % 2),
      ...(row.rows === 'all' ? {} : { rows: keys.map((n) => Math.min(n, 21)) }), ...(row.sample ? { sampled_rows: 9, newest_rows: 5 } : {}), ...(i % 3 === 0 ? { sink_logit: 1 } : {}),
    };
    await mustPass(runner, 'score', (await built[i])!, shape, { seed: i + 1, emulator: { order: i, race: 2 } });
  }
});

test('nvcc compiles every row', async () => {
  const nvcc = await findNvcc();
  if (!nvcc) {
    console.error('skipped: no nvcc on this machine');
    return;
  }
  const kernels = [...new Map([...rows.map(kernelOf), ...scores.rows.map(scoreOf)].map((kernel) => [kernelName(kernel), kernel])).values()];
  const out = await mkdtemp(join(tmpdir(), 'antkv-'));
  try {
    const compiled = await compileAll(kernels, emitAll(kernels), { nvcc, out });
    assert.equal(compiled.flatMap(({ name, failure }) => (failure ? [`${name}: ${failure.why}`] : [])), []);
  } finally {
    await rm(out, { recursive: true, force: true });
  }
});

test.run();
