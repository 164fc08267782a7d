// Tests tuner/bench-plan.ts and tuner/check-plan.ts.
import * as fc from 'fast-check';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { kernelName, parseKernelName } from '../../generator/name.ts';
import { casesOf, combineOf, GRID, kernelsOfCases, requestsOf, splitChoices } from '../../tuner/bench-plan.ts';
import { benchRequestSchema } from '../../tuner/bench-schema.ts';
import { checksOf } from '../../tuner/check-plan.ts';
import { kernelRef, SHAPES } from '../../tuner/problem.ts';
import { COMBINE, EXACT, ONE_BIT } from './rows.ts';

const ref = (name: string) => kernelRef(name, `images/${name}.fatbin`);
const kernels = [ONE_BIT, EXACT].map(parseKernelName);

test('splits fill the device a few times over', () => {
  assert.equal(splitChoices(1, 131072, 8, 64, 132), [33, 99, 264, 49, 132, 16]);
  assert.equal(splitChoices(16, 32768, 8, 64, 132), [2, 6, 16, 3, 8, 1]);
});

test('no split is shorter than a step of a CTA, none is named twice, there is always one', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 256 }), fc.integer({ min: 1, max: 300_000 }), fc.integer({ min: 1, max: 256 }), fc.integer({ min: 1, max: 200 }), (batch, tokens, step, sms) => {
      const choices = splitChoices(batch, tokens, 8, step, sms);
      assert.ok(choices.length >= 1 && new Set(choices).size === choices.length);
      for (const splits of choices) assert.ok(splits >= 1 && (splits === 1 || splits * step <= tokens));
    }),
  );
});

test('every kernel meets every shape, small shapes first, and combine is loaded once', () => {
  const cases = casesOf(kernels, GRID, 132);
  assert.is(cases.length, 2 * 6);
  const sizes = cases.map(({ batch, tokens }) => batch * tokens);
  assert.equal(sizes, sizes.toSorted((a, b) => a - b));
  assert.equal(kernelsOfCases(cases).map(kernelName).sort(), [COMBINE, EXACT, ONE_BIT].sort());
});

test('requests are what the runner takes: one for each number of splits, combine where it merges', () => {
  const [one] = casesOf(kernels, { batch: [2], tokens: [256], splits: [1, 4] }, 132);
  const requests = requestsOf(one!, ref, 5);
  for (const request of requests) benchRequestSchema.parse(request);
  assert.equal(requests.map(({ shape }) => (shape as { splits: number }).splits), [1, 4]);
  assert.equal(requests.map((request) => 'combine' in request), [false, true]);
  assert.is(requests[0]!.samples, 5);
});

test('other ops have one request and no splits', () => {
  for (const name of ['antkv_encode_d128_kf16_vf16_f16__sm80_w4_t32', 'antkv_select__sm80_w8', 'antkv_score_d128_f16__sm80_w4_t64']) {
    const [one] = casesOf([parseKernelName(name)], { batch: [1], tokens: [256], splits: 'auto' }, 132);
    const requests = requestsOf(one!, ref);
    assert.is(requests.length, 1);
    benchRequestSchema.parse(requests[0]);
  }
});

test('combine has the head dim and architecture of its decode kernel', () => {
  assert.is(kernelName(combineOf(parseKernelName('antkv_decode_d64_k8c8b_v8c8bq8_f16_pre_gain__sm90_w4_t64_s2'))), 'antkv_combine_d64_f16__sm90_w4');
});

test('checks are whole requests, with and without splits', () => {
  const checks = checksOf(kernels, ref);
  assert.is(checks.length, 4);
  for (const { shape } of checks) SHAPES.decode.parse(shape);
  assert.equal(checks.map(({ shape, combine }) => (shape.splits! > 1) === (combine !== undefined)), [true, true, true, true]);
});

test.run();
