// gen tune --scheduler slurm: fills a work directory and submits its jobs, or prints them. gen tune calls it with the tasks that it would else run here.
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import type { Argv } from 'yargs';
import { UsageError } from '../errors.ts';
import type { Submission } from '../../tuner/cluster/submit.ts';
import type { WorkPlan } from '../../tuner/cluster/work.ts';
import type { Task } from '../../tuner/tune/problem.ts';
import type { Global } from './commands.ts';
import { note, out, outJson } from './print.ts';
import { ROOT } from './select.ts';
import { readText } from '../../tuner/text.ts';

/** The options of gen tune that name a scheduler. */
export const schedulerOptions = <T>(y: Argv<T>) =>
  y
    .option('scheduler', { choices: ['slurm'] as const, requiresArg: true, describe: 'submit jobs instead of measuring here' })
    .option('work', { type: 'string', requiresArg: true, describe: 'work directory, on a file system that all nodes see' })
    .option('sbatch', { type: 'string', array: true, nargs: 1, requiresArg: true, describe: 'option of sbatch, --sbatch=--account=me; of one job: --sbatch=measure:--constraint=a100 (compile, measure, merge)' })
    .option('prologue', { type: 'string', requiresArg: true, describe: 'file of shell lines that each job runs first (module load cuda)' });

export interface SchedulerArguments extends Global {
  readonly work?: string | undefined;
  readonly sbatch?: readonly string[] | undefined;
  readonly prologue?: string | undefined;
  readonly dryRun: boolean;
}

/** Throws UsageError for options that would do nothing: those of jobs where there are none, and those of a sweep of this machine where jobs do the work. */
export function judgeScheduler(argv: { readonly scheduler?: string | undefined }): void {
  const given = argv as Readonly<Record<string, unknown>>;
  const ofJobs = ['work', 'sbatch', 'prologue'].find((name) => given[name] !== undefined);
  if (argv.scheduler === undefined && ofJobs) throw new UsageError(`--${ofJobs} is for jobs of a scheduler`, `add --scheduler slurm, or leave --${ofJobs} out`);
  const idle = { device: 'all', journal: 'tune.jsonl', out: undefined, budget: undefined, jobs: undefined, rounds: undefined, retry: false, baseline: true };
  const ofHere = Object.entries(idle).find(([name, usual]) => given[name] !== usual)?.[0];
  if (argv.scheduler !== undefined && ofHere) throw new UsageError(`jobs of a scheduler know no --${ofHere}`, `leave --${ofHere} out: tuner/cluster/README.md says what each job does`);
}

function say(argv: SchedulerArguments, { scripts, steps, underway }: Submission): void {
  if (argv.json) return outJson({ dryRun: argv.dryRun, steps, underway, ...(argv.dryRun ? { scripts } : {}) });
  if (argv.dryRun) for (const { path, text } of scripts) out(`# ---- ${path}\n${text}`);
  for (const { job, id, tasks, command } of steps) out(argv.dryRun ? command : `${job} ${id}${tasks.length > 0 ? `: ${tasks.length} tasks` : ''}`);
  if (underway.length > 0) note(argv, `${underway.length} tasks wait or run already`);
}

/** Submits `tasks`, or what is missing of them. Throws UsageError without --work, InputError where it holds another sweep, EnvironmentError where Slurm does not answer. */
export async function tuneOnSlurm(argv: SchedulerArguments, tasks: readonly Task[], plan: Omit<WorkPlan, 'schema' | 'tasks' | 'digest'>): Promise<void> {
  if (argv.work === undefined) throw new UsageError('--scheduler slurm needs --work DIR', 'name a new directory on a file system that all nodes of the cluster see');
  if (tasks.length === 0) throw new UsageError('nothing to tune', 'choose contracts with --preset, --recipe or --only');
  const [{ createWork, pathsOf }, { submit }] = await Promise.all([import('../../tuner/cluster/work.ts'), import('../../tuner/cluster/submit.ts')]);
  const options = { gen: [process.execPath, resolve(ROOT, 'generator/gen.mjs')], sbatch: argv.sbatch ?? [], ...(argv.prologue === undefined ? {} : { prologue: readText(argv.prologue, 'give a file of shell lines, such as "module load cuda/12.4"', 'the prologue') }) };
  const known = existsSync(pathsOf(argv.work).plan);
  if (!argv.dryRun || known) createWork(argv.work, tasks, plan);
  say(argv, await submit(argv.work, options, { dryRun: argv.dryRun, ...(known || !argv.dryRun ? {} : { planned: tasks.length }) }));
  if (!argv.dryRun) note(argv, `gen tune status --work ${argv.work} says how far it is; the same command again submits what is missing`);
}
