// Plays searches on spaces whose times are known: how many evaluations each takes to come near the optimum, beside random order. Pure.
import { mean, quantile } from '../space/numbers.ts';
import { STRATEGIES, type Cost, type MakeStrategy, type Space, type StrategyName } from '../tune/strategy.ts';
import { ilsWith } from './ils.ts';
import { STRATEGY } from './strategies.ts';

/** The best cost after each evaluation, relative to the optimum of the space; Infinity until something worked. */
export type Curve = readonly number[];

export interface ReplayOptions {
  /** Evaluations under way at once: what compile workers keep ahead. */
  readonly batch?: number;
  /** Evaluations after which it is stopped. */
  readonly most?: number;
}

/** Plays one search to its end. Throws if it asks for an id twice, or for one that is not there, or stops without being done. */
export function replay(make: MakeStrategy, space: Space, costs: ReadonlyMap<string, Cost>, seed: number, { batch = 1, most = Infinity }: ReplayOptions = {}): Curve {
  const optimum = Math.min(...[...costs.values()].flatMap((cost) => cost ?? []));
  const search = make(space, seed);
  const asked = new Set<string>();
  const underway: string[] = [];
  const curve: number[] = [];
  let best = Infinity;
  while (!search.done && curve.length < most) {
    for (const id of search.ask(batch - underway.length)) {
      if (asked.has(id) || !costs.has(id)) throw new Error(asked.has(id) ? `${id} was asked for twice` : `${id} is not in the space`);
      asked.add(id);
      underway.push(id);
    }
    const id = underway.shift();
    if (id === undefined) {
      if (search.done) break;
      throw new Error('the search waits for nothing, and is not done');
    }
    const cost = costs.get(id);
    search.tell(id, cost);
    best = Math.min(best, cost ?? Infinity);
    curve.push(best / optimum);
  }
  return curve;
}

/** Evaluations until the best is within `share` of the optimum (0.02: 2 %); undefined if it never is. */
export function evaluationsTo(curve: Curve, share: number): number | undefined {
  const at = curve.findIndex((ratio) => ratio <= 1 + share);
  return at < 0 ? undefined : at + 1;
}

/** What a search takes on one space, over all seeds. A run that never comes near counts as the whole space. */
export interface Standing {
  readonly strategy: string;
  readonly median: number;
  readonly p90: number;
  /** Runs that came within the share at all. */
  readonly reached: number;
  /** Cost / optimum where the search ends by itself, in the median and the worst run, and the evaluations that it took to there in the median. */
  readonly ended: { readonly median: number; readonly worst: number; readonly evaluations: number };
}

export interface Contest extends ReplayOptions {
  readonly seeds: number;
  /** 0.02: within 2 % of the optimum. */
  readonly share?: number;
  readonly strategies?: Readonly<Record<string, MakeStrategy>>;
}

/** The searches of a sweep; `ils` without an end of its own where it is asked how soon it comes near. */
export const CONTESTANTS: Readonly<Record<StrategyName, MakeStrategy>> = { ...STRATEGY, ils: ilsWith({ patience: Infinity }) };

/** Every search on one space. */
export function contest(space: Space, costs: ReadonlyMap<string, Cost>, { seeds, share = 0.02, strategies = CONTESTANTS, ...options }: Contest): Standing[] {
  return Object.entries(strategies).map(([strategy, make]) => {
    const runs = Array.from({ length: seeds }, (_, seed) => replay(make, space, costs, seed + 1, options));
    const counts = runs.map((curve) => evaluationsTo(curve, share));
    const filled = counts.map((count) => count ?? space.candidates.length);
    // Where a search of a sweep stops is another question than how soon it comes near.
    const own = (STRATEGIES as readonly string[]).includes(strategy) ? STRATEGY[strategy as StrategyName] : make;
    const whole = own === make ? runs : Array.from({ length: seeds }, (_, seed) => replay(own, space, costs, seed + 1, options));
    const ends = whole.map((curve) => curve.at(-1) ?? Infinity);
    return {
      strategy,
      median: quantile(filled, 0.5),
      p90: quantile(filled, 0.9),
      reached: counts.filter((count) => count !== undefined).length,
      ended: { median: quantile(ends, 0.5), worst: Math.max(...ends), evaluations: quantile(whole.map((curve) => curve.length), 0.5) },
    };
  });
}

/** Mean advantage over `baseline` while that is on its way: 1 is the optimum at once, 0 as good as the baseline, negative worse. Both are means over runs. */
export function advantage(curves: readonly Curve[], baseline: readonly Curve[]): number {
  const at = (runs: readonly Curve[], i: number): number => mean(runs.map((run) => Math.min(10, run[Math.min(i, run.length - 1)]!)));
  const steps = Math.max(...baseline.map((run) => run.length));
  const gains: number[] = [];
  for (let i = 0; i < steps; i++) {
    const base = at(baseline, i) - 1;
    if (base < 1e-6) break;
    gains.push((base - (at(curves, i) - 1)) / base);
  }
  return gains.length > 0 ? mean(gains) : 0;
}
