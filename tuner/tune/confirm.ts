// Confirmation: a winner meets the default once more in a fresh process, because some gains are of the process that they were seen in. Pure.
import { median } from '../space/numbers.ts';
import { estimate, ratiosOf, type Round } from './race.ts';
import type { Arm } from './problem.ts';

export const CONFIRM_ROUNDS = 10;
/** How far the ratios of race and confirmation may lie apart, unless the winner is surely faster than the default in both: how much faster is then a matter of the process. */
export const APART = 0.02;

export type Confirmation = { readonly ok: true } | { readonly ok: false; readonly why: string };

const percent = (ratio: number): string => `${(100 * Math.expm1(ratio)).toFixed(1)} %`;

/** Compares the winner's ratio to the default in the rounds of the race with that of the confirmation. */
export function confirmed(winner: Arm, usual: Arm, race: readonly Round[], again: readonly Round[]): Confirmation {
  const raced = median(ratiosOf(race, winner, usual));
  const fresh = estimate(ratiosOf(again, winner, usual));
  const seen = fresh.middle;
  if (Math.abs(raced - seen) <= Math.log1p(APART) || (raced < 0 && fresh.high < 0)) return { ok: true };
  return { ok: false, why: `${percent(raced)} over the default in the race, ${percent(seen)} in a fresh process` };
}
