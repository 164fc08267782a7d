// How much a sweep tries: the efforts, and how many kernels of a task each comes to. Pure.
import { ilsWith } from '../search/ils.ts';
import { replay } from '../search/replay.ts';
import type { Cost, Effort, StrategyName } from '../tune/strategy.ts';
import { candidateOf } from './space.ts';

/** Kernels of a task that are tried at most, the likeliest first; rounds of a race; how they are searched unless told. */
export const EFFORTS: Readonly<Record<Effort, { readonly kernels: number; readonly rounds: number; readonly strategy: StrategyName }>> = {
  quick: { kernels: 8, rounds: 20, strategy: 'exhaustive' },
  full: { kernels: Infinity, rounds: 60, strategy: 'ils' },
  exhaustive: { kernels: Infinity, rounds: 60, strategy: 'exhaustive' },
};

/**
 * Kernels that an effort tries of `kernels`, the default first. A local search ends when it ends: it is played on what a model expects of the kernels (`costs`), or on
 * the assumption that their order is right.
 */
export function triedBy(effort: Effort, kernels: readonly string[], costs: ReadonlyMap<string, number> | undefined, seed: number): number {
  const { strategy, kernels: most } = EFFORTS[effort];
  if (strategy !== 'ils') return Math.min(most, kernels.length);
  const expected = new Map<string, Cost>(kernels.map((kernel, rank) => [kernel, costs?.get(kernel) ?? 1 + rank / 100]));
  return replay(ilsWith({}), { candidates: kernels.map(candidateOf), seeds: [kernels[0]!] }, expected, seed).length;
}
