// The times of one contract on one device as a field over streams and tokens, and what is best at any place of it. Pure.
import { sharedBytes } from '../../generator/shared.ts';
import type { Choice, Mode } from '../../generator/table/schema.ts';
import { kernelNamed } from '../space/names.ts';
import { armWord } from '../tune/problem.ts';
import { busyTime } from './busiest.ts';
import type { Board } from './expected.ts';
import { layersOf, TIE, type Layer } from './layers.ts';
import type { Point, TimedArm } from './pool.ts';
import { distance, nearestFirst, type Place } from './surface.ts';

/** The measured modes that may answer a mode. */
export const PARTS: Readonly<Record<Mode, readonly ('sequence' | 'spread')[]>> = { sequence: ['sequence'], spread: ['spread'], fastest: ['sequence', 'spread'] };

export interface Field {
  readonly points: readonly Point[];
  readonly layers: readonly Layer[];
}

/** What a field decides at a place. */
export interface Decision {
  readonly choice: Choice;
  readonly part: 'sequence' | 'spread';
  /** Logarithm of what it takes there, as far as the field knows: beside those of other kernels and launches. */
  readonly value: number;
  /** The measured point that the launch is taken from, and its arm there. */
  readonly from: Point;
  readonly arm: TimedArm;
}

/** The field of `points` (one contract, one board) for `kernels`. `parts`: the modes that it will be asked for. */
export function fieldOf(points: readonly Point[], kernels: readonly string[], board: Board, parts: readonly ('sequence' | 'spread')[] = PARTS.fastest): Field {
  const ground = { points, board, first: kernels[0]! };
  const layers = kernels.flatMap((kernel) => {
    const busy = busyTime(points, kernel, board);
    return parts.flatMap((part) => layersOf(ground, kernel, part, busy));
  });
  return { points, layers };
}

const sharedOf = (kernel: string): number => {
  const { contract, tile } = kernelNamed(kernel);
  return sharedBytes(contract, tile);
};

/** The best of a field at a place, in any of `parts`; undefined where none of them was measured. */
export function decide({ layers, points }: Field, parts: readonly ('sequence' | 'spread')[], place: Place): Decision | undefined {
  const open = layers.filter(({ part }) => parts.includes(part)).map((layer) => ({ layer, ...layer.at(place) }));
  if (open.length === 0) return undefined;
  const least = Math.min(...open.map(({ value }) => value));
  const near = nearestFirst(points.filter(({ problem }) => parts.includes(problem.mode)), place)[0];
  const tied = open.filter(({ value }) => value <= least + TIE).map((one) => {
    const { layer, from } = one;
    return {
      ...one, far: Math.round(1e6 * distance(from, place)), shared: sharedOf(layer.kernel),
      keeps: near?.incumbent?.kernel === layer.kernel ? 0 : 1,
      stays: near?.incumbent && from.point === near && armWord(from.arm) === armWord(near.incumbent) ? 0 : 1,
    };
  });
  const [best] = tied.sort(
    (a, b) =>
      a.keeps - b.keeps || a.shared - b.shared || (a.layer.kernel < b.layer.kernel ? -1 : a.layer.kernel > b.layer.kernel ? 1 : 0) ||
      // Bits that do not depend on batch mates are worth as much as a tie.
      Number(a.layer.part === 'spread') - Number(b.layer.part === 'spread') ||
      // Launches of one kernel: what was chosen before, then what was timed nearest by.
      a.stays - b.stays || a.far - b.far || a.value - b.value,
  );
  const { layer, choice, value, from } = best!;
  return { choice, part: layer.part, value, from: from.point, arm: from.arm };
}
