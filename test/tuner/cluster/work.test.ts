// Tests tuner/cluster/work.ts: the directory is filled once, taken up again, and refused for another sweep.
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { createWork, isDone, journalsOf, markDone, missingTasks, pathsOf, readPlan, readTask } from '../../../tuner/cluster/work.ts';
import { temporaryFolder } from '../../folder.ts';
import { fill, PLAN, tasksOf } from './fake.ts';

test('what was filled reads back', () => {
  const work = join(temporaryFolder(), 'a', 'b');
  const plan = fill(work, 3);
  assert.equal(readPlan(work), plan);
  assert.equal([0, 1, 2].map((task) => readTask(work, task)), tasksOf(3));
  assert.throws(() => readTask(work, 3), /no task 3/);
  assert.throws(() => readTask(work, 0.5), /no task 0.5/);
});

test('the same sweep is taken up again, whatever command and version; another is refused by name', () => {
  const work = temporaryFolder();
  fill(work, 2);
  const before = readFileSync(pathsOf(work).plan, 'utf8');
  createWork(work, tasksOf(2), { ...PLAN, version: '9', command: ['other'] });
  assert.is(readFileSync(pathsOf(work).plan, 'utf8'), before);
  assert.throws(() => createWork(work, tasksOf(3), PLAN), /another sweep: the tasks differ/);
  assert.throws(() => createWork(work, tasksOf(2), { ...PLAN, seed: 2 }), /seed \(1, not 2\) differ/);
});

test('a directory without a plan, or with a broken one, says so', () => {
  const work = temporaryFolder();
  assert.throws(() => readPlan(work), /cannot read .*plan\.json \(ENOENT\)/);
  writeFileSync(pathsOf(work).plan, '{');
  assert.throws(() => readPlan(work), /is not JSON/);
  writeFileSync(pathsOf(work).plan, '{"schema":2}');
  assert.throws(() => readPlan(work), /schema/);
});

test('what is measured counts as compiled', () => {
  const work = temporaryFolder();
  fill(work, 3);
  markDone(work, 0, 'compile', {});
  markDone(work, 2, 'measure', {});
  assert.equal([0, 1, 2].map((task) => [isDone(work, task, 'compile'), isDone(work, task, 'measure')]), [[true, false], [false, false], [true, true]]);
  assert.equal([missingTasks(work, 'compile'), missingTasks(work, 'measure')], [[1], [0, 1]]);
});

test('journals come by task and attempt, other files are passed over', () => {
  const work = temporaryFolder();
  fill(work, 1);
  for (const name of ['0010.1', '0002.10', '0002.9']) writeFileSync(pathsOf(work).journal(name), '');
  writeFileSync(join(pathsOf(work).journals, 'notes.txt'), '');
  assert.equal(journalsOf(work).map((path) => path.split('/').at(-1)), ['0002.9.jsonl', '0002.10.jsonl', '0010.1.jsonl']);
  assert.is(journalsOf(work, 2).length, 2);
  rmSync(pathsOf(work).journals, { recursive: true });
  mkdirSync(pathsOf(work).journals);
  assert.equal(journalsOf(work), []);
});

test.run();
