// Submits what is missing of a work directory to Slurm: compile arrays, measure arrays after them, one merge after all. Nothing stays on the machine that submits.
import { appendFileSync, existsSync, readFileSync } from 'node:fs';
import { execa } from 'execa';
import { z } from 'zod';
import { EnvironmentError } from '../../generator/errors.ts';
import { writeWhole } from '../../generator/write.ts';
import { quote } from '../compile.ts';
import { arraySpec, chunksOf, JOBS, scriptOf, type Chunk, type Job, type SlurmOptions } from './slurm.ts';
import { missingTasks, pathsOf } from './work.ts';

/** MaxArraySize where the controller does not say: Slurm's own default. */
const USUAL_ARRAY_SIZE = 1001;

const submittedSchema = z.strictObject({ job: z.enum(JOBS), id: z.string(), offset: z.int(), tasks: z.array(z.int()), at: z.string() });
/** A line of slurm/jobs.jsonl. */
export type Submitted = z.infer<typeof submittedSchema>;

export interface Step {
  readonly job: Job;
  readonly tasks: readonly number[];
  readonly command: string;
  /** Undefined with `dryRun`. */
  readonly id?: string;
}
export interface Submission {
  /** Path and text of each script. */
  readonly scripts: readonly { readonly path: string; readonly text: string }[];
  readonly steps: readonly Step[];
  /** Tasks that are not done but wait or run already. */
  readonly underway: readonly number[];
}

async function call(program: string, words: readonly string[]): Promise<{ code: number | undefined; stdout: string; stderr: string }> {
  const { exitCode, stdout, stderr, code } = (await execa(program, words, { reject: false, timeout: 120_000 })) as { exitCode?: number; stdout: string; stderr: string; code?: string };
  if (code === 'ENOENT') throw new EnvironmentError(`no ${program} on PATH`, 'the work directory is filled: run the same command where jobs are submitted from, or its tasks without Slurm (tuner/cluster/README.md); --dry-run shows the scripts');
  return { code: exitCode, stdout: stdout ?? '', stderr: stderr ?? '' };
}

async function maxArraySize(): Promise<number> {
  const { stdout } = await call('scontrol', ['show', 'config']).catch(() => ({ stdout: '' }));
  const size = Number(/^MaxArraySize\s*=\s*(\d+)/m.exec(stdout)?.[1] ?? USUAL_ARRAY_SIZE);
  return size > 0 ? size : USUAL_ARRAY_SIZE;
}

/** What was submitted before, a torn line left out. */
export function submittedOf(work: string): Submitted[] {
  const path = pathsOf(work).slurm('jobs.jsonl');
  if (!existsSync(path)) return [];
  return readFileSync(path, 'utf8').split('\n').flatMap((line) => {
    try {
      const parsed = submittedSchema.safeParse(JSON.parse(line));
      return parsed.success ? [parsed.data] : [];
    } catch {
      return [];
    }
  });
}

/** Earlier jobs of which something still waits or runs, with the tasks concerned. */
export async function liveJobs(work: string): Promise<{ id: string; job: Job; tasks: number[] }[]> {
  const earlier = submittedOf(work).filter(({ job }) => job !== 'merge');
  if (earlier.length === 0) return [];
  // One unknown number among several is passed over; where all are, squeue fails, and none is live.
  const { code, stdout, stderr } = await call('squeue', ['--noheader', '--array', '--format=%F %K', `--jobs=${earlier.map(({ id }) => id).join(',')}`]);
  if (code !== 0 && !/invalid job id/i.test(stderr)) throw new EnvironmentError(`squeue failed: ${stderr.trim() || `exit code ${code}`}`, 'without it tasks could be submitted twice: try again when the controller answers');
  const live = new Set(stdout.split('\n').map((line) => line.trim()));
  return earlier.flatMap(({ id, job, offset, tasks }) => {
    const still = tasks.filter((task) => live.has(`${id} ${task - offset}`));
    return still.length > 0 ? [{ id, job, tasks: still }] : [];
  });
}

async function sbatch(words: readonly string[]): Promise<string> {
  const { code, stdout, stderr } = await call('sbatch', words);
  const id = /^(\d+)(;.*)?$/.exec(stdout.trim())?.[1];
  if (code !== 0 || id === undefined) throw new EnvironmentError(`sbatch failed: ${(stderr.trim() || stdout.trim() || `exit code ${code}`).slice(0, 1000)}`, `change the options (--sbatch) and run the same command again: what was submitted before is not submitted twice. It was: sbatch ${words.map(quote).join(' ')}`);
  return id;
}

export interface SubmitOptions {
  readonly dryRun?: boolean;
  /** Of a dry run without a filled directory: how many tasks there would be. */
  readonly planned?: number;
  readonly now?: Date;
}

/** Writes the scripts and submits every task that is neither done nor under way; with `dryRun` says what would be. Throws EnvironmentError where Slurm does not answer. */
export async function submit(work: string, options: Omit<SlurmOptions, 'work'>, { dryRun = false, planned, now = new Date() }: SubmitOptions = {}): Promise<Submission> {
  const { root, slurm } = pathsOf(work);
  const scripts = JOBS.map((job) => ({ path: slurm(`${job}.sh`), text: scriptOf(job, { work: root, ...options }) }));
  const live = dryRun ? [] : await liveJobs(work);
  const underway = (job: Job): Set<number> => new Set(live.filter((one) => one.job === job).flatMap(({ tasks }) => tasks));
  const measured = underway('measure');
  const open = (stage: 'compile' | 'measure'): number[] => (planned === undefined ? missingTasks(work, stage) : [...Array(planned).keys()]);
  const missing = open('measure').filter((task) => !measured.has(task));
  const compiling = underway('compile');
  const uncompiled = new Set(open('compile').filter((task) => !compiling.has(task)));
  if (!dryRun) scripts.forEach(({ path, text }) => writeWhole(path, text));

  const steps: Step[] = [];
  const send = async (job: Job, chunk: Chunk | undefined, after: readonly string[]): Promise<string> => {
    const words = [
      '--parsable',
      ...(chunk ? [`--array=${arraySpec(chunk)}`] : []),
      ...(after.length > 0 ? [`--dependency=afterany:${after.join(':')}`] : []),
      slurm(`${job}.sh`),
      ...(chunk ? [String(chunk.offset)] : []),
    ];
    const step = { job, tasks: chunk?.tasks ?? [], command: ['sbatch', ...words].map(quote).join(' ') };
    if (dryRun) return steps.push(step), `<${job}${chunk && chunk.offset > 0 ? ` ${chunk.offset}` : ''}>`;
    const id = await sbatch(words);
    const line: Submitted = { job, id, offset: chunk?.offset ?? 0, tasks: [...step.tasks], at: now.toISOString() };
    appendFileSync(slurm('jobs.jsonl'), `${JSON.stringify(line)}\n`);
    steps.push({ ...step, id });
    return id;
  };

  const last: string[] = live.filter(({ job }) => job === 'measure').map(({ id }) => id);
  if (missing.length > 0) {
    const size = await maxArraySize();
    for (const chunk of chunksOf(missing, size)) {
      const tasks = chunk.tasks.filter((task) => uncompiled.has(task));
      // Whatever became of compiling: what is not there is compiled, or reported, where it is measured.
      const compiled = tasks.length > 0 ? [await send('compile', { offset: chunk.offset, tasks }, [])] : [];
      const waiting = live.filter(({ job, tasks: own }) => job === 'compile' && own.some((task) => chunk.tasks.includes(task))).map(({ id }) => id);
      last.push(await send('measure', chunk, [...compiled, ...waiting]));
    }
  }
  // Else the merge that was submitted with what is under way will do.
  if (missing.length > 0 || live.length === 0) await send('merge', undefined, last);
  return { scripts, steps, underway: [...measured].sort((a, b) => a - b) };
}
