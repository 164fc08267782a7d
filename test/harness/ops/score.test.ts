// score on the emulated driver against the fp64 reference, forms column and exact.
import { suite } from 'uvu';
import type { Runner } from '../../../tuner/runner.ts';
import type { KernelRef } from '../../../tuner/problem.ts';
import { emulated, emulatedRunner, mustPass } from './lab.ts';

const test = suite('ops/score');
let runner: Runner;
let kernels: KernelRef[];

// A test, not a hook: uvu swallows what a before hook throws, and the suite would pass without having run.
test('runner and kernels build', async () => {
  [runner, ...kernels] = await Promise.all([
    emulatedRunner(),
    emulated('score', { headDim: 128, dtype: 'f16' }),
    emulated('score', { headDim: 128, dtype: 'f16', form: 'exact' }),
    emulated('score', { headDim: 64, dtype: 'f16', form: 'exact' }, { warps: 2, tokens: 32 }),
  ]);
});
test.after(() => runner?.close());

test('lengths around the tile, ragged; rows as many as keys, fewer, none', async () => {
  for (const kernel of kernels) {
    await mustPass(runner, 'score', kernel, { keys: [0, 1, 15, 17, 64, 65, 129] });
    await mustPass(runner, 'score', kernel, { keys: [70, 33, 16, 5], rows: [7, 33, 0, 1], q_heads: 4, kv_heads: 2, pad: 16 });
  }
});

test('every GQA ratio', async () => {
  for (const kernel of kernels) {
    for (const ratio of [1, 2, 5, 7, 16]) await mustPass(runner, 'score', kernel, { keys: [37], rows: [9], q_heads: ratio * 2, kv_heads: 2 });
  }
});

test('positions: far ones, rows before all keys, rows beyond all keys', async () => {
  for (const kernel of kernels) {
    await mustPass(runner, 'score', kernel, { keys: [70, 70], rows: [20, 20], first_pos: [4_000_000, 17] });
    await mustPass(runner, 'score', kernel, { keys: [40, 40, 40], rows: [6, 6, 6], first_pos: [100, 100, 100], q_pos: [97, 120, 5000] });
  }
});

test('large scores', async () => {
  for (const kernel of kernels) await mustPass(runner, 'score', kernel, { keys: [100], rows: [40], q_heads: 2, kv_heads: 1, score_std: 6 });
});

test.run();
