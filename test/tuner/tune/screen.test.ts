// Tests tuner/tune/{screen,arms,incumbents}.ts: order, ratios, who races; launches by mode; what tables chose before.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { defaultLaunch, helpersOf, launchesFor, problemWord, reproOf, wireArm } from '../../../tuner/tune/arms.ts';
import { kernelRef } from '../../../tuner/problem.ts';
import { armWord, type Problem } from '../../../tuner/tune/problem.ts';
import { costOf, givenUp, isFar, kernelRatio, racersOf, screenArms, screenOrder, screenRatios } from '../../../tuner/tune/screen.ts';

const test = suite('tune/screen');
const CONTRACT = 'antkv_decode_d128_kf16_vf16_f16';
const kernel = (warps: number): string => `${CONTRACT}__sm80_w${warps}_t64_s2`;
const problem = (batch: number, tokens: number, mode: Problem['mode'] = 'sequence'): Problem => ({ contract: CONTRACT, mode, shape: { batch, tokens, q_heads: 32, kv_heads: 8 } });
const word = (warps: number, launch: string): string => armWord({ kernel: kernel(warps), launch });

test('small and large problems are seen early, equal shapes one after the other', () => {
  const problems = [1, 2, 4, 8, 16].flatMap((batch) => [problem(batch, 4096), problem(batch, 4096, 'spread')]);
  const order = screenOrder(problems);
  assert.is(order.length, problems.length);
  assert.equal(order.map(({ shape }) => shape.batch), [1, 1, 16, 16, 4, 4, 2, 2, 8, 8]);
  assert.is(screenOrder([problems[0]!]).length, 1);
});

test('the first round does not count, the least of an arm does', () => {
  const arms = [kernel(4), kernel(8)].map((name) => ({ kernel: name, launch: '1' }));
  const ratios = screenRatios(arms, [{ us: [1000, 1] }, { us: [100, 90] }, { us: [110, 84] }]);
  assert.is(ratios.get(word(4, '1')), 0);
  assert.is(ratios.get(word(8, '1'))!.toFixed(6), Math.log(84 / 105).toFixed(6));
});

test('far is 1.25 times the best of the problem; far four times and near never is enough', () => {
  const screened = new Map([[word(4, '1'), 0], [word(8, '2'), Math.log(0.8)], [word(2, '1'), Math.log(1.1)], [word(2, '2'), Math.log(1.01)], [word(1, '1'), Math.log(0.99)]]);
  assert.is(kernelRatio(screened, kernel(2)), Math.log(1.01));
  assert.equal([isFar(screened, kernel(2)), isFar(screened, kernel(1)), isFar(screened, kernel(16))], [true, false, undefined]);
  assert.is(givenUp([screened, screened, screened], kernel(2)), false);
  assert.is(givenUp([screened, screened, screened, screened], kernel(2)), true);
  assert.is(givenUp([screened, screened, screened, screened, new Map([[word(2, '1'), 0]])], kernel(2)), false);
  assert.is(costOf([screened, new Map()], kernel(2))!.toFixed(4), '1.0100');
  assert.is(costOf([screened], kernel(16)), undefined);
});

test('racers: the default, what tables chose, all launches of the best, none that is far', () => {
  const usual = { kernel: kernel(4), launch: '1' };
  const screened = new Map([[armWord(usual), 0], [word(8, '2'), Math.log(0.9)], [word(2, '1'), Math.log(2)]]);
  const old = { kernel: kernel(16), launch: '7' };
  const racers = racersOf(problem(1, 4096), screened, usual, [old], 132);
  assert.equal(racers.slice(0, 2), [usual, old]);
  assert.ok(!racers.some((arm) => arm.kernel === kernel(2)));
  for (const launch of launchesFor(problem(1, 4096), kernel(8), 132)) assert.ok(racers.some((arm) => armWord(arm) === word(8, launch)));
  assert.is(new Set(racers.map(armWord)).size, racers.length);
  assert.is(screenArms(problem(1, 4096), [kernel(4), kernel(8)], 132).length, 6);
});

test('launches of a mode; other ops have one', () => {
  assert.ok(launchesFor(problem(1, 4096), kernel(4), 132).every((launch) => !launch.includes('s')));
  assert.ok(launchesFor(problem(1, 4096, 'spread'), kernel(4), 132).every((launch) => launch.includes('s')));
  const select: Problem = { contract: 'antkv_select', mode: 'sequence', shape: { batch: 1, tokens: 100, q_heads: 4, kv_heads: 4 } };
  assert.equal(launchesFor(select, 'antkv_select__sm80_w8', 132), ['']);
  assert.is(defaultLaunch(select, 'antkv_select__sm80_w8', 132), '');
  assert.equal(helpersOf(kernel(4)), ['antkv_combine_d128_f16__sm80_w4']);
  assert.equal(helpersOf('antkv_select__sm80_w8'), []);
});

test('an arm as the runner takes it', () => {
  const ref = (name: string) => kernelRef(name, '/image');
  assert.equal(wireArm({ kernel: kernel(4), launch: '1' }, ref), { kernel: ref(kernel(4)), splits: 1, spread: false });
  assert.equal(wireArm({ kernel: kernel(4), launch: '5s' }, ref), { kernel: ref(kernel(4)), splits: 5, spread: true, merge: 'last' });
  assert.is(wireArm({ kernel: kernel(4), launch: '5c' }, ref).combine!.name, 'antkv_combine_d128_f16__sm80_w4');
  assert.equal(wireArm({ kernel: 'antkv_select__sm80_w8', launch: '' }, ref), { kernel: ref('antkv_select__sm80_w8') });
});

test('words and commands', () => {
  assert.is(problemWord(problem(16, 4096, 'spread')), `${CONTRACT} B16x4096 spread`);
  assert.is(reproOf('0', kernel(4), problem(16, 4096), '3s'), `gen bench --device 0 --no-baseline --op decode --only ${kernel(4)} --batch 16 --tokens 4096 --splits 3s`);
  assert.match(reproOf('0', kernel(4), { ...problem(2, 9), shape: { lens: [3, 9], q_heads: 32, kv_heads: 8 } }), /^echo '\{"contract".*> shape.jsonl && gen tune /);
  assert.match(reproOf('0', kernel(4)), /^gen verify --device 0 --only .* --quick$/);
});

test.run();
