// score on the emulated driver against the fp64 reference, in all forms.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { Contract } from '../../../generator/contract.ts';
import type { Tile } from '../../../generator/tile.ts';
import type { Runner } from '../../../tuner/runner.ts';
import type { KernelRef, Shape } from '../../../tuner/problem.ts';
import { SCORE } from '../../../tuner/shapes.ts';
import { cacheAxes, emulated, emulatedRunner, mustPass } from './lab.ts';

const test = suite('ops/score');
let runner: Runner;
let kernels: KernelRef[];

// Head dims whose rows are no whole lines of banks, and such of many steps; bf16; capped scores. Each form that they change the arithmetic of.
const WIDE: readonly (readonly [axes: Partial<Contract>, tile?: Tile])[] = [
  [{ headDim: 96, dtype: 'f16' }],
  [{ headDim: 96, dtype: 'f16', form: 'exact' }],
  [{ headDim: 96, dtype: 'bf16', form: 'massq', softcap: true }, { warps: 4, tokens: 64, stages: 3 }],
  [{ headDim: 96, dtype: 'f16', form: 'exact' }, { warps: 2, tokens: 32, stages: 2 }],
  [{ headDim: 96, dtype: 'bf16', form: 'massq' }, { warps: 16, tokens: 256, stages: 2 }],
  [{ headDim: 256, dtype: 'bf16', form: 'mass' }],
  [{ headDim: 256, dtype: 'f16', form: 'exact', softcap: true }],
  [{ headDim: 128, dtype: 'bf16', form: 'exact' }],
  [{ headDim: 128, dtype: 'f16', softcap: true }],
  [{ headDim: 128, dtype: 'f16', form: 'mass', softcap: true }, { warps: 4, tokens: 128, stages: 2 }],
  [{ headDim: 128, dtype: 'f16', form: 'massq', softcap: true }],
  [{ headDim: 64, dtype: 'bf16', form: 'saliency', softcap: true }],
  [{ headDim: 96, dtype: 'bf16', form: 'norm' }],
];

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
    ...WIDE.map(([axes, tile]) => emulated('score', axes, tile)),
  ]);
});
test.after(() => runner?.close());

for (const [group, shapes] of Object.entries<readonly Shape<'score'>[]>(SCORE)) {
  test(group, async () => {
    for (const kernel of kernels) for (const shape of shapes) await mustPass(runner, 'score', kernel, shape);
  });
}

test('capped scores of all sizes, and sink logits that the LSE contains', async () => {
  for (const kernel of kernels.filter(({ name }) => !name.includes('_norm__'))) {
    const shape: Shape<'score'> = { keys: [70, 33], rows: [30, 33], q_heads: 4, kv_heads: 2, sink_logit: 2, score_std: 3, pad: 16 };
    await mustPass(runner, 'score', kernel, { ...shape, ...(kernel.softcap ? { softcap: 30 } : {}) });
    if (kernel.softcap) await mustPass(runner, 'score', kernel, { ...shape, softcap: 0.5, score_std: 6, q_pos: [20, 0] });
  }
});

test('a cap that a kernel forgot is found out, whatever the form', async () => {
  for (const form of ['column', 'massq', 'exact'] as const) {
    const plain = await emulated('score', { headDim: 64, dtype: 'f16', form }, { warps: 2, tokens: 32, stages: 2 });
    const { ok, faults } = await runner.check({ cmd: 'check', op: 'score', kernel: { ...plain, softcap: true }, shape: { keys: [60] } });
    assert.equal([ok, faults], [false, ['a score differs by more than its tolerance']], form);
  }
});

test('shared memory has no bank conflict', async () => {
  // Of 16 warps each has four columns, and four of 96 channels fill banks unevenly however they are read.
  for (const kernel of kernels.filter(({ name }) => !/_norm__|_d96_.*_w16_/.test(name))) {
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
