// Where runs on real data stand: two dumps that fit each other, codebooks trained on one for the other, kernels loaded. Opened once for any number of runs.
import type { Op } from '../generator/contract.ts';
import type { Dump } from '../generator/format.ts';
import { kernelName, type Kernel } from '../generator/name.ts';
import type { Recipe } from '../generator/recipe.ts';
import { openDump } from './calibrate/file.ts';
import { calibrateSides, checkDumps, kernelsFor, roleOf, sideKey, sidesOf, type Side, type Variant } from './dumps.ts';
import { loadKernels, type Device, type Loaded } from './images.ts';
import type { KernelRef } from './problem.ts';
import { removeTemporary, temporaryFolder } from './temporary.ts';

export interface GroundOptions {
  /** Dumps: queries, keys and values to run on, and keys and values of another text to calibrate on. */
  readonly evaluation: string;
  readonly calibration: string;
  readonly device: Device;
  readonly threads?: number | undefined;
  readonly onProgress?: (done: number, total: number, what: string) => void;
}

export interface Ground {
  readonly dump: Dump;
  readonly loaded: Loaded;
  /** The codebooks of a recipe; undefined for an exact side. */
  books(recipe: Recipe): { readonly k: Side | undefined; readonly v: Side | undefined; readonly undertrained: boolean };
  /** The kernels that a recipe launches, by what each is to it, without those of `unused` ops. */
  kernels(recipe: Recipe, unused: readonly Op[]): Record<string, KernelRef>;
  /** Says that a run is done. */
  done(what: string): void;
}

/** Where a run happened. */
export interface Place {
  readonly device: string;
  readonly emulated: boolean;
  /** Why there is no GPU in it, if it was looked for. */
  readonly why?: string;
}

/** What some runs do with `variants`: all ops but `unused`. */
export interface Use {
  readonly variants: readonly Variant[];
  readonly unused: readonly Op[];
  /** How often they say that they are done. */
  readonly runs: number;
  /** Throws InputError for a dump that they cannot run on: before any work. */
  readonly fits?: (dump: Dump) => void;
}

/** Calls `run` on the ground that `uses` need, and clears it. Throws InputError for dumps that do not fit, and what building and running may throw. */
export async function onGround<T>(options: GroundOptions, uses: readonly Use[], run: (ground: Ground) => Promise<T>): Promise<T & Place> {
  const evaluation = openDump(options.evaluation);
  const calibration = openDump(options.calibration);
  const folder = temporaryFolder('antkv-ground-');
  let loaded: Loaded | undefined;
  try {
    const { dump } = evaluation;
    checkDumps(dump, calibration.dump);
    for (const { fits } of uses) fits?.(dump);
    const wanted = uses.flatMap(({ variants, unused }) => variants.flatMap(({ recipe }) => kernelsFor(recipe, dump.headDim, unused)));
    const kernels = new Map(wanted.map((kernel) => [kernelName(kernel), kernel]));
    const sides = sidesOf(uses.flatMap(({ variants }) => variants));
    const total = sides.size + 2 + kernels.size + uses.reduce((sum, { runs }) => sum + runs, 0);
    let count = 0;
    const done = (what: string): void => options.onProgress?.(++count, total, what);
    const books = await calibrateSides(calibration, dump, sides, folder, options.threads, (key) => done(`codebook ${key}`));
    loaded = await loadKernels([...kernels.values()], options.device, done);
    const { info, why, kernels: refs } = loaded;
    const result = await run({
      dump, loaded, done,
      books: (recipe) => {
        const [k, v] = (['k', 'v'] as const).map((side) => books.get(sideKey(recipe, side) ?? ''));
        return { k, v, undertrained: Boolean(k?.undertrained) || Boolean(v?.undertrained) };
      },
      kernels: (recipe, without) => Object.fromEntries(kernelsFor(recipe, dump.headDim, without).map((kernel: Kernel) => [roleOf(kernel), refs.get(kernelName(kernel))!])),
    });
    return { ...result, device: info.device, emulated: info.emulated, ...(why !== undefined && { why }) };
  } finally {
    await loaded?.close();
    evaluation.close();
    calibration.close();
    removeTemporary(folder);
  }
}

/** The codebook files that the runner is told. */
export const codebookOf = ({ k, v }: Pick<ReturnType<Ground['books']>, 'k' | 'v'>): { k?: string; v?: string; basis?: string } =>
  ({ ...(k && { k: k.path }), ...(v && { v: v.path }), ...(v?.basis !== undefined && { basis: v.basis }) });
