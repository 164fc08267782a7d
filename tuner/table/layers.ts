// The times of one kernel in one mode as a layer of a field: what it takes at any place, and which of its launches. Pure.
import type { Choice } from '../../generator/table/schema.ts';
import { ctasPerSm, launchesOf, launchWord, mostShares, parseLaunch, type Launch } from '../bench-launch.ts';
import { kernelNamed } from '../space/names.ts';
import { mean } from '../space/numbers.ts';
import { armWord } from '../tune/problem.ts';
import { FAR } from '../tune/screen.ts';
import type { BusyTime } from './busiest.ts';
import { expecting, fillOf, type Board, type Expect } from './expected.ts';
import { corrected } from './fill.ts';
import type { Point, TimedArm } from './pool.ts';
import { nearestFirst, samePlace, surfaceOf, type Place } from './surface.ts';

/** Differences below this share are none: the incumbent stays, else the kernel with less shared memory. */
export const TIE = 0.005;

/** An arm at a point where it was timed. */
export interface Best extends Place {
  readonly arm: TimedArm;
  readonly point: Point;
}

/** What a layer says of a place. */
export interface There {
  /** The measured point that the launch is taken from, and its arm there. */
  readonly from: Best;
  readonly choice: Choice;
  /** Logarithm of the time; only differences between layers mean anything. */
  readonly value: number;
}

/** A kernel in one measured mode, or one of its launches there. */
export interface Layer {
  readonly kernel: string;
  readonly part: 'sequence' | 'spread';
  readonly at: (place: Place) => There;
}

/** The fastest launch of a kernel at a point; one that a table chose before stays if it is as fast. */
export function bestOf({ arms, incumbent }: Point, kernel: string): TimedArm | undefined {
  const own = arms.filter((arm) => arm.kernel === kernel);
  const kept = incumbent && own.find((arm) => armWord(arm) === armWord(incumbent));
  return kept && kept.us <= own[0]!.us * (1 + TIE) ? kept : own[0];
}

/** A spread launch at a place: where tokens are too few for so many shares as many as a race tries there. */
function clamped(kernel: string, launch: string, { streams, tokens }: Place, lines: number): Launch {
  const { splits, ...rest } = parseLaunch(launch);
  return { ...rest, splits: Math.min(splits, mostShares(kernelNamed(kernel), Math.max(1, streams / lines) * tokens)) };
}

/** The launches of a kernel at `points` of spread work, but for those that were as many shares as tokens gave there: others come to these ({@link clamped}). */
function launchesAt(points: readonly Point[], kernel: string): string[] {
  const own = points.flatMap((point) => point.arms.filter((arm) => arm.kernel === kernel).map(({ launch }) => ({ launch, whole: parseLaunch(launch).splits < mostShares(kernelNamed(kernel), (point.streams / point.lines) * point.tokens) })));
  const free = own.filter(({ whole }) => whole);
  return [...new Set((free.length > 0 ? free : own).map(({ launch }) => launch))].sort();
}

/** A launch as a choice for another place: `spread` counts the CTAs of the whole grid, which fill the device as before; else those of a stream, of which fewer streams want more. */
export function choiceOf(arm: TimedArm, from: Point, { streams, tokens }: Place, sms: number): Choice {
  if (arm.launch === '') return { kernel: arm.kernel, ctas: 0, spread: false, merge: 'none' };
  const { splits, spread, merge } = parseLaunch(arm.launch);
  if (spread) return { kernel: arm.kernel, ctas: Math.min(splits * from.lines, 65_535), spread, merge };
  const kernel = kernelNamed(arm.kernel);
  const held = ctasPerSm(kernel) * sms;
  // One CTA a stream was no choice of a number, nor are as many as its tokens gave: those are as many as there are streams, which the device may not hold; these as many as it holds.
  const total = splits === 1 ? Math.min(from.streams, held) : splits === mostShares(kernel, from.tokens) ? Math.max(splits * from.streams, held) : splits * from.streams;
  const ctas = samePlace(from, { streams, tokens }) ? splits : Math.min(Math.max(1, Math.floor(total / streams)), mostShares(kernel, tokens));
  return { kernel: arm.kernel, ctas, spread, merge: ctas === 1 ? 'none' : merge === 'none' ? 'last' : merge };
}

/**
 * Where a kernel, or a launch of it, was not timed it was far behind, or lost: it counts as this many times the best that was, and what it is expected to take beside
 * the kernel's other launches. So nothing is chosen at a point where it never ran.
 */
const UNTIMED = Math.log(FAR);

/** Points of one contract and board, as layers are made from them. */
export interface Ground {
  readonly points: readonly Point[];
  readonly board: Board;
  /** The first of the kernels: the yardstick of spread work. */
  readonly first: string;
}

/** Where a launch comes from, and what is expected of it: times are divided by that before they are interpolated, and multiplied after. */
type Guess = Omit<There, 'value'> & { readonly us: number };

/** Of this many nearest points the launches are looked at. */
const NEAR = 4;
/** Times that the CTAs of a launch between points fill the device, at most: where streams fill it by little more than whole times, cutting each in two or three saves most of a turn. */
const FILLS = 8;

/** The yardstick of launches cut by sequence: the busiest CTA, or the analytic model where that is nearer to the kernel's times (they may be its own). */
function yardstick({ points, board }: Ground, kernel: string, busy: BusyTime | undefined): Expect {
  const here = points.filter(({ problem }) => problem.mode === 'sequence');
  const { problem: like, lines } = here[0]!;
  const model = expecting(board, { like, lines });
  if (!busy) return model;
  const arms = here.flatMap((point) => point.arms.filter((arm) => arm.kernel === kernel && arm.launch !== '').map(({ launch, us }) => ({ point, us, launch: parseLaunch(launch) })));
  const error = (expect: Expect): number => mean(arms.map(({ point, us, launch }) => Math.abs(Math.log(us / (expect(point, kernel, launch) ?? Infinity)))));
  const own: Expect = (place, _, launch) => busy(place, launch);
  return error(own) < error(model) ? own : model;
}

/**
 * The launch of one cut by sequence, of those of the nearest points, those that a race would try there, and those that fill the device up to {@link FILLS} times: turns of
 * CTAs come and go between points, and what fills whole ones may be best at none of them. Of equally fast ones the nearest point's.
 */
function sequenceGuess(ground: Ground, kernel: string, busy: BusyTime | undefined): (place: Place, own: readonly Best[]) => Guess {
  const { points, board } = ground;
  const here = points.filter(({ problem }) => problem.mode === 'sequence');
  const { lines } = here[0]!;
  const parsed = kernelNamed(kernel);
  const held = ctasPerSm(parsed) * board.sms;
  const expect = corrected(here, kernel, board, yardstick(ground, kernel, busy));
  const tried = ({ streams, tokens }: Place): Launch[] => {
    const batch = Math.max(1, streams / lines);
    const raced = launchesOf(parsed, { batch, tokens, total: batch * tokens, groups: lines, sms: board.sms }).filter(({ spread }) => !spread);
    const filling = Array.from({ length: FILLS }, (_, i) => Math.floor(((i + 1) * held) / streams)).filter((splits) => splits >= 1 && splits <= mostShares(parsed, tokens));
    const launches = [...raced, ...filling.map((splits): Launch => ({ splits, spread: false, merge: splits > 1 ? 'last' : 'none' }))];
    return [...new Map(launches.map((launch) => [launchWord(launch), launch])).values()];
  };
  return (place, own) => {
    const near = nearestFirst(own, place).slice(0, NEAR);
    const guess = (from: Best, choice: Choice): Guess => ({ from, choice, us: choice.ctas === 0 ? 1 : expect(place, { splits: choice.ctas, spread: false, merge: choice.merge }) ?? 1 });
    const guesses = near.map((from) => guess(from, choiceOf(from.arm, from.point, place, board.sms)));
    if (samePlace(guesses[0]!.from, place) || guesses[0]!.choice.ctas === 0) return guesses[0]!;
    guesses.push(...tried(place).map(({ splits, spread, merge }) => guess(near[0]!, { kernel, ctas: splits, spread, merge })));
    const least = Math.min(...guesses.map(({ us }) => us));
    return guesses.find(({ us }) => us <= least * (1 + TIE))!;
  };
}

/** A spread launch has as many CTAs anywhere; what it takes is expected by its busiest CTA, where too few times tell of a kernel by one yardstick for all. */
function spreadGuess({ points, board, first }: Ground, kernel: string, busy: BusyTime | undefined): (place: Place, own: readonly Best[], launch?: string) => Guess {
  const { problem: like, lines } = points.find(({ problem }) => problem.mode === 'spread')!;
  const expect = expecting(board, { like, lines });
  return (place, own, launch) => {
    const from = nearestFirst(own, place)[0]!;
    const there = clamped(kernel, launch!, place, lines);
    const us = busy ? busy(place, there) : expect(place, first, fillOf(first, lines, board.sms)) ?? 1;
    return { from, choice: { kernel, ctas: Math.min(there.splits * lines, 65_535), spread: true, merge: there.merge }, us };
  };
}

/**
 * The layers of a kernel in a mode. Work cut by sequence has one, of its best launch everywhere: CTAs of a stream follow from those of the device. Spread work has one for
 * each launch: which number of CTAs is best changes back and forth between points that are far apart, by little there and by much between, so that each is asked for alone.
 * `busy`: what the kernel's launches take by their busiest CTA.
 */
export function layersOf(ground: Ground, kernel: string, part: Layer['part'], busy: BusyTime | undefined): Layer[] {
  const here = ground.points.filter(({ problem }) => problem.mode === part);
  if (here.length === 0) return [];
  const guess: (place: Place, own: readonly Best[], launch?: string) => Guess = part === 'spread' ? spreadGuess(ground, kernel, busy) : sequenceGuess(ground, kernel, busy);
  /** `worth`: the arm whose time counts at a point; `launch`: the one that all of the layer come from. */
  const layer = (worth: (point: Point) => TimedArm | undefined, launch?: string): Layer[] => {
    const found = here.map((point) => ({ point, arm: worth(point) }));
    const own = found.flatMap(({ point, arm }): Best[] => (arm ? [{ streams: point.streams, tokens: point.tokens, arm, point }] : []));
    if (own.length === 0) return [];
    const surface = surfaceOf(found.map(({ point, arm }) => {
      const { streams, tokens, arms: [best] } = point;
      const { us } = guess(point, own, launch);
      if (arm) return { streams, tokens, value: Math.log(arm.us / us) };
      const others = busy && part === 'spread' ? point.arms.filter((one) => one.kernel === kernel).map((one) => Math.log(one.us / busy(point, parseLaunch(one.launch)))) : [];
      return { streams, tokens, value: UNTIMED + Math.max(Math.log(best!.us / us), others.length > 0 ? mean(others) : -Infinity) };
    }));
    const at = (place: Place): There => {
      const { us, ...rest } = guess(place, own, launch);
      return { ...rest, value: surface(place) + Math.log(us) };
    };
    return [{ kernel, part, at }];
  };
  if (part === 'sequence') return layer((point) => bestOf(point, kernel));
  // More CTAs than the device holds at once are another thing than as many as tokens give.
  const held = ctasPerSm(kernelNamed(kernel)) * ground.board.sms;
  return launchesAt(here, kernel).flatMap((launch) => layer((point) => {
    const { splits, merge } = clamped(kernel, launch, point, point.lines);
    if (splits < parseLaunch(launch).splits && parseLaunch(launch).splits * point.lines > held) return undefined;
    return point.arms.find((arm) => arm.kernel === kernel && parseLaunch(arm.launch).splits === splits && parseLaunch(arm.launch).merge === merge);
  }, launch));
}
