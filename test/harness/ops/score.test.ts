// score on the emulated driver against the fp64 reference, in all forms.
import { suite } from 'uvu';
import type { Runner } from '../../../tuner/runner.ts';
import type { KernelRef, Shape } from '../../../tuner/problem.ts';
import { SCORE } from '../../../tuner/shapes.ts';
import { emulated, emulatedRunner, mustPass } from './lab.ts';

const test = suite('ops/score');
let runner: Runner;
let kernels: KernelRef[];

// A test, not a hook: uvu swallows what a before hook throws, and the suite would pass without having run.
test('runner and kernels build', async () => {
  [runner, ...kernels] = await Promise.all([
    emulatedRunner(),
    emulated('score', { headDim: 128, dtype: 'f16' }),
    emulated('score', { headDim: 64, dtype: 'f16', form: 'mass' }, { warps: 4, tokens: 64, stages: 4 }),
    emulated('score', { headDim: 128, dtype: 'f16', form: 'massq' }, { warps: 2, tokens: 64, stages: 2 }),
    emulated('score', { headDim: 128, dtype: 'f16', form: 'exact' }),
    emulated('score', { headDim: 64, dtype: 'f16', form: 'exact' }, { warps: 2, tokens: 32, stages: 2 }),
  ]);
});
test.after(() => runner?.close());

for (const [group, shapes] of Object.entries<readonly Shape<'score'>[]>(SCORE)) {
  test(group, async () => {
    for (const kernel of kernels) for (const shape of shapes) await mustPass(runner, 'score', kernel, shape);
  });
}

test.run();
