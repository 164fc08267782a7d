// score on the emulated driver against the fp64 reference, in all forms.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { Runner } from '../../../tuner/runner.ts';
import type { KernelRef, Shape } from '../../../tuner/problem.ts';
import { SCORE } from '../../../tuner/shapes.ts';
import { cacheAxes, emulated, emulatedRunner, mustPass } from './lab.ts';

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
    emulated('score', { headDim: 64, dtype: 'f16', form: 'exact' }),
    emulated('score', { headDim: 64, dtype: 'f16', form: 'exact' }, { warps: 2, tokens: 32, stages: 2 }),
    emulated('score', { headDim: 64, dtype: 'f16', form: 'massq' }, { warps: 16, tokens: 256, stages: 2 }),
    emulated('score', { headDim: 64, dtype: 'f16', form: 'saliency' }),
    emulated('score', { headDim: 64, dtype: 'f16', form: 'norm' }, { warps: 2, tokens: 64, stages: 2 }),
    emulated('score', { headDim: 128, dtype: 'f16', form: 'norm' }),
    emulated('score', { headDim: 128, dtype: 'f16', form: 'massq' }, { algorithm: 'group', warps: 12, tokens: 384, stages: 3 }),
    emulated('score', { headDim: 128, dtype: 'f16', form: 'exact' }, { algorithm: 'group', warps: 12, tokens: 192, stages: 2 }),
    emulated('score', { headDim: 64, dtype: 'f16' }, { algorithm: 'group', warps: 12, tokens: 192, stages: 4 }),
  ]);
});
test.after(() => runner?.close());

for (const [group, shapes] of Object.entries<readonly Shape<'score'>[]>(SCORE)) {
  test(group, async () => {
    for (const kernel of kernels) for (const shape of shapes) await mustPass(runner, 'score', kernel, shape);
  });
}

test('shared memory has no bank conflict', async () => {
  for (const kernel of kernels.filter(({ name }) => !name.includes('_norm__'))) {
    const { counters } = await mustPass(runner, 'score', kernel, { keys: [80], q_heads: 4, kv_heads: 1 }, { emulator: { counters: 1 } });
    const { all } = counters!['shared'] as { all: { wavefronts: number; ideal: number } };
    assert.ok(all.wavefronts > 0);
    assert.is(all.wavefronts, all.ideal, kernel.name);
  }
});

test('mode coded: earlier keys are unpacked and scored, from the middle of a prompt too', async () => {
  const shape: Shape<'unpack'> = { coded_len: [130, 40, 0], first_token: [48, 0, 0], kv_heads: 2, anchor_permille: 60, pad: 16, first_pos: [0, 1000, 5] };
  for (const words of ['d128 8c8b/8c8bq8 pre gain', 'd64 4c8b/f16 post']) {
    const unpack = await emulated('unpack', cacheAxes(words));
    for (const form of ['column', 'massq'] as const) {
      const score = await emulated('score', { headDim: words.startsWith('d64') ? 64 : 128, dtype: 'f16', form });
      const record = await mustPass(runner, 'unpack', unpack, shape, { score });
      assert.ok((record as unknown as { rescored: number }).rescored > 0, 'it is the sums of rounded keys that are compared');
    }
  }
});

test.run();
