// kmeans on the emulated driver: whole runs of steps against the reference's.
import { suite } from 'uvu';
import type { Runner } from '../../../tuner/runner.ts';
import type { KernelRef, Shape } from '../../../tuner/problem.ts';
import { KMEANS } from '../../../tuner/shapes.ts';
import { emulated, emulatedRunner, mustPass } from './lab.ts';

const test = suite('ops/kmeans');
let runner: Runner;
let kernel: KernelRef;

// A test, not a hook: uvu swallows what a before hook throws, and the suite would pass without having run.
test('runner and kernel build', async () => {
  [runner, kernel] = await Promise.all([emulatedRunner(), emulated('kmeans', { k: '8c8b', dtype: 'f16' })]);
});
test.after(() => runner?.close());

for (const [group, shapes] of Object.entries<readonly Shape<'kmeans'>[]>(KMEANS)) {
  test(group, async () => {
    for (const shape of shapes) await mustPass(runner, 'kmeans', kernel, shape);
  });
}

test('no races, whatever the order of blocks, warps and lanes', async () => {
  for (const order of [0, 1, 7])
    for (const shape of [{ tokens: 600, chunks: 1, given: true, splits: 2, max_steps: 2 }, { tokens: 90, chunks: 1, splits: 2, weights: true, max_steps: 2 }])
      await mustPass(runner, 'kmeans', kernel, shape, { emulator: { order, race: 2 } });
});

for (const k of ['2c8b', '4c8b', '16c8b'] as const) {
  test(`codes of ${k}`, async () => {
    const other = await emulated('kmeans', { k, dtype: 'f16' });
    for (const shape of [{ tokens: 520, chunks: 1, splits: 2, weights: true, max_steps: 2 }, { tokens: 100, given: true, max_steps: 2 }]) await mustPass(runner, 'kmeans', other, shape, { emulator: { order: 0, race: 1 } });
  });
}

test.run();
