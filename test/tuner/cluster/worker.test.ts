// Tests tuner/cluster/worker.ts: attempts that end well, are told to stop, fail, hang or are killed; whatever happened, the merged table is that of an undisturbed run.
import { execaNode } from 'execa';
import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { EXIT } from '../../../generator/errors.ts';
import { latestClaim } from '../../../tuner/cluster/claim.ts';
import { isDone, missingTasks, pathsOf } from '../../../tuner/cluster/work.ts';
import { workerName, workOn, type Stage, type WorkerOptions } from '../../../tuner/cluster/worker.ts';
import { readJournal } from '../../../tuner/journal/read.ts';
import { temporaryFolder } from '../../folder.ts';
import { CLOCK, fakeCompile, fakeMeasure, fill, merged } from './fake.ts';

const filled = (tasks = 1, kernels = 4): string => {
  const work = temporaryFolder();
  fill(work, tasks, kernels);
  return work;
};
const said: string[] = [];
const options = (run: Stage, more: Partial<WorkerOptions> = {}): WorkerOptions => ({
  stage: 'measure', run, clock: CLOCK, signal: new AbortController().signal, note: (text) => void said.push(text), pulse: { beatMs: 50, lostMs: 500 }, ...more,
});
/** A signal that comes after `ms`; AbortSignal.timeout does not keep a process alive. */
function after(ms: number): AbortSignal {
  const stop = new AbortController();
  globalThis.setTimeout(() => stop.abort(), ms);
  return stop.signal;
}
async function undisturbed(tasks: number, kernels: number): Promise<string> {
  const work = filled(tasks, kernels);
  for (let task = 0; task < tasks; task++) await workOn(work, task, options(fakeMeasure(0)));
  return merged(work);
}

test('compile, measure, and nothing the second time', async () => {
  const work = filled();
  assert.is(await workOn(work, 0, options(fakeCompile(0), { stage: 'compile' })), EXIT.ok);
  assert.equal([isDone(work, 0, 'compile'), isDone(work, 0, 'measure')], [true, false]);
  assert.is(await workOn(work, 0, options(fakeMeasure(0))), EXIT.ok);
  assert.equal(readdirSync(pathsOf(work).journals), ['0000.1.jsonl', '0000.2.jsonl']);
  assert.is(await workOn(work, 0, options(async () => assert.unreachable())), EXIT.ok);
  assert.match(said.at(-1)!, /task 0: done already/);
});

test('told to stop: 75, and the next attempt goes on from there', async () => {
  const work = filled(1, 6);
  const stop = new AbortController();
  const running = workOn(work, 0, options(fakeMeasure(20), { signal: stop.signal }));
  const journal = pathsOf(work).journal('0000.1');
  while (!existsSync(journal) || !readJournal(journal).lines.some(({ event }) => event?.event === 'raced')) await setTimeout(5);
  stop.abort();
  assert.is(await running, EXIT.again);
  assert.is((await latestClaim(work, 0))!.end, 'again');
  assert.not(isDone(work, 0, 'measure'));
  let past = 0;
  assert.is(await workOn(work, 0, options(async (context) => { past = context.past.filter(({ event }) => event === 'raced').length; await fakeMeasure(0)(context); })), EXIT.ok);
  const later = readJournal(pathsOf(work).journal('0000.2')).lines.filter(({ event }) => event?.event === 'raced').length;
  assert.ok(past >= 1 && later >= 1, `${past}, then ${later}`);
  assert.is(merged(work), await undisturbed(1, 6));
});

test('an attempt knows whether all before it were of this machine', async () => {
  const seen: boolean[] = [];
  for (const by of [undefined, workerName(), 'elsewhere 12']) {
    const work = filled();
    if (by !== undefined) {
      mkdirSync(pathsOf(work).claim('0000.1'));
      writeFileSync(join(pathsOf(work).claim('0000.1'), 'beat'), `${by}\n`);
      writeFileSync(join(pathsOf(work).claim('0000.1'), 'end'), 'again\n');
    }
    await workOn(work, 0, options(async ({ here }) => void seen.push(here)));
  }
  assert.equal(seen, [true, true, false]);
});

test('told to stop before anything was found: an error with a fix, not another turn', async () => {
  const work = filled();
  await workOn(work, 0, options(async () => void (await setTimeout(50)), { signal: after(5) })).then(() => assert.unreachable(), (error) => {
    assert.is(error.exitCode, EXIT.environment);
    assert.match(error.fix, /--time/);
  });
});

test('a stage that does not hear the signal is left behind', async () => {
  const work = filled();
  const begun = performance.now();
  const run: Stage = async ({ write }) => {
    await write({ event: 'pruned', kernel: 'k', stage: 'ptxas', why: 'spills' });
    await setTimeout(60_000, undefined, { ref: false });
  };
  assert.is(await workOn(work, 0, options(run, { signal: after(20), graceMs: 50 })), EXIT.again);
  assert.ok(performance.now() - begun < 5000);
});

test('a stage that throws gives the task back at once, and the error stays', async () => {
  const work = filled();
  await workOn(work, 0, options(async () => { throw new Error('no GPU'); })).then(() => assert.unreachable(), (error) => assert.match(error.message, /no GPU/));
  assert.is((await latestClaim(work, 0))!.end, 'failed');
  assert.is(await workOn(work, 0, options(fakeMeasure(0))), EXIT.ok);
});

test('two at once: one works, the other leaves', async () => {
  const work = filled(1, 20);
  let runs = 0;
  const run: Stage = async (context) => { runs++; await fakeMeasure(10)(context); };
  assert.equal(await Promise.all([0, 1, 2].map(() => workOn(work, 0, options(run)))), [0, 0, 0]);
  assert.is(runs, 1);
  assert.is(said.filter((text) => /somebody else/.test(text)).length, 2);
});

test('taken for lost while it still runs: it stops, and what both found is one set', async () => {
  const work = filled(1, 6);
  const running = workOn(work, 0, options(fakeMeasure(40)));
  await setTimeout(60);
  // As if another node had not seen the beats.
  mkdirSync(pathsOf(work).claim('0000.2'));
  writeFileSync(join(pathsOf(work).claim('0000.2'), 'end'), 'again\n');
  assert.is(await running, EXIT.ok);
  assert.match(said.at(-1)!, /another attempt has begun/);
  await workOn(work, 0, options(fakeMeasure(0)));
  assert.is(merged(work), await undisturbed(1, 6));
});

test('the name of a worker says host, process and job', () => {
  assert.match(workerName({ SLURM_JOB_ID: '12', SLURM_ARRAY_JOB_ID: '10', SLURM_ARRAY_TASK_ID: '3' }), / \d+ job 10_3$/);
  assert.match(workerName({ SLURM_JOB_ID: '12' }), / job 12$/);
  assert.not.match(workerName({}), /job/);
});

test('processes killed at random moments lose at most the measurement at hand', async () => {
  const work = filled(2, 6);
  const main = fileURLToPath(new URL('worker-main.ts', import.meta.url));
  const start = (task: number) => execaNode(main, ['tune', 'worker', '--work', work, '--stage', 'measure', '--task', String(task)], { nodeOptions: ['--import', 'tsx'], reject: false, env: { FAKE_MS: '40', FAKE_LOST_MS: '700' } });
  let [kills, stops] = [0, 0];
  for (let round = 0; round < 12 && missingTasks(work, 'measure').length > 0; round++) {
    await Promise.all(missingTasks(work, 'measure').map(async (task) => {
      const child = start(task);
      // Node and tsx take most of a second to begin.
      const kill = round % 3 < 2 ? globalThis.setTimeout(() => child.kill(round % 3 === 0 ? 'SIGKILL' : 'SIGTERM'), 800 + 170 * (round + task)) : undefined;
      const { signal, exitCode } = await child;
      clearTimeout(kill);
      if (signal === 'SIGKILL') kills++;
      if (exitCode === EXIT.again) stops++;
    }));
  }
  assert.equal(missingTasks(work, 'measure'), []);
  assert.ok(kills + stops > 0, `${kills} killed, ${stops} stopped`);
  assert.is(merged(work), await undisturbed(2, 6));
});

test.run();
