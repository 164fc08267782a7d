// What is committed under generated/: one line and one reason each. Everything else that is offered is written on demand with `gen --out DIR`.
import { ARCHS, type Arch } from './arch.ts';
import { contractOf, type Contract } from './contract.ts';
import { contractName, kernelName, type Kernel } from './name.ts';
import { presetOf } from './presets.ts';
import { contractsOf } from './recipe.ts';
import { sharedBytes } from './shared.ts';
import { defaultTile } from './tile.ts';

/**
 * Architectures whose kernels are committed, oldest first. Their PTX serves everything newer, so that of a later one only those contracts are committed that the
 * kernels before it leave without their tile: blocks of sm86 (and of sm89 and sm120) have less shared memory than those of an A100, and no room for many tables;
 * blocks of H100 and H200 have more, for all copies of the tables.
 */
export const SHIPPED_ARCHS: readonly string[] = ['sm80', 'sm86', 'sm90'];

const preset = (name: string, headDim: 64 | 128): Contract[] => contractsOf(presetOf(name), headDim);

const SHIPPED: readonly (readonly [why: string, contracts: readonly Contract[]])[] = [
  ['1 bit, the recipe to start from, at the head dim of Llama, Qwen and Mistral', preset('antkv-1', 128)],
  ['1 bit where rotating keys in the decode kernel costs too much', preset('antkv-1-fast', 128)],
  ['2 bits, for models that 1 bit hurts', preset('antkv-2', 128)],
  ['4 bits, for models that 2 bits hurt', preset('antkv-4', 128)],
  ['half a bit, for contexts that fit no other way', preset('antkv-0.5', 128)],
  ['the baseline, and the recipe of layers that stay exact', preset('f16', 128)],
  ['1 bit at the head dim of small models (Llama 3.2 1B, Qwen 2.5 0.5B)', preset('antkv-1', 64)],
  ['the closest score, to check the default policy against', [contractOf('score', { headDim: 128, dtype: 'f16', form: 'exact' }), contractOf('score', { headDim: 64, dtype: 'f16', form: 'exact' })]],
];

/** Every shipped contract with the reasons for it, by name. */
export function shippedContracts(): Map<string, { contract: Contract; why: string[] }> {
  const shipped = new Map<string, { contract: Contract; why: string[] }>();
  for (const [why, contracts] of SHIPPED) {
    for (const contract of contracts) {
      const name = contractName(contract);
      const row = shipped.get(name) ?? { contract, why: [] };
      row.why.push(why);
      shipped.set(name, row);
    }
  }
  return new Map([...shipped].sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** The kernel of each contract on each arch: its default tile. */
export const kernelsOf = (contracts: readonly Contract[], archs: readonly Arch[]): Kernel[] =>
  archs.flatMap((arch) => contracts.map((contract) => ({ contract, arch, tile: defaultTile(contract, arch) })));

/** The kernel of `contract` that a device of `arch` takes from `kernels`: the newest that it can run and has the shared memory for, as harness/antkv_load.h chooses. */
export const servedBy = (kernels: readonly Kernel[], contract: Contract, arch: Arch): Kernel | undefined =>
  kernels.findLast((kernel) => contractName(kernel.contract) === contractName(contract) && ARCHS.indexOf(kernel.arch) <= ARCHS.indexOf(arch) && sharedBytes(kernel.contract, kernel.tile) <= arch.sharedPerBlock);

/** The kernels of `contracts` on all {@link SHIPPED_ARCHS}, without those that an architecture has from an older one, with the same tile. */
export function kernelsToShip(contracts: readonly Contract[]): Kernel[] {
  const kernels: Kernel[] = [];
  for (const kernel of kernelsOf(contracts, ARCHS.filter((arch) => SHIPPED_ARCHS.includes(arch.name)))) {
    const older = servedBy(kernels, kernel.contract, kernel.arch);
    if (!older || kernelName({ ...older, arch: kernel.arch }) !== kernelName(kernel)) kernels.push(kernel);
  }
  return kernels;
}

/** Every shipped kernel. */
export const shippedKernels = (): Kernel[] => kernelsToShip([...shippedContracts().values()].map(({ contract }) => contract));
