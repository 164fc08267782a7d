// decode with 16 and 32 query columns on the emulated driver against the fp64 reference: query rows times heads per KV head that fill them, that do not, and that are more.
import PQueue from 'p-queue';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { Contract } from '../../../generator/contract.ts';
import type { KernelRef, Shape } from '../../../tuner/problem.ts';
import type { Runner } from '../../../tuner/runner.ts';
import { DECODE } from '../../../tuner/shapes.ts';
import { cacheAxes, emulated, emulatedRunner, mustPass } from './lab.ts';

const test = suite('ops/columns');

/** Codes and exact rows, of each head dim; bf16 has other queries for keys that were codes; two units a step, two warps. */
const MANY: readonly (readonly [what: string, axes: Partial<Contract>, tokens: number])[] = [
  ['n16', { ...cacheAxes('d128 8c8b/8c8bq8 pre gain'), columns: 16 }, 32],
  ['n32', { ...cacheAxes('d128 4c8b/16c12b post'), columns: 32 }, 64],
  ['n32 bf16', { ...cacheAxes('d64 8c8b/bf16 pre gain'), dtype: 'bf16', columns: 32, softcap: true, sink: true }, 32],
  ['n16 of d256', { ...cacheAxes('d256 f16/8c8bq8 post'), columns: 16, sink: true }, 32],
  ['n32 exact', { ...cacheAxes('d96 f16/f16 post'), columns: 32 }, 32],
  ['n16 exact bf16', { ...cacheAxes('d128 bf16/bf16 post'), dtype: 'bf16', columns: 16 }, 32],
];

const mergeOf = ({ headDim, dtype }: Partial<Contract>): string => `combine d${headDim} ${dtype}`;

let runner: Runner;
const kernels = new Map<string, KernelRef>();
test('runner and kernels build', async () => {
  const queue = new PQueue({ concurrency: 2 });
  runner = await emulatedRunner();
  const merges = MANY.map(([, axes]) => [mergeOf(axes), axes] as const);
  await Promise.all([
    ...MANY.map(([what, axes, tokens]) => queue.add(async () => kernels.set(what, await emulated('decode', axes, { warps: 2, tokens, stages: 2 })))),
    ...merges.map(([what, axes]) => queue.add(async () => kernels.set(what, await emulated('combine', axes)))),
  ]);
});
test.after(() => runner?.close());

const RING = { coded_len: [70, 0, 33], kv_len: [86, 16, 40], ring_rows: 40, anchor_permille: 60 };
const EXACT = { coded_len: [86, 16, 40] };
/** Ragged rows times heads: 32 columns, 16, 5; 64 and fewer, 256 and fewer (two to sixteen blocks of columns); one. A tree of 16 rows at each width. */
const SHAPES: readonly Partial<Shape<'decode'>>[] = [
  { q_len: [16, 8, 3], q_heads: 2, kv_heads: 1, tree_mask: true },
  { q_len: [8, 1, 4], q_heads: 8, kv_heads: 2, first_pos: [0, 1_000_000, 7] },
  { q_len: [16, 5, 0], q_heads: 4, kv_heads: 1, tree_mask: true, splits: 3 },
  { q_len: [16, 2, 1], q_heads: 16, kv_heads: 1, splits: 3, merge: 'last' },
  { q_len: [1, 1, 1], q_heads: 5, kv_heads: 1 },
  { q_len: [7, 16, 2], q_heads: 5, kv_heads: 1, splits: 7, spread: true, merge: 'last', tree_mask: true },
  { q_len: [3, 16, 1], q_heads: 7, kv_heads: 1, splits: 5, spread: true, merge: 'combine', q_pos: [-2, 3, 100] },
];

for (const [what, axes] of MANY) {
  test(what, async () => {
    const combine = kernels.get(mergeOf(axes))!;
    for (const [i, shape] of SHAPES.entries()) {
      const cache = axes.k === axes.v ? EXACT : { ...RING, ring_scores: i % 2 === 0 };
      await mustPass(runner, 'decode', kernels.get(what)!, { ...cache, ...shape } as Shape<'decode'>, { emulator: { order: i, race: 1 }, ...(shape.splits && shape.merge !== 'last' ? { combine } : {}) });
    }
  });
}

test('other orders of blocks, warps and lanes give no race in global memory', async () => {
  for (const order of [1, 2]) await mustPass(runner, 'decode', kernels.get('n16')!, { ...RING, ...SHAPES[3]!, ring_scores: true } as Shape<'decode'>, { emulator: { order, race: 2 } });
});

test('queries lie without bank conflicts', async () => {
  const { counters } = await mustPass(runner, 'decode', kernels.get('n32 exact')!, { coded_len: [64], q_len: [16], q_heads: 2, kv_heads: 1 }, { emulator: { counters: 1 } });
  const { matrix } = counters!['shared'] as { matrix: { wavefronts: number; ideal: number } };
  assert.ok(matrix.wavefronts > 0);
  assert.is(matrix.wavefronts, matrix.ideal);
});

test('trees at every width', async () => {
  for (const [what, axes] of MANY.slice(0, 3)) {
    for (const shape of DECODE.trees) await mustPass(runner, 'decode', kernels.get(what)!, shape, 'splits' in shape ? { combine: kernels.get(mergeOf(axes))! } : {});
  }
});

test.run();
