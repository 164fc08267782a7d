// What is committed under generated/: one line and one reason each. Everything else that is offered is written on demand with `gen --out DIR`.
import { ARCHS, type Arch } from './arch.ts';
import { contractOf, type Contract } from './contract.ts';
import { contractName, kernelName, type Kernel } from './name.ts';
import { presetOf } from './presets.ts';
import { contractsOf } from './recipe.ts';
import { sharedBytes } from './shared.ts';
import { namedKernels } from './table/entries.ts';
import { committedTables, type NamedTable } from './table/read.ts';
import { defaultTile, runsOn } from './tile.ts';

/**
 * Architectures whose kernels are committed, oldest first. Their PTX serves everything newer, so that of a later one only those contracts are committed that the
 * kernels before it leave without their tile: blocks of sm86 (and of sm89 and sm120) have less shared memory than those of an A100, and no room for many tables;
 * blocks of H100 and H200 have more, for all copies of the tables; and score by groups runs on these alone, so that what is newer takes an older one's.
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
  ['codebooks of all of these on a GPU', (['2c8b', '4c8b', '8c8b', '16c8b'] as const).map((k) => contractOf('kmeans', { k, dtype: 'f16' }))],
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

/** The kernels of `defaults`, and behind each those that a table chooses for its contract and architecture: the first of a pair stays the default. */
export function withChosen(defaults: readonly Kernel[], tables: readonly NamedTable[] = committedTables()): Kernel[] {
  const pair = ({ contract, arch }: Kernel): string => `${contractName(contract)} ${arch.name}`;
  const chosen = namedKernels(tables);
  return defaults.flatMap((kernel) => [kernel, ...chosen.filter((other) => pair(other) === pair(kernel) && kernelName(other) !== kernelName(kernel))]);
}

/**
 * The kernel of `contract` that a device of `arch` takes from `kernels` without a table: the newest architecture's that it can run and has the shared memory for, of
 * those the first, as harness/antkv_table.h chooses.
 */
export function servedBy(kernels: readonly Kernel[], contract: Contract, arch: Arch): Kernel | undefined {
  const age = (kernel: Kernel): number => ARCHS.indexOf(kernel.arch);
  const fitting = kernels.filter((kernel) => contractName(kernel.contract) === contractName(contract) && runsOn(kernel, Number(arch.name.slice(2))) && sharedBytes(kernel.contract, kernel.tile) <= arch.sharedPerBlock);
  return fitting.reduce<Kernel | undefined>((best, kernel) => (!best || age(kernel) > age(best) ? kernel : best), undefined);
}

/**
 * The kernels of `contracts` on all {@link SHIPPED_ARCHS}, without those that an architecture has from an older one, with the same tile; and what tables choose.
 * Where a table chooses a kernel of an architecture, that one's default is there too: it is what a device falls back to, and must not be the chosen one by chance.
 */
export function kernelsToShip(contracts: readonly Contract[], tables: readonly NamedTable[] = committedTables()): Kernel[] {
  const chosen = new Set(namedKernels(tables).map(({ contract, arch }) => `${contractName(contract)} ${arch.name}`));
  const kernels: Kernel[] = [];
  for (const kernel of kernelsOf(contracts, ARCHS.filter((arch) => SHIPPED_ARCHS.includes(arch.name)))) {
    const older = servedBy(kernels, kernel.contract, kernel.arch);
    if (!older || kernelName({ ...older, arch: kernel.arch }) !== kernelName(kernel) || chosen.has(`${contractName(kernel.contract)} ${kernel.arch.name}`)) kernels.push(kernel);
  }
  return withChosen(kernels, tables);
}

/** Every shipped kernel. */
export const shippedKernels = (): Kernel[] => kernelsToShip([...shippedContracts().values()].map(({ contract }) => contract));
