// What is known of how far the analytic model is off, by machine. Fitted on harness/bench/records; `node --import tsx test/tuner/model/refit.ts` prints this again. Pure.
import type { Machine } from '../../generator/arch.ts';
import type { Fit } from '../tune/model.ts';

export const FITS: readonly Fit[] = [
  {
    machine: 'H200',
    factors: { start: 3.229, merge: 4.787, launch: 1.164, 'loop.sum': 1.248, 'loop.turn': 1.529, 'loop.dot': 1.121, 'loop.rows': 1.264, 'loop.copy': 0.921 },
    error: { median: 0.091, p90: 0.336 },
  },
];

/** The fit for a machine: its own, else that of the one that was measured most like it. What differs between machines is in {@link Machine}, not in a fit. */
export const fitFor = (machine: Machine): Fit => FITS.find((fit) => fit.machine === machine.name) ?? FITS[0]!;
