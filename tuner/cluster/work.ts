// The work directory of a sweep on many machines: its layout, its plan, its tasks, and which of them are done. README.md is the protocol in words.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { z } from 'zod';
import { EnvironmentError, InputError } from '../../generator/errors.ts';
import { makeFolder, writeWhole } from '../../generator/write.ts';
import { taskSchema, type Task } from '../tune/problem.ts';
import { stableDigest, stableText } from '../../generator/stable.ts';
import { EFFORT_NAMES, STRATEGIES } from '../tune/strategy.ts';

/** What every shard of the sweep shares; written last, so that a directory with a plan is whole. */
export const planSchema = z.strictObject({
  schema: z.literal(1),
  /** Of antkv. */
  version: z.string(),
  command: z.array(z.string()),
  seed: z.int(),
  effort: z.enum(EFFORT_NAMES),
  strategy: z.enum(STRATEGIES),
  tunedFor: z.string(),
  /** What the merge ships: kernels per contract, and the slowdown that it accepts. */
  maxKernels: z.int().min(1),
  maxSlowdown: z.number().min(1),
  /** Number of tasks, and the digest of all of them. */
  tasks: z.int().min(1).max(9999),
  digest: z.string(),
});
export type WorkPlan = z.infer<typeof planSchema>;

export const WORK_STAGES = ['compile', 'measure'] as const;
export type WorkStage = (typeof WORK_STAGES)[number];

/** A task's number in names of files. */
export const numberWord = (task: number): string => String(task).padStart(4, '0');

/** Absolute paths below a work directory. */
export const pathsOf = (work: string) => {
  const root = resolve(work);
  const below = (folder: string) => (name: string): string => join(root, folder, name);
  return {
    root,
    plan: join(root, 'plan.json'),
    task: (task: number): string => join(root, 'tasks', `${numberWord(task)}.json`),
    objects: join(root, 'objects'),
    claims: join(root, 'claims'),
    /** Of a claim: `0007.1`. */
    claim: below('claims'),
    journals: join(root, 'journals'),
    journal: (claim: string): string => join(root, 'journals', `${claim}.jsonl`),
    done: (task: number, stage: WorkStage): string => join(root, 'done', stage === 'measure' ? numberWord(task) : `${numberWord(task)}.compile`),
    table: join(root, 'table'),
    slurm: below('slurm'),
  };
};

function readJson<T>(path: string, schema: z.ZodType<T>, fix: string): T {
  let json: unknown;
  try {
    json = JSON.parse(readFileSync(path, 'utf8'));
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    throw new InputError(code === undefined ? `${path} is not JSON: ${(error as Error).message}` : `cannot read ${path} (${code})`, fix);
  }
  const parsed = schema.safeParse(json);
  if (!parsed.success) throw new InputError(`${path}:\n${z.prettifyError(parsed.error)}`, fix);
  return parsed.data;
}

/** The plan of a work directory. Throws InputError where there is none. */
export const readPlan = (work: string): WorkPlan => readJson(pathsOf(work).plan, planSchema, 'give --work the directory that "gen tune --scheduler slurm --work DIR" has filled');

/** Throws InputError for a number that the plan does not have. */
export function readTask(work: string, task: number): Task {
  const { tasks } = readPlan(work);
  if (!Number.isInteger(task) || task < 0 || task >= tasks) throw new InputError(`there is no task ${task} in ${work}`, `tasks are numbered from 0 to ${tasks - 1}`);
  return readJson(pathsOf(work).task(task), taskSchema, 'it is written once and never changed: fill a new directory');
}

/**
 * Fills a work directory, or takes one that was filled for the same sweep up again. Tasks first, the plan last. Throws InputError where it holds another sweep,
 * EnvironmentError where it cannot be written.
 */
export function createWork(work: string, tasks: readonly Task[], plan: Omit<WorkPlan, 'schema' | 'tasks' | 'digest'>): WorkPlan {
  const paths = pathsOf(work);
  const whole = planSchema.parse({ schema: 1, ...plan, tasks: tasks.length, digest: stableDigest(tasks) });
  if (existsSync(paths.plan)) {
    const there = readPlan(work);
    // Version and command may differ: what counts is that the tasks and how they are searched are the same.
    const differs = (['digest', 'seed', 'effort', 'strategy', 'tunedFor', 'maxKernels', 'maxSlowdown'] as const).filter((name) => there[name] !== whole[name]);
    if (differs.length > 0) throw new InputError(`${work} holds another sweep: ${differs.map((name) => (name === 'digest' ? 'the tasks' : `${name} (${there[name]}, not ${whole[name]})`)).join(', ')} differ`, 'give another --work, or the options of the first time');
    return there;
  }
  try {
    for (const folder of ['tasks', 'objects', 'claims', 'journals', 'done', 'table', 'slurm/log']) {
      const path = join(paths.root, folder);
      if (!existsSync(path)) makeFolder(path);
    }
  } catch (error) {
    throw new EnvironmentError(`cannot create folders in ${work} (${(error as NodeJS.ErrnoException).code})`, 'choose a directory that this machine and the nodes of the cluster can write');
  }
  tasks.forEach((task, i) => writeWhole(paths.task(i), `${stableText(taskSchema.parse(task))}\n`));
  writeWhole(paths.plan, `${JSON.stringify(whole, undefined, 2)}\n`);
  return whole;
}

/** A task is measured, or compiled; what is measured needs no compiling. */
export const isDone = (work: string, task: number, stage: WorkStage): boolean => existsSync(pathsOf(work).done(task, 'measure')) || (stage === 'compile' && existsSync(pathsOf(work).done(task, 'compile')));

export const markDone = (work: string, task: number, stage: WorkStage, facts: object): void => writeWhole(pathsOf(work).done(task, stage), `${JSON.stringify(facts)}\n`);

/** Numbers of the tasks that are not done. */
export const missingTasks = (work: string, stage: WorkStage): number[] => Array.from({ length: readPlan(work).tasks }, (_, task) => task).filter((task) => !isDone(work, task, stage));

/** Paths of all journals, or of one task's, by task and attempt. */
export function journalsOf(work: string, task?: number): string[] {
  const { journals } = pathsOf(work);
  const place = (name: string): number[] => name.split('.').slice(0, 2).map(Number);
  return readdirSync(journals)
    .filter((name) => /^\d{4}\.\d+\.jsonl$/.test(name) && (task === undefined || name.startsWith(`${numberWord(task)}.`)))
    .sort((a, b) => place(a)[0]! - place(b)[0]! || place(a)[1]! - place(b)[1]!)
    .map((name) => join(journals, name));
}
