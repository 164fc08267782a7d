// Fits the factors of the analytic model to measured times: they say how far a part of the cost is from what its counts promise. Pure.
import { InputError } from '../../generator/errors.ts';
import type { FitModel } from '../tune/model.ts';
import { mean, quantile } from '../space/numbers.ts';
import { FACTORS, partsOf, timeOf, type Parts } from './model.ts';

/** A part can be this much cheaper or dearer than counted; beyond that the times are of something else. */
const LEAST = 0.25;
const MOST = 8;
/** The first step of a factor, as a ratio, and the last one: half a percent is less than times are known to. */
const FIRST_STEP = 1.5;
const LAST_STEP = 1.005;
/** How much of the error a factor of e must take away to be kept: parts that few times tell apart stay at 1. */
const PULL = 0.002;

const bounded = (factor: number): number => Math.min(MOST, Math.max(LEAST, factor));

interface Point {
  readonly parts: Parts;
  readonly us: number;
}

const errorsOf = (points: readonly Point[], factors: Readonly<Record<string, number>>): number[] => points.map(({ parts, us }) => Math.abs(Math.log(timeOf(parts, factors) / us)));
/**
 * Factors with the least mean |log(model / measured)|, which single odd times do not pull: by steps that shrink, from 1, so that equal times give equal
 * factors whatever their order. Factors that no time has a part of are left out. Throws InputError if there are fewer than ten decode times.
 */
export const fitModel: FitModel = (machine, timed) => {
  const points = timed.flatMap(({ problem, arm, us }): Point[] => {
    const parts = partsOf(machine, problem, arm);
    return parts ? [{ parts, us }] : [];
  });
  if (points.length < 10) throw new InputError(`${points.length} decode times on ${machine.name}: too few to fit a model`, 'measure first: gen tune --effort quick');
  const names = FACTORS.filter((name) => points.some(({ parts }) => (parts[name] ?? 0) > 0));
  let factors: Record<string, number> = Object.fromEntries(names.map((name) => [name, 1]));
  const cost = (some: Readonly<Record<string, number>>): number => mean(errorsOf(points, some)) + PULL * mean(names.map((name) => Math.abs(Math.log(some[name]!))));
  let best = cost(factors);
  // One up or down, or one up and another down: parts that come together hide behind each other.
  const moves = names.flatMap((up) => [[up], ...names.filter((down) => down !== up).map((down) => [up, down])] as const);
  for (let step = FIRST_STEP; step >= LAST_STEP; ) {
    let moved = false;
    for (const [up, down] of moves) {
      for (const ratio of [step, 1 / step]) {
        const tried = { ...factors, [up!]: bounded(factors[up!]! * ratio), ...(down === undefined ? {} : { [down]: bounded(factors[down]! / ratio) }) };
        const after = cost(tried);
        if (after < best - 1e-9) {
          [factors, best, moved] = [tried, after, true];
          break;
        }
      }
    }
    if (!moved) step = Math.sqrt(step);
  }
  const errors = errorsOf(points, factors);
  const rounded = Object.fromEntries(names.map((name) => [name, Math.round(factors[name]! * 1000) / 1000]));
  return { machine: machine.name, factors: rounded, error: { median: quantile(errors, 0.5), p90: quantile(errors, 0.9) } };
};
