// What a look-up loses at shapes that a table was not built from: each point left out in turn, and shapes held out altogether. Pure.
import { splitsOf } from '../../generator/table/find.ts';
import { parseLaunch } from '../bench-launch.ts';
import { mean } from '../space/numbers.ts';
import type { Board } from './expected.ts';
import { decide, fieldOf, type Decision } from './field.ts';
import type { Point, TimedArm } from './pool.ts';
import { samePlace } from './surface.ts';

/** What was lost at one point: time of the decision / best time that is known there - 1. */
export interface Loss {
  readonly point: Point;
  readonly loss: number;
}

/** How far a launch is from splits and merge, in octaves; another way to merge counts as half of one. */
function unlike(arm: TimedArm, splits: number, merge: string): number {
  if (arm.launch === '' || splits === 0) return 0;
  const launch = parseLaunch(arm.launch);
  return Math.abs(Math.log2(launch.splits / splits)) + (launch.merge === merge ? 0 : 0.5);
}

/** The loss of a decision at a point: of its kernel's arms there the one most like its launch. A kernel that was not timed there counts as the default. */
export function lossAt(point: Point, { choice }: Pick<Decision, 'choice'>): number {
  const splits = splitsOf(choice, point.lines, point.tokens);
  const own = point.arms.filter(({ kernel }) => kernel === choice.kernel);
  const like = own.reduce<TimedArm | undefined>((best, arm) => (!best || unlike(arm, splits, choice.merge) < unlike(best, splits, choice.merge) ? arm : best), undefined);
  return (like ?? point.default).us / point.arms[0]!.us - 1;
}

/** The losses at `points` of a field that is made without each of them in turn, and without what the other mode took there. */
export function leaveOut(points: readonly Point[], kernels: readonly string[], board: Board): Loss[] {
  return points.flatMap((point) => {
    const { mode } = point.problem;
    // The other mode says what a token costs, there too.
    const others = points.filter((other) => !samePlace(other, point));
    if (!others.some((other) => other.problem.mode === mode)) return [];
    const decision = decide(fieldOf(others, kernels, board, [mode]), [mode], point);
    return decision ? [{ point, loss: lossAt(point, decision) }] : [];
  });
}

/** The losses of the whole field at points that it was not made from. */
export function holdOut(field: ReturnType<typeof fieldOf>, held: readonly Point[]): Loss[] {
  return held.flatMap((point) => {
    const decision = decide(field, [point.problem.mode], point);
    return decision ? [{ point, loss: lossAt(point, decision) }] : [];
  });
}

const permille = (share: number): number => Math.min(9999, Math.ceil(1000 * share - 1e-9));

/** Losses as a table states them; null with fewer than three. */
export const summary = (losses: readonly Loss[]): { points: number; mean: number; worst: number } | null =>
  losses.length < 3 ? null : { points: losses.length, mean: permille(mean(losses.map(({ loss }) => loss))), worst: permille(Math.max(...losses.map(({ loss }) => loss))) };
