// Tests tuner/cluster/slurm.ts: scripts and array specifications, as text and as the shell takes them.
import { execaSync } from 'execa';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { arraySpec, chunksOf, JOBS, optionsOf, ranges, scriptOf } from '../../../tuner/cluster/slurm.ts';
import { temporaryFolder } from '../../folder.ts';

const GEN = ['/opt/node/bin/node', '/opt/antkv/gen.mjs'];
const script = (job: (typeof JOBS)[number], more: Partial<Parameters<typeof scriptOf>[1]> = {}): string => scriptOf(job, { work: '/scratch/w', gen: GEN, sbatch: [], ...more });

test('arrays: ranges, chunks below MaxArraySize, offsets', () => {
  assert.is(ranges([3, 1, 2, 7, 10, 9]), '1-3,7,9-10');
  const tasks = [...Array(10).keys()].filter((n) => n !== 5);
  assert.equal(chunksOf(tasks, 4).map((chunk) => [chunk.offset, arraySpec(chunk)]), [[0, '0-3'], [4, '0,2-3'], [8, '0-1']]);
  assert.equal(chunksOf(tasks, 1001).map(arraySpec), ['0-4,6-9']);
  assert.equal(chunksOf([], 4), []);
});

test('every script is one that bash reads, with absolute paths of Node and bin', () => {
  for (const job of JOBS) {
    const text = script(job, { prologue: 'module load cuda/12.4\nexport A=1' });
    const path = join(temporaryFolder(), 'a.sh');
    writeFileSync(path, text);
    execaSync('bash', ['-n', path]);
    assert.match(text, /^#!\/bin\/bash\n/);
    assert.match(text, /\/opt\/node\/bin\/node \/opt\/antkv\/gen\.mjs tune worker --work \/scratch\/w --stage /);
    assert.match(text, /module load cuda\/12\.4\nexport A=1\n/);
    // sbatch stops reading options at the first line that is no comment.
    assert.not.match(text.replace(/^(#.*\n)+/, ''), /#SBATCH/);
  }
});

test('measuring asks for one GPU, hears of its time limit, and can be requeued', () => {
  const text = script('measure');
  for (const line of ['--gres=gpu:1', '--requeue', '--signal=B:USR1@120', '--open-mode=append', '--output=/scratch/w/slurm/log/measure-%A_%a.log']) assert.match(text, `#SBATCH ${line}\n`);
  assert.not.match(script('compile'), /gpu/);
  assert.not.match(script('merge'), /USR1|--task/);
});

test("the user's options replace ours, go to the job that they name, and GPUs only where GPUs are used", () => {
  const given = ['--account=me', '-p gpu', 'compile:--partition=cpu', '--gpus=1', '-t 10:00:00', 'merge:-c 2'];
  assert.equal(optionsOf('measure', given), ['--cpus-per-task=4', '--account=me', '-p gpu', '--gpus=1', '-t 10:00:00']);
  assert.equal(optionsOf('compile', given), ['--cpus-per-task=4', '--account=me', '-p gpu', '--partition=cpu', '-t 10:00:00']);
  assert.equal(optionsOf('merge', given), ['--account=me', '-p gpu', '-t 10:00:00', '-c 2']);
  assert.equal(optionsOf('measure', ['--gres=gpu:a100:1', '--constraint=a100|h100']).slice(1), ['--time=04:00:00', '--gres=gpu:a100:1', '--constraint=a100|h100']);
});

test('options that would break the scripts are refused', () => {
  for (const [arg, why] of [['--array=0-3', /set --array themselves/], ['account=me', /one option of sbatch/], ['run:--time=1', /no job is called "run"/], ['-o x', /set --output/], ['--comment=a\nb', /one option/], ['', /one option/]] as const) {
    assert.throws(() => optionsOf('measure', [arg]), why);
  }
});

test('blanks, quotes and percent signs survive', () => {
  const text = script('measure', { work: "/a b/50%/it's", sbatch: ['--comment=two "words"'] });
  assert.match(text, '#SBATCH "--output=/a b/50%%/it\'s/slurm/log/measure-%A_%a.log"');
  assert.match(text, '#SBATCH "--comment=two \\"words\\""');
  assert.match(text, `--work '/a b/50%/it'\\''s'`);
});

/** Runs the measuring script with `body` as the command line; what it said and its exit code. */
function runScript(body: string, signal?: string): { stdout: string; exitCode: number | undefined } {
  const dir = temporaryFolder();
  const gen = join(dir, 'gen.sh');
  writeFileSync(gen, `echo "$@"\n${body}\n`);
  writeFileSync(join(dir, 'scontrol'), '#!/bin/sh\necho "scontrol $*"\n', { mode: 0o755 });
  writeFileSync(join(dir, 'job.sh'), script('measure', { gen: ['/bin/bash', gen] }));
  const command = signal === undefined ? 'bash job.sh 4' : `bash job.sh 4 & p=$!; sleep 0.5; kill -${signal} $p; wait $p`;
  const { stdout, exitCode } = execaSync('bash', ['-c', command], { cwd: dir, reject: false, env: { PATH: `${dir}:${process.env['PATH']}`, SLURM_ARRAY_TASK_ID: '3', SLURM_JOB_ID: '77' } });
  return { stdout, exitCode };
}

test('the exit code is that of the worker; its task is offset and index', () => {
  const { stdout, exitCode } = runScript('exit 7');
  assert.is(exitCode, 7);
  assert.match(stdout, /tune worker --work \/scratch\/w --stage measure --task 7/);
  assert.is(runScript('exit 0').exitCode, 0);
});

test('the time limit: the worker hears it, and its 75 asks for another turn; a cancelled job asks for none', () => {
  const body = 'trap "sleep 0.2; exit 75" USR1 TERM\nsleep 5 & wait';
  const limit = runScript(body, 'USR1');
  assert.is(limit.exitCode, 75);
  assert.match(limit.stdout, /scontrol requeue 77/);
  const cancelled = runScript(body, 'TERM');
  assert.is(cancelled.exitCode, 75);
  assert.not.match(cancelled.stdout, /requeue/);
  assert.not.match(runScript('trap "exit 3" USR1\nsleep 5 & wait', 'USR1').stdout, /requeue/);
});

test.run();
