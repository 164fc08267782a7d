// Slurm's side of a sweep: the batch scripts and the array specifications, as text. Pure.
import { UsageError } from '../../generator/errors.ts';
import { quote } from '../compile.ts';

export const JOBS = ['compile', 'measure', 'merge'] as const;
export type Job = (typeof JOBS)[number];

export interface SlurmOptions {
  /** Absolute path of the work directory. */
  readonly work: string;
  /** Absolute words that start the command line: Node, its options, the bin. */
  readonly gen: readonly string[];
  /** Options of sbatch as the user gave them; `compile:`, `measure:` or `merge:` before one: of that job alone. */
  readonly sbatch: readonly string[];
  /** Shell lines that each job runs first, `module load cuda`. */
  readonly prologue?: string;
}

/** Task numbers of one array job; its indices are the numbers less `offset`. */
export interface Chunk {
  readonly offset: number;
  readonly tasks: readonly number[];
}

// What a job asks for where the user says nothing. One core of a GPU job launches kernels, others compile what is missing.
const DEFAULTS: Readonly<Record<Job, readonly string[]>> = {
  compile: ['--cpus-per-task=4', '--time=01:00:00'],
  measure: ['--gres=gpu:1', '--cpus-per-task=4', '--time=04:00:00'],
  merge: ['--cpus-per-task=1', '--time=00:30:00'],
};
/** Seconds between Slurm's signal and the time limit; a worker ends within 90. */
const NOTICE = 120;

const LETTERS: Readonly<Record<string, string>> = { A: 'account', p: 'partition', C: 'constraint', t: 'time', c: 'cpus-per-task', G: 'gpus', q: 'qos', w: 'nodelist', x: 'exclude', o: 'output', e: 'error', J: 'job-name' };
/** Options that the scripts live by. */
const OURS = ['array', 'dependency', 'requeue', 'no-requeue', 'signal', 'output', 'error', 'open-mode', 'parsable', 'wrap', 'chdir'];

/** The long name of an sbatch option, `partition` of `-p gpu` and of `--partition=gpu`. */
function optionName(arg: string): string | undefined {
  const long = /^--([a-z][a-z-]*)/.exec(arg)?.[1];
  const short = /^-([A-Za-z])/.exec(arg)?.[1];
  return long ?? (short === undefined ? undefined : LETTERS[short] ?? short);
}
// Slurm adds up gres and gpus: who asks for GPUs in one way means that one.
const family = (name: string | undefined): string | undefined => (name !== undefined && /^(gres|gpus.*)$/.test(name) ? 'gpus' : name);

/** The options of one job, ours first, those that the user replaces left out. Throws UsageError. */
export function optionsOf(job: Job, given: readonly string[]): string[] {
  const own = given.flatMap((arg) => {
    const [, scope, rest] = /^(?:([a-z]+):)?(-.*)$/s.exec(arg) ?? [];
    const name = rest === undefined ? undefined : optionName(rest);
    if (rest === undefined || name === undefined || /[\n\r]/.test(arg)) throw new UsageError(`--sbatch takes one option of sbatch, not "${arg}"`, 'for example --sbatch=--partition=gpu, or --sbatch=measure:--constraint=a100 for the measuring job alone');
    if (scope !== undefined && !JOBS.includes(scope as Job)) throw new UsageError(`--sbatch ${arg}: no job is called "${scope}"`, `jobs: ${JOBS.join(', ')}`);
    if (OURS.includes(name)) throw new UsageError(`--sbatch ${arg}: the scripts set --${name} themselves`, 'leave it out');
    return scope === undefined || scope === job ? [{ rest, scoped: scope !== undefined, name: family(name) }] : [];
  });
  // CPU jobs on a GPU's budget would wait for nothing.
  const wanted = own.filter(({ name, scoped }) => scoped || job === 'measure' || name !== 'gpus');
  return [...DEFAULTS[job].filter((arg) => !wanted.some(({ name }) => name === family(optionName(arg)))), ...wanted.map(({ rest }) => rest)];
}

// sbatch reads its own quotes, and % in names of files.
const directive = (arg: string): string => (/[\s"'\\#]/.test(arg) ? `#SBATCH "${arg.replace(/(["\\])/g, '\\$1')}"` : `#SBATCH ${arg}`);
const pattern = (path: string): string => path.replace(/%/g, '%%');

/** `0-3,7,9-10`. */
export function ranges(numbers: readonly number[]): string {
  const runs: [number, number][] = [];
  for (const n of [...numbers].sort((a, b) => a - b)) {
    const last = runs.at(-1);
    if (last && last[1] === n - 1) last[1] = n;
    else runs.push([n, n]);
  }
  return runs.map(([from, to]) => (from === to ? String(from) : `${from}-${to}`)).join(',');
}

/** Array jobs for `tasks`: indices stay below `maxArraySize`, which is one more than the largest index that Slurm takes. */
export function chunksOf(tasks: readonly number[], maxArraySize: number): Chunk[] {
  const chunks = new Map<number, number[]>();
  for (const task of tasks) {
    const offset = Math.floor(task / maxArraySize) * maxArraySize;
    chunks.set(offset, [...(chunks.get(offset) ?? []), task]);
  }
  return [...chunks].map(([offset, own]) => ({ offset, tasks: own }));
}

export const arraySpec = ({ offset, tasks }: Chunk): string => ranges(tasks.map((task) => task - offset));

// The shell waits in the background, so that it hears signals. USR1 is the time limit coming: ask for another turn. TERM may be a cancelled job: end, and ask for nothing.
const WAIT = (command: string): string => `${command} &
worker=$!
again=0
trap 'again=1; kill -USR1 "$worker" 2>/dev/null' USR1
trap 'kill -TERM "$worker" 2>/dev/null' TERM INT
while kill -0 "$worker" 2>/dev/null; do wait "$worker"; done
wait "$worker"
code=$?
if [ "$code" = 75 ] && [ "$again" = 1 ]; then
  echo "out of time: back into the queue"
  scontrol requeue "$SLURM_JOB_ID" || echo "scontrol requeue failed: submit again with the same gen tune --scheduler slurm"
fi
exit "$code"`;

/** The batch script of a job; array jobs add OFFSET, from the first argument, to their index. */
export function scriptOf(job: Job, { work, gen, sbatch, prologue }: SlurmOptions): string {
  const array = job !== 'merge';
  const command = [...gen, 'tune', 'worker', '--work', work, '--stage', job].map(quote).join(' ');
  return [
    '#!/bin/bash',
    `# ${job}: written by gen tune --scheduler slurm. Run it again by the same command: only what is missing is submitted.`,
    ...[`--job-name=antkv-${job}`, `--output=${pattern(work)}/slurm/log/${job}-${array ? '%A_%a' : '%j'}.log`, '--open-mode=append', ...(array ? ['--requeue', `--signal=B:USR1@${NOTICE}`] : ['--requeue']), ...optionsOf(job, sbatch)].map(directive),
    '',
    `echo "${job}: job \${SLURM_JOB_ID:-none} on \${SLURMD_NODENAME:-$(hostname)}, start \${SLURM_RESTART_COUNT:-0}"`,
    ...(prologue === undefined ? [] : ['# --prologue', prologue.trimEnd(), '']),
    array ? WAIT(`${command} --task "$(( \${1:-0} + SLURM_ARRAY_TASK_ID ))"`) : `exec ${command}`,
    '',
  ].join('\n');
}
