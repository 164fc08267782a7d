// How the records of a cache's life are printed: by simulate, and by demo beside its table.
import { WrongResultError } from '../errors.ts';
import { table } from './print.ts';
import type { Lived, SimulateRecord } from '../../tuner/simulate.ts';

const percent = (error: number | null): string => (error === null ? '-' : (100 * error).toFixed(2));

export const LIFE_WORDS = 'bits: per element of K and V of the live sequences, exact rows as they are; error: attention output against exact attention, relative L2, of the steps since the line before';

/** One line per record. */
export const lifeLines = (records: readonly SimulateRecord[]): string =>
  table([
    ['step', 'tokens', 'coded', 'anchors', 'found', 'handed back', 'bits', 'error %', 'cosine'],
    ...records.map((r) => [r.step, r.tokens, r.coded, r.anchors, r.anchors_found, r.anchors_handed_back, r.effective_bits.toFixed(3), percent(r.error), r.cosine?.toFixed(4) ?? '-']),
  ]);

/** Throws WrongResultError if a life ended in a fault; `of` says whose, where there are several. */
export function mustLiveOn({ life }: Lived, of = ''): void {
  if (!life.ok) throw new WrongResultError(`kernels and simulation disagree${of && ` (${of})`}:\n  ${life.faults.slice(0, 10).join('\n  ')}`, 'a template or the emulator is wrong: "npm test" narrows it down');
}
