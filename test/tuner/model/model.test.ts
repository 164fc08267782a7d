// Tests tuner/model: the model against what an H200 took, fits on made-up times, and times from rows and journals.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { findArch } from '../../../generator/arch.ts';
import { launchCost } from '../../../generator/cost.ts';
import { parseKernelName } from '../../../generator/name.ts';
import { fitModel } from '../../../tuner/model/fit.ts';
import { fitFor, FITS } from '../../../tuner/model/fits.ts';
import { FACTORS, loopOf, makeModel, partsOf, timeOf } from '../../../tuner/model/model.ts';
import { timedOfEvents, timedOfRows } from '../../../tuner/model/timed.ts';
import { median } from '../../../tuner/space/numbers.ts';
import type { EventOf } from '../../../tuner/tune/events.ts';
import type { Arm, Problem } from '../../../tuner/tune/problem.ts';
import { H200, recordedTimes } from './refit.ts';

const kernel = (words: string, tile: string): string => `antkv_decode_d128_${words}__sm90_${tile}`;
const SUM = kernel('k8c8b_v8c8bq8_f16_gain_n4', 'lookup_w16_s2_c4');
const problem = (batch: number, tokens: number, contract = 'antkv_decode_d128_k8c8b_v8c8bq8_f16_gain_n4', more: Partial<Problem['shape']> = {}): Problem => ({
  contract, mode: 'sequence', shape: { batch, tokens, q_heads: 32, kv_heads: 8, ...more },
});
const arm = (launch: string, name = SUM): Arm => ({ kernel: name, launch });
const A100 = findArch('sm80')!.machine!;

test('the loop of a kernel by its algorithm and codecs', () => {
  const loops = [['k8c8b_v8c8bq8_f16_n4', 'lookup_w16_s2_c4'], ['k8c8b_v8c8bq8_f16_pre_n4', 'lookup_w8_s1_c4'], ['k2c8bq8_v2c8bq8_f16_n4', 'lookup_w8_s2_c4'], ['k8c8b_v8c8bq8_f16', 'w4_t64_s2'], ['kf16_vf16_f16', 'w4_t64_s2']];
  assert.equal(loops.map(([words, tile]) => loopOf(parseKernelName(kernel(words!, tile!)))), ['sum', 'turn', 'dot', 'rows', 'copy']);
});

test('parts add up to the cost of the launch; factors multiply their own part', () => {
  const parts = partsOf(H200, problem(16, 32768), arm('1'))!;
  const cost = launchCost(parseKernelName(SUM), H200, { batch: 16, tokens: 32768, lines: 8 }, { splits: 1, spread: false, merge: 'none' });
  assert.ok(Math.abs(timeOf(parts, {}) - cost.us) < 1e-9);
  assert.equal(Object.keys(parts).sort(), ['launch', 'loop.sum', 'merge', 'start']);
  assert.ok(Math.abs(timeOf(parts, { 'loop.sum': 2 }) - cost.us - parts['loop.sum']!) < 1e-9);
  assert.ok(Object.keys(parts).every((name) => (FACTORS as readonly string[]).includes(name)));
});

test('more work, more time; a second kernel costs a launch; empty sequences cost nothing; longer ones decide where each is cut alone', () => {
  const model = makeModel(H200);
  const us = (p: Problem, launch: string): number => model.us(p, arm(launch))!;
  assert.ok(us(problem(16, 65536), '1') > us(problem(16, 32768), '1'));
  assert.ok(us(problem(16, 32768), '2c') > us(problem(16, 32768), '2'));
  const ragged = problem(0, 0, undefined, { lens: [32768, 0, 1024, 1024] });
  assert.ok(us(ragged, '4') > us(ragged, '48s'), 'sequences of one long and two short ones: a line of work shares it out');
  assert.is(us(problem(16, 32768, undefined, { anchor_permille: 10, window: 128 }), '1'), us(problem(16, 32768), '1'));
  assert.ok(us(problem(16, 32768, undefined, { anchor_permille: 100 }), '1') > us(problem(16, 32768), '1'));
  assert.ok(us(problem(16, 32768, undefined, { q_len: 2 }), '1') > us(problem(16, 32768), '1'), 'eight columns are two lines of four');
  assert.is(model.us({ contract: 'antkv_select', mode: 'sequence', shape: { batch: 1, tokens: 1024, q_heads: 32, kv_heads: 8 } }, { kernel: 'antkv_select__sm90_w8', launch: '' }), undefined);
});

test('with its fit the model is near what an H200 took', () => {
  const all = recordedTimes();
  const times = all.filter((_, i) => i % Math.ceil(all.length / 2500) === 0); // of 20,000, which take a minute
  assert.ok(times.length > 400, `${times.length} times`);
  const model = makeModel(H200, fitFor(H200));
  const plain = makeModel(H200);
  const errors = (of: typeof model): number => median(times.map(({ problem: p, arm: a, us }) => Math.abs(Math.log(of.us(p, a)! / us))));
  const fresh = fitModel(H200, times);
  const why = 'refit: node --import tsx test/tuner/model/refit.ts';
  assert.ok(errors(model) < 0.15, `median error ${errors(model)}, ${why}`);
  assert.ok(errors(model) <= 1.2 * fresh.error.median, `median error ${errors(model)}, ${fresh.error.median} if fitted again; ${why}`);
  assert.ok(errors(plain) > 1.2 * errors(model), `and without it ${errors(plain)}, hardly worse than ${errors(model)} with it`);
  assert.is(fitFor(A100), FITS[0], 'a machine without times takes the fit of the one that has them');
});

test('a fit finds the factors that times were made with, and does not mind one odd time', () => {
  const truth = { start: 2, 'loop.sum': 1.3, merge: 1, launch: 1.5 };
  const timed = [1, 2, 4, 16, 64].flatMap((batch) => [1024, 4096, 16384, 131072].flatMap((tokens) => ['1', '4', '16s'].map((launch) => {
    const p = problem(batch, tokens);
    return { problem: p, arm: arm(launch), us: timeOf(partsOf(H200, p, arm(launch))!, truth) };
  })));
  const odd = [{ ...timed[7]!, us: timed[7]!.us * 9 }, ...timed];
  const { factors, error, machine } = fitModel(H200, odd);
  assert.is(machine, 'H200');
  assert.ok(Math.abs(factors['loop.sum']! / 1.3 - 1) < 0.03 && Math.abs(factors['start']! / 2 - 1) < 0.1, JSON.stringify(factors));
  assert.ok(error.median < 0.02 && error.p90 < 0.05, JSON.stringify(error));
  assert.equal(fitModel(H200, [...odd].reverse()).factors, factors, 'the order does not matter');
  assert.throws(() => fitModel(H200, timed.slice(0, 9)), /9 decode times on H200: too few/);
});

test('times of bench rows: right ones of decode, with the launch that they had', () => {
  const row = { source: 'antkv', op: 'decode', kernel: SUM, ok: true, shape: { batch: 4, tokens: 100, q_heads: 32, kv_heads: 8, spread: true, merge: 'last', splits: 17 }, splits: 17, us: { median: 5 } } as unknown as Parameters<typeof timedOfRows>[0][number];
  const [timed] = timedOfRows([row]);
  assert.equal(timed, { problem: { contract: 'antkv_decode_d128_k8c8b_v8c8bq8_f16_gain_n4', mode: 'spread', shape: { batch: 4, tokens: 100, q_heads: 32, kv_heads: 8 } }, arm: arm('17s'), us: 5 });
  const static_ = { ...row, splits: 3, shape: { batch: 4, tokens: 100, q_heads: 32, kv_heads: 8 } };
  assert.is(timedOfRows([static_])[0]!.arm.launch, '3c', 'without a word on merging, combine did');
  assert.equal(timedOfRows([{ ...row, ok: false }, { ...row, op: 'encode' }]), []);
});

test('times of a journal: medians over all rounds of an environment, of the newest code', () => {
  const raced = (environment: string, us: number[][], at = '2026-01-01', ptx = ['x', 'y']) =>
    ({ event: 'raced', at, environment, problem: problem(1, 64), arms: [arm('1'), arm('2', OTHER)], ptx, rounds: us.map((times) => ({ us: times })) }) as unknown as EventOf<'raced'>;
  const OTHER = kernel('k8c8b_v8c8bq8_f16_gain_n4', 'lookup_w8_s2_c4');
  const events = [raced('a', [[1, 10], [2, 20]]), raced('a', [[9, 30]]), raced('b', [[7, 7]])];
  assert.equal(timedOfEvents(events, 'a').map(({ arm: a, us }) => [a.launch, us]), [['1', 2], ['2', 20]]);
  const changed = [raced('a', [[5, 40]], '2026-02-01', ['x', 'new']), ...events];
  assert.equal(timedOfEvents(changed, 'a').map(({ arm: a, us }) => [a.launch, us]), [['1', 3.5], ['2', 40]], 'rounds of code that is no more count no more');
});

test.run();
