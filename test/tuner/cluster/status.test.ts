// Tests tuner/cluster/status.ts and tuner/cluster/merge.ts on a directory in every state at once.
import { mkdirSync, readFileSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { mergeWork } from '../../../tuner/cluster/merge.ts';
import { statusOf } from '../../../tuner/cluster/status.ts';
import { pathsOf } from '../../../tuner/cluster/work.ts';
import { workOn, type Stage } from '../../../tuner/cluster/worker.ts';
import { temporaryFolder } from '../../folder.ts';
import { CLOCK, fakeCompile, fakeMeasure, fill } from './fake.ts';

const run = (work: string, task: number, stage: 'compile' | 'measure', body: Stage, signal = new AbortController().signal) =>
  workOn(work, task, { stage, run: body, clock: CLOCK, signal, note: () => {} }).catch(() => {});

test('each state is told', async () => {
  const work = temporaryFolder();
  fill(work, 7, 3);
  await run(work, 0, 'compile', fakeCompile(0));
  await run(work, 0, 'measure', fakeMeasure(0));
  await run(work, 1, 'compile', fakeCompile(0));
  await run(work, 2, 'measure', fakeMeasure(15), AbortSignal.timeout(40));
  await run(work, 3, 'measure', async () => { throw new Error('no GPU'); });
  for (const [task, seconds] of [[4, 5], [5, 500]] as const) {
    const dir = pathsOf(work).claim(`000${task}.1`);
    mkdirSync(dir);
    writeFileSync(join(dir, 'beat'), `node${task} 1\n`);
    const then = new Date(Date.now() - seconds * 1000);
    utimesSync(join(dir, 'beat'), then, then);
  }
  const { tasks, count, rows } = await statusOf(work);
  assert.is(tasks, 7);
  assert.equal(rows.map(({ state }) => state), ['done', 'compiled', 'again', 'failed', 'working', 'lost', 'waiting']);
  assert.equal(count, { done: 1, compiled: 1, again: 1, failed: 1, working: 1, lost: 1, waiting: 1 });
  const { attempts, problems, settled, kernels, compiled, raced, silentS } = rows[0]!;
  assert.equal({ attempts, problems, settled, kernels, compiled, raced, silentS }, { attempts: 2, problems: 2, settled: 2, kernels: 3, compiled: 3, raced: 3, silentS: null });
  assert.equal([rows[4]!.by, rows[4]!.silentS, rows[6]!.by], ['node4 1', 5, '-']);
});

test('merging writes journal and table, says what is missing, and twice the same', async () => {
  const work = temporaryFolder();
  fill(work, 2, 3);
  assert.throws(() => mergeWork(work), /holds no journal/);
  await run(work, 1, 'measure', fakeMeasure(0));
  const { files, missing } = mergeWork(work);
  assert.equal(files.map((path) => path.slice(pathsOf(work).table.length + 1)), ['journal.jsonl', 'sm80/table.fake-gpu.json']);
  assert.equal(missing, [0]);
  const before = files.map((path) => readFileSync(path, 'utf8'));
  mergeWork(work);
  assert.equal(files.map((path) => readFileSync(path, 'utf8')), before);
});

test.run();
