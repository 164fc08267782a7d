// How a search is asked and told: the same for live sweeps and for recorded spaces that are replayed without a GPU. Pure.

/** A point of a space: a kernel, or an arm of a recorded one. */
export interface Candidate {
  readonly id: string;
  /** Tile fields, `algorithm`, and in recorded spaces `launch`; neighbours differ in one. */
  readonly fields: Readonly<Record<string, number | string>>;
}

export interface Space {
  /** Those that passed the formula, ordered by the model: likeliest best first. */
  readonly candidates: readonly Candidate[];
  /** Ids to be tried first: the default, winners of neighbouring problems and of the nearest device. */
  readonly seeds: readonly string[];
}

/** `undefined`: it failed, or was pruned after compiling. Else the geometric mean over the task's problems of time / time of the default: less is better. */
export type Cost = number | undefined;

/**
 * One search over one space. Asks may run ahead of tells (compilers and GPU work side by side): `ask` never gives an id twice. The same seed and the same order of
 * tells give the same asks, so that a journal that is played back resumes a search.
 */
export interface Strategy {
  /** Up to `count` ids to try next. Empty while it waits for tells; for good when {@link done}. */
  ask(count: number): readonly string[];
  tell(id: string, cost: Cost): void;
  readonly done: boolean;
}

export const STRATEGIES = ['exhaustive', 'ils', 'random'] as const;
export type StrategyName = (typeof STRATEGIES)[number];

/** How much a sweep tries (tuner/space/effort.ts). */
export const EFFORT_NAMES = ['quick', 'full', 'exhaustive'] as const;
export type Effort = (typeof EFFORT_NAMES)[number];

/** `ils`: iterated local search, restarted from a random candidate where no neighbour helps. */
export type MakeStrategy = (space: Space, seed: number) => Strategy;
