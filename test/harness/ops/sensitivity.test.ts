// The checks can fail: kernels held against the reference of a contract that they do not compute.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { CheckOp, CheckRequest, KernelRef, Shape } from '../../../tuner/problem.ts';
import type { Runner } from '../../../tuner/runner.ts';
import { cacheAxes, emulated, emulatedRunner } from './lab.ts';

const test = suite('ops/sensitivity');
let runner: Runner;
// A test, not a hook: uvu swallows what a before hook throws, and the suite would pass without having run.
test('runner and kernels build', async () => void (runner = await emulatedRunner()));
test.after(() => runner?.close());

/** The faults of a check of `kernel` against the reference of a contract changed by `lie`. */
async function faults<Op extends CheckOp>(op: Op, kernel: KernelRef, lie: Partial<KernelRef>, shape: Shape<Op>): Promise<string> {
  const record = await runner.check({ cmd: 'check', op, kernel: { ...kernel, ...lie }, shape } as CheckRequest);
  assert.is(record.ok, false, `a ${op} kernel passes for ${JSON.stringify(lie)}`);
  return record.faults.join('; ');
}

test('decode: rotation, gain, codebook type', async () => {
  const kernel = await emulated('decode', cacheAxes('d64 4c8b/f16 post'));
  assert.match(await faults('decode', kernel, { key: 'pre' }, { coded_len: [20] }), /L2 error above/);
  assert.match(await faults('decode', kernel, { gain: 'k' }, { coded_len: [20] }), /error above|NaN/);
  const q8 = await emulated('decode', cacheAxes('d64 8c8bq8/4c8b post'));
  assert.match(await faults('decode', q8, { k: '8c8b' }, { coded_len: [20] }), /error above|NaN/);
});

test('decode: the error is measured, not assumed', async () => {
  const kernel = await emulated('decode', cacheAxes('d64 4c8b/f16 post'));
  const honest: CheckRequest<'decode'> = { cmd: 'check', op: 'decode', kernel, shape: { coded_len: [20], anchor_permille: 300 }, tolerance: { rel_l2: 1e-7 } };
  const record = await runner.check(honest as CheckRequest);
  assert.is(record.ok, false, 'halves cannot agree to 1e-7');
  assert.ok(record.rel_l2! > 1e-5 && record.rel_l2! < 4e-3);
});

test('encode and unpack: rotation', async () => {
  assert.match(await faults('encode', await emulated('encode', cacheAxes('d64 4c8b/f16 post gain')), { key: 'pre' }, { end: [20], first_pos: [50] }), /wrong codes/);
  assert.match(await faults('unpack', await emulated('unpack', cacheAxes('d64 4c8b/f16 post')), { key: 'pre' }, { coded_len: [20], first_pos: [50] }), /L2 error above/);
});

test('score: the form', async () => {
  const column = await emulated('score', { headDim: 128, dtype: 'f16' });
  for (const form of ['exact', 'mass', 'massq']) assert.match(await faults('score', column, { form }, { keys: [40] }), /a score differs/);
  const mass = await emulated('score', { headDim: 64, dtype: 'f16', form: 'mass' });
  for (const form of ['column', 'massq']) assert.match(await faults('score', mass, { form }, { keys: [40] }), /a score differs/);
});

test.run();
