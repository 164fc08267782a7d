// combine on the emulated driver against the fp64 reference.
import { suite } from 'uvu';
import type { Runner } from '../../../tuner/runner.ts';
import type { KernelRef, Shape } from '../../../tuner/problem.ts';
import { COMBINE } from '../../../tuner/shapes.ts';
import { emulated, emulatedRunner, mustPass } from './lab.ts';

const test = suite('ops/combine');
let runner: Runner;
let kernels: KernelRef[];

// A test, not a hook: uvu swallows what a before hook throws, and the suite would pass without having run.
test('runner and kernels build', async () => {
  [runner, ...kernels] = await Promise.all([emulatedRunner(), emulated('combine', { headDim: 128, dtype: 'f16' }), emulated('combine', { headDim: 64, dtype: 'f16' }, { warps: 1 })]);
});
test.after(() => runner?.close());

for (const [group, shapes] of Object.entries<readonly Shape<'combine'>[]>(COMBINE)) {
  test(group, async () => {
    for (const kernel of kernels) for (const shape of shapes) await mustPass(runner, 'combine', kernel, shape);
  });
}

test.run();
