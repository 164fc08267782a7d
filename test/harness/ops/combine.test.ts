// combine on the emulated driver against the fp64 reference.
import { suite } from 'uvu';
import type { Runner } from '../../../tuner/runner.ts';
import type { KernelRef } from '../../../tuner/problem.ts';
import { emulated, emulatedRunner, mustPass } from './lab.ts';

const test = suite('ops/combine');
let runner: Runner;
let kernels: KernelRef[];

// A test, not a hook: uvu swallows what a before hook throws, and the suite would pass without having run.
test('runner and kernels build', async () => {
  [runner, ...kernels] = await Promise.all([emulatedRunner(), emulated('combine', { headDim: 128, dtype: 'f16' }), emulated('combine', { headDim: 64, dtype: 'f16' }, { warps: 1 })]);
});
test.after(() => runner?.close());

test('one split to many, heads that do not fill the last CTA, padded rows', async () => {
  for (const kernel of kernels) {
    for (const [splits, q_heads] of [[1, 1], [2, 5], [3, 4], [33, 7]] as const) await mustPass(runner, 'combine', kernel, { rows: 3, q_heads, splits, pad: 48 });
  }
});

test('splits that saw nothing, whose output is stale; rows that saw nothing at all', async () => {
  for (const kernel of kernels) {
    await mustPass(runner, 'combine', kernel, { rows: 5, q_heads: 4, splits: 4, empty_permille: 500 });
    await mustPass(runner, 'combine', kernel, { rows: 2, q_heads: 3, splits: 3, empty_permille: 1000, ring_rows: 5 });
  }
});

test('ring scores become attention mass; splits of very different weight', async () => {
  for (const kernel of kernels) {
    await mustPass(runner, 'combine', kernel, { rows: 3, q_heads: 5, splits: 3, ring_rows: 45, empty_permille: 200 });
    await mustPass(runner, 'combine', kernel, { rows: 3, q_heads: 2, splits: 8, ring_rows: 7, lse_std: 60 });
    await mustPass(runner, 'combine', kernel, { rows: 3, q_heads: 2, splits: 2, lse: false });
  }
});

test.run();
