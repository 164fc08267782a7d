// Which kernels of a contract to ship: greedily, the one that lowers the worst slowdown, then the mean, until enough is reached. Pure.
import { parseKernelName } from '../../generator/name.ts';
import { sharedBytes } from '../../generator/shared.ts';
import { renderKernel } from '../../generator/source.ts';
import { mean } from '../space/numbers.ts';
import { bestOf, TIE } from './layers.ts';
import type { Point } from './pool.ts';

export interface ChooseOptions {
  /** Kernels of a contract, the default among them. */
  readonly maxKernels: number;
  /** Enough when no point is slower than this, against the best that was found there. */
  readonly maxSlowdown: number;
}

/** What is usual: gen tune and gen table merge without options. */
export const CHOOSE_DEFAULTS: ChooseOptions = { maxKernels: 2, maxSlowdown: 1.03 };

/** A step of the curve: this many kernels, and what is lost with them. */
export interface CurveStep {
  readonly kernel: string;
  readonly kernels: number;
  /** Bytes of the generated sources. */
  readonly bytes: number;
  /** Slowdowns against the best at each point: 1 is none. */
  readonly worst: number;
  readonly mean: number;
  readonly shipped: boolean;
}

/** The curve goes on this far beyond what is shipped: what more kernels would bring. */
const SHOWN = 8;

/** Time of each point with the best of `kernels`, over the best that was found there; infinite where none of them ran. */
const slowdowns = (points: readonly Point[], kernels: readonly string[]): number[] =>
  points.map((point) => Math.min(...kernels.map((kernel) => bestOf(point, kernel)?.us ?? Infinity)) / point.arms[0]!.us);

/** Steps of adding kernels to the default; those with `shipped` are to be shipped. `points` are of one contract, every mode. */
export function chooseKernels(points: readonly Point[], first: string, { maxKernels, maxSlowdown }: ChooseOptions): CurveStep[] {
  const left = new Set(points.flatMap(({ arms }) => arms.map(({ kernel }) => kernel)));
  left.delete(first);
  const incumbents = new Set(points.flatMap(({ incumbent }) => (incumbent ? [incumbent.kernel] : [])));
  const facts = new Map([first, ...left].map((kernel) => [kernel, parseKernelName(kernel)]));
  const shared = (kernel: string): number => sharedBytes(facts.get(kernel)!.contract, facts.get(kernel)!.tile);
  const taken: string[] = [];
  const steps: CurveStep[] = [];
  let bytes = 0;
  const take = (kernel: string): void => {
    const before = steps.at(-1);
    taken.push(kernel);
    bytes += Buffer.byteLength(renderKernel(facts.get(kernel)!));
    const slow = slowdowns(points, taken);
    steps.push({ kernel, kernels: taken.length, bytes, worst: Math.max(...slow), mean: mean(slow), shipped: !before || (before.shipped && taken.length <= maxKernels && before.worst > maxSlowdown) });
  };
  take(first);
  while (left.size > 0 && taken.length < SHOWN) {
    const tried = [...left].sort().map((kernel) => {
      const slow = slowdowns(points, [...taken, kernel]);
      return { kernel, worst: Math.max(...slow), mean: mean(slow) };
    });
    // Ties in turn: worst, mean, then what was there, what takes less shared memory, the name.
    const least = Math.min(...tried.map(({ worst }) => worst));
    const good = tried.filter(({ worst }) => worst <= least + TIE);
    const mild = Math.min(...good.map((one) => one.mean));
    const [next] = good.filter((one) => one.mean <= mild + TIE / 5).sort((a, b) => Number(incumbents.has(b.kernel)) - Number(incumbents.has(a.kernel)) || shared(a.kernel) - shared(b.kernel) || (a.kernel < b.kernel ? -1 : 1));
    const last = steps.at(-1)!;
    if (next!.worst > last.worst - TIE && next!.mean > last.mean - TIE) break; // what is left to win is noise
    take(next!.kernel);
    left.delete(next!.kernel);
  }
  return steps;
}
