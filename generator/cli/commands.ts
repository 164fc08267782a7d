// The names of the commands, and the options that all of them take.
import type { Talk } from './print.ts';

export const COMMANDS = ['list', 'show', 'doctor', 'calibrate', 'demo', 'simulate', 'verify', 'bench', 'tune', 'table', 'pack', 'report', 'advise', 'support'];

export interface Global extends Talk {
  readonly json: boolean;
}
