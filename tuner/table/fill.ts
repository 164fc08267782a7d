// What a launch cut by sequence takes where it was not timed: what is expected of it, corrected by what the arms of the kernel took that fill the device alike. Pure.
import { ctasPerSm, parseLaunch, type Launch } from '../bench-launch.ts';
import { kernelNamed } from '../space/names.ts';
import type { Board, Expect } from './expected.ts';
import type { Point } from './pool.ts';
import type { Place } from './surface.ts';

/** Of this many arms that fill the device most alike the ratio to what is expected counts, by the inverse square of how far they are. */
const ALIKE = 8;
/** How the device is filled says more of that ratio than how long shares are, by this much. */
const FILLING = 2;
/** Another way to merge, in octaves. */
const OTHER_MERGE = 0.5;
/** Arms nearer than this are the same. */
const SAME = 1e-3;

interface Sample {
  readonly at: readonly number[];
  readonly merge: Launch['merge'];
  /** Logarithm of measured time / expected time. */
  readonly ratio: number;
}

interface Near {
  readonly ratio: number;
  readonly far: number;
}

/** The {@link ALIKE} samples nearest to `to`, nearest first. Kept in order as they come: to sort them all took a third of the time of a table. */
function nearest(samples: readonly Sample[], to: readonly number[], merge: Launch['merge']): Near[] {
  const near: Near[] = [];
  const isBehind = (one: Near, far: number, ratio: number): boolean => one.far > far || (one.far === far && one.ratio > ratio);
  for (const { at, merge: own, ratio } of samples) {
    const far = Math.sqrt(at.reduce((sum, x, i) => sum + (x - to[i]!) ** 2, 0)) + (own === merge ? 0 : OTHER_MERGE);
    if (near.length === ALIKE && !isBehind(near[ALIKE - 1]!, far, ratio)) continue;
    const place = near.findIndex((one) => isBehind(one, far, ratio));
    near.splice(place < 0 ? near.length : place, 0, { ratio, far });
    if (near.length > ALIKE) near.pop();
  }
  return near;
}

/** Microseconds of a launch of `kernel` at a place, from all its arms at `points` (by sequence); undefined where `model` knows none. */
export function corrected(points: readonly Point[], kernel: string, { sms }: Board, model: Expect): (place: Place, launch: Launch) => number | undefined {
  const held = ctasPerSm(kernelNamed(kernel)) * sms;
  /** Octaves of: how full the last turn of the device is, CTAs of a multiprocessor, tokens of a share, shares of a stream. */
  const coordinates = ({ streams, tokens }: Place, { splits }: Launch): readonly number[] => {
    const turns = (splits * streams) / held;
    return [FILLING * Math.log2(turns / Math.ceil(turns)), FILLING * Math.log2((splits * streams) / sms), Math.log2(tokens / splits), Math.log2(splits)];
  };
  const samples = points.flatMap((point) => point.arms.flatMap((arm): Sample[] => {
    if (arm.kernel !== kernel || arm.launch === '') return [];
    const launch = parseLaunch(arm.launch);
    const us = model(point, kernel, launch);
    return us === undefined ? [] : [{ at: coordinates(point, launch), merge: launch.merge, ratio: Math.log(arm.us / us) }];
  }));
  return (place, launch) => {
    const us = model(place, kernel, launch);
    if (us === undefined || samples.length === 0) return us;
    const to = coordinates(place, launch);
    const near = nearest(samples, to, launch.merge).map(({ ratio, far }) => ({ ratio, weight: 1 / Math.max(far, SAME) ** 2 }));
    const sum = near.reduce((total, { weight }) => total + weight, 0);
    return us * Math.exp(near.reduce((total, { ratio, weight }) => total + ratio * weight, 0) / sum);
  };
}
