// Whole numbers on the command line, judged before any work.
import { UsageError } from '../errors.ts';

/** Throws UsageError unless `value` is a whole number from `least`; an option that was left out passes. */
export function whole(name: string, value: number | undefined, least: number): void {
  if (value === undefined || (Number.isInteger(value) && value >= least && value < 2 ** 31)) return;
  throw new UsageError(`--${name} takes a whole number from ${least}, not ${value}`, `leave --${name} out for the default`);
}
