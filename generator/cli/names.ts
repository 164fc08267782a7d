// Kernels by name, as users type them.
import { parseArchs, type Arch } from '../arch.ts';
import { reject } from '../contract.ts';
import { nearest, UsageError } from '../errors.ts';
import { contractName, kernelName, parseContractName, parseKernelName, type Kernel } from '../name.ts';
import { shippedKernels } from '../ship.ts';
import { defaultTile, misfit } from '../tile.ts';

/** The architectures of a list with commas; `native` are those of this machine's GPUs. Throws UsageError, and EnvironmentError where there is no GPU. */
export async function archsOf(text: string): Promise<Arch[]> {
  const native = text.includes('native') ? await (await import('../../tuner/device.ts')).nativeCapabilities() : [];
  return parseArchs(text, () => native);
}

/** The kernel of a kernel's name, or of a contract's name with the default tile. Throws UsageError with nearest names, or with the reasons why it is not offered. */
export function kernelOf(name: string, arch: string): Kernel {
  let kernel: Kernel;
  try {
    if (name.includes('__')) kernel = parseKernelName(name);
    else {
      const contract = parseContractName(name);
      const [target] = parseArchs(arch, () => []) as [Arch];
      kernel = { contract, arch: target, tile: defaultTile(contract, target) };
    }
  } catch (error) {
    if (error instanceof UsageError) throw error;
    const known = shippedKernels().flatMap((k) => [contractName(k.contract), kernelName(k)]);
    const near = nearest(name, known);
    throw new UsageError((error as Error).message, near.length > 0 ? `did you mean ${near.join(' or ')}?` : '"gen list" names what is offered');
  }
  const why = reject(kernel.contract);
  if (why.length === 0) why.push(...misfit(kernel.contract, kernel.tile, kernel.arch));
  if (why.length > 0) throw new UsageError(`${name} is not offered:\n${why.map((reason) => `  ${reason}`).join('\n')}`, '"gen list" names what is');
  return kernel;
}
