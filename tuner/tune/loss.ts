// What an error of the runner means to a sweep: which candidate it costs, and why. Everything else goes on up.
import { InputError } from '../../generator/errors.ts';
import { RunnerError } from '../runner.ts';
import type { Fault } from './measurer.ts';

export interface Lost {
  readonly kind: Fault['kind'];
  readonly why: string;
  /** Of a race: the arm that was at work. */
  readonly arm?: number;
  /** No arm can be measured: the problem's own data do not fit the device. */
  readonly everyone?: boolean;
}

const KINDS = { timeout: 'timeout', crash: 'crash', driver: 'trap', runner: 'error' } as const;

/** Reads an error of a request; one that no candidate is to blame for is thrown again. */
export function lossOf(error: unknown): Lost {
  if (error instanceof RunnerError) {
    const why = error.message.slice(0, 2000);
    // The host lacks memory for data or reference.
    const kind = /bad_alloc/.test(why) ? 'memory' : KINDS[error.loss];
    return { kind, why, ...(error.arm === undefined ? {} : { arm: error.arm }) };
  }
  if (!(error instanceof InputError)) throw error;
  const memory = /of device memory/.test(error.message);
  // The workspace grows with an arm's splits; data, and the filler of the time measurement, are everyone's.
  return { kind: memory ? 'memory' : 'error', why: error.message, everyone: memory && !error.message.includes('workspace') };
}
