// How a kernel divides its work. A tile changes speed, and rounding within the contract's numerics class; never results. The one pruner of tiles.
import type { Arch } from './arch.ts';
import type { Contract, Op } from './contract.ts';
import { sharedBytes } from './shared.ts';

export interface Tile {
  /** Warps per CTA. */
  readonly warps: number;
  /** Tokens per step of a CTA. */
  readonly tokens?: number;
  /** Tiles whose copies are under way at once (cp.async groups). */
  readonly stages?: number;
}

export type TileField = keyof Tile;

/** The letter of each field in a kernel's name; the order here is the order there. */
export const TILE_LETTERS: Readonly<Record<TileField, string>> = { warps: 'w', tokens: 't', stages: 's' };

/** The fields that each op's tile has. */
export const TILE_FIELDS: Readonly<Record<Op, readonly TileField[]>> = {
  encode: ['warps', 'tokens'],
  append: ['warps', 'tokens'],
  unpack: ['warps', 'tokens'],
  decode: ['warps', 'tokens', 'stages'],
  combine: ['warps'],
  score: ['warps', 'tokens'],
  select: ['warps'],
  kmeans: ['warps', 'tokens'],
};

const DEFAULTS: Readonly<Record<Op, Tile>> = {
  encode: { warps: 4, tokens: 32 },
  append: { warps: 4, tokens: 32 },
  unpack: { warps: 4, tokens: 32 },
  decode: { warps: 4, tokens: 64, stages: 2 },
  combine: { warps: 4 },
  score: { warps: 4, tokens: 64 },
  select: { warps: 8 },
  kmeans: { warps: 4, tokens: 32 },
};

/** The tile of an op before anything was measured: the first that is right everywhere, not the fastest. */
export const defaultTile = (op: Op): Tile => DEFAULTS[op];

/** Threads of a CTA. */
export const threadsOf = (tile: Tile): number => 32 * tile.warps;

const isPowerOfTwo = (n: number): boolean => Number.isInteger(n) && n > 0 && (n & (n - 1)) === 0;

/** Every reason why `tile` cannot run `contract` on `arch`; empty if it can. Decided before nvcc is started; nothing else prunes tiles. */
export function misfit(contract: Contract, tile: Tile, arch: Arch): string[] {
  const { op } = contract;
  const fields = TILE_FIELDS[op];
  const why: string[] = [];
  for (const field of Object.keys(TILE_LETTERS) as TileField[]) {
    if (fields.includes(field) !== (tile[field] !== undefined)) why.push(`a tile of ${op} has ${fields.join(', ')}, not ${Object.keys(tile).join(', ')}`);
  }
  if (why.length > 0) return why.slice(0, 1);

  const { warps, tokens = 16, stages = 1 } = tile;
  if (!isPowerOfTwo(warps) || warps > 16) why.push(`${warps} warps is not a power of two from 1 to 16`);
  if (threadsOf(tile) > arch.threadsPerBlock) why.push(`${threadsOf(tile)} threads, ${arch.name} has ${arch.threadsPerBlock} per block`);
  if (!Number.isInteger(tokens) || tokens < 16 || tokens % 16 !== 0) why.push(`${tokens} tokens is not a multiple of 16, the rows of a matrix instruction`);
  else if (op === 'decode' || op === 'score') {
    if (tokens % (16 * warps) !== 0) why.push(`${tokens} tokens do not split into 16 rows for each of ${warps} warps`);
  } else if (tokens > 128) why.push(`${tokens} tokens; ${op} takes at most 128 per step`);
  if (!Number.isInteger(stages) || stages < 1 || stages > 4) why.push(`${stages} stages is not 1 to 4`);
  // Shared memory is a function of a sound tile only.
  if (why.length > 0) return why;

  const bytes = sharedBytes(contract, tile);
  if (bytes > arch.sharedPerBlock) why.push(`${bytes} B of shared memory, ${arch.name} has ${arch.sharedPerBlock} per block`);
  return why;
}
