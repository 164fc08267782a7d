// How far a sweep is, from the events that it writes: counts, the best gain, clock and temperature, time left; as one line.
import { median } from '../space/numbers.ts';
import type { Draft } from './events.ts';
import type { Clock } from './measurer.ts';

const percent = (ratio: number): string => `${ratio <= 1 ? '-' : '+'}${Math.abs(100 * (ratio - 1)).toFixed(1)} %`;

/** Seconds as people say them. */
export function duration(seconds: number): string {
  if (seconds < 90) return `${Math.max(0, Math.round(seconds))} s`;
  return seconds < 5400 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`;
}

export class SweepProgress {
  private compiled = 0;
  private readonly measured = new Set<string>();
  private lost = 0;
  private settled = 0;
  private rounds = 0;
  private best: { ratio: number; contract: string } | undefined;
  private board: { mhz: number | null; celsius: number | null } = { mhz: null, celsius: null };
  private readonly begun: number;
  private readonly problems: number;
  private readonly clock: Clock;
  private readonly deadline: number | undefined;

  /** `problems`: of all tasks, those that are settled already not counted. */
  constructor(problems: number, clock: Clock, deadline?: number) {
    this.problems = problems;
    this.clock = clock;
    this.deadline = deadline;
    this.begun = clock.now();
  }

  take(draft: Draft): void {
    switch (draft.event) {
      case 'compiled':
        this.compiled++;
        return;
      case 'failed':
        this.lost++;
        return;
      case 'settled':
        this.settled++;
        return;
      case 'probe':
        this.board = draft;
        return;
      case 'raced': {
        const { arms, rounds, problem } = draft;
        arms.forEach(({ kernel }) => this.measured.add(kernel));
        this.rounds += rounds.length;
        if (rounds.length === 0) return;
        this.board = rounds.at(-1)!;
        const ratios = arms.map((_, i) => median(rounds.map(({ us }) => us[i]! / us[0]!)));
        const ratio = Math.min(...ratios);
        if (draft.phase !== 'screen' && (!this.best || ratio < this.best.ratio)) this.best = { ratio, contract: problem.contract };
        return;
      }
      default:
    }
  }

  /** Milliseconds until the end: of the budget, or at the rate so far; undefined while there is no rate. */
  left(): number | undefined {
    const now = this.clock.now();
    const byRate = this.settled > 0 ? ((now - this.begun) / this.settled) * Math.max(0, this.problems - this.settled) : undefined;
    if (this.deadline === undefined) return byRate;
    return Math.min(byRate ?? Infinity, Math.max(0, this.deadline - now));
  }

  line(): string {
    const left = this.left();
    const { mhz, celsius } = this.board;
    const board = [celsius === null ? [] : [`${celsius} °C`], mhz === null ? [] : [`${mhz} MHz`]].flat().join(' ');
    return [
      `compiled ${this.compiled}`, `measured ${this.measured.size}`, ...(this.lost > 0 ? [`lost ${this.lost}`] : []), `settled ${this.settled}/${this.problems}`,
      ...(this.best ? [`best ${percent(this.best.ratio)} vs default`] : []), ...(board === '' ? [] : [board]), ...(left === undefined ? [] : [`${duration(left / 1000)} left`]),
    ].join(' · ');
  }

  get summary(): { readonly compiled: number; readonly measured: number; readonly lost: number; readonly settled: number; readonly rounds: number; readonly seconds: number } {
    return { compiled: this.compiled, measured: this.measured.size, lost: this.lost, settled: this.settled, rounds: this.rounds, seconds: Math.round((this.clock.now() - this.begun) / 1000) };
  }
}
