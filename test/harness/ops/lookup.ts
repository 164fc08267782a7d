// What the suites of decode's algorithms "lookup" and "tally" share: their kernels on the emulated driver.
import type { Test } from 'uvu';
import * as assert from 'uvu/assert';
import { misfit } from '../../../generator/tile.ts';
import { kernelName, parseKernelName } from '../../../generator/name.ts';
import { renderKernel } from '../../../generator/source.ts';
import { buildEmulatedKernel } from '../../../tuner/host.ts';
import { kernelRef, type CheckRecord, type CheckRequest, type KernelRef, type Shape } from '../../../tuner/problem.ts';
import type { Runner } from '../../../tuner/runner.ts';
import { combines, DECODE, fit } from '../../../tuner/shapes.ts';
import { emulated, emulatedRunner, mustPass } from './lab.ts';

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
  const [combine, image] = await Promise.all([emulated('combine', { headDim: wanted.contract.headDim!, dtype: wanted.contract.dtype! }), buildEmulatedKernel(name, source)]);
  return { kernel: kernelRef(name, image), combine, source };
}

/** The emulated device is an A100, whatever the kernel was made for: blocks get the shared memory of the kernel's own architecture. */
const limitOf = ({ kernel }: Lookup): number => parseKernelName(kernel.name).arch.sharedPerBlock;

/** Checks one shape as `fit` makes it; every field of `emulator` that stays from one request to the next is set. */
export function passes(runner: Runner, on: Lookup, wanted: Shape<'decode'>, emulator: CheckRequest['emulator'] = {}, seed = 1): Promise<CheckRecord> {
  const shape = fit('decode', wanted, parseKernelName(on.kernel.name).contract)!;
  const settings = { order: 0, race: 1, counters: 0, warp_order: 0, smem_limit: limitOf(on), ...emulator };
  return mustPass(runner, 'decode', on.kernel, shape, { seed, emulator: settings, ...(combines(shape) ? { combine: on.combine } : {}) });
}

/** What every suite of an algorithm asks of its kernels: `all` by the words that `lookup` takes, `on` which of them meet which shapes. What it gives checks other shapes on the same kernels. */
export function meetsShapes(test: Test, all: readonly string[], on: Readonly<Record<Group, readonly string[]>>, lengths: readonly [number, number]): Lab {
  const lab: Lab = { passes: (words, shape, emulator, seed) => passes(runner, made.get(words)!, shape, emulator, seed) };
  let runner: Runner;
  const made = new Map<string, Lookup>();
  // A test, not a hook: uvu swallows what a before hook throws, and the suite would pass without having run.
  test('runner and kernels build', async () => {
    const [own, ...built] = await Promise.all([emulatedRunner(), ...all.map(lookup)]);
    runner = own;
    all.forEach((words, i) => made.set(words, built[i]!));
  });
  test.after(() => runner?.close());

  // Many CTAs take long: each makes its tables.
  const few = ({ splits = 1 }: Shape<'decode'>): boolean => splits <= 17;
  for (const group of GROUPS) {
    test(group, async () => {
      const shapes = (DECODE[group] as readonly Shape<'decode'>[]).filter(few);
      assert.ok(shapes.length > 0);
      for (const words of on[group]) for (const shape of shapes) await lab.passes(words, shape);
    });
  }

  test('other orders of blocks, warps and lanes give the same answer, and no race in global memory', async () => {
    const shape: Shape<'decode'> = { coded_len: [...lengths], kv_len: lengths.map((n, i) => n + [10, 7][i]!), q_len: [3, 1], ring_rows: 16, q_heads: 4, kv_heads: 2, anchor_permille: 60, splits: 2, merge: 'last', ring_scores: true };
    for (const words of all) {
      const records = [];
      for (const order of [0, 1, 2, 3]) records.push(await lab.passes(words, shape, { order, race: 2 }));
      for (const { rel_l2, max_abs, lse_err } of records) assert.equal([rel_l2, max_abs, lse_err], [records[0]!.rel_l2, records[0]!.max_abs, records[0]!.lse_err]);
    }
  });
  return lab;
}

export interface Lab {
  /** Checks one shape on the kernel of `words`. */
  passes(words: string, shape: Shape<'decode'>, emulator?: CheckRequest['emulator'], seed?: number): Promise<CheckRecord>;
}

/** Why a kernel is refused. */
export const refusal = (words: string): Promise<string> => lookup(words).then(() => assert.unreachable('no error'), (error: Error) => error.message) as Promise<string>;

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
