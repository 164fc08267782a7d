// decode by rows (and combine) on the emulated driver against the fp64 reference, at the shapes where kernels break.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { Runner } from '../../../tuner/runner.ts';
import type { KernelRef, Shape } from '../../../tuner/problem.ts';
import { combines, DECODE, fit } from '../../../tuner/shapes.ts';
import { parseKernelName } from '../../../generator/name.ts';
import { cacheAxes, emulated, emulatedRunner, mustPass } from './lab.ts';

const test = suite('ops/decode');
let runner: Runner;
const kernels = new Map<string, KernelRef>();

const ONE_BIT = 'd128 8c8b/8c8bq8 pre gain';
const MIXED = 'd64 4c8b/f16 post';
const TWO_SIDES = 'd64 8c8bq8/4c8b pre';
const EXACT = 'd128 f16/f16';
const ROWS = { warps: 4, tokens: 64, stages: 2 };
const FOUR = 'd128 8c8b/8c8bq8 post n4';

// A test, not a hook: uvu swallows what a before hook throws, and the suite would pass without having run.
test('runner and kernels build', async () => {
  const words = ALL;
  const [made, ...built] = await Promise.all([
    emulatedRunner(),
    ...words.map((w) => emulated('decode', cacheAxes(w), ROWS)),
    emulated('combine', { headDim: 128, dtype: 'f16' }),
    emulated('combine', { headDim: 64, dtype: 'f16' }),
  ]);
  runner = made;
  [...words, 'd128', 'd64'].forEach((key, i) => kernels.set(key, built[i]!));
});
test.after(() => runner?.close());

async function passes(on: string, wanted: Shape<'decode'>, emulator = {}): Promise<void> {
  const kernel = kernels.get(on)!;
  const shape = fit('decode', wanted, parseKernelName(kernel.name).contract)!;
  await mustPass(runner, 'decode', kernel, shape, { seed: 1, emulator: { order: 0, race: 1, ...emulator }, ...(combines(shape) ? { combine: kernels.get(on.split(' ')[0]!)! } : {}) });
}

const ALL = [ONE_BIT, MIXED, TWO_SIDES, EXACT, FOUR];
const CODED = [ONE_BIT, MIXED, TWO_SIDES];
/** Which kernels meet which shapes; `gen verify` gives all to all. */
const ON: Readonly<Record<keyof typeof DECODE, readonly string[]>> = {
  lengths: ALL,
  anchors: CODED,
  ragged: CODED,
  bound: [ONE_BIT, FOUR],
  ratios: [ONE_BIT, FOUR],
  ratiosOfRows: [MIXED, FOUR],
  rings: [ONE_BIT, MIXED],
  positions: [ONE_BIT, TWO_SIDES],
  masked: [ONE_BIT, MIXED, EXACT],
  maskedRing: [ONE_BIT],
  trees: [ONE_BIT, MIXED],
  frozen: [ONE_BIT, TWO_SIDES],
  sharedPrefix: [ONE_BIT, EXACT],
  segments: [ONE_BIT],
  rope: [ONE_BIT, TWO_SIDES],
  scores: [ONE_BIT, MIXED, EXACT],
  sink: [ONE_BIT],
  nan: [ONE_BIT, EXACT],
  ringScores: [ONE_BIT, FOUR],
  noLse: [ONE_BIT],
  merged: [ONE_BIT, FOUR],
  spread: [ONE_BIT, FOUR],
  spreadMany: [MIXED, FOUR, EXACT],
};
for (const [group, words] of Object.entries(ON)) {
  test(group, async () => {
    const shapes: readonly Shape<'decode'>[] = DECODE[group as keyof typeof DECODE];
    for (const on of words) for (const shape of shapes) await passes(on, shape);
  });
}

test('ring scores become mass after one split too', async () => {
  await mustPass(runner, 'decode', kernels.get(ONE_BIT)!, DECODE.ringScores[0], { combine: kernels.get('d128')! });
});

test('a problem so large that the reference takes several threads', async () => {
  await passes(EXACT, { coded_len: [600, 70], kv_heads: 8, q_len: [2, 1], splits: 2 }, { race: 0 });
});

test('a shared prefix is whole pages that every sequence has', async () => {
  const refused = (shape: Shape<'decode'>) => mustPass(runner, 'decode', kernels.get(ONE_BIT)!, shape).then(() => assert.unreachable('no error'), (error: Error) => error.message) as Promise<string>;
  assert.match(await refused({ coded_len: [128, 128], shared_prefix: 65 }), /whole pages/);
  assert.match(await refused({ coded_len: [128, 63], shared_prefix: 64 }), /at least shared_prefix/);
});

test('other orders of blocks, warps and lanes give the same answer, and no race in global memory', async () => {
  const shape = { coded_len: [70, 33], kv_len: [80, 40], q_len: [3, 1], ring_rows: 16, q_heads: 4, kv_heads: 2, anchor_permille: 60, splits: 3, ring_scores: true };
  for (const order of [1, 2, 3]) await passes(ONE_BIT, shape, { order, race: 2 });
  const ragged = DECODE.spread.at(-1)!;
  for (const order of [0, 1, 2, 3]) {
    await passes(ONE_BIT, { ...shape, merge: 'last' }, { order, race: 2 });
    for (const splits of [3, 17]) await passes(FOUR, { ...ragged, splits }, { order, race: 2 });
  }
});

test.run();
