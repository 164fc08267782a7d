// The times of one contract on one device as a field over streams and tokens, and what is best at any place of it. Pure.
import { parseKernelName } from '../../generator/name.ts';
import { sharedBytes } from '../../generator/shared.ts';
import type { Choice, Mode } from '../../generator/table/schema.ts';
import { ctasPerSm, parseLaunch } from '../bench-launch.ts';
import { armsOf } from '../space/arms.ts';
import { armWord } from '../tune/problem.ts';
import { FAR } from '../tune/screen.ts';
import type { Point, TimedArm } from './pool.ts';
import { distance, nearestFirst, surfaceOf, type Place, type Surface } from './surface.ts';

/** Differences below this share are none: the incumbent stays, else the kernel with less shared memory. */
export const TIE = 0.005;

/** The measured modes that may answer a mode. */
export const PARTS: Readonly<Record<Mode, readonly ('sequence' | 'spread')[]>> = { sequence: ['sequence'], spread: ['spread'], fastest: ['sequence', 'spread'] };

/** An arm at a point where it was timed. */
interface Best extends Place {
  readonly arm: TimedArm;
  readonly point: Point;
}

/** A kernel in one measured mode, or one of its launches: where it was timed, and its log-ratio to the reference between. */
interface Layer {
  readonly kernel: string;
  readonly part: 'sequence' | 'spread';
  readonly points: readonly Best[];
  readonly surface: Surface;
}

export interface Field {
  readonly sms: number;
  readonly points: readonly Point[];
  readonly layers: readonly Layer[];
}

/** What a field decides at a place. */
export interface Decision {
  readonly choice: Choice;
  readonly part: 'sequence' | 'spread';
  /** Its log-ratio to the reference. */
  readonly value: number;
  /** The measured point that the launch is taken from, and its arm there. */
  readonly from: Point;
  readonly arm: TimedArm;
}

/** The fastest launch of a kernel at a point; one that a table chose before stays if it is as fast. */
export function bestOf({ arms, incumbent }: Point, kernel: string): TimedArm | undefined {
  const own = arms.filter((arm) => arm.kernel === kernel);
  const kept = incumbent && own.find((arm) => armWord(arm) === armWord(incumbent));
  return kept && kept.us <= own[0]!.us * (1 + TIE) ? kept : own[0];
}

/** Where a kernel, or a launch of it, was not timed it was far behind, or lost: it counts as this many times the best that was. So nothing is chosen at a point where it never ran. */
const UNTIMED = Math.log(FAR);

/** The arm of a kernel that a spread launch comes to at a point: itself, or where tokens are too few for so many shares the largest launch, as shares beyond it are empty. */
function armAt({ problem, arms }: Point, kernel: string, launch: string, sms: number): TimedArm | undefined {
  const own = arms.filter((arm) => arm.kernel === kernel);
  const most = Math.max(...armsOf(kernel, problem, sms).map((arm) => parseLaunch(arm.launch).splits));
  const splits = Math.min(most, parseLaunch(launch).splits);
  return own.find((arm) => arm.launch === launch) ?? own.find((arm) => parseLaunch(arm.launch).splits === splits);
}

/**
 * The layers of a kernel in a mode. Work cut by sequence has one, of its best launch everywhere: CTAs of a stream follow from those of the device. Spread work has one for
 * each launch: which number of CTAs is best changes back and forth between points that are far apart, by little there and by much between, so that each is asked for alone.
 */
function layersOf(points: readonly Point[], kernel: string, part: Layer['part'], sms: number, reference: (place: Place) => number): Layer[] {
  const here = points.filter(({ problem }) => problem.mode === part);
  /** `worth`: the arm whose time counts at a point; `launch`: of those, the ones that may be chosen. */
  const layer = (worth: (point: Point) => TimedArm | undefined, launch?: string): Layer[] => {
    const found = here.map((point) => ({ point, arm: worth(point) }));
    const own = found.flatMap(({ point, arm }): Best[] => (arm && (launch === undefined || arm.launch === launch) ? [{ streams: point.streams, tokens: point.tokens, arm, point }] : []));
    const ratio = (point: Point, arm: TimedArm | undefined): number => Math.log((arm ?? point.arms[0]!).us / reference(point)) + (arm ? 0 : UNTIMED);
    return own.length === 0 ? [] : [{ kernel, part, points: own, surface: surfaceOf(found.map(({ point, arm }) => ({ streams: point.streams, tokens: point.tokens, value: ratio(point, arm) }))) }];
  };
  if (part === 'sequence') return layer((point) => bestOf(point, kernel));
  const launches = new Set(here.flatMap(({ arms }) => arms.filter((arm) => arm.kernel === kernel).map(({ launch }) => launch)));
  return [...launches].sort().flatMap((launch) => layer((point) => armAt(point, kernel, launch, sms), launch));
}

/** The field of `points` (one contract, one device) for `kernels`. */
export function fieldOf(points: readonly Point[], kernels: readonly string[], sms: number): Field {
  // Ratios to one time per place, whatever the mode: modes can be compared, and a kernel that misses a place is not judged by how long steps take elsewhere.
  const reference = (place: Place): number => {
    const here = points.filter(({ streams, tokens }) => streams === place.streams && tokens === place.tokens);
    return (here.find(({ problem }) => problem.mode === 'sequence') ?? here[0]!).default.us;
  };
  const layers = kernels.flatMap((kernel) => PARTS.fastest.flatMap((part) => layersOf(points, kernel, part, sms, reference)));
  return { sms, points, layers };
}

const sharedOf = (kernel: string): number => {
  const { contract, tile } = parseKernelName(kernel);
  return sharedBytes(contract, tile);
};

/** A launch as a choice for another number of streams: `spread` counts the CTAs of the whole grid, which fill the device as before; else those of a stream, of which fewer streams want more. */
export function choiceOf(arm: TimedArm, from: Point, streams: number, sms: number): Choice {
  if (arm.launch === '') return { kernel: arm.kernel, ctas: 0, spread: false, merge: 'none' };
  const { splits, spread, merge } = parseLaunch(arm.launch);
  if (spread) return { kernel: arm.kernel, ctas: Math.min(splits * from.lines, 65_535), spread, merge };
  // One CTA a stream was no choice of a number: it is as many as there are streams, and the device may hold fewer.
  const total = splits === 1 ? Math.min(from.streams, ctasPerSm(parseKernelName(arm.kernel)) * sms) : splits * from.streams;
  const ctas = streams === from.streams ? splits : Math.min(Math.max(1, Math.floor(total / streams)), 1024);
  return { kernel: arm.kernel, ctas, spread, merge: ctas === 1 ? 'none' : merge === 'none' ? 'last' : merge };
}

/** The best of a field at a place, in any of `parts`; undefined where none of them was measured. */
export function decide({ layers, points, sms }: Field, parts: readonly ('sequence' | 'spread')[], place: Place): Decision | undefined {
  const open = layers.filter(({ part }) => parts.includes(part)).map((layer) => ({ layer, value: layer.surface(place) }));
  if (open.length === 0) return undefined;
  const least = Math.min(...open.map(({ value }) => value));
  const near = nearestFirst(points.filter(({ problem }) => parts.includes(problem.mode)), place)[0];
  const tied = open.filter(({ value }) => value <= least + TIE).map(({ layer, value }) => {
    const from = nearestFirst(layer.points, place)[0]!;
    return {
      layer, value, from, far: Math.round(1e6 * distance(from, place)), shared: sharedOf(layer.kernel),
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
  const { layer, value, from } = best!;
  return { choice: choiceOf(from.arm, from.point, place.streams, sms), part: layer.part, value, from: from.point, arm: from.arm };
}
