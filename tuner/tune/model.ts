// What an analytic model of time answers: it orders the queue, and fills the tables of devices that nobody has measured. Pure.
import type { Machine } from '../../generator/arch.ts';
import type { Arm, Problem } from './problem.ts';

/** A time that was measured, or that a model is to be compared with. */
export interface Timed {
  readonly problem: Problem;
  readonly arm: Arm;
  readonly us: number;
}

/** What a fit found: factors on the parts of the analytic cost, by name (`start`, `loop`, `merge`, `launch`), from times on `machine`. */
export interface Fit {
  readonly machine: string;
  readonly factors: Readonly<Record<string, number>>;
  /** Median and 90th percentile of |log(model / measured)| over what it was fitted on. */
  readonly error: { readonly median: number; readonly p90: number };
}

export interface TimeModel {
  /** Microseconds of a step; undefined for ops that the model does not know. */
  us(problem: Problem, arm: Arm): number | undefined;
}

/** `fit` absent: all factors 1. A fit carries over to another machine as it is: what differs is in {@link Machine}. */
export type MakeModel = (machine: Machine, fit?: Fit) => TimeModel;
export type FitModel = (machine: Machine, timed: readonly Timed[]) => Fit;
