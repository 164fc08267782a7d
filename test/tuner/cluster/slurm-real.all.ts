// A sweep on a real Slurm: a controller and two node daemons on this machine. Workers killed, requeued and told of their time limit, a node lost half-way: the table is that of an undisturbed run.
import { mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { statusOf } from '../../../tuner/cluster/status.ts';
import { submit } from '../../../tuner/cluster/submit.ts';
import { missingTasks, pathsOf } from '../../../tuner/cluster/work.ts';
import { workOn } from '../../../tuner/cluster/worker.ts';
import { temporaryFolder } from '../../folder.ts';
import { CLOCK, fakeMeasure, fill, merged, readMerged } from './fake.ts';
import { kill, NoSlurm, RealSlurm } from './real.ts';

const TASKS = 7;
const KERNELS = 8;
const GEN = [process.execPath, '--import', import.meta.resolve('tsx'), fileURLToPath(new URL('worker-main.ts', import.meta.url))];
const SBATCH = ['--cpus-per-task=1', 'compile:--time=5', 'measure:--time=5', 'measure:--gres=gpu:1'];

const test = suite('slurm');
let slurm: RealSlurm | undefined;
const said = (error: unknown): string => (error instanceof Error ? error.message : String(error));
try {
  slurm = await RealSlurm.start(4);
  Object.assign(process.env, slurm.env, { FAKE_MS: '150' });
} catch (error) {
  if (!(error instanceof NoSlurm)) throw error;
  console.log(`skipped: no Slurm here: ${said(error)}`);
}
test.after(async () => slurm?.stop());

const filled = (): string => {
  const work = join(temporaryFolder(), 'a sweep');
  mkdirSync(work);
  fill(work, TASKS, KERNELS);
  return work;
};
const logsOf = (work: string): string => readdirSync(pathsOf(work).slurm('log')).map((name) => `== ${name}\n${readFileSync(pathsOf(work).slurm(`log/${name}`), 'utf8')}`).join('\n');

async function undisturbed(): Promise<string> {
  const work = filled();
  for (let task = 0; task < TASKS; task++) await workOn(work, task, { stage: 'measure', run: fakeMeasure(0), clock: CLOCK, signal: new AbortController().signal, note: () => {} });
  return merged(work);
}

/** Waits until `ready` says so. Throws with what the jobs said. */
async function until(work: string, what: string, ready: () => Promise<boolean> | boolean, seconds = 150): Promise<void> {
  for (const end = Date.now() + 1000 * seconds; Date.now() < end; await setTimeout(250)) if (await ready()) return;
  throw new Error(`no ${what} after ${seconds} s\n${JSON.stringify(await slurm!.queue())}\n${logsOf(work)}`);
}
const running = async (name: string) => (await slurm!.queue()).filter((job) => job.name === name && job.state === 'RUNNING');

if (slurm) {
  const cluster = slurm;

  test('undisturbed: arrays of compiling and measuring, and the merge after them', async () => {
    const work = filled();
    process.env['FAKE_MS'] = '5';
    const { steps } = await submit(work, { gen: GEN, sbatch: SBATCH });
    assert.equal(steps.map(({ job, tasks }) => [job, tasks.length]), [['compile', 4], ['measure', 4], ['compile', 3], ['measure', 3], ['merge', 0]]);
    await until(work, 'empty queue', async () => (await cluster.queue()).length === 0);
    assert.equal(missingTasks(work, 'measure'), [], logsOf(work));
    assert.is(readMerged(work), await undisturbed());
    assert.match(logsOf(work), /task 6: measured, attempt 2/);
    // Nodes that register again would report fewer GPUs than they were told of, and be drained.
    await cluster.dropGpus();
  });

  test('killed, requeued, out of time, a node lost: the same table', async () => {
    const work = filled();
    process.env['FAKE_MS'] = '500'; // long enough that the worker which is told of its limit is still at work
    const sbatch = [...SBATCH.slice(0, -1), 'measure:--gres=none'];
    await submit(work, { gen: GEN, sbatch });
    let first: Awaited<ReturnType<typeof running>>[number] | undefined;
    let others: Awaited<ReturnType<typeof running>> = [];
    // One that has found something, and two beside it: looked at in one go, for each may end meanwhile.
    await until(work, 'worker that measures', async () => {
      const { rows: begun } = await statusOf(work);
      const jobs = await running('antkv-measure');
      first = jobs.find(({ id }) => begun.some(({ by, raced, state }) => raced > 0 && state === 'working' && by.endsWith(` job ${id}`)));
      others = jobs.filter((job) => job !== first);
      return first !== undefined && others.length >= 2;
    });
    const [second, third] = others;
    // The time limit of one comes near; an operator requeues another; a worker is killed; then a node goes.
    await cluster.run('scancel', ['--signal=USR1', '--batch', first!.job]);
    await cluster.run('scontrol', ['requeue', second!.job]);
    await until(work, 'worker to kill', () => cluster.workersOf(third!.job).length > 0);
    kill(cluster.workersOf(third!.job)[0]!);
    await until(work, 'job on n2', async () => {
      await cluster.hurry();
      return (await running('antkv-measure')).some(({ node }) => node === 'n2');
    });
    await setTimeout(1500);
    cluster.loseNode('n2');

    await until(work, 'empty queue', async () => {
      await cluster.hurry();
      return (await cluster.queue()).length === 0;
    });
    assert.match(logsOf(work), /back into the queue/);
    assert.match(logsOf(work), /start [1-9]/);

    // Whoever was killed outright is missing; the same command submits that, and no more.
    cluster.startNode('n2');
    await cluster.ready('n2');
    process.env['FAKE_MS'] = '5';
    const missing = missingTasks(work, 'measure');
    assert.ok(missing.length < TASKS, `${missing.length} tasks are missing`);
    if (missing.length > 0) {
      const { steps } = await submit(work, { gen: GEN, sbatch });
      assert.equal(steps.filter(({ job }) => job === 'measure').flatMap(({ tasks }) => tasks), missing);
      await until(work, 'empty queue', async () => (await cluster.queue()).length === 0);
    }
    assert.equal(missingTasks(work, 'measure'), [], logsOf(work));
    const { rows } = await statusOf(work);
    assert.ok(rows.some(({ attempts }) => attempts > 2), 'a task took more than two attempts');
    assert.is(readMerged(work), await undisturbed());
  });
} else test.skip('a controller and two node daemons', () => {});

test.run();
