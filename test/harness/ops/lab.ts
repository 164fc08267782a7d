// What the suites of all ops share: kernels rendered from the templates, built for the emulated driver, and one runner.
import { findArch } from '../../../generator/arch.ts';
import { contractOf, reject, type Contract } from '../../../generator/contract.ts';
import { kernelName } from '../../../generator/name.ts';
import { renderKernel } from '../../../generator/source.ts';
import { defaultTile, usesOwnInstructions, type Tile } from '../../../generator/tile.ts';
import { buildEmulatedKernel, buildEmulator, buildRunner, type HostOptions } from '../../../tuner/host.ts';
import { kernelRef, type CheckOp, type CheckRecord, type CheckRequest, type KernelRef, type Shape } from '../../../tuner/problem.ts';
import { Runner } from '../../../tuner/runner.ts';

const [arch, newest] = [findArch('sm80')!, findArch('sm90')!];

/** A runner on the emulated driver. Close it. */
export async function emulatedRunner(options: HostOptions = {}): Promise<Runner> {
  const [binary, driver] = await Promise.all([buildRunner(options), buildEmulator(options)]);
  return new Runner({ binary, driver });
}

/** The kernel of a contract, rendered and built for the emulator; the default tile unless one is given. */
export async function emulated(op: CheckOp, axes: Partial<Contract>, tile?: Tile, options: HostOptions = {}): Promise<KernelRef> {
  const contract = contractOf(op, axes);
  const why = reject(contract);
  if (why.length > 0) throw new Error(why.join('; '));
  const kernel = { contract, arch: tile && usesOwnInstructions(tile) ? newest : arch, tile: tile ?? defaultTile(contract, arch) };
  return kernelRef(kernelName(kernel), await buildEmulatedKernel(kernelName(kernel), renderKernel(kernel), options));
}

/** A contract's axes in the words of its name: `d128 8c8b/8c8bq8 pre gain n4`. */
export function cacheAxes(words: string): Partial<Contract> {
  const [headDim, codecs, ...flags] = words.split(' ');
  const [k, v] = codecs!.split('/');
  const axes = { headDim: Number(headDim!.slice(1)), k, v, dtype: 'f16', key: flags.includes('pre') ? 'pre' : 'post', gain: flags.includes('gain') ? 'k' : 'none', ...(flags.includes('n4') ? { columns: 4 } : {}) };
  return axes as Partial<Contract>;
}

/** Checks one shape; a record that is not ok becomes an error which says how to ask again. */
export async function mustPass<Op extends CheckOp>(runner: Runner, op: Op, kernel: KernelRef, shape: Shape<Op>, more: Partial<CheckRequest<Op>> = {}): Promise<CheckRecord> {
  const request: CheckRequest<Op> = { cmd: 'check', op, kernel, shape, ...more };
  const record = await runner.check(request as CheckRequest);
  if (!record.ok) throw new Error(`${record.faults.join('; ')} (rel_l2 ${record.rel_l2}, lse_err ${record.lse_err})\nrequest: ${JSON.stringify(request)}`);
  return record;
}
