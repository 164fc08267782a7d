// Iterated local search: from good starts to the nearest candidate that is better, and again; where no neighbour helps, from somewhere else. Pure.
import type { Cost, MakeStrategy, Space, Strategy } from '../tune/strategy.ts';
import { drawOf } from './chance.ts';
import { seedsFirst } from './line.ts';
import { neighbourhoodOf } from './neighbours.ts';

export interface IlsOptions {
  /** Candidates of the space's own order that are tried before the first descent, beside its seeds. */
  readonly starts: number;
  /** Restarts in a row without a better best after which it ends; Infinity: when everything was tried. */
  readonly patience: number;
}
export const ILS: IlsOptions = { starts: 4, patience: 8 };

/** Costs count as different from this ratio on: below it lies the noise of measurements. */
const GAIN = 0.002;
/** Fields that a jump from the best changes, at most; it changes two at least, as one is a neighbour's. */
const JUMP = 3;
/** What is random is the better, by the space's order, of so many drawn. */
const DRAWN = 2;

class IteratedLocalSearch implements Strategy {
  private readonly asked = new Set<string>();
  private readonly costs = new Map<string, Cost>();
  private readonly waiting = new Set<string>();
  private readonly rank: ReadonlyMap<string, number>;
  private readonly near;
  private readonly draw;
  /** To be asked next. */
  private queue: string[];
  /** Where the descent stands: undefined until a start was told. */
  private at: string | undefined;
  private best: string | undefined;
  private restarts = 0;
  /** Restarts since the best got better. */
  private idle = 0;
  private ended = false;

  constructor(private readonly space: Space, seed: number, private readonly options: IlsOptions) {
    this.rank = new Map(space.candidates.map(({ id }, i) => [id, i]));
    this.near = neighbourhoodOf(space.candidates);
    this.draw = drawOf(seed);
    this.queue = seedsFirst(space, space.candidates.slice(0, options.starts).map(({ id }) => id));
  }

  ask(count: number): readonly string[] {
    const ids: string[] = [];
    while (ids.length < count && !this.ended) {
      const id = this.queue.shift();
      if (id === undefined) {
        // What is still under way may be where to go on.
        if (this.waiting.size > 0 || ids.length > 0) break;
        this.restart();
      } else if (!this.asked.has(id)) {
        this.asked.add(id);
        this.waiting.add(id);
        ids.push(id);
      }
    }
    return ids;
  }

  tell(id: string, cost: Cost): void {
    this.waiting.delete(id);
    this.costs.set(id, cost);
    if (cost !== undefined) this.consider(id, cost);
    if (this.queue.length === 0 && this.waiting.size === 0 && this.asked.size === this.space.candidates.length) this.ended = true;
  }

  get done(): boolean {
    return this.ended && this.waiting.size === 0;
  }

  private costOf(id: string | undefined): number {
    return (id === undefined ? undefined : this.costs.get(id)) ?? Infinity;
  }

  /** Goes on from `id` at once if it is better than where the descent stands: its neighbours come next, what is left of the old ones' not at all. */
  private consider(id: string, cost: number): void {
    if (cost < this.costOf(this.best) * (1 - GAIN)) {
      this.best = id;
      this.idle = 0;
    }
    if (cost >= this.costOf(this.at) * (1 - GAIN)) return;
    this.at = id;
    // Starts are all tried before the first descent: one of them may be better still.
    const starting = this.restarts === 0 ? this.queue.filter((other) => this.isStart(other)) : [];
    this.queue = [...starting, ...this.near.near(id).filter((other) => !this.asked.has(other) && !starting.includes(other))];
  }

  private isStart(id: string): boolean {
    return this.rank.get(id)! < this.options.starts || this.space.seeds.includes(id);
  }

  private restart(): void {
    const left = this.space.candidates.filter(({ id }) => !this.asked.has(id)).map(({ id }) => id);
    if (left.length === 0 || this.idle >= this.options.patience) {
      this.ended = true;
      return;
    }
    this.restarts++;
    this.idle++;
    const start = this.startOf(left);
    this.at = undefined;
    this.queue = [start];
  }

  /** Where to go on among what is left: every other time a jump near the best; between those by turns the space's next best guess, and one from anywhere. */
  private startOf(left: readonly string[]): string {
    const { best } = this;
    if (this.restarts % 4 === 1) return left[0]!;
    const jumps = best === undefined || this.restarts % 2 === 1 ? [] : left.filter((id) => this.near.distance(best, id) <= JUMP);
    const from = jumps.length > 0 ? jumps : left;
    const drawn = Array.from({ length: DRAWN }, () => from[this.draw(from.length)]!);
    return drawn.reduce((a, b) => (this.rank.get(b)! < this.rank.get(a)! ? b : a));
  }
}

/** Iterated local search with other numbers than {@link ILS}. */
export const ilsWith = (options: Partial<IlsOptions>): MakeStrategy => (space, seed) => new IteratedLocalSearch(space, seed, { ...ILS, ...options });

export const ils: MakeStrategy = ilsWith({});
