// What is known of how far the analytic model is off, by machine. Fitted on harness/bench/records; `node --import tsx test/tuner/model/refit.ts` prints this again. Pure.
import type { Machine } from '../../generator/arch.ts';
import type { Fit } from '../tune/model.ts';

export const FITS: readonly Fit[] = [
  {
    machine: 'H200',
    factors: { start: 1.225, merge: 6.862, launch: 1.408, 'loop.sum': 1.093, 'loop.turn': 1.107, 'loop.dot': 1.052, 'loop.tally': 2.088, 'loop.rows': 2.099, 'loop.copy': 1.032 },
    error: { median: 0.119, p90: 0.378 },
  },
];

/** The fit for a machine: its own, else that of the one that was measured most like it. What differs between machines is in {@link Machine}, not in a fit. */
export const fitFor = (machine: Machine): Fit => FITS.find((fit) => fit.machine === machine.name) ?? FITS[0]!;
