// Every op once more with AddressSanitizer and UBSan in runner, reference, emulated driver and kernels.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { buildEmulatedKernel } from '../../../tuner/host.ts';
import { kernelRef, type CheckOp, type Shape } from '../../../tuner/problem.ts';
import type { Runner } from '../../../tuner/runner.ts';
import { cacheAxes, emulated, emulatedRunner, mustPass } from './lab.ts';

const test = suite('ops/sanitize');
const options = { sanitize: 'address,undefined' };
let runner: Runner;
// A test, not a hook: uvu swallows what a before hook throws, and the suite would pass without having run.
test('runner and kernels build', async () => void (runner = await emulatedRunner(options)));
test.after(() => runner?.close());

const CACHE = { kv_heads: 2, anchor_permille: 100, pad: 16, first_pos: [3, 1_000_000, 0, 7], page_size: 32 };
const LENGTHS = [65, 17, 0, 1];
const CASES: readonly (readonly [op: CheckOp, axes: Parameters<typeof emulated>[1], shape: Shape<CheckOp>])[] = [
  ...['d128 8c8b/8c8bq8 pre gain', 'd64 4c8b/f16 post'].flatMap((words) => [
    ['decode', cacheAxes(words), { ...CACHE, coded_len: LENGTHS, kv_len: LENGTHS.map((n) => n + 9), q_len: [3, 1, 9, 0], ring_rows: 20, q_heads: 10, ring_scores: true }] as const,
    ['encode', cacheAxes(words), { ...CACHE, end: LENGTHS, index: 'csr' }] as const,
    ['append', cacheAxes(words), { ...CACHE, seq_len: [79, 143, 0, 30], q_len: [3, 1, 9, 0], q_heads: 10, flush_block: 64, page_size: 64, budget_permille: 50, first_tokens: 2 }] as const,
    ['unpack', cacheAxes(words), { ...CACHE, coded_len: LENGTHS, first_token: [16, 0, 0, 0] }] as const,
  ]),
  ['decode', cacheAxes('d128 f16/f16'), { coded_len: LENGTHS, q_heads: 4, kv_heads: 2, peak: true }],
  ['score', { headDim: 128, dtype: 'f16', form: 'exact' }, { keys: LENGTHS, q_heads: 6, kv_heads: 2, pad: 16 }],
  ['combine', { headDim: 64, dtype: 'f16' }, { rows: 3, q_heads: 5, splits: 3, ring_rows: 9, empty_permille: 300 }],
  ['select', {}, { token_count: [300, 0, 33], kv_heads: 2, pattern: 'special', first_tokens: 5, pad: 2 }],
];

for (const [op, axes, shape] of CASES) {
  test(`${op} ${Object.values(axes).join(' ')}`, async () => {
    await mustPass(runner, op, await emulated(op, axes, undefined, options), shape);
  });
}

test('the sanitizers are on: a kernel that reads a host array beyond its end ends the runner with their report', async () => {
  const name = 'antkv_select__sm80_w1';
  const text = `#include "antkv.h"
#include "antkv_device.cuh"
extern "C" __global__ void ${name}(const __grid_constant__ antkv_select_params p) { static int a[4]; volatile int i = 4 + p.batch; a[i] = 1; }`;
  const kernel = kernelRef(name, await buildEmulatedKernel(name, text, options));
  const error = await runner.check({ cmd: 'check', op: 'select', kernel, shape: { token_count: [1] } }).then(() => assert.unreachable('no error'), (e: Error) => e);
  assert.match((error as Error).message, /out of bounds|global-buffer-overflow/);
});

test.run();
