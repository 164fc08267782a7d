// Tests tuner/cluster/submit.ts with programs that play sbatch, squeue and scontrol.
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { submit, submittedOf } from '../../../tuner/cluster/submit.ts';
import { markDone, pathsOf } from '../../../tuner/cluster/work.ts';
import { temporaryFolder } from '../../folder.ts';
import { fill } from './fake.ts';

const test = suite('submit');
const PATH = process.env['PATH'];
test.after.each(() => void (process.env['PATH'] = PATH));

const OPTIONS = { gen: ['/opt/node', '/opt/gen.mjs'], sbatch: ['--account=me'] };

/** A work directory of `tasks` tasks, and a controller whose sbatch numbers jobs from 101 and fails where the file `broken` is. */
function cluster(tasks: number, maxArraySize?: number) {
  const [work, bin] = [temporaryFolder(), temporaryFolder()];
  fill(work, tasks);
  const program = (name: string, body: string): void => writeFileSync(join(bin, name), `#!/bin/sh\ncd ${bin}\n${body}\n`, { mode: 0o755 });
  program('sbatch', 'if [ -e broken ]; then echo "sbatch: error: Invalid account" >&2; exit 1; fi\necho "$*" >> calls\necho "$((100 + $(wc -l < calls)));cluster"');
  program('scontrol', maxArraySize === undefined ? 'exit 1' : `echo "MaxArraySize            = ${maxArraySize}"`);
  program('squeue', 'if [ -e live ]; then cat live; else echo "slurm_load_jobs error: Invalid job id specified" >&2; exit 1; fi');
  process.env['PATH'] = `${bin}:${PATH}`;
  const calls = (): string[] => (existsSync(join(bin, 'calls')) ? readFileSync(join(bin, 'calls'), 'utf8').trim().split('\n').map((line) => line.replaceAll(`${pathsOf(work).slurm('')}/`, '')) : []);
  return { work, calls, set: (name: string, text: string) => writeFileSync(join(bin, name), text) };
}

test('compile, then measure, then one merge', async () => {
  const { work, calls } = cluster(5, 1001);
  const { steps } = await submit(work, OPTIONS);
  assert.equal(calls(), ['--parsable --array=0-4 compile.sh 0', '--parsable --array=0-4 --dependency=afterany:101 measure.sh 0', '--parsable --dependency=afterany:102 merge.sh']);
  assert.equal(steps.map(({ job, id }) => [job, id]), [['compile', '101'], ['measure', '102'], ['merge', '103']]);
  assert.match(readFileSync(pathsOf(work).slurm('measure.sh'), 'utf8'), /#SBATCH --account=me/);
  assert.equal(submittedOf(work).map(({ id, offset, tasks }) => [id, offset, tasks.length]), [['101', 0, 5], ['102', 0, 5], ['103', 0, 0]]);
});

test('chunks: each measures after its own compiling, the merge after all', async () => {
  const { work, calls } = cluster(7, 3);
  await submit(work, OPTIONS);
  assert.equal(calls().map((call) => call.replace('--parsable ', '')), [
    '--array=0-2 compile.sh 0', '--array=0-2 --dependency=afterany:101 measure.sh 0',
    '--array=0-2 compile.sh 3', '--array=0-2 --dependency=afterany:103 measure.sh 3',
    '--array=0 compile.sh 6', '--array=0 --dependency=afterany:105 measure.sh 6',
    '--dependency=afterany:102:104:106 merge.sh',
  ]);
});

test('again: only what is missing; what is compiled is not compiled again', async () => {
  const { work, calls } = cluster(4);
  markDone(work, 0, 'measure', {});
  markDone(work, 2, 'compile', {});
  await submit(work, OPTIONS);
  assert.equal(calls().map((call) => call.replace('--parsable ', '')), ['--array=1,3 compile.sh 0', '--array=1-3 --dependency=afterany:101 measure.sh 0', '--dependency=afterany:102 merge.sh']);
});

test('what still waits or runs is not submitted twice', async () => {
  const { work, calls, set } = cluster(4, 3);
  await submit(work, OPTIONS); // compile 101 and 103, measure 102 and 104, merge 105
  markDone(work, 0, 'measure', {});
  set('live', '102 1\n103 0\n104 0\n102 1\n');
  const { steps, underway } = await submit(work, OPTIONS);
  assert.equal(underway, [1, 3]);
  assert.equal(steps.map(({ job, tasks }) => [job, tasks]), [['compile', [2]], ['measure', [2]], ['merge', []]]);
  assert.equal(calls().slice(5).map((call) => call.replace('--parsable ', '')), ['--array=2 compile.sh 0', '--array=2 --dependency=afterany:106 measure.sh 0', '--dependency=afterany:102:104:107 merge.sh']);
});

test('all done: the merge alone', async () => {
  const { work, calls } = cluster(2);
  markDone(work, 0, 'measure', {});
  markDone(work, 1, 'measure', {});
  await submit(work, OPTIONS);
  assert.equal(calls(), ['--parsable merge.sh']);
});

test('dry run: scripts and commands, nothing written, nothing called', async () => {
  const { work, calls } = cluster(2);
  const { scripts, steps } = await submit(work, OPTIONS, { dryRun: true });
  assert.equal(scripts.map(({ path }) => path.split('/').at(-1)), ['compile.sh', 'measure.sh', 'merge.sh']);
  assert.match(steps[1]!.command, /^sbatch --parsable --array=0-1 '--dependency=afterany:<compile>' \S+measure\.sh 0$/);
  assert.equal([calls(), existsSync(scripts[0]!.path), submittedOf(work)], [[], false, []]);
});

test('what sbatch says is passed on; what was submitted before it failed is remembered', async () => {
  const { work, set } = cluster(2);
  set('broken', '');
  await submit(work, OPTIONS).then(() => assert.unreachable(), (error) => {
    assert.is(error.exitCode, 3);
    assert.match(error.message, /Invalid account/);
    assert.match(error.fix, /--sbatch/);
  });
});

test('a torn line in the record of jobs is passed over', async () => {
  const { work } = cluster(1);
  await submit(work, OPTIONS);
  writeFileSync(pathsOf(work).slurm('jobs.jsonl'), `${readFileSync(pathsOf(work).slurm('jobs.jsonl'), 'utf8')}{"job":"com`);
  assert.is(submittedOf(work).length, 3);
});

test('no sbatch: said, with what to do', async () => {
  const { work } = cluster(1);
  process.env['PATH'] = temporaryFolder();
  await submit(work, OPTIONS).then(() => assert.unreachable(), (error) => assert.match(`${error.message} ${error.fix}`, /no sbatch on PATH.*--dry-run/));
});

test.run();
