// Tests tuner/tune/{pool,compile-pool,devices,progress,incumbents}.ts: several devices on one list, one of them lost; compile workers; what people see meanwhile.
import { mkdirSync } from 'node:fs';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { EnvironmentError } from '../../../generator/errors.ts';
import type { Table } from '../../../generator/table/schema.ts';
import { findNvcc } from '../../../tuner/nvcc.ts';
import { exhaustive } from '../../../tuner/search/exhaustive.ts';
import { candidateOf } from '../../../tuner/space/space.ts';
import { buildTables } from '../../../tuner/table/build.ts';
import { CompilePool, nvccCompiler, runsNatively, type Outcome } from '../../../tuner/tune/compile-pool.ts';
import { environmentOf, openDevices } from '../../../tuner/tune/devices.ts';
import { choiceAt, incumbentsOf, namedOf } from '../../../tuner/tune/incumbents.ts';
import { runSweep, type SweepOptions } from '../../../tuner/tune/pool.ts';
import { duration, SweepProgress } from '../../../tuner/tune/progress.ts';
import type { Problem, Task } from '../../../tuner/tune/problem.ts';
import { findArch } from '../../../generator/arch.ts';
import { contractName, parseContractName } from '../../../generator/name.ts';
import { DEFAULT_TUNING } from '../../../tuner/space/grid.ts';
import { tasksFor, type SweepPlan } from '../../../tuner/tune/sweep.ts';
import { fakeNvcc } from '../fake.ts';
import { temporaryFolder } from '../../folder.ts';
import { DIGEST, ENVIRONMENT, fakeClock, fakeCompiler, FakeJournal, FakeMeasurer, warpsOf } from './fake.ts';

const test = suite('tune/pool');
const contracts = ['antkv_decode_d128_kf16_vf16_f16', 'antkv_decode_d64_kf16_vf16_f16', 'antkv_decode_d64_k4c8b_vf16_f16'];
const taskOf = (contract: string): Task => ({
  arch: 'sm80', contract, kernels: [4, 8, 2].map((warps) => `${contract}__sm80_w${warps}_t${16 * warps}_s2`),
  problems: [1024, 4096].map((tokens): Problem => ({ contract, mode: 'sequence', shape: { batch: 1, tokens, q_heads: 32, kv_heads: 8 } })),
});
const tasks = contracts.map(taskOf);

/** Eight warps are best. */
const times = (_problem: Problem, { kernel }: { kernel: string }): number => 100 + Math.abs(warpsOf(kernel) - 8);

function sweepOf(measurers: readonly FakeMeasurer[], more: Partial<SweepOptions> = {}) {
  const clock = fakeClock();
  const journal = new FakeJournal(clock);
  const pool = new CompilePool(fakeCompiler(), 2);
  const options: SweepOptions = {
    devices: measurers.map((measurer, i) => ({ measurer, environment: DIGEST, pool, label: String(i) })),
    tasks, write: journal.write, clock, signal: new AbortController().signal, past: () => journal.events, seed: 1, rounds: 20,
    strategyOf: (task) => exhaustive({ candidates: task.kernels.map(candidateOf), seeds: [task.kernels[0]!] }, 1), ...more,
  };
  return { journal, run: () => runSweep(options) };
}
const settled = ({ events }: FakeJournal): number => events.filter(({ event }) => event === 'settled').length;

test('two devices share the tasks', async () => {
  const measurers = [new FakeMeasurer({ times }), new FakeMeasurer({ times })];
  const { journal, run } = sweepOf(measurers);
  const { ends, left } = await run();
  assert.is(ends.length, tasks.length);
  assert.equal(left, []);
  assert.is(settled(journal), 6);
  assert.ok(measurers.every(({ requests }) => requests.length > 0));
});

test('a device that is lost gives its task back, which goes on where it was', async () => {
  const measurers = [new FakeMeasurer({ times }), new FakeMeasurer({ times })];
  let calls = 0;
  const race = measurers[0]!.race.bind(measurers[0]);
  measurers[0]!.race = (request) => (++calls > 3 ? Promise.reject(new EnvironmentError('the GPU is gone', 'reboot')) : race(request));
  const lost: string[] = [];
  const { journal, run } = sweepOf(measurers, { onLost: (label) => lost.push(label) });
  const { ends, left } = await run();
  assert.equal(lost, ['0']);
  assert.is(ends.length, tasks.length);
  assert.equal(left, []);
  assert.is(settled(journal), 6);
});

test('the last device that is lost ends the sweep', async () => {
  const only = new FakeMeasurer({ times });
  only.race = () => Promise.reject(new EnvironmentError('the GPU is gone', 'reboot'));
  try {
    await sweepOf([only]).run();
    assert.unreachable('no error');
  } catch (error) {
    assert.instance(error, EnvironmentError);
  }
});

test('a signal leaves the rest', async () => {
  const stop = new AbortController();
  const measurer = new FakeMeasurer({ times });
  const race = measurer.race.bind(measurer);
  measurer.race = (request) => {
    if (measurer.requests.length === 4) stop.abort();
    return race(request);
  };
  const { left } = await sweepOf([measurer], { signal: stop.signal }).run();
  assert.is(left.length, tasks.length);
});

test('each task has its share of a budget', async () => {
  const clock = fakeClock();
  const { journal, run } = sweepOf([new FakeMeasurer({ times })], { deadline: clock.now() + 900 });
  const { ends } = await run();
  assert.is(ends.length, tasks.length);
  assert.ok(journal.events.some((event) => event.event === 'settled' && event.problem.contract === contracts[2]));
});

test('compile workers: so many at once, each kernel once, faults of the machine go up', async () => {
  let running = 0, most = 0;
  const compiled: string[] = [];
  const slow = new CompilePool({
    nvcc: 'x',
    async compile(kernel): Promise<Outcome> {
      compiled.push(kernel);
      most = Math.max(most, ++running);
      await new Promise((wake) => setTimeout(wake, 5));
      running--;
      if (kernel === 'disk') throw new EnvironmentError('no space left', 'free some');
      return { lost: { kernel, stage: 'compile', kind: 'error', why: '', repro: '' } };
    },
  }, 3);
  await Promise.all([...Array(9).keys()].flatMap((i) => [slow.get(`k${i}`), slow.get(`k${i}`)]));
  assert.is(most, 3);
  assert.is(compiled.length, 9);
  await slow.get('disk').then(() => assert.unreachable('no error'), (error: Error) => assert.instance(error, EnvironmentError));
});

test('compile workers: what somebody waits for comes before what was asked for ahead', async () => {
  const order: string[] = [];
  const pool = new CompilePool({
    nvcc: 'x',
    async compile(kernel): Promise<Outcome> {
      order.push(kernel);
      await new Promise((wake) => setTimeout(wake, 1));
      return { lost: { kernel, stage: 'compile', kind: 'error', why: '', repro: '' } };
    },
  }, 1);
  for (const kernel of ['a', 'b', 'c', 'd']) void pool.get(kernel, true);
  await Promise.all([pool.get('c'), pool.get('e'), pool.get('a'), pool.get('d', true)]);
  await pool.get('b');
  assert.equal(order, ['a', 'c', 'e', 'b', 'd']);
});

test('compilers begin with the first kernels of all tasks', async () => {
  const compiler = fakeCompiler();
  const measurer = new FakeMeasurer({ times });
  let before: readonly string[] | undefined;
  const race = measurer.race.bind(measurer);
  measurer.race = (request) => {
    before ??= [...compiler.compiled];
    return race(request);
  };
  const pool = new CompilePool(compiler, 8);
  await sweepOf([measurer], { devices: [{ measurer, environment: DIGEST, pool, label: '0' }] }).run();
  for (const { kernels } of tasks) assert.ok(kernels.every((kernel) => before!.includes(kernel)));
});

test('nvcc that fails, hangs or breaks is an answer with a command', async () => {
  const cache = process.env['ANTKV_CACHE'];
  process.env['ANTKV_CACHE'] = temporaryFolder();
  mkdirSync(process.env['ANTKV_CACHE'], { recursive: true });
  try {
    for (const [body, kind] of [['echo "x.cu(3): error: no" >&2; exit 1', 'error'], ['sleep 30', 'timeout'], ['echo "Internal error" >&2; exit 139', 'ice']] as const) {
      const nvcc = (await findNvcc({ CUDACXX: `${fakeNvcc(body)}/nvcc` }))!;
      const outcome = await nvccCompiler(nvcc, 80, 1500).compile('antkv_select__sm80_w8');
      assert.ok('lost' in outcome);
      assert.is(outcome.lost.kind, kind);
      assert.is(outcome.lost.stage, 'compile');
      assert.match(outcome.lost.repro, /nvcc/);
    }
  } finally {
    if (cache === undefined) delete process.env['ANTKV_CACHE'];
    else process.env['ANTKV_CACHE'] = cache;
  }
});

test('machine code where the device runs it, else PTX, as users have it', () => {
  const runs = (arch: string, cc: number): boolean => runsNatively(findArch(arch)!, cc);
  assert.equal([runs('sm80', 80), runs('sm80', 86), runs('sm86', 80), runs('sm80', 90), runs('sm90', 90), runs('sm90', 100)], [true, true, false, false, true, false]);
});

test('no GPU is said with its fix', async () => {
  try {
    await openDevices('all', fakeClock(), { env: { CUDA_VISIBLE_DEVICES: '' } });
    assert.unreachable('no error');
  } catch (error) {
    assert.instance(error, EnvironmentError);
    assert.match((error as Error).message, /no GPU to tune on/);
  }
  assert.is(environmentOf({ device: ENVIRONMENT.device, driver: '580.0', clock: 'gpu' }, '13.0.88').digest, DIGEST);
});

test('a line of progress: counts, the best gain, clock and temperature, time left', () => {
  const clock = fakeClock();
  const progress = new SweepProgress(4, clock);
  assert.is(progress.line(), 'compiled 0 · measured 0 · settled 0/4');
  const [task] = tasks as [Task];
  const arms = task.kernels.slice(0, 2).map((kernel) => ({ kernel, launch: '1' }));
  const rounds = [1, 2, 3].map((i) => ({ us: [100 + i, 91.6 + i], mhz: 1395, celsius: 71 }));
  progress.take({ event: 'compiled', kernel: 'k', nvcc: '13', ptx: '0'.repeat(64), inputs: '0'.repeat(16), registers: 1, spillBytes: 0, stackBytes: 0, seconds: { ptx: 1, ptxas: 1 } });
  progress.take({ event: 'raced', environment: DIGEST, session: 's', phase: 'race', problem: task.problems[0]!, arms, ptx: ['a', 'b'], rounds, discarded: 0, bytes: 1 });
  clock.ms += 60_000;
  progress.take({ event: 'settled', environment: DIGEST, problem: task.problems[0]!, arm: arms[1]!, why: 'interval' });
  assert.is(progress.line(), 'compiled 1 · measured 2 · settled 1/4 · best -8.2 % vs default · 71 °C 1395 MHz · 3 min left');
  assert.equal([3.4, 89, 91, 1234, 7200].map(duration), ['3 s', '89 s', '2 min', '21 min', '2.0 h']);
  assert.is(new SweepProgress(4, clock, clock.now() + 30_000).left(), 30_000);
});

test('what a table chose is the incumbent of its own device alone', async () => {
  const { journal, run } = sweepOf([new FakeMeasurer({ times })]);
  await journal.write({ event: 'environment', environment: DIGEST, facts: ENVIRONMENT });
  await run();
  const table: Table = buildTables(journal.events)[0]!.table;
  const [task] = tasks as [Task];
  const chosen = choiceAt(table, task.problems[0]!)!;
  assert.is(chosen.kernel, task.kernels[1]);
  assert.equal(incumbentsOf(task, [table], ENVIRONMENT.device).map(({ arm }) => arm.kernel), [task.kernels[1], task.kernels[1]]);
  assert.equal(incumbentsOf(task, [table], { ...ENVIRONMENT.device, sms: 108 }), []);
  assert.equal(incumbentsOf({ ...task, kernels: task.kernels.slice(0, 1) }, [table], ENVIRONMENT.device), []);
  assert.ok(namedOf([table], 'sm80', task.contract).includes(task.kernels[1]!));
  assert.is(choiceAt(table, { ...task.problems[0]!, contract: 'antkv_select' }), undefined);
});

test('a quick sweep tries what a table chose before, however unlikely the model finds it', () => {
  const contract = parseContractName('antkv_unpack_d128_kf16_vf16_f16');
  const plan: SweepPlan = { contracts: [contract], archs: [findArch('sm90')!], tuning: DEFAULT_TUNING, effort: 'quick', seed: 1, tables: [] };
  const of = (tables: readonly Table[], effort: SweepPlan['effort'] = 'quick'): readonly string[] => tasksFor({ ...plan, effort, tables }, ENVIRONMENT.device)[0]!.kernels;
  const last = of([], 'exhaustive').at(-1)!;
  const chose = (kernel: string, arch: string) => ({ arch, contracts: { [contractName(contract)]: { modes: { sequence: { choices: { a: { kernel } } } } } } }) as unknown as Table;
  assert.is(of([]).length, 8);
  assert.equal(of([chose(last, 'sm90')]), [...of([]), last]);
  assert.equal(of([chose(last, 'sm80'), chose('antkv_unpack_d128_kf16_vf16_f16__sm90_w3_t32_s9', 'sm90')]), of([]), 'not those of other architectures, nor what is offered no more');
});

test.run();
