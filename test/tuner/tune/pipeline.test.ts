// The body of a sweep on a fake device: who wins, who is lost and why, what a budget does, and what is left of a sweep that was killed.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import fc from 'fast-check';
import { buildTables } from '../../../tuner/table/build.ts';
import { exhaustive } from '../../../tuner/search/exhaustive.ts';
import { candidateOf } from '../../../tuner/space/space.ts';
import { CompilePool } from '../../../tuner/tune/compile-pool.ts';
import { of, type TuneEvent } from '../../../tuner/tune/events.ts';
import { armWord, type Problem, type Task } from '../../../tuner/tune/problem.ts';
import { complete } from '../../../tuner/journal/write.ts';
import { runTask } from '../../../tuner/tune/pipeline.ts';
import type { TaskRun } from '../../../tuner/tune/session.ts';
import { chance, DIGEST, ENVIRONMENT, fakeClock, fakeCompiler, FakeJournal, FakeMeasurer, Killed, warpsOf, type FakeOptions } from './fake.ts';

const test = suite('tune/pipeline');

const CONTRACT = 'antkv_decode_d128_kf16_vf16_f16';
const kernel = (warps: number, stages = 2): string => `${CONTRACT}__sm80_w${warps}_t${16 * warps}_s${stages}`;
const problem = (batch: number, tokens: number, mode: Problem['mode'] = 'sequence'): Problem => ({ contract: CONTRACT, mode, shape: { batch, tokens, q_heads: 32, kv_heads: 8 } });
const PROBLEMS = [problem(1, 4096), problem(1, 4096, 'spread'), problem(16, 4096), problem(16, 32768), problem(1, 32768, 'spread')];
const KERNELS = [kernel(4), kernel(2), kernel(8), kernel(1), kernel(4, 3), kernel(8, 3)];
const TASK: Task = { arch: 'sm80', contract: CONTRACT, problems: PROBLEMS, kernels: KERNELS };

/** Eight warps are best for long sequences, four for short ones, two and one never; a launch costs a little more than the one before it; one per cent of noise. */
const times: FakeOptions['times'] = ({ shape }, arm, round) => {
  const best = shape.tokens! > 8192 ? 8 : 4;
  const base = (shape.batch! * shape.tokens!) / 100;
  const off = 1 + 0.15 * Math.abs(Math.log2(warpsOf(arm.kernel) / best)) + 0.02 * chance(arm.launch) + (arm.kernel.endsWith('_s3') ? 0.04 : 0);
  return base * off * (1 + 0.01 * chance(armWord(arm), round, shape.tokens!));
};

interface Sweep {
  readonly events: readonly TuneEvent[];
  readonly measurer: FakeMeasurer;
  readonly done: boolean | undefined;
  readonly defaultLost: string | undefined;
}

async function sweep(fake: Partial<FakeOptions> = {}, more: Partial<TaskRun> & { ends?: number; compiler?: ReturnType<typeof fakeCompiler>; task?: Task } = {}): Promise<Sweep> {
  const { ends = Infinity, compiler = fakeCompiler(), past = [], task = TASK, ...rest } = more;
  const clock = fakeClock(past.length > 0 ? Date.parse(past.at(-1)!.at) + 1000 : undefined);
  const journal = new FakeJournal(clock, ends);
  const measurer = new FakeMeasurer({ times, ...fake });
  const strategy = exhaustive({ candidates: task.kernels.map(candidateOf), seeds: [task.kernels[0]!] }, 1);
  let end;
  try {
    if (past.length === 0) await journal.write({ event: 'environment', environment: DIGEST, facts: ENVIRONMENT });
    end = await runTask({ task, strategy, measurer, environment: DIGEST, pool: new CompilePool(compiler, 2), write: journal.write, clock, signal: new AbortController().signal, past, seed: 1, rounds: 60, label: 'auto', ...rest });
  } catch (error) {
    if (!(error instanceof Killed)) throw error;
  }
  return { events: [...past, ...journal.events], measurer, done: end?.done, defaultLost: end?.defaultLost?.why };
}

const winners = (events: readonly TuneEvent[]): string[] => of(events, 'settled').map(({ problem: { shape, mode }, arm }) => `B${shape.batch}x${shape.tokens} ${mode}: ${arm.kernel}`).sort();

test('every problem is settled, by the kernel that is best there', async () => {
  const { events, done, measurer } = await sweep();
  assert.is(done, true);
  assert.equal(winners(events), [
    `B16x32768 sequence: ${kernel(8)}`, `B16x4096 sequence: ${kernel(4)}`, `B1x32768 spread: ${kernel(8)}`, `B1x4096 sequence: ${kernel(4)}`, `B1x4096 spread: ${kernel(4)}`,
  ]);
  // A winner that is not the default met it in a process of its own.
  const confirms = of(events, 'raced').filter(({ phase }) => phase === 'confirm');
  const races = of(events, 'raced').filter(({ phase }) => phase === 'race');
  assert.ok(confirms.length >= 2);
  for (const { session } of confirms) assert.ok(races.every((race) => race.session !== session));
  // One default in each block, and equal shapes one after the other: their data are made once.
  for (const { arms } of of(events, 'raced')) assert.is(arms[0]!.kernel, kernel(4));
  const shapes = measurer.requests.filter(({ rounds }) => rounds === 3).map(({ problem: { shape } }) => JSON.stringify(shape));
  assert.is(shapes.filter((shape, i) => shape !== shapes[i - 1]).length % 4, 0);
  // Announced before it was launched.
  for (const [i, event] of events.entries()) {
    if (event.event !== 'raced') continue;
    for (const { kernel: name } of event.arms.slice(1)) assert.ok(name === kernel(4) || events.slice(0, i).some((other) => other.event === 'started' && other.kernel === name && other.stage === event.phase));
  }
  assert.ok(of(events, 'probe').length >= 1);
});

test('the journal makes a table that is as fast as the default everywhere', async () => {
  const { events } = await sweep();
  const [built] = buildTables(events);
  const points = built!.table.contracts[CONTRACT]!.points;
  assert.is(points.length, PROBLEMS.length);
  for (const { best, default: usual, tokens } of points) {
    assert.ok(best.us <= usual.us);
    assert.is(best.kernel, kernel(tokens > 8192 ? 8 : 4));
  }
});

test('what the compiler refuses, what is the same code, what is wrong: each costs one candidate', async () => {
  const compiler = fakeCompiler({ same: { [kernel(4, 3)]: kernel(4) }, lost: [kernel(1)] });
  const { events } = await sweep({ wrong: (name) => name === kernel(8, 3) }, { compiler });
  assert.equal(of(events, 'failed').map(({ kernel: name, stage, kind }) => [name, stage, kind]), [[kernel(1), 'compile', 'ice'], [kernel(8, 3), 'verify', 'wrong']]);
  assert.equal(of(events, 'pruned').map(({ kernel: name, same }) => [name, same]), [[kernel(4, 3), kernel(4)]]);
  assert.ok(of(events, 'failed').every(({ repro }) => repro !== ''));
  assert.is(of(events, 'settled').length, PROBLEMS.length);
});

test('hangs, traps and lost processes cost a kernel; too little memory costs an arm', async () => {
  for (const kind of ['timeout', 'trap', 'crash', 'wrong', 'memory'] as const) {
    const { events, done } = await sweep({ faults: ({ shape }, arm) => (arm.kernel === kernel(8) && shape.tokens === 32768 ? kind : undefined) });
    assert.is(done, true);
    const failed = of(events, 'failed');
    assert.ok(failed.length >= 1 && failed.every((event) => event.kernel === kernel(8) && event.kind === kind));
    assert.is(failed.every((event) => event.arm === undefined), kind !== 'memory');
    const long = of(events, 'settled').find(({ problem: { shape } }) => shape.tokens === 32768 && shape.batch === 16)!;
    assert.is(long.arm.kernel, kernel(8, 3), kind);
  }
});

test('without a default there is nothing to compare with', async () => {
  const wrong = await sweep({ wrong: (name) => name === kernel(4) });
  assert.match(wrong.defaultLost!, /the default kernel .*_w4_t64_s2: relative L2 error/);
  assert.is(of(wrong.events, 'raced').length, 0);
  assert.match((await sweep({}, { compiler: fakeCompiler({ lost: [kernel(4)] }) })).defaultLost!, /internal compiler error/);
  const fits = await sweep({ faults: ({ shape }) => (shape.batch === 16 ? 'memory' : undefined) });
  assert.is(fits.defaultLost, undefined);
  assert.is(of(fits.events, 'settled').length, 3);
});

test('a gain that a fresh process does not show again is not believed', async () => {
  // Eight warps are fast in races alone.
  let racing = 0;
  const measurer: FakeOptions['times'] = (where, arm, round) => times(where, arm, round) * (arm.kernel === kernel(8) && where.shape.tokens === 32768 && racing === 10 ? 1.3 : 1);
  const race = FakeMeasurer.prototype.race;
  FakeMeasurer.prototype.race = function (request) {
    racing = request.arms.length === 2 && request.rounds === 10 && request.arms[1]!.kernel === kernel(8) ? 10 : 0;
    return race.call(this, request);
  };
  try {
    const { events } = await sweep({ times: measurer }, { task: { ...TASK, kernels: [kernel(4), kernel(8)] } });
    const failed = of(events, 'failed');
    assert.ok(failed.length >= 1);
    for (const { stage, why } of failed) {
      assert.is(stage, 'confirm');
      assert.match(why, /-\d+\.\d % over the default in the race, \d+\.\d % in a fresh process/);
    }
    for (const { arm } of of(events, 'settled')) assert.is(arm.kernel, kernel(4));
  } finally {
    FakeMeasurer.prototype.race = race;
  }
});

test('a budget that is too short settles what it can, and the next sweep goes on', async () => {
  const short = await sweep({}, { deadline: Date.UTC(2026, 10, 23) + 200 });
  assert.ok(of(short.events, 'settled').every(({ why }) => why === 'budget'));
  const rest = await sweep({}, { past: short.events });
  assert.equal(winners(rest.events.filter((event) => event.event !== 'settled' || event.why !== 'budget')), winners((await sweep()).events));
});

test('a sweep that is done measures nothing when it runs again', async () => {
  const first = await sweep();
  const { measurer, events } = await sweep({}, { past: first.events });
  assert.is(measurer.requests.length, 0);
  assert.is(measurer.verified, 0);
  assert.is(events.length, first.events.length);
});

test('new code under an old name is measured again', async () => {
  const first = await sweep();
  const { events } = await sweep({}, { past: first.events, compiler: fakeCompiler({ same: { [kernel(8)]: 'other code' } }) });
  const again = events.slice(first.events.length);
  assert.ok(of(again, 'verified').map((event) => event.kernel).includes(kernel(8)));
  assert.ok(of(again, 'raced').every(({ arms }) => arms.slice(1).some((arm) => arm.kernel === kernel(8)) || arms.length > 1));
  assert.is(of(again, 'verified').length, 1);
});

test('a table that made a choice before keeps it in a tie', async () => {
  const arm = { kernel: kernel(8, 3), launch: '3' };
  const even: FakeOptions['times'] = (_where, one, round) => 100 * (1 + 0.01 * chance(armWord(one), round));
  const incumbent = complete({ event: 'incumbent', problem: PROBLEMS[0]!, arm }, 'local', 1000);
  const { events } = await sweep({ times: even }, { past: [incumbent] });
  assert.equal(of(events, 'settled').find(({ problem: { shape, mode } }) => shape.batch === 1 && shape.tokens === 4096 && mode === 'sequence')!.arm, arm);
});

// Four times in the same candidate's work and it would be held to be the reason.
test('killed at any moment, again and again: the same winners, and no measurement is made twice but the one that was running', async () => {
  const whole = await sweep();
  const raced = of(whole.events, 'raced').length;
  await fc.assert(
    fc.asyncProperty(fc.array(fc.integer({ min: 1, max: Math.ceil(whole.events.length / 2) }), { minLength: 1, maxLength: 3 }), async (kills) => {
      let past: readonly TuneEvent[] = [];
      let requests = 0;
      for (const ends of [...kills, Infinity]) {
        const part: Sweep = await sweep({}, { past, ends });
        requests += part.measurer.requests.length;
        past = part.events;
      }
      assert.equal(winners(past), winners(whole.events));
      // A block that was cut off is run again, those that it held alone may take several.
      const blocks = of(past, 'raced').length;
      assert.ok(requests - blocks <= kills.length, `${requests} requests for ${blocks} blocks, ${kills.length} kills`);
      assert.ok(blocks - raced <= 12 * kills.length, `${blocks} blocks, ${raced} undisturbed`);
      assert.is(of(past, 'failed').length, 0);
    }),
    { numRuns: 60, seed: 7 },
  );
});

test('a candidate that was running whenever the process ended is held to be the reason; sooner if the machine went down', async () => {
  let past: readonly TuneEvent[] = [];
  // Ends on the same candidate's check each time.
  for (let i = 0; i < 4; i++) {
    const whole = await sweep({}, { past });
    const at = whole.events.findIndex((event, place) => place >= past.length && event.event === 'started' && event.kernel === kernel(8) && event.stage === 'verify');
    past = whole.events.slice(0, at + 1);
  }
  const twice = past.slice(0, past.findIndex((event, place) => event.event === 'started' && event.kernel === kernel(8) && past.slice(0, place).some((other) => other.event === 'started' && other.kernel === kernel(8))) + 1);
  assert.is(of((await sweep({}, { past: twice })).events, 'failed').length, 0);
  assert.is(of((await sweep({}, { past: twice, booted: Date.parse(past.at(-1)!.at) + 500 })).events, 'failed').length, 1);
  const { events } = await sweep({}, { past });
  assert.equal(of(events, 'failed').map(({ kernel: name, kind, why }) => [name, kind, why]), [[kernel(8), 'crash', 'it ran whenever the process, or the machine, went down']]);
  const again = await sweep({}, { past: events, retry: true });
  assert.equal(winners(again.events.slice(events.length)).length > 0, true);
  assert.ok(of(again.events.slice(events.length), 'verified').some((event) => event.kernel === kernel(8)));
});

test.run();
