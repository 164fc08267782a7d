// Tests tuner/space/plan.ts, estimate.ts and effort.ts: samples, what they say of the steps, times of efforts and budgets.
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { findArch } from '../../../generator/arch.ts';
import { parseContractName } from '../../../generator/name.ts';
import { fitFor } from '../../../tuner/model/fits.ts';
import { makeModel } from '../../../tuner/model/model.ts';
import { EFFORTS, triedBy } from '../../../tuner/space/effort.ts';
import { ASSUMED, estimate, fitting, type Costs } from '../../../tuner/space/estimate.ts';
import { DEFAULT_TUNING } from '../../../tuner/space/grid.ts';
import { compileSample, compileSeconds, leavers, sampleOf, stepsOf, type Sampled } from '../../../tuner/space/plan.ts';
import { tasksOf, usualTarget } from '../../../tuner/space/tasks.ts';
import { temporaryFolder } from '../../folder.ts';
import { fakeNvcc } from '../fake.ts';

const sm90 = findArch('sm90')!;
const model = makeModel(sm90.machine!, fitFor(sm90.machine!));
const tasks = (...names: string[]) => tasksOf(names.map(parseContractName), [sm90], DEFAULT_TUNING, usualTarget, () => model);
const DECODE = 'antkv_decode_d128_k8c8b_v8c8bq8_f16_gain_n4';
const SELECT = 'antkv_select';
const all = tasks(DECODE, SELECT, 'antkv_score_d128_f16', 'antkv_score_d64_f16', 'antkv_score_d128_f16_exact');

test('a sample has so many kernels of each op, always with the default of a contract that it has any of; the same with the same seed', () => {
  const sample = sampleOf(all, 8, 1);
  const count = (op: string): number => sample.filter(({ kernel }) => kernel.startsWith(`antkv_${op}_`)).length;
  assert.equal([count('decode'), count('select'), count('score')], [8, 6, 8], 'select has no more than 6');
  for (const task of new Set(sample.map((one) => one.task))) assert.ok(sample.some(({ kernel }) => kernel === task.task.kernels[0]));
  assert.is(new Set(sample.map(({ kernel }) => kernel)).size, sample.length);
  assert.equal(sampleOf(all, 8, 1).map(({ kernel }) => kernel), sample.map(({ kernel }) => kernel));
  assert.is.not(sampleOf(all, 8, 2).map(({ kernel }) => kernel).join(), sample.map(({ kernel }) => kernel).join());
  assert.is(sampleOf(all, Infinity, 1).length, all.reduce((sum, { task }) => sum + task.kernels.length, 0));
});

const [decode] = all as [(typeof all)[number]];
const sampled = (kernel: string, more: Partial<Sampled> = {}): Sampled => ({
  kernel, contract: DECODE, op: 'decode', isDefault: kernel === decode.task.kernels[0], seconds: 2, ptx: kernel, facts: { registers: 100, spillStores: 0, spillLoads: 0, stack: 0 }, ...more,
});
const spilled = { facts: { registers: 128, spillStores: 2000, spillLoads: 2000, stack: 3000 } };

test('who leaves, and at which step: failures, then twins, then those that spill', () => {
  const [usual, a, b, c] = decode.task.kernels as [string, string, string, string];
  const gone = leavers([sampled(usual, spilled), sampled(a, { ptx: usual }), sampled(b, { facts: { registers: 255, spillStores: 9000, spillLoads: 0, stack: 0 } }), { ...sampled(c), lost: { kernel: c, kind: 'error', why: 'boom', repro: '' } }]);
  assert.equal([...gone].map(([kernel, { step }]) => [kernel, step]), [[c, 'compile'], [a, 'ptx'], [b, 'ptxas']]);
  assert.not.ok(gone.has(usual), 'the default stays, whatever it spills');
});

test('steps: counted where all was compiled, else in shares of the sample without the defaults', () => {
  const names = decode.task.kernels;
  const half = names.slice(0, 9).map((kernel, i) => sampled(kernel, i === 0 ? {} : i <= 2 ? { ptx: names[0]! } : i <= 4 ? spilled : {}));
  const n = names.length;
  const steps = stepsOf(decode, half, leavers(half));
  assert.equal(steps, { all: decode.all, formula: n, compile: n, ptx: Math.round(1 + (n - 1) * (6 / 8)), ptxas: Math.round(1 + (n - 1) * (4 / 8)), exact: false });
  const whole = names.map((kernel, i) => sampled(kernel, i === 1 ? { ptx: names[0]! } : {}));
  assert.equal(stepsOf(decode, whole, leavers(whole)), { all: decode.all, formula: n, compile: n, ptx: n - 1, ptxas: n - 1, exact: true });
  assert.is(stepsOf(decode, [], new Map()).ptxas, n, 'without a sample nothing is known to leave');
});

test('seconds of a compile: of the op, else of all, else unknown', () => {
  const rows = [sampled('a', { seconds: 2 }), sampled('b', { seconds: 4 }), sampled('c', { seconds: null }), sampled('d', { op: 'select', seconds: 1 })];
  assert.equal([compileSeconds(rows, 'decode'), compileSeconds(rows, 'select'), compileSeconds(rows, 'encode'), compileSeconds([], 'decode')], [3, 1, 7 / 3, undefined]);
});

test('efforts try more and more; a local search ends before everything, and is told by the model', () => {
  const tried = (['quick', 'full', 'exhaustive'] as const).map((effort) => triedBy(effort, decode.task.kernels, decode.expected, 1));
  assert.equal([tried[0], tried[2]], [EFFORTS.quick.kernels, decode.task.kernels.length]);
  assert.ok(tried[1]! > 8 && tried[1]! < tried[2]!, String(tried));
  assert.is(triedBy('quick', ['antkv_select__sm90_w8'], undefined, 1), 1);
});

const costs: Costs = { compile: () => 2, model, sms: 132, jobs: 2, devices: 1, seed: 1 };

test('estimates grow with effort; more compilers and GPUs take less', () => {
  const wall = (effort: 'quick' | 'full' | 'exhaustive', more: Partial<Costs> = {}): number => estimate(all, effort, { ...costs, ...more }).wall;
  assert.ok(wall('quick') < wall('full') && wall('full') < wall('exhaustive'));
  assert.ok(wall('full', { jobs: 16, devices: 4 }) < wall('full') / 2);
  const { compile, kernels, gpu } = estimate(all, 'exhaustive', costs);
  assert.is(compile, 2 * kernels);
  assert.ok(gpu > kernels * ASSUMED.verify);
  const none = estimate(all, 'exhaustive', { ...costs, compile: () => undefined });
  assert.is(none.compile, ASSUMED.compile * kernels);
});

test('a budget: the largest effort that fits, else as many kernels as there is time for, at least the default', () => {
  const estimates = (['quick', 'full', 'exhaustive'] as const).map((effort) => estimate(all, effort, costs));
  const within = (seconds: number) => fitting(all, estimates, seconds, costs);
  assert.is(within(1e9).effort, 'exhaustive');
  assert.is(within(estimates[1]!.wall).effort, 'full');
  assert.is(within(estimates[0]!.wall).effort, 'quick');
  const between = (within(0.1).wall + estimates[0]!.wall) / 2; // most of a task's time is that of its problems, however few its kernels
  const less = within(between);
  assert.ok(less.effort === undefined && less.kernels > 1 && less.kernels < 8 && less.wall <= between, JSON.stringify(less));
  assert.equal([within(0.1).effort, within(0.1).kernels], [undefined, 1]);
});

test('a sample goes through both steps of the compiler, several at once; what fails is told', async () => {
  const old = process.env['ANTKV_CACHE'];
  process.env['ANTKV_CACHE'] = join(temporaryFolder(), 'cache');
  try {
    const body = `case "$src" in *w16*) echo "error: boom" >&2; exit 1;; esac\necho "ptxas info    : Used 40 registers, used 1 barriers" >&2\necho "    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads" >&2\necho ".target sm_90" > "$out"`;
    const nvcc = { path: join(fakeNvcc(body), 'nvcc'), version: '12.4.131' };
    const steps: string[] = [];
    const rows = await compileSample(sampleOf(tasks(SELECT), Infinity, 1), { nvcc, jobs: 2, onDone: (done, total) => steps.push(`${done}/${total}`) });
    assert.equal([steps.at(-1), rows.length], ['6/6', 6]);
    assert.equal(rows.filter(({ lost }) => lost).map(({ kernel, lost }) => [kernel, lost!.why]), [['antkv_select__sm90_w16', 'error: boom']]);
    assert.ok(rows.filter(({ lost }) => !lost).every(({ seconds, facts }) => seconds! > 0 && facts!.registers === 40));
    assert.equal([...leavers(rows).values()].map(({ step }) => step).sort(), ['compile', 'ptx', 'ptx', 'ptx', 'ptx'], 'all have the same code');
  } finally {
    if (old === undefined) delete process.env['ANTKV_CACHE'];
    else process.env['ANTKV_CACHE'] = old;
  }
});

test.run();
