// One attempt at one task of a work directory: claim it, read what earlier attempts found, go on from there, say how it ended. Any scheduler runs this; so does a person.
import { existsSync } from 'node:fs';
import { hostname } from 'node:os';
import { setTimeout } from 'node:timers/promises';
import { EnvironmentError, EXIT, type ExitCode } from '../../generator/errors.ts';
import { eventsOf, readJournal } from '../journal/read.ts';
import { openJournal } from '../journal/write.ts';
import type { Draft, TuneEvent, Write } from '../tune/events.ts';
import type { Clock } from '../tune/measurer.ts';
import type { Task } from '../tune/problem.ts';
import { allHere, claimTask, PULSE, type Claim, type Pulse } from './claim.ts';
import { isDone, journalsOf, markDone, pathsOf, readPlan, readTask, type WorkPlan, type WorkStage } from './work.ts';

/** What a stage is given. */
export interface StageContext {
  readonly plan: WorkPlan;
  readonly task: Task;
  /** Absolute folder of what was compiled, by PTX hash. */
  readonly objects: string;
  /** Events of earlier attempts, compile attempts too. */
  readonly past: readonly TuneEvent[];
  /** All of them were of this machine: its restarts are theirs. */
  readonly here: boolean;
  readonly write: Write;
  readonly clock: Clock;
  /** Aborted: finish the line at hand and return. */
  readonly signal: AbortSignal;
}
/** Compiles or measures a task, from where `past` ends; what it finds goes through `write`. Returns when all is done or `signal` is aborted. */
export type Stage = (context: StageContext) => Promise<void>;

export interface WorkerOptions {
  readonly stage: WorkStage;
  readonly run: Stage;
  readonly clock: Clock;
  /** Aborted by a signal of the scheduler: give the task back. */
  readonly signal: AbortSignal;
  readonly note: (text: string) => void;
  readonly pulse?: Pulse;
  /** Milliseconds that the line at hand may take after `signal`; what is not on the disk then is lost. */
  readonly graceMs?: number;
}

/** Events that bring a task nearer its end: an attempt without one must not be repeated for ever. */
const PROGRESS = new Set<Draft['event']>(['pruned', 'compiled', 'verified', 'raced', 'failed', 'settled', 'baseline']);

/** Who works, in words: host (first, see allHere of claim.ts), process, and the scheduler's name for it where there is one. */
export function workerName(env: NodeJS.ProcessEnv = process.env): string {
  const { SLURM_ARRAY_JOB_ID: array, SLURM_ARRAY_TASK_ID: index, SLURM_JOB_ID: job } = env;
  return `${hostname()} ${process.pid}${job === undefined ? '' : ` job ${array === undefined ? job : `${array}_${index}`}`}`;
}

/** Aborted when one of `signals` is. AbortSignal.any of Node 20 can be collected before it fires. */
function eitherOf(...signals: readonly AbortSignal[]): AbortSignal {
  const either = new AbortController();
  for (const signal of signals) {
    if (signal.aborted) either.abort();
    else signal.addEventListener('abort', () => either.abort(), { once: true });
  }
  return either.signal;
}

/** Waits for a stage until `signal`, then at most `graceMs` more: gives up on one that does not hear it. Its journal is whole at any moment. */
async function within(running: Promise<void>, signal: AbortSignal, graceMs: number): Promise<void> {
  const over = new AbortController();
  const late = async (): Promise<void> => {
    await new Promise<void>((resolve) => (signal.aborted ? resolve() : signal.addEventListener('abort', () => resolve(), { once: true })));
    await setTimeout(graceMs, undefined, { signal: over.signal }).catch(() => {});
  };
  await Promise.race([running, late()]).finally(() => over.abort());
}

async function attempt(work: string, number: number, claim: Claim, { stage, run, clock, signal, note, graceMs = 90_000 }: WorkerOptions): Promise<ExitCode> {
  const plan = readPlan(work);
  const past = eventsOf(journalsOf(work, number).flatMap((path) => readJournal(path).lines));
  const { version, command, seed, tunedFor } = plan;
  const journal = await openJournal(pathsOf(work).journal(claim.word), { writer: claim.word, header: { version, command, seed, tunedFor }, now: clock.now });
  let progress = 0;
  const write: Write = async (draft) => {
    await journal.write(draft);
    if (PROGRESS.has(draft.event)) progress++;
  };
  const stop = eitherOf(signal, claim.taken);
  try {
    await within(run({ plan, task: readTask(work, number), objects: pathsOf(work).objects, past, here: await allHere(work, number, claim.attempt), write, clock, signal: stop }), stop, graceMs);
  } finally {
    await journal.close();
  }
  if (claim.taken.aborted) {
    note(`task ${number}: another attempt has begun; what this one found stays in its journal`);
    return EXIT.ok;
  }
  if (!stop.aborted) {
    markDone(work, number, stage, { attempt: claim.attempt, by: workerName(), at: new Date(clock.now()).toISOString() });
    await claim.release('done');
    note(`task ${number}: ${stage === 'measure' ? 'measured' : 'compiled'}, attempt ${claim.attempt}, ${progress} events`);
    return EXIT.ok;
  }
  await claim.release('again');
  if (progress > 0) {
    note(`task ${number}: interrupted after ${progress} events; the next attempt goes on from there`);
    return EXIT.again;
  }
  throw new EnvironmentError(`task ${number}: interrupted before it had found anything`, 'give its jobs more time (--sbatch measure:--time=HH:MM:SS) and submit again');
}

/**
 * Works on a task until it is done (0), somebody else turns out to work on it (0), or `signal` ends it with something found (75: run it again). Throws EnvironmentError
 * where the machine is at fault, or where nothing was found in the time given.
 */
export async function workOn(work: string, number: number, options: WorkerOptions): Promise<ExitCode> {
  readTask(work, number);
  const finished = (): boolean => isDone(work, number, options.stage);
  const already = (): ExitCode => (options.note(`task ${number}: done already`), EXIT.ok);
  if (finished()) return already();
  let claim: Claim | undefined;
  try {
    claim = await claimTask(work, number, workerName(), options.pulse ?? PULSE, options.signal);
  } catch (error) {
    if (options.signal.aborted) return EXIT.again;
    throw error;
  }
  if (!claim) {
    options.note(`task ${number}: somebody else is at work on it`);
    return EXIT.ok;
  }
  // It may have ended while we waited for its owner.
  if (finished()) return claim.release('done').then(already);
  try {
    return await attempt(work, number, claim, options);
  } catch (error) {
    // A full disk must not hide the first error.
    if (!existsSync(`${pathsOf(work).claim(claim.word)}/end`)) await claim.release('failed').catch(() => {});
    throw error;
  }
}
