// How a kernel divides its work. A tile changes speed, and rounding within the contract's numerics class; never results. The one pruner of tiles.
import type { Arch } from './arch.ts';
import { chunksOf, codecOf } from './codec.ts';
import { isCacheContract, type Contract, type Op } from './contract.ts';
import { keyMethod, lookupMisfit } from './lookup.ts';
import { UNIT_TOKENS } from './layout.ts';
import { sharedBytes } from './shared.ts';

/**
 * The algorithms of decode. `rows` expands codes to f16 rows in shared memory and multiplies those: it is right for every contract. `lookup` keeps tables in shared
 * memory whose entries are matrix operands: fast where it fits.
 */
export type Algorithm = 'rows' | 'lookup';

export interface Tile {
  /** Only where it is not the op's first one, so that a kernel has one name; {@link algorithmOf} tells it. */
  readonly algorithm?: 'lookup';
  /** Warps per CTA. */
  readonly warps: number;
  /** Tokens per step of a CTA. */
  readonly tokens?: number;
  /**
   * Tiles whose copies are under way at once: cp.async groups of a CTA. Of `lookup`, sets of registers that the codes of 32 tokens come to in turn, each two tiles ahead;
   * with one set only keys come a tile ahead, and the rest is asked to be in L2 by then, which leaves registers to keys that need them.
   */
  readonly stages?: number;
  /** Copies of the table of values in shared memory: 4 are free of bank conflicts, 2 and 1 take 2 and 4 times as long and a half and a quarter of the bytes. */
  readonly copies?: number;
}

export type TileField = Exclude<keyof Tile, 'algorithm'>;

/** The letter of each field in a kernel's name; the order here is the order there. */
export const TILE_LETTERS: Readonly<Record<TileField, string>> = { warps: 'w', tokens: 't', stages: 's', copies: 'c' };

const FIELDS: Readonly<Record<Op, readonly TileField[]>> = {
  encode: ['warps', 'tokens'],
  append: ['warps', 'tokens'],
  unpack: ['warps', 'tokens'],
  decode: ['warps', 'tokens', 'stages'],
  combine: ['warps'],
  score: ['warps', 'tokens', 'stages'],
  select: ['warps'],
  kmeans: ['warps'],
};

/** The algorithms that each op's tiles can name besides the first. */
export const ALGORITHMS: Readonly<Partial<Record<Op, readonly NonNullable<Tile['algorithm']>[]>>> = { decode: ['lookup'] };

/** The fields that an op's tile has under an algorithm. */
export const tileFields = (op: Op, algorithm?: Tile['algorithm']): readonly TileField[] => (algorithm === 'lookup' ? ['warps', 'stages', 'copies'] : FIELDS[op]);

/** The algorithm of a decode tile. */
export const algorithmOf = (tile: Tile): Algorithm => tile.algorithm ?? 'rows';

const DEFAULTS: Readonly<Record<Op, Tile>> = {
  encode: { warps: 4, tokens: 64 },
  append: { warps: 16, tokens: 128 }, // a flush block at once, and no warp without a chunk
  unpack: { warps: 4, tokens: 32 },
  decode: { warps: 4, tokens: 64, stages: 2 },
  combine: { warps: 4 },
  score: { warps: 8, tokens: 512, stages: 3 },
  select: { warps: 32 },
  kmeans: { warps: 8 },
};

/** The best `lookup` tile that fits, or undefined. As many warps as registers allow hide latency; copies of the table of values come next. */
export function lookupTile(contract: Contract, arch: Arch): Tile | undefined {
  if (lookupMisfit(contract).length > 0 || !isCacheContract(contract)) return undefined;
  // Fastest on an H200 of the warps and stages that were tried (harness/bench/NOTES.md). Sixteen warps leave 128 registers to a thread, which only look-up
  // sums of few chunks do with; eight columns double the accumulators; keys turned in registers want more than twelve warps leave, but for those of 64 channels.
  const method = keyMethod(contract);
  const chunks = chunksOf(codecOf(contract.k), contract.headDim);
  const turnedMost = contract.headDim <= 64 ? 12 : 8;
  const most = contract.columns === 8 || method === 'dot' ? 8 : method === 'turn' ? turnedMost : chunks > 16 ? 12 : 16;
  const warps = [16, 12, 8].filter((w) => w <= most);
  const stages = method === 'turn' && contract.columns === 8 ? 1 : 2;
  // Even with one copy, and so with bank conflicts, look-ups beat rows: 2.5 to 4 times at 8 columns on an H200.
  const tiles = warps.flatMap((w) => [4, 2, 1].map((copies): Tile => ({ algorithm: 'lookup', warps: w, stages, copies })));
  return tiles.find((tile) => misfit(contract, tile, arch).length === 0);
}

/** Registers of a thread that hold keys, and for form exact values, of a `score` tile: the matrix unit's operands of every step. */
const keyRegisters = ({ headDim, form }: Contract, { tokens = 0, warps }: Tile): number => (tokens / UNIT_TOKENS / warps) * ((headDim ?? 0) / 4) * (form === 'exact' ? 2 : 1);
/** At most this many hold keys, and as many as this are for all else: products of two steps, columns, sums, addresses. */
const [MOST_KEY_REGISTERS, OTHER_REGISTERS] = [128, 80];

/**
 * The first `score` tile that fits. Many keys per warp, as each column that comes from shared memory is multiplied by all of them, and eight warps that share its columns, so
 * that L2 is asked for less: 6 to 8 % faster than four (harness/bench/NOTES.md). Where values lie in registers too there is room for half as many keys.
 */
const scoreTile = (contract: Contract, arch: Arch): Tile =>
  [DEFAULTS.score, { warps: 8, tokens: 256, stages: 3 }, { warps: 8, tokens: 256, stages: 2 }].find((tile) => misfit(contract, tile, arch).length === 0) ?? DEFAULTS.score;

/** The tile of a contract before anything was measured on `arch`: `lookup` where it fits, else the first that is right everywhere. */
export const defaultTile = (contract: Contract, arch: Arch): Tile => (contract.op === 'score' ? scoreTile(contract, arch) : (lookupTile(contract, arch) ?? DEFAULTS[contract.op]));

/** Threads of a CTA. */
export const threadsOf = (tile: Tile): number => 32 * tile.warps;

const isPowerOfTwo = (n: number): boolean => Number.isInteger(n) && n > 0 && (n & (n - 1)) === 0;

function rowsMisfit(op: Op, { warps, tokens = 16, stages = 1 }: Tile): string[] {
  const why: string[] = [];
  // A list of scores is one CTA's alone: it takes all threads that a CTA can have.
  const most = op === 'select' ? 32 : 16;
  if (!isPowerOfTwo(warps) || warps > most) why.push(`${warps} warps is not a power of two from 1 to ${most}`);
  if (!Number.isInteger(tokens) || tokens < 16 || tokens % 16 !== 0) why.push(`${tokens} tokens is not a multiple of 16, the rows of a matrix instruction`);
  else if (op === 'decode' || op === 'score') {
    if (tokens % (16 * warps) !== 0) why.push(`${tokens} tokens do not split into 16 rows for each of ${warps} warps`);
  } else if (tokens > 128) why.push(`${tokens} tokens; ${op} takes at most 128 per step`);
  if (!Number.isInteger(stages) || stages < 1 || stages > 4) why.push(`${stages} stages is not 1 to 4`);
  return why;
}

function scoreMisfit(contract: Contract, tile: Tile, arch: Arch): string[] {
  const { warps, stages = 1 } = tile;
  const why: string[] = [];
  if (warps < 2) why.push('1 warp; a warp of score has places for half of a tile\'s columns');
  if (stages < 2) why.push('1 stage; score copies its next columns while it works on these');
  const keys = keyRegisters(contract, tile);
  const most = Math.min(MOST_KEY_REGISTERS, arch.registersPerSm / threadsOf(tile) - OTHER_REGISTERS);
  if (keys > most) why.push(`${keys} registers of a thread for its keys; ${warps} warps have ${most} for them`);
  return why;
}

function lookupTileMisfit({ warps, stages = 1, copies = 4 }: Tile): string[] {
  const why: string[] = [];
  if (![4, 8, 12, 16].includes(warps)) why.push(`${warps} warps is not 4, 8, 12 or 16: each of the SM's four schedulers gets the same number`);
  if (![1, 2].includes(stages)) why.push(`${stages} stages is not 1 or 2`);
  if (![1, 2, 4].includes(copies)) why.push(`${copies} copies is not 1, 2 or 4`);
  return why;
}

/** Every reason why `tile` cannot run `contract` on `arch`; empty if it can. Decided before nvcc is started; nothing else prunes tiles. */
export function misfit(contract: Contract, tile: Tile, arch: Arch): string[] {
  const { op } = contract;
  if (tile.algorithm === 'lookup') {
    const cannot = lookupMisfit(contract);
    if (cannot.length > 0) return cannot;
  }
  const fields = tileFields(op, tile.algorithm);
  for (const field of Object.keys(TILE_LETTERS) as TileField[]) {
    if (fields.includes(field) !== (tile[field] !== undefined)) return [`a tile of ${op} has ${fields.join(', ')}, not ${Object.keys(tile).join(', ')}`];
  }
  const why = tile.algorithm === 'lookup' ? lookupTileMisfit(tile) : rowsMisfit(op, tile);
  if (op === 'score' && why.length === 0) why.push(...scoreMisfit(contract, tile, arch));
  if (threadsOf(tile) > arch.threadsPerBlock) why.push(`${threadsOf(tile)} threads, ${arch.name} has ${arch.threadsPerBlock} per block`);
  // Shared memory is a function of a sound tile only.
  if (why.length > 0) return why;

  const bytes = sharedBytes(contract, tile);
  if (bytes > arch.sharedPerBlock) why.push(`${bytes} B of shared memory, ${arch.name} has ${arch.sharedPerBlock} per block`);
  return why;
}
