// Tests gen tune --scheduler slurm, gen tune worker and gen tune status as a user calls them, on a machine without Slurm, nvcc and GPU.
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { temporaryFolder } from '../../folder.ts';
import { parallel } from '../../parallel.ts';
import { fill } from '../../tuner/cluster/fake.ts';
import { gen, WITHOUT_NVCC } from './run.ts';

const cluster = suite('gen tune on a cluster');
const test = parallel(cluster);
const SMALL = ['--effort', 'quick', '--arch', 'sm80', '--only', 'antkv_decode_d128_k8c8b_v8c8bq8_f16_n4'];
const prologue = join(temporaryFolder(), 'modules.sh');
writeFileSync(prologue, 'module load cuda/12.4\n');

test('a dry run prints scripts and commands, and writes nothing', async () => {
  const work = join(temporaryFolder(), 'w');
  const { exitCode, stdout, stderr } = await gen(['tune', '--scheduler', 'slurm', '--work', work, ...SMALL, '--dry-run', '--sbatch=--account=me', '--sbatch=measure:--constraint=a100', '--prologue', prologue]);
  assert.is(exitCode, 0, stderr);
  assert.match(stdout, /#SBATCH --constraint=a100/);
  assert.match(stdout, /module load cuda\/12\.4\n/);
  assert.match(stdout, /\nsbatch --parsable --array=0 \S+\/compile\.sh 0\nsbatch --parsable --array=0 '--dependency=afterany:<compile>' \S+\/measure\.sh 0\nsbatch --parsable '--dependency=afterany:<measure>' \S+\/merge\.sh$/);
  assert.not(existsSync(work));
});

test('without Slurm the directory is filled, and the error says what to do', async () => {
  const work = join(temporaryFolder(), 'w');
  const { exitCode, stderr } = await gen(['tune', '--scheduler', 'slurm', '--work', work, ...SMALL], { PATH: '/nonexistent' });
  assert.is(exitCode, 3);
  assert.match(stderr, /no sbatch on PATH[\s\S]*fix: /);
  assert.is((JSON.parse(readFileSync(join(work, 'plan.json'), 'utf8')) as { tasks: number }).tasks, 1);
  const status = await gen(['tune', 'status', '--work', work, '--json']);
  assert.is(status.exitCode, 0);
  assert.equal((JSON.parse(status.stdout) as { count: object }).count, { waiting: 1 });
});

test('status in words', async () => {
  const work = temporaryFolder();
  fill(work, 2);
  const { stdout, stderr } = await gen(['tune', 'status', '--work', work]);
  assert.match(stdout, /^task {2}arch {2}contract .*\n +0 {2}sm80 {2}decode_d128_k8c8b_v8c8bq8_f16_n4 +waiting/);
  assert.match(stderr, /2 tasks: 2 waiting/);
});

test('what is wrong is said with its fix and code', async () => {
  const work = temporaryFolder();
  fill(work, 1);
  const runs = await Promise.all([
    ['tune', '--scheduler', 'slurm', ...SMALL],
    ['tune', '--scheduler', 'slurm', '--work', work, ...SMALL, '--dry-run'],
    ['tune', '--scheduler', 'slurm', '--work', join(work, 'new'), ...SMALL, '--dry-run', '--sbatch=account=me'],
    ['tune', 'worker', '--work', work, '--stage', 'compile'],
    ['tune', 'worker', '--work', work, '--stage', 'compile', '--task', '9'],
    ['tune', 'worker', '--work', work, '--stage', 'compile', '--task', '0'],
    ['tune', 'worker', '--work', work, '--stage', 'merge'],
    ['tune', 'status', '--work', join(work, 'none')],
    ['tune', 'worker', '--work', work, '--stage', 'merge', '--task', '0'],
  ].map((words) => gen(words, WITHOUT_NVCC)));
  assert.equal(runs.map(({ exitCode }) => exitCode), [2, 2, 2, 2, 2, 3, 3, 2, 2], runs.map(({ stderr }) => stderr).join('\n'));
  const said = [/needs --work DIR/, /holds another sweep/, /one option of sbatch/, /needs --task N/, /no task 9/, /no nvcc on this node/, /no worker has begun/, /cannot read .*plan\.json/, /--stage merge takes all tasks/];
  runs.forEach(({ stderr }, i) => assert.match(stderr, said[i]!));
});

cluster.run();
