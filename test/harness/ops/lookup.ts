// What the suites of decode's algorithms "lookup" and "tally" share: their kernels on the emulated driver.
import { misfit } from '../../../generator/tile.ts';
import { kernelName, parseKernelName } from '../../../generator/name.ts';
import { renderKernel } from '../../../generator/source.ts';
import { buildEmulatedKernel } from '../../../tuner/host.ts';
import { kernelRef, type CheckRecord, type CheckRequest, type KernelRef, type Shape } from '../../../tuner/problem.ts';
import type { Runner } from '../../../tuner/runner.ts';
import { combines, DECODE, fit } from '../../../tuner/shapes.ts';
import { emulated, mustPass } from './lab.ts';

/** A kernel with the combine that its checks may need. */
export interface Lookup {
  readonly kernel: KernelRef;
  readonly combine: KernelRef;
  readonly source: string;
}

/** Renders and builds `words` (a kernel's name without `antkv_decode_`) and its combine. Throws if the tile does not fit, or the name is another's. */
export async function lookup(words: string): Promise<Lookup> {
  const wanted = parseKernelName(`antkv_decode_${words}`);
  const why = misfit(wanted.contract, wanted.tile, wanted.arch);
  if (why.length > 0 || wanted.tile.algorithm === undefined) throw new Error(`${words}: ${why.join('; ') || 'algorithm rows'}`);
  const name = kernelName(wanted);
  const source = renderKernel(wanted);
  const [combine, image] = await Promise.all([emulated('combine', { headDim: wanted.contract.headDim!, dtype: 'f16' }), buildEmulatedKernel(name, source)]);
  return { kernel: kernelRef(name, image), combine, source };
}

/** The emulated device is an A100, whatever the kernel was made for: blocks get the shared memory of the kernel's own architecture. */
const limitOf = ({ kernel }: Lookup): number => parseKernelName(kernel.name).arch.sharedPerBlock;

/** Checks one shape as `fit` makes it; every field of `emulator` that stays from one request to the next is set. */
export function passes(runner: Runner, on: Lookup, wanted: Shape<'decode'>, emulator: CheckRequest['emulator'] = {}): Promise<CheckRecord> {
  const shape = fit('decode', wanted, parseKernelName(on.kernel.name).contract)!;
  const settings = { order: 0, race: 1, counters: 0, warp_order: 0, smem_limit: limitOf(on), ...emulator };
  return mustPass(runner, 'decode', on.kernel, shape, { seed: 1, emulator: settings, ...(combines(shape) ? { combine: on.combine } : {}) });
}

export type Group = keyof typeof DECODE;
export const GROUPS = Object.keys(DECODE) as Group[];

/** Every shape of the groups. Throws one error that lists all shapes that fail, so that one run tells everything. */
export async function passesAll(runner: Runner, on: Lookup, groups: readonly Group[], emulator: CheckRequest['emulator'] = {}): Promise<void> {
  const failures: string[] = [];
  for (const group of groups) {
    for (const shape of DECODE[group] as readonly Shape<'decode'>[]) {
      await passes(runner, on, shape, emulator).catch((error: Error) => failures.push(`${group}: ${error.message}`));
    }
  }
  if (failures.length > 0) throw new Error(`${on.kernel.name} fails at ${failures.length} shapes:\n${failures.map((text) => text.slice(0, 1000)).slice(0, 8).join('\n')}`);
}
