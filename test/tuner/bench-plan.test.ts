// Tests tuner/bench-plan.ts, tuner/bench-launch.ts and tuner/check-plan.ts.
import * as fc from 'fast-check';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { kernelName, parseKernelName } from '../../generator/name.ts';
import { ctasPerSm, launchesOf, launchWord, parseLaunch, type Launch } from '../../tuner/bench-launch.ts';
import { baselineShapes, casesOf, combineOf, decodeCase, GRID, kernelsOfCases, requestsOf, roundsOf, type Grid } from '../../tuner/bench-plan.ts';
import { benchRequestSchema } from '../../tuner/bench-schema.ts';
import { checkRequest, checksOf } from '../../tuner/check-plan.ts';
import { kernelRef, SHAPES } from '../../tuner/problem.ts';
import { COMBINE, EXACT, ONE_BIT } from './rows.ts';

const ref = (name: string) => kernelRef(name, `images/${name}.fatbin`);
const kernels = [ONE_BIT, EXACT].map(parseKernelName);

const SCORE = 'antkv_score_d128_f16__sm90_w4_t256_s3';
const LOOKUP = 'antkv_decode_d128_k8c8b_v8c8bq8_f16_n4__sm90_lookup_w16_s2_c4';
const words = (launches: readonly Launch[]): string[] => launches.map(launchWord);
const work = (batch: number, tokens: number, groups = 8) => ({ batch, tokens, total: batch * tokens, groups, sms: 132 });

test('a launch is a word and back', () => {
  for (const word of ['1', '16', '16s', '2c', '33sc']) assert.is(launchWord(parseLaunch(word)), word);
  assert.equal(parseLaunch('1'), { splits: 1, spread: false, merge: 'none' });
  assert.equal(parseLaunch('1s'), { splits: 1, spread: true, merge: 'last' });
  for (const word of ['', '0', 'x', '16cs', '2000', '1.5']) assert.throws(() => parseLaunch(word), /--splits takes/);
});

test('CTAs that fit an SM: by shared memory, threads and, where tables are looked up, registers', () => {
  assert.is(ctasPerSm(parseKernelName(LOOKUP)), 1);
  assert.is(ctasPerSm(parseKernelName(EXACT)), 2);
  assert.is(ctasPerSm(parseKernelName(EXACT.replace('sm80', 'sm90'))), 3);
});

test('look-up kernels: as many CTAs as the device holds, spread over the batch, before anything else', () => {
  assert.equal(words(launchesOf(parseKernelName(LOOKUP), work(16, 131_072))), ['16s', '1', '8s', '33s', '2', '2c', '17s', '4s', '3']);
  assert.equal(words(launchesOf(parseKernelName(LOOKUP), work(1, 131_072))), ['16s', '16', '8s', '33s', '33', '16c', '17s', '4s', '49']);
  assert.equal(words(launchesOf(parseKernelName(LOOKUP), work(1, 4096))), ['16s', '16', '8s', '4s', '16c']);
});

test('kernels that stage their tokens fill the device a few times over', () => {
  const [first, second, ...rest] = words(launchesOf(parseKernelName(EXACT), work(16, 32_768)));
  assert.equal([first, second], ['2', '33s']);
  for (const word of ['6', '16', '2c']) assert.ok(rest.includes(word), word);
});

test('no share is shorter than a step of a CTA allows, no launch is named twice, there is always one', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 256 }), fc.integer({ min: 1, max: 300_000 }), fc.constantFrom(8, 16, 64), fc.constantFrom(LOOKUP, EXACT, ONE_BIT), (batch, tokens, groups, name) => {
      const kernel = parseKernelName(name);
      const launches = launchesOf(kernel, work(batch, tokens, groups));
      assert.ok(launches.length >= 1 && new Set(words(launches)).size === launches.length);
      for (const { splits, spread } of launches) {
        const least = kernel.tile.tokens ?? 16 * kernel.tile.warps;
        assert.ok(splits === 1 || splits * least <= (spread ? batch * tokens : tokens));
        assert.ok(splits <= 1024);
      }
    }),
  );
});

test('every kernel meets every shape, small shapes first, and combine is loaded once', () => {
  const cases = casesOf(kernels, GRID, 132);
  assert.is(cases.length, 2 * 6);
  const sizes = cases.map(({ shape: { batch, tokens } }) => batch! * tokens!);
  assert.equal(sizes, sizes.toSorted((a, b) => a - b));
  assert.equal(kernelsOfCases(cases).map(kernelName).sort(), [COMBINE, EXACT, ONE_BIT].sort());
  assert.equal(kernelsOfCases(casesOf(kernels, { ...GRID, splits: [parseLaunch('4s')] }, 132)).map(kernelName).sort(), [EXACT, ONE_BIT].sort());
});

test('requests are what the runner takes: one for each launch, combine where it merges', () => {
  const [one] = casesOf(kernels, { batch: [2], tokens: [256], splits: ['1', '4', '4c', '3s'].map(parseLaunch), codes: 'zipf' }, 132);
  const requests = requestsOf(one!, ref, 5).map((request) => benchRequestSchema.parse(request));
  const shape = { batch: 2, tokens: 256, q_heads: 32, kv_heads: 8, codes: 'zipf' };
  assert.equal(requests.map((request) => request.shape), [{ ...shape, splits: 1 }, { ...shape, splits: 4, merge: 'last' }, { ...shape, splits: 4, merge: 'combine' }, { ...shape, splits: 3, spread: true, merge: 'last' }]);
  assert.equal(requests.map((request) => 'combine' in request), [false, false, true, false]);
  assert.is(requests[0]!.samples, 5);
});

test('other ops have one request and no splits', () => {
  for (const name of ['antkv_encode_d128_kf16_vf16_f16__sm80_w4_t32', 'antkv_select__sm80_w8', 'antkv_score_d128_f16__sm80_w4_t64_s2']) {
    const [one] = casesOf([parseKernelName(name)], { batch: [1], tokens: [256], splits: 'auto', codes: 'equal' }, 132);
    const requests = requestsOf(one!, ref);
    assert.is(requests.length, 1);
    benchRequestSchema.parse(requests[0]);
  }
});

test('score takes rows, all of a prompt too, and a sample; a whole prompt is held against its causal forward pass', () => {
  const grid = { batch: [2], tokens: [64, 256], splits: 'auto' } as const;
  const shapes = (more: Partial<Grid>) => casesOf([parseKernelName(SCORE)], { ...grid, ...more }, 132).map((one) => benchRequestSchema.parse(requestsOf(one, ref)[0]).shape);
  const heads = { batch: 2, q_heads: 32, kv_heads: 8 };
  assert.equal(shapes({ rows: 128 }), [{ ...heads, tokens: 64, rows: 64 }, { ...heads, tokens: 256, rows: 128 }]);
  assert.equal(shapes({ rows: 'all', sampledPermille: 100 })[1], { ...heads, tokens: 256, rows: 256, sampled_rows: 25 });
  const baseline = (rows: Grid['rows']) => baselineShapes(casesOf([parseKernelName(SCORE)], { ...grid, ...(rows ? { rows } : {}) }, 132));
  assert.equal(baseline('all').map(({ q_len, causal }) => [q_len, causal]), [[64, true], [256, true]]);
  assert.equal(baseline(undefined), []);
});

test('rounds: groups in order, in each every likeliest launch first, no request twice', () => {
  const cases = [32, 64].map((tokens) => decodeCase(kernels[1]!, { batch: 1, tokens }, 132, ['1', '2'].map(parseLaunch)));
  const requests = roundsOf([cases, [cases[0]!, decodeCase(kernels[0]!, { batch: 1, tokens: 32 }, 132, [parseLaunch('1')])]], ref);
  assert.equal(requests.map(({ kernel, shape }) => [kernel.name === EXACT, shape.tokens, (shape as { splits: number }).splits]), [[true, 32, 1], [true, 64, 1], [true, 32, 2], [true, 64, 2], [false, 32, 1]]);
});

test('the baseline has the shapes of decode with equal sequences, each once', () => {
  const cases = [decodeCase(kernels[0]!, { batch: 2, lens: [3, 0] }, 132), ...kernels.map((kernel) => decodeCase(kernel, { batch: 2, tokens: 64, q_len: 3 }, 132))];
  assert.equal(baselineShapes([...cases, ...casesOf([parseKernelName('antkv_select__sm80_w8')], GRID, 132)]), [{ batch: 2, tokens: 64, q_heads: 32, kv_heads: 8, q_len: 3, head_dim: 128 }]);
});

test('combine has the head dim and architecture of its decode kernel', () => {
  assert.is(kernelName(combineOf(parseKernelName('antkv_decode_d64_k8c8b_v8c8bq8_f16_pre_gain__sm90_w4_t64_s2'))), 'antkv_combine_d64_f16__sm90_w4');
});

test('checks are whole requests: alone, merged by combine and by the last CTA, spread; hard scores; exact recipes without ring and anchors', () => {
  const checks = checksOf(kernels).map((check) => checkRequest(check, ref));
  for (const { shape } of checks) SHAPES.decode.parse(shape);
  for (const { shape, combine } of checks) assert.is(shape.splits! > 1 && shape.merge !== 'last', combine !== undefined);
  for (const name of [ONE_BIT, EXACT]) {
    const own = checks.filter(({ kernel }) => kernel.name === name);
    for (const field of ['spread', 'score_std', 'peak', 'sink'] as const) assert.ok(own.some(({ shape }) => shape[field] !== undefined), field);
    assert.is(own.some(({ shape }) => shape.ring_rows !== undefined), name === ONE_BIT);
  }
});

test.run();
