// Screening: a few rounds of every kernel's likeliest launches beside the default; who is far behind leaves, and a search hears how good a kernel is over all. Pure.
import { geomean, median } from '../space/numbers.ts';
import { launchesFor } from './arms.ts';
import { armWord, type Arm, type Problem } from './problem.ts';
import type { Cost } from './strategy.ts';

/** Rounds of a screen; the first is not counted, for an arm's code and the clocks are cold then. */
export const SCREEN_ROUNDS = 3;
/**
 * Kernels that are screened together: the data of a problem are made once for all of them, and a search hears nothing before the last. The same on every machine, so
 * that a search goes the same way whatever compiles its kernels.
 */
export const TOGETHER = 12;
/** Launches of a kernel that are screened. */
export const SCREEN_LAUNCHES = 3;
/** Times the best of a problem: an arm beyond is out there. */
export const FAR = 1.25;
/** A kernel that was far behind at this many problems, and near at none, is seen at no further one. */
export const ENOUGH_FAR = 4;
/** Kernels that race at a problem, and of those how many with all their launches. */
export const RACERS = { kernels: 6, whole: 3, arms: 24 } as const;

/** Problems in an order that sees small, large and middling ones early; equal shapes stay together, because their data do. */
export function screenOrder(problems: readonly Problem[]): Problem[] {
  const groups = new Map<string, Problem[]>();
  for (const problem of problems) {
    const key = JSON.stringify(problem.shape);
    groups.set(key, [...(groups.get(key) ?? []), problem]);
  }
  const tokens = ({ shape }: Problem): number => (shape.lens ? shape.lens.reduce((a, b) => a + b, 0) : (shape.batch ?? 1) * shape.tokens!);
  const sorted = [...groups.values()].sort((a, b) => tokens(a[0]!) - tokens(b[0]!));
  const left = new Set(sorted.keys());
  const order: number[] = [];
  // Ends first, then the middle of the widest gap.
  for (const end of [0, sorted.length - 1]) if (left.delete(end)) order.push(end);
  while (left.size > 0) {
    const taken = order.toSorted((a, b) => a - b);
    const gaps = taken.slice(1).map((to, i) => ({ from: taken[i]!, to })).sort((a, b) => b.to - b.from - (a.to - a.from));
    const middle = Math.floor((gaps[0]!.from + gaps[0]!.to) / 2);
    left.delete(middle);
    order.push(middle);
  }
  return order.flatMap((i) => sorted[i]!);
}

/** What screening found at one problem: log-ratio to the default by arm word, from the rounds that count. */
export type Screened = ReadonlyMap<string, number>;

/** Ratios of a screen's block to its arm 0; the least round of an arm counts, over the default's median. */
export function screenRatios(arms: readonly Arm[], rounds: readonly { readonly us: readonly number[] }[]): Map<string, number> {
  const counted = rounds.length > 1 ? rounds.slice(1) : rounds;
  const base = median(counted.map(({ us }) => us[0]!));
  return new Map(arms.map((arm, i) => [armWord(arm), Math.log((i === 0 ? base : Math.min(...counted.map(({ us }) => us[i]!))) / base)]));
}

/** The least log-ratio of any of a kernel's arms at a problem; undefined if none was seen. */
export function kernelRatio(screened: Screened, kernel: string): number | undefined {
  const mine = [...screened].filter(([word]) => word === kernel || word.startsWith(`${kernel} `)).map(([, ratio]) => ratio);
  return mine.length > 0 ? Math.min(...mine) : undefined;
}

export const bestRatio = (screened: Screened): number => Math.min(0, ...screened.values());

/** Whether a kernel is far behind at a problem; undefined where it was not seen. */
export function isFar(screened: Screened, kernel: string): boolean | undefined {
  const ratio = kernelRatio(screened, kernel);
  return ratio === undefined ? undefined : ratio > bestRatio(screened) + Math.log(FAR);
}

/** Whether a kernel has been far behind often enough that the other problems need not be tried. */
export function givenUp(all: readonly Screened[], kernel: string): boolean {
  const seen = all.map((screened) => isFar(screened, kernel)).filter((far) => far !== undefined);
  return seen.length >= ENOUGH_FAR && seen.every((far) => far);
}

/** What a search is told: the geometric mean of time over the default's time. */
export function costOf(all: readonly Screened[], kernel: string): Cost {
  const ratios = all.map((screened) => kernelRatio(screened, kernel)).filter((ratio) => ratio !== undefined);
  return ratios.length > 0 ? geomean(ratios.map(Math.exp)) : undefined;
}

/** The arms of kernels that a screen tries at a problem. */
export const screenArms = (problem: Problem, kernels: readonly string[], sms: number): Arm[] =>
  kernels.flatMap((kernel) => launchesFor(problem, kernel, sms).slice(0, SCREEN_LAUNCHES).map((launch) => ({ kernel, launch })));

/** Who races at a problem, the default's arm first, then arms that earlier tables chose: all launches of the best kernels, the best screened ones of the others. */
export function racersOf(problem: Problem, screened: Screened, usual: Arm, incumbents: readonly Arm[], sms: number): Arm[] {
  const words = [...screened].sort(([, a], [, b]) => a - b);
  const near = words.filter(([, ratio]) => ratio <= bestRatio(screened) + Math.log(FAR));
  const armOf = (word: string): Arm => {
    const [kernel, launch = ''] = word.split(' ');
    return { kernel: kernel!, launch };
  };
  const kernels = [...new Set(near.map(([word]) => armOf(word).kernel))].slice(0, RACERS.kernels);
  const arms = kernels.flatMap((kernel, i) => {
    const best = near.map(([word]) => armOf(word)).filter((arm) => arm.kernel === kernel).slice(0, 2);
    return i < RACERS.whole ? [...best, ...launchesFor(problem, kernel, sms).map((launch) => ({ kernel, launch }))] : best;
  });
  return [...new Map([usual, ...incumbents, ...arms].map((arm) => [armWord(arm), arm])).values()].slice(0, RACERS.arms);
}
