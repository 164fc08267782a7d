// Whole numbers on the command line, judged before any work.
import { availableParallelism } from 'node:os';
import { UsageError } from '../errors.ts';

/** Throws UsageError unless `value` is a whole number from `least`; an option that was left out passes. */
export function whole(name: string, value: number | undefined, least: number): void {
  if (value === undefined || (Number.isInteger(value) && value >= least && value < 2 ** 31)) return;
  throw new UsageError(`--${name} takes a whole number from ${least}, not ${value}`, `leave --${name} out for the default`);
}

/** Draws of --sample and --compile, which are all held at once. */
export function judgeDraws(name: string, value: number): void {
  if (!(Number.isInteger(value) && value >= 1 && value <= 100_000)) throw new UsageError(`--${name} takes a number of draws, 1 to 100000, not ${value}`, `for example --${name} 20`);
}

/** Throws UsageError for more threads than are of use: each takes memory of its own, and many more than there are cores only wait for each other. */
export function judgeThreads(value: number | undefined): void {
  const most = Math.max(64, 2 * availableParallelism());
  whole('threads', value, 1);
  if (value !== undefined && value > most) throw new UsageError(`--threads takes at most ${most} here, not ${value}`, 'leave --threads out for as many as there are cores');
}
