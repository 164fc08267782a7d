// Every tile that a contract could have, before anything was compiled: the product of all fields, with those that the formula refuses told apart. Pure.
import type { Arch } from '../../generator/arch.ts';
import type { Contract } from '../../generator/contract.ts';
import { kernelName, type Kernel } from '../../generator/name.ts';
import { ALGORITHMS, algorithmOf, defaultTile, GROUP_WARPS, misfit, tileFields, type Tile, type TileField } from '../../generator/tile.ts';
import type { Candidate } from '../tune/strategy.ts';
import { kernelNamed } from './names.ts';

const POWERS = [1, 2, 4, 8, 16];
const SIXTEENS = [16, 32, 48, 64, 80, 96, 112, 128];
/** Units of 16 tokens of a warp and step, where a step is cut among the warps. Three is no power of two, and what just fits sometimes. */
const UNITS = [1, 2, 3, 4, 8];

/** The values of each field that are tried. Numbers that no device has room for cost nothing: the formula refuses them. */
function valuesOf({ op }: Contract, field: TileField, algorithm: Tile['algorithm'], warps: number): readonly number[] {
  switch (field) {
    case 'warps':
      return algorithm === 'lookup' ? [4, 8, 12, 16] : algorithm === 'group' ? [GROUP_WARPS] : POWERS;
    case 'tokens':
      return algorithm === 'tally' ? [512, 1024, 2048, 4096] : op === 'decode' || op === 'score' ? UNITS.map((units) => 16 * units * warps) : SIXTEENS;
    case 'stages':
      return algorithm === 'lookup' ? [1, 2] : op === 'score' ? [2, 3, 4] : [1, 2, 3, 4];
    case 'copies':
    case 'pass':
      return [1, 2, 4];
  }
}

/** All tiles of an algorithm, the product of its fields' values. */
function productOf(contract: Contract, algorithm: Tile['algorithm']): Tile[] {
  let tiles: Record<string, number | string>[] = [algorithm === undefined ? {} : { algorithm }];
  for (const field of tileFields(contract.op, algorithm)) {
    tiles = tiles.flatMap((tile) => valuesOf(contract, field, algorithm, Number(tile['warps'] ?? 1)).map((value) => ({ ...tile, [field]: value })));
  }
  return tiles as unknown as Tile[];
}

/** A kernel that the formula refuses, and why. */
export interface Refused {
  readonly kernel: string;
  readonly why: string;
}

export interface KernelSpace {
  /** The default first, the others by name of their fields as they come. */
  readonly kernels: readonly Kernel[];
  readonly refused: readonly Refused[];
  /** Both together. */
  readonly all: number;
}

/** The space of a contract on an architecture. The default is always in it, whatever its numbers; an algorithm that cannot take the contract at all has no tiles. */
export function spaceOf(contract: Contract, arch: Arch): KernelSpace {
  const usual: Kernel = { contract, arch, tile: defaultTile(contract, arch) };
  const algorithms = [undefined, ...(ALGORITHMS[contract.op] ?? [])];
  const made = algorithms.flatMap((algorithm) => productOf(contract, algorithm)).map((tile): Kernel => ({ contract, arch, tile }));
  const kernels = new Map([[kernelName(usual), usual]]);
  const refused: Refused[] = [];
  for (const kernel of made) {
    const why = misfit(contract, kernel.tile, arch);
    if (why.length > 0) refused.push({ kernel: kernelName(kernel), why: why.join('; ') });
    else kernels.set(kernelName(kernel), kernel);
  }
  return { kernels: [...kernels.values()], refused, all: kernels.size + refused.length };
}

/** A kernel as a search sees it. */
export function candidateOf(name: string): Candidate {
  const { contract, tile } = kernelNamed(name);
  const { algorithm: _, ...numbers } = tile;
  return { id: name, fields: { ...(ALGORITHMS[contract.op] ? { algorithm: algorithmOf(tile) } : {}), ...numbers } };
}
