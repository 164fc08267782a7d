// Whole numbers on the command line, judged before any work.
import { availableParallelism } from 'node:os';
import { UsageError } from '../errors.ts';

/** Throws UsageError unless `value` is a whole number from `least`; an option that was left out passes. */
export function whole(name: string, value: number | undefined, least: number): void {
  if (value === undefined || (Number.isInteger(value) && value >= least && value < 2 ** 31)) return;
  throw new UsageError(`--${name} takes a whole number from ${least}, not ${value}`, `leave --${name} out for the default`);
}

/** The same of threads: each takes memory of its own, and many more than there are cores only wait for each other. */
export function judgeThreads(value: number | undefined): void {
  const most = Math.max(64, 2 * availableParallelism());
  whole('threads', value, 1);
  if (value !== undefined && value > most) throw new UsageError(`--threads takes at most ${most} here, not ${value}`, 'leave --threads out for as many as there are cores');
}
