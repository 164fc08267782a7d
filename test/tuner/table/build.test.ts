// Tests tuner/table/build.ts and what it is made of, on SYNTHETIC journals: the table is a function of the set of events, and what it says is what was measured.
import fc from 'fast-check';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { parseKernelName } from '../../../generator/name.ts';
import { misfitsOf } from '../../../generator/table/check.ts';
import { entriesOf } from '../../../generator/table/entries.ts';
import { find, splitsOf, type Ask } from '../../../generator/table/find.ts';
import { parseTable } from '../../../generator/table/read.ts';
import { tableSchema, type Table } from '../../../generator/table/schema.ts';
import { parseCell, printTable } from '../../../generator/table/words.ts';
import { launchWord } from '../../../tuner/bench-launch.ts';
import { buildTables } from '../../../tuner/table/build.ts';
import type { BuildOptions } from '../../../tuner/table/contract.ts';
import type { TuneEvent } from '../../../tuner/tune/events.ts';
import { CONTRACT, DEVICE, ENCODE, ENCODERS, GRID, KERNELS, modelUs, problemAt, ptxOf, sweepEvents } from '../../fixtures/sweep.ts';

const one = (events: readonly TuneEvent[], options: BuildOptions = {}): Table => {
  const built = buildTables(events, options);
  assert.is(built.length, 1);
  return built[0]!.table;
};
const events = sweepEvents({ problems: [...GRID, problemAt(1, 1024, 'sequence', {}, ENCODE), problemAt(8, 8192, 'sequence', {}, ENCODE)], kernels: [...KERNELS, ...ENCODERS] });
const table = one(events);
const kernels = [...KERNELS, ...ENCODERS].map(parseKernelName);
const ask = (batch: number, tokens: number, mode: Ask['mode'] = 'sequence'): Ask => ({ contract: CONTRACT, mode, device: DEVICE, batch, qHeads: 32, kvHeads: 8, qLen: 1, tokens });
const look = (on: Table, question: Ask) => find(entriesOf([{ file: 'sm80/table.x.json', table: on }], kernels), kernels, question);

test('a table is whole: schema, parts that fit, and its text reads back', () => {
  tableSchema.parse(table);
  assert.equal(misfitsOf(table), []);
  assert.equal(printTable(parseTable(printTable(table), 'x')), printTable(table));
  assert.equal(Object.keys(table.contracts), [CONTRACT, ENCODE]);
  assert.equal(Object.keys(table.contracts[CONTRACT]!.modes), ['sequence', 'spread', 'fastest']);
  assert.equal(Object.keys(table.contracts[ENCODE]!.modes), ['sequence']);
  assert.is(table.contracts[CONTRACT]!.leftOut!.points, 32);
  assert.is(table.contracts[ENCODE]!.leftOut, null);
});

test('at every measured point the look-up is as fast as the best of two kernels, and says measured', () => {
  for (const { shape: { batch, tokens }, mode } of GRID) {
    const answer = look(table, ask(batch!, tokens!, mode));
    const problem = problemAt(batch!, tokens!, mode);
    const us = modelUs(problem, { kernel: answer.kernel!, launch: launchWord({ splits: answer.splits, spread: answer.spread, merge: answer.merge }) });
    const { best, default: base } = table.contracts[CONTRACT]!.points.find((point) => point.mode === mode && point.streams === batch! * 8 && point.tokens === tokens)!;
    assert.ok(us <= best.us * 1.03, `B${batch} x ${tokens} ${mode}: ${us} against ${best.us}`);
    assert.ok(us <= base.us * 1.01, 'never slower than the default');
    assert.is(answer.quality, 'measured');
    assert.ok(answer.regret! <= 20, `${answer.regret}`);
  }
});

test('fastest is the better mode of each point', () => {
  for (const batch of [1, 16]) {
    for (const tokens of [1024, 65_536]) {
      const times = (['sequence', 'spread', 'fastest'] as const).map((mode) => {
        const { kernel, splits, spread, merge } = look(table, ask(batch, tokens, mode));
        return modelUs(problemAt(batch, tokens), { kernel: kernel!, launch: launchWord({ splits, spread, merge }) });
      });
      assert.ok(times[2]! <= Math.min(times[0]!, times[1]!) * 1.006, times.join(', '));
    }
  }
});

test('between points the answer is interpolated, and loses little', () => {
  for (const [batch, tokens] of [[2, 2048], [8, 8192], [32, 32_768], [2, 32_768]] as const) {
    const { kernel, splits, spread, merge, quality, regret } = look(table, ask(batch, tokens));
    const us = modelUs(problemAt(batch, tokens), { kernel: kernel!, launch: launchWord({ splits, spread, merge }) });
    const least = Math.min(...KERNELS.flatMap((k) => [1, 2, 3, 4, 6, 8, 12].map((n) => modelUs(problemAt(batch, tokens), { kernel: k, launch: String(n) }))));
    assert.is(quality, 'interpolated');
    assert.ok(us / least < 1.35, `B${batch} x ${tokens}: ${us} against ${least}`);
    assert.ok(regret! >= 0);
  }
  assert.is(look(table, ask(2000, 2 ** 30)).quality, 'interpolated', 'beyond the axes the border answers');
});

test('the order and the number of times that events come in do not matter', () => {
  const text = printTable(table);
  fc.assert(fc.property(fc.shuffledSubarray(events, { minLength: events.length }), fc.subarray(events), (shuffled, again) => printTable(one([...shuffled, ...again])) === text), { numRuns: 5 });
});

test('a journal that was measured again makes a small diff: ties keep what the table had', () => {
  const incumbents = GRID.map((problem) => {
    const { best } = table.contracts[CONTRACT]!.points.find((p) => p.mode === problem.mode && p.streams === problem.shape.batch! * 8 && p.tokens === problem.shape.tokens)!;
    return { event: 'incumbent' as const, problem, arm: { kernel: best.kernel, launch: best.launch } };
  });
  const choices = (of: Table): string[] => (['sequence', 'spread'] as const).flatMap((mode) => GRID.filter((p) => p.mode === mode).map(({ shape: { batch, tokens } }) => {
    const { kernel, splits, merge } = look(of, ask(batch!, tokens!, mode));
    return `${mode} ${kernel} ${splits} ${merge}`;
  }));
  for (const seed of [2, 3, 4]) assert.equal(choices(one(sweepEvents({ seed, more: () => incumbents }))), choices(table));
});

test('what two kernels share to within half a per cent goes to the one with less shared memory, or to the incumbent', () => {
  const equal = (problem: Parameters<typeof modelUs>[0], arm: Parameters<typeof modelUs>[1]): number => modelUs(problem, { ...arm, kernel: KERNELS[0] });
  const problems = GRID.slice(0, 8);
  const twins = KERNELS.slice(0, 2);
  const kernelAt = (of: Table): string | undefined => look(of, ask(1, 4096)).kernel;
  assert.is(kernelAt(one(sweepEvents({ problems, kernels: twins, us: equal }), { maxSlowdown: 1 })), KERNELS[0], 'one kernel is enough: the other brings nothing');
  const other = sweepEvents({ problems, kernels: twins, us: (problem, arm) => equal(problem, arm) * (arm.kernel === KERNELS[1] ? (problem.shape.tokens === 1024 ? 0.5 : 1) : 1) });
  assert.is(kernelAt(one(other)), KERNELS[1], 'both ship, and rows of 16 tokens take less shared memory than tables');
  const incumbents = problems.map((problem) => ({ event: 'incumbent' as const, problem, arm: { kernel: KERNELS[0], launch: problem.mode === 'spread' ? '12s' : '4' } }));
  const kept = sweepEvents({ problems, kernels: twins, us: (problem, arm) => equal(problem, arm) * (arm.kernel === KERNELS[1] ? (problem.shape.tokens === 1024 ? 0.5 : 1) : 1), more: () => incumbents });
  assert.is(kernelAt(one(kept)), KERNELS[0]);
});

test('only times of a kernel\'s newest code count', () => {
  const old = sweepEvents({ us: (problem, arm) => modelUs(problem, arm) * (arm.kernel === KERNELS[1] ? 0.1 : 1) });
  const renewed = sweepEvents({ begin: Date.UTC(2030, 0, 2), kernels: KERNELS.slice(0, 2), ptx: (kernel) => ptxOf(kernel, kernel === KERNELS[1] ? 2 : 1), problems: GRID.slice(0, 4) });
  const both = one([...old, ...renewed]);
  assert.is(both.kernels[KERNELS[0]]!.ptx, ptxOf(KERNELS[0]));
  for (const { streams, tokens, times } of both.contracts[CONTRACT]!.points) {
    const again = GRID.slice(0, 4).some(({ shape: { batch, tokens: n } }) => streams === batch! * 8 && tokens === n);
    assert.is(times.some(({ kernel }) => kernel === KERNELS[1]), again && both.kernels[KERNELS[1]] !== undefined, `${streams} x ${tokens}`);
  }
});

test('what failed is not chosen, until a later check takes that back; a default that failed leaves its contract out', () => {
  const failed = (kernel: string) => (environment: string) => [{ event: 'failed' as const, environment, kernel, stage: 'verify' as const, kind: 'wrong' as const, why: 'a test', repro: 'gen verify' }];
  assert.not(KERNELS[1] in one(sweepEvents({ more: failed(KERNELS[1]) })).kernels);
  assert.ok(KERNELS[1] in one(sweepEvents({ more: (environment) => [...failed(KERNELS[1])(environment), { event: 'verified', environment, kernel: KERNELS[1], ptx: ptxOf(KERNELS[1]), checks: 3, worst: null }] })).kernels);
  assert.equal(buildTables(sweepEvents({ more: failed(KERNELS[0]) })), []);
  const arm = { kernel: KERNELS[1], launch: '4' };
  const { points } = one(sweepEvents({ more: (environment) => [{ event: 'failed', environment, kernel: arm.kernel, stage: 'race', kind: 'timeout', problem: GRID[0]!, arm, why: 'a test', repro: '' }] })).contracts[CONTRACT]!;
  assert.not(points.some(({ mode, streams, tokens, times }) => mode === 'sequence' && streams === 8 && tokens === 1024 && times.some((time) => time.kernel === arm.kernel && time.launch === arm.launch)));
});

test('emulated times make no table; a model makes one that says so in every cell', () => {
  assert.equal(buildTables(sweepEvents({ clock: 'emulated' })), []);
  assert.is(buildTables(sweepEvents({ clock: 'emulated' }), { emulated: true }).length, 1);
  const modelled = one(sweepEvents({ clock: 'model' }), { modelError: 0.1 });
  const row = modelled.contracts[CONTRACT]!;
  assert.is(row.origin, 'modelled');
  for (const { cells } of Object.values(row.modes)) for (const word of cells.flatMap((line) => line.split(' '))) assert.ok(parseCell(word)!.letter === 'X' && parseCell(word)!.regret >= 100, word);
  assert.is(look(modelled, ask(1, 1024)).quality, 'modelled');
});

test('a measured contract replaces its modelled twin', () => {
  const both = one([...sweepEvents({ clock: 'model', problems: [...GRID, problemAt(1, 1024, 'sequence', {}, ENCODE)], kernels: [...KERNELS, ...ENCODERS], begin: Date.UTC(2031, 0, 1) }), ...sweepEvents()]);
  assert.equal(Object.values(both.contracts).map(({ origin }) => origin), ['measured', 'modelled']);
});

test('two devices make two tables, and each says what the other would lose with it', () => {
  const other = { ...DEVICE, name: 'SYNTHETIC other board', memoryMhz: 1000 };
  const built = buildTables([...sweepEvents(), ...sweepEvents({ device: other, seed: 5, us: (problem, arm) => modelUs(problem, arm) * (arm.kernel === KERNELS[1] ? 3 : 1) })]);
  assert.equal(built.map(({ file }) => file).sort(), ['sm80/table.synthetic-board.json', 'sm80/table.synthetic-other-board.json']);
  assert.ok(built.every(({ table: { elsewhere } }) => elsewhere.sibling > 100), JSON.stringify(built.map(({ table: { elsewhere } }) => elsewhere)));
  const twins = buildTables([...sweepEvents(), ...sweepEvents({ device: { ...DEVICE, sms: 50 }, seed: 5 })]);
  assert.is(new Set(twins.map(({ file }) => file)).size, 2, 'two devices of one name are two files');
});

test('shapes of other heads are not built from, but tested on', () => {
  const held = [problemAt(4, 4096, 'sequence', { q_heads: 8, kv_heads: 2 }), problemAt(1, 16_384, 'sequence', { q_len: 4 })];
  const more = one(sweepEvents({ problems: [...GRID, ...held] })).contracts[CONTRACT]!;
  assert.is(more.points.length, GRID.length);
  assert.is(more.leftOut!.points, GRID.length + 2);
});

test('splits follow the number of streams, and never leave 1 to 1024', () => {
  assert.is(splitsOf({ kernel: '', ctas: 100, spread: true, merge: 'last' }, 8, 1), 12);
  assert.is(splitsOf({ kernel: '', ctas: 1, spread: true, merge: 'last' }, 8, 1), 1);
  assert.is(splitsOf({ kernel: '', ctas: 40, spread: false, merge: 'last' }, 8, 100), 4);
  assert.is(splitsOf({ kernel: '', ctas: 65_535, spread: true, merge: 'last' }, 1, 1), 1024);
});

test.run();
