// Who works on a task: a directory that only one can create, a file in it that is touched while its owner lives, and the next attempt when that stops.
import { mkdir, open, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { EnvironmentError } from '../../generator/errors.ts';
import { numberWord, pathsOf } from './work.ts';

export interface Pulse {
  /** Milliseconds between two beats. */
  readonly beatMs: number;
  /** After so many without one the owner is lost: several beats, and more than network file systems keep an old time in their caches (NFS: 60 s). */
  readonly lostMs: number;
}
export const PULSE: Pulse = { beatMs: 20_000, lostMs: 120_000 };

/** How an attempt ended. An attempt without an end was lost, or is still at work. */
export type End = 'done' | 'again' | 'failed';

export interface Claim {
  readonly attempt: number;
  /** `0007.1`: the name of the claim, of its journal, and of the writer of its events. */
  readonly word: string;
  /** Somebody took this attempt for lost and began the next one: stop, what is written stays good. */
  readonly taken: AbortSignal;
  release(end: End): Promise<void>;
}

export interface ClaimState {
  readonly attempt: number;
  /** Undefined: at work, or lost. */
  readonly end: End | undefined;
  /** Milliseconds since the last beat, by the clock of the file system. */
  readonly ageMs: number;
  readonly by: string;
}

const codeOf = (error: unknown): string => (error as NodeJS.ErrnoException).code ?? String(error);
const mend = (error: unknown, path: string): EnvironmentError => new EnvironmentError(`cannot write ${path} (${codeOf(error)})`, 'free some space, or make the work directory writable on this node, and submit again: what was measured is kept');

/** The time of a file, asked of the server: opening makes network file systems look again. Undefined if it is not there. */
async function timeOf(path: string): Promise<number | undefined> {
  try {
    const file = await open(path, 'r');
    try {
      return (await file.stat()).mtimeMs;
    } finally {
      await file.close();
    }
  } catch {
    return undefined;
  }
}

/** Milliseconds of the file system's own clock: clocks of nodes may differ by more than an attempt may be silent. */
async function fileSystemNow(claims: string): Promise<number> {
  const path = join(claims, `.now-${hostname()}-${process.pid}`);
  try {
    await writeFile(path, 'now\n');
    return (await timeOf(path)) ?? Date.now();
  } catch (error) {
    throw mend(error, path);
  } finally {
    await rm(path, { force: true });
  }
}

async function textOf(path: string): Promise<string | undefined> {
  try {
    const file = await open(path, 'r');
    try {
      return (await file.readFile('utf8')).trim();
    } finally {
      await file.close();
    }
  } catch {
    return undefined;
  }
}

/** The latest claim of a task; undefined: nobody has begun. */
export async function latestClaim(work: string, task: number): Promise<ClaimState | undefined> {
  const { claims, claim } = pathsOf(work);
  const attempts = (await readdir(claims)).filter((name) => name.startsWith(`${numberWord(task)}.`)).map((name) => Number(name.split('.')[1]));
  if (attempts.length === 0) return undefined;
  const attempt = Math.max(...attempts);
  const dir = claim(`${numberWord(task)}.${attempt}`);
  const [end, beat, by] = [await textOf(join(dir, 'end')), await timeOf(join(dir, 'beat')), await textOf(join(dir, 'beat'))];
  // Whoever was killed between creating the directory and its first beat left the directory's own time.
  const last = beat ?? (await stat(dir).catch(() => undefined))?.mtimeMs ?? 0;
  return { attempt, end: end as End | undefined, ageMs: Math.max(0, (await fileSystemNow(claims)) - last), by: by ?? 'nobody yet' };
}

/** Whether every attempt at a task before `attempt` was of this machine; true of the first. */
export async function allHere(work: string, task: number, attempt: number): Promise<boolean> {
  const { claim } = pathsOf(work);
  const names = await Promise.all(Array.from({ length: attempt - 1 }, (_, i) => textOf(join(claim(`${numberWord(task)}.${i + 1}`), 'beat'))));
  return names.every((by) => by?.split(' ')[0] === hostname());
}

async function create(dir: string): Promise<boolean> {
  try {
    await mkdir(dir);
    return true;
  } catch (error) {
    if (codeOf(error) === 'EEXIST') return false;
    throw mend(error, dir);
  }
}

async function hold(work: string, task: number, attempt: number, { beatMs, lostMs }: Pulse, by: string): Promise<Claim> {
  const word = `${numberWord(task)}.${attempt}`;
  const dir = pathsOf(work).claim(word);
  const taken = new AbortController();
  const beat = (): Promise<void> => writeFile(join(dir, 'beat'), `${by}\n`);
  await beat().catch((error: unknown) => Promise.reject(mend(error, dir)));
  let last = performance.now();
  const timer = setInterval(async () => {
    if (await stat(pathsOf(work).claim(`${numberWord(task)}.${attempt + 1}`)).catch(() => undefined)) return taken.abort();
    await beat().then(() => (last = performance.now()), () => {});
    // Silent for so long, others take it for lost.
    if (performance.now() - last > lostMs - beatMs) taken.abort();
  }, beatMs);
  timer.unref();
  const release = async (end: End): Promise<void> => {
    clearInterval(timer);
    await writeFile(join(dir, 'end'), `${end}\n`).catch((error: unknown) => Promise.reject(mend(error, dir)));
  };
  return { attempt, word, taken: taken.signal, release };
}

/**
 * Claims a task for its next attempt. While the last one has neither ended nor beaten it waits, at most `lostMs`; undefined if that one turns out to be alive.
 * `by` says who, for people. Throws EnvironmentError if the directory cannot be written, the reason of `signal` where that ends the wait.
 */
export async function claimTask(work: string, task: number, by: string, pulse: Pulse = PULSE, signal?: AbortSignal): Promise<Claim | undefined> {
  let seen: { attempt: number; ageMs: number } | undefined;
  for (;;) {
    const latest = await latestClaim(work, task);
    if (!latest || latest.end !== undefined || latest.ageMs >= pulse.lostMs) {
      const attempt = (latest?.attempt ?? 0) + 1;
      if (await create(pathsOf(work).claim(`${numberWord(task)}.${attempt}`))) return hold(work, task, attempt, pulse, by);
      continue;
    }
    // Younger than when it was seen last: it has beaten in between.
    if (seen?.attempt === latest.attempt && latest.ageMs < seen.ageMs) return undefined;
    seen = latest;
    await setTimeout(Math.min(pulse.beatMs / 2, pulse.lostMs - latest.ageMs + 10));
    signal?.throwIfAborted();
  }
}
