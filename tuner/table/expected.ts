// What the analytic model expects of an arm anywhere in a field. Measured times follow it in ratio far more smoothly than by themselves: waves of CTAs come and go between points. Pure.
import { findArch } from '../../generator/arch.ts';
import type { Identity } from '../../generator/table/schema.ts';
import { ctasPerSm, launchWord, type Launch } from '../bench-launch.ts';
import { fitFor } from '../model/fits.ts';
import { makeModel } from '../model/model.ts';
import { kernelNamed } from '../space/names.ts';
import type { Problem } from '../tune/problem.ts';
import type { Place } from './surface.ts';

/** What of a device times between points depend on. */
export type Board = Pick<Identity, 'cc' | 'sms'>;

/** Microseconds of a kernel and launch at a place; undefined for ops and boards that the model does not know. */
export type Expect = (place: Place, kernel: string, launch: Launch) => number | undefined;

/** For problems like `like`, of which each sequence has `lines` streams, all of one length. */
export function expecting({ cc, sms }: Board, { like: { contract, mode, shape: { lens: _, ...shape } }, lines }: { readonly like: Problem; readonly lines: number }): Expect {
  const machine = findArch(`sm${cc}`)?.machine;
  const model = machine && makeModel({ ...machine, sms }, fitFor(machine));
  return ({ streams, tokens }, kernel, launch) => model?.us({ contract, mode, shape: { ...shape, batch: Math.max(1, streams / lines), tokens } }, { kernel, launch: launchWord(launch) });
}

/**
 * The spread launch that fills `sms` multiprocessors once, of work with `lines` lines: the yardstick of all spread launches, which differ from it by much the same at
 * neighbouring points. The model knows only in the mean of how many sequences a CTA of spread work has a part, which is too little to tell those apart.
 */
export const fillOf = (kernel: string, lines: number, sms: number): Launch => ({ splits: Math.min(1024, Math.max(1, Math.floor((ctasPerSm(kernelNamed(kernel)) * sms) / lines))), spread: true, merge: 'last' });
