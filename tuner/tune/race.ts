// The statistics of a race: paired log-ratios of times within rounds, their median, and bounds on it that ask nothing of the noise but that rounds are alike. Pure.
import { median } from '../space/numbers.ts';
import { armWord, type Arm } from './problem.ts';

/**
 * A race goes on until the intervals of the default, and of what a table chose before, to the leader are no wider than this on either side of their middle (a ratio less
 * one), and no other arm may be faster than the leader by more; or so many rounds.
 */
export const ENOUGH = { half: 0.005, rounds: 60 } as const;
/** An arm is dropped when it is surely slower than the leader by more than this. */
export const WORSE = 0.005;

/** Times of one round by arm word, in us: blocks of rounds have different arms. */
export type Round = ReadonlyMap<string, number>;

/** Rounds of a block, by arm. */
export const roundsByArm = (arms: readonly Arm[], rounds: readonly { readonly us: readonly number[] }[]): Round[] =>
  rounds.map(({ us }) => new Map(arms.map((arm, i) => [armWord(arm), us[i]!])));

/** The most of `n` fair coins that show heads with a chance of at most `p`: -1 if even none does. */
function ranksBelow(n: number, p: number): number {
  let term = 2 ** -n;
  let sum = 0;
  for (let k = 0; k <= n; k++) {
    sum += term;
    if (sum > p) return k - 1;
    term *= (n - k) / (k + 1);
  }
  return n;
}

export interface Estimate {
  /** Median of the log-ratios. */
  readonly middle: number;
  /** One-sided 95 % bounds: below `low`, and above `high`, the true median lies once in twenty times each. Infinite with fewer than five rounds. */
  readonly low: number;
  readonly high: number;
  /** Half the width of the two-sided 95 % interval. */
  readonly half: number;
  readonly rounds: number;
}

/** The median of `ratios` (logarithms) with bounds by order statistics. */
export function estimate(ratios: readonly number[]): Estimate {
  const sorted = ratios.toSorted((a, b) => a - b);
  const n = sorted.length;
  const bounds = (p: number): [number, number] => {
    const rank = ranksBelow(n, p);
    return rank < 0 ? [-Infinity, Infinity] : [sorted[rank]!, sorted[n - 1 - rank]!];
  };
  const [low, high] = bounds(0.05);
  const [left, right] = bounds(0.025);
  return { middle: median(sorted), low, high, half: (right - left) / 2, rounds: n };
}

/** Log-ratios of `arm` to `other` in the rounds that both ran in. */
export function ratiosOf(rounds: readonly Round[], arm: Arm, other: Arm): number[] {
  return rounds.flatMap((round) => {
    const a = round.get(armWord(arm));
    const b = round.get(armWord(other));
    return a === undefined || b === undefined ? [] : [Math.log(a / b)];
  });
}

/** The arm whose median ratio to arm 0, the default, is least; of equal ones the first. */
export function leaderOf(arms: readonly Arm[], rounds: readonly Round[]): Arm {
  let best = { arm: arms[0]!, ratio: 0 };
  for (const arm of arms.slice(1)) {
    const ratios = ratiosOf(rounds, arm, arms[0]!);
    const ratio = ratios.length > 0 ? median(ratios) : Infinity;
    if (ratio < best.ratio) best = { arm, ratio };
  }
  return best.arm;
}

export interface Standings {
  readonly leader: Arm;
  /** Those that are still in, the default first, the leader among them. */
  readonly alive: readonly Arm[];
  /** Of those, all that cannot be told from the leader, itself too. */
  readonly ties: readonly Arm[];
  /** Undefined: go on. `alone`: nothing is left to compare the default with. */
  readonly settled: 'interval' | 'rounds' | 'alone' | undefined;
}

/** Where a race stands. `arms`: those that are in, the default first; it and those in `kept` stay whatever their times. */
export function standingsOf(arms: readonly Arm[], rounds: readonly Round[], most: number = ENOUGH.rounds, kept: readonly Arm[] = []): Standings {
  if (arms.length === 1) return { leader: arms[0]!, alive: arms, ties: arms, settled: 'alone' };
  const leader = leaderOf(arms, rounds);
  const others = arms.filter((arm) => arm !== leader).map((arm) => ({ arm, to: estimate(ratiosOf(rounds, arm, leader)) }));
  const slower = new Set(others.filter(({ to }) => to.low > Math.log1p(WORSE)).map(({ arm }) => arm));
  const stays = new Set([arms[0]!, ...kept]);
  const alive = arms.filter((arm) => !slower.has(arm) || stays.has(arm));
  const open = others.filter(({ arm }) => !slower.has(arm));
  const least = Math.min(...open.map(({ to }) => to.rounds));
  // An arm that is surely slower, or surely no faster, needs neither more rounds nor a narrower interval; who may win a tie needs one, for the tie is to be one.
  const decided = ({ arm, to }: (typeof open)[number]): boolean => to.half <= ENOUGH.half || (!stays.has(arm) && to.low >= -ENOUGH.half);
  const settled = open.every(decided) ? 'interval' : least >= most ? 'rounds' : undefined;
  return { leader, alive, ties: arms.filter((arm) => arm === leader || open.some((other) => other.arm === arm)), settled };
}
