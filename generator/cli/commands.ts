// The names of the commands, and the options that all of them take.
import type { Talk } from './print.ts';

export const COMMANDS = ['list', 'show', 'doctor', 'calibrate', 'demo', 'simulate', 'verify', 'bench', 'tune', 'table', 'pack', 'report', 'support'];

/** Commands of the design that have no body yet: typing one says so. */
export const NOT_BUILT = ['advise'];

export interface Global extends Talk {
  readonly json: boolean;
}
