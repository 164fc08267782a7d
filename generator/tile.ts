// How a kernel divides its work. A tile changes speed, and rounding within the contract's numerics class; never results. The one pruner of tiles.
import type { Arch } from './arch.ts';
import { chunksOf, codecOf, entriesOf, rowBytes } from './codec.ts';
import { isCacheContract, type CacheContract, type Contract, type Op } from './contract.ts';
import { keyMethod, lookupMisfit, tallyMisfit } from './lookup.ts';
import { isPowerOfTwo, UNIT_TOKENS } from './layout.ts';
import { resultsBeyondTables, sharedBytes } from './shared.ts';

/**
 * `rows` multiplies rows that lie in shared memory, of decode those that it expands from codes: it is right for every contract. Of decode, `lookup` keeps tables in shared
 * memory whose entries are matrix operands, fast where it fits; `tally` adds weights up per centroid and multiplies each centroid once, for codebooks that are too large for
 * tables. Of score, `group` multiplies by groups of four warps (wgmma), while these prepare and weigh.
 */
export type Algorithm = 'rows' | 'lookup' | 'tally' | 'group';

export interface Tile {
  /** Only where it is not the op's first one, so that a kernel has one name; {@link algorithmOf} tells it. */
  readonly algorithm?: Exclude<Algorithm, 'rows'>;
  /** Warps per CTA. */
  readonly warps: number;
  /** Tokens per step of a CTA. */
  readonly tokens?: number;
  /**
   * Tiles whose copies are under way at once: cp.async groups of a CTA. Of `lookup`, sets of registers that the codes of 32 tokens come to in turn, one tile ahead (of 16 warps two);
   * with one set only keys come a tile ahead, and the rest is asked to be in L2 by then, which leaves registers to keys that need them.
   */
  readonly stages?: number;
  /** Copies of the table of values in shared memory: 4 are free of bank conflicts, 2 and 1 take 2 and 4 times as long and a half and a quarter of the bytes. */
  readonly copies?: number;
  /** Query columns that `tally` attends to at a time: each has its scores of all key centroids and its tallies of all value centroids in shared memory. */
  readonly pass?: number;
}

export type TileField = Exclude<keyof Tile, 'algorithm'>;

/** The letter of each field in a kernel's name; the order here is the order there. */
export const TILE_LETTERS: Readonly<Record<TileField, string>> = { warps: 'w', tokens: 't', stages: 's', copies: 'c', pass: 'p' };

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

const ALGORITHM_FIELDS: Readonly<Record<NonNullable<Tile['algorithm']>, readonly TileField[]>> = { lookup: ['warps', 'stages', 'copies'], tally: ['warps', 'tokens', 'pass'], group: ['warps', 'tokens', 'stages'] };

/** The algorithms that each op's tiles can name besides the first. */
export const ALGORITHMS: Readonly<Partial<Record<Op, readonly NonNullable<Tile['algorithm']>[]>>> = { decode: ['lookup', 'tally'], score: ['group'] };

/** The fields that an op's tile has under an algorithm. */
export const tileFields = (op: Op, algorithm?: Tile['algorithm']): readonly TileField[] => (algorithm ? ALGORITHM_FIELDS[algorithm] : FIELDS[op]);

/** The algorithm of a tile. */
export const algorithmOf = (tile: Tile): Algorithm => tile.algorithm ?? 'rows';

/**
 * The tiles that an op begins with, without look-ups: of these the first that fits. What stands behind the first is for rows of many channels in little shared memory.
 * append: a flush block at once, and no warp without a chunk.
 * score: before these, groups where wgmma is (GROUP_TILES). Many keys per warp, as each column that comes from shared memory is multiplied by all of them, and eight warps
 * that share its columns, so that L2 is asked for less: 6 to 8 % faster than four (harness/bench/NOTES.md). Where values lie in registers too there is room for half as many keys.
 */
const DEFAULTS: Readonly<Record<Op, readonly [Tile, ...Tile[]]>> = {
  encode: [{ warps: 4, tokens: 64 }, { warps: 4, tokens: 32 }],
  append: [{ warps: 16, tokens: 128 }, { warps: 16, tokens: 64 }, { warps: 16, tokens: 32 }],
  unpack: [{ warps: 4, tokens: 32 }, { warps: 2, tokens: 32 }],
  decode: [{ warps: 4, tokens: 64, stages: 2 }, { warps: 2, tokens: 32, stages: 2 }],
  combine: [{ warps: 4 }],
  score: [{ warps: 8, tokens: 512, stages: 3 }, { warps: 8, tokens: 256, stages: 3 }, { warps: 8, tokens: 256, stages: 2 }, { warps: 8, tokens: 128, stages: 3 }, { warps: 8, tokens: 128, stages: 2 }],
  select: [{ warps: 32 }],
  kmeans: [{ warps: 8 }],
};

/** Registers of a thread of `lookup` that hold sums of values, and codes in two stages: words of 32 tokens, of both sides. */
function lookupRegisters({ k, v, headDim, columns = 8 }: CacheContract): number {
  const words = (name: string): number => (2 * chunksOf(codecOf(name), headDim)) / 8;
  return (headDim * columns) / 16 + 2 * (words(k) + words(v));
}
/** At most this many of 255: look-ups under way, addresses and scores want the rest. */
const MOST_LOOKUP_REGISTERS = 112;

/** The best `lookup` tile that fits, or undefined. As many warps as registers allow hide latency; copies of the table of values come next. */
export function lookupTile(contract: Contract, arch: Arch): Tile | undefined {
  if (lookupMisfit(contract).length > 0 || !isCacheContract(contract)) return undefined;
  // Fastest on an H200 of the warps and stages that were tried (harness/bench/NOTES.md). Sixteen warps leave 128 registers to a thread, which only look-up
  // sums of few chunks do with; eight columns double the accumulators; keys turned in registers want more than twelve warps leave, but for those of 64 channels.
  const method = keyMethod(contract);
  const chunks = chunksOf(codecOf(contract.k), contract.headDim);
  const turnedMost = contract.headDim <= 64 ? 12 : 8;
  const most = contract.columns === 8 || contract.headDim > 128 || method === 'dot' ? 8 : method === 'turn' ? turnedMost : chunks > 16 ? 12 : 16;
  const warps = [16, 12, 8].filter((w) => w <= most);
  const stages = (method === 'turn' && contract.columns === 8) || (method === 'sum' && lookupRegisters(contract) > MOST_LOOKUP_REGISTERS) ? 1 : 2;
  // Even with one copy, and so with bank conflicts, look-ups beat rows: 2.5 to 4 times at 8 columns on an H200.
  const tiles = warps.flatMap((w) => [4, 2, 1].map((copies): Tile => ({ algorithm: 'lookup', warps: w, stages, copies })));
  return tiles.find((tile) => misfit(contract, tile, arch).length === 0);
}

/** Warps of a `score` tile whose products groups make: three groups, each with products under way while others weigh theirs, and 48 columns a product (score_group.cuh). */
export const GROUP_WARPS = 12;

/** Registers of a thread that hold keys, and for form exact values, of a `score` tile: the matrix unit's operands of every step. */
const keyRegisters = ({ headDim, form }: Contract, { tokens = 0, warps }: Tile): number => (tokens / UNIT_TOKENS / warps) * ((headDim ?? 0) / 4) * (form === 'exact' ? 2 : 1);
/** At most this many hold keys, and as many as this are for all else: products of two steps, columns, sums, addresses. */
const [MOST_KEY_REGISTERS, OTHER_REGISTERS] = [128, 80];

/** The best `tally` tile that fits, or undefined. As many columns at a time as there is room for, as tokens are met once for all of them. */
export function tallyTile(contract: Contract, arch: Arch): Tile | undefined {
  const tiles = [4, 2, 1].flatMap((pass) => [16, 8].flatMap((warps) => [3072, 2048, 1024, 512].map((tokens): Tile => ({ algorithm: 'tally', warps, tokens, pass }))));
  return tiles.find((tile) => misfit(contract, tile, arch).length === 0);
}

/** `score` tiles of groups: twice the keys per column first (1.2 times as fast on an H200), then as many stages as there is room for (four: 1 to 2.5 % less time than three). */
const GROUP_TILES = [384, 192].flatMap((tokens) => [4, 3, 2].map((stages): Tile => ({ algorithm: 'group', warps: GROUP_WARPS, tokens, stages })));

/**
 * The tile of a contract before anything was measured on `arch`: `lookup` where it fits, `tally` for codebooks of more entries than a byte counts (of smaller ones it was
 * not timed), else the first that is right everywhere.
 */
export function defaultTile(contract: Contract, arch: Arch): Tile {
  const large = [contract.k, contract.v].some((name) => name !== undefined && entriesOf(codecOf(name)) > 256);
  const tiles = contract.op === 'score' ? [...GROUP_TILES, ...DEFAULTS.score] : DEFAULTS[contract.op];
  return lookupTile(contract, arch) ?? (large ? tallyTile(contract, arch) : undefined) ?? tiles.find((tile) => misfit(contract, tile, arch).length === 0) ?? DEFAULTS[contract.op][0];
}

/** Whether kernels of a tile use instructions that their architecture alone has: they are compiled for it and nothing newer. */
export const usesOwnInstructions = ({ algorithm }: Tile): boolean => algorithm === 'group';

/** Whether a device of compute capability `cc` (90: 9.0) has the instructions of a kernel: those of its own architecture and, unless these are that one's own, of older ones. */
export function runsOn({ arch, tile }: { readonly arch: Arch; readonly tile: Tile }, cc: number): boolean {
  const built = Number(arch.name.slice(2));
  return usesOwnInstructions(tile) ? built === cc : built <= cc;
}

/** Threads of a CTA. */
export const threadsOf = (tile: Tile): number => 32 * tile.warps;

/** A thread of them has 168 registers, of which 48 hold sums. */
const MOST_GROUP_KEY_REGISTERS = 64;

function groupMisfit(contract: Contract, tile: Tile, arch: Arch): string[] {
  const { warps, tokens = 0, stages = 1 } = tile;
  const { headDim = 0, form, dtype, softcap } = contract;
  const why: string[] = [];
  if (!arch.instructions.includes('wgmma')) why.push(`${arch.name} has no wgmma`);
  if (form === 'norm') why.push('form norm has no products');
  if (dtype !== 'f16') why.push(`groups multiply f16, not ${dtype}`);
  if (softcap) why.push('algorithm group does not cap scores');
  if (warps !== GROUP_WARPS) why.push(`${warps} warps; groups are three of four warps`);
  if (headDim % 64 !== 0) why.push(`head dim ${headDim} is not a multiple of 64, a row that wgmma reads`);
  if (!Number.isInteger(stages) || stages < 2 || stages > 4) why.push(`${stages} stages is not 2 to 4`);
  const each = 16 * GROUP_WARPS;
  const most = form === 'exact' ? each : 2 * each;
  if (tokens !== each && tokens !== most) why.push(`${tokens} tokens; three groups take ${each}${most > each ? ` or ${most}` : ''}`);
  else if (keyRegisters(contract, tile) > MOST_GROUP_KEY_REGISTERS) why.push(`${keyRegisters(contract, tile)} registers of a thread for its keys; ${GROUP_WARPS} warps have ${MOST_GROUP_KEY_REGISTERS} for them`);
  return why;
}

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

/** Registers of a thread of a `rows` tile of decode for all but sums and scores: fragments of rows and queries, addresses, places. */
const ROWS_OTHER_REGISTERS = 96;
/** Registers of a thread that hold sums of a `rows` tile of decode, and scores of the units of a step, both of each group of eight columns. */
const groupRegisters = ({ columns = 8, headDim }: Contract, { tokens = 0, warps }: Tile): number => (columns / 8) * ((headDim ?? 0) / 4 + (tokens / UNIT_TOKENS / warps) * 4);

function rowsDecodeMisfit(contract: Contract, tile: Tile, arch: Arch): string[] {
  const { columns = 8 } = contract;
  // One group fits, or spills little, whatever the tile: what was measured stays offered.
  if (columns <= 8) return [];
  const sums = groupRegisters(contract, tile);
  const most = Math.min(arch.registersPerThread, arch.registersPerSm / threadsOf(tile)) - ROWS_OTHER_REGISTERS;
  return sums > most ? [`${sums} registers of a thread for sums and scores of ${columns} columns; ${tile.warps} warps have ${most} for them`] : [];
}

function lookupTileMisfit({ warps, stages = 1, copies = 4 }: Tile): string[] {
  const why: string[] = [];
  if (![4, 8, 12, 16].includes(warps)) why.push(`${warps} warps is not 4, 8, 12 or 16: each of the SM's four schedulers gets the same number`);
  if (![1, 2].includes(stages)) why.push(`${stages} stages is not 1 or 2`);
  if (![1, 2, 4].includes(copies)) why.push(`${copies} copies is not 1, 2 or 4`);
  return why;
}

/** Registers of a thread of a `tally` tile for all but codes: addresses, look-ups under way, references. */
const TALLY_OTHER_REGISTERS = 60;
/** Registers of a thread that hold codes of a `tally` tile: of a round's tokens, of the next round's, and their scores. */
function tallyRegisters({ k, v, headDim }: CacheContract, { warps, tokens = 0, pass = 1 }: Tile): number {
  const words = (name: string): number => Math.ceil(rowBytes(codecOf(name), headDim) / 4);
  return (tokens / (32 * warps)) * (words(k) + 2 * words(v) + 3 + pass);
}

function tallyTileMisfit(contract: CacheContract, tile: Tile, arch: Arch): string[] {
  const { warps, tokens = 0, pass = 1 } = tile;
  const why: string[] = [];
  if (![4, 8, 16].includes(warps)) why.push(`${warps} warps is not 4, 8 or 16`);
  if (![1, 2, 4].includes(pass) || pass > (contract.columns ?? 8)) why.push(`${pass} columns at a time is not 1, 2 or 4 of ${contract.columns ?? 8}`);
  if (tokens < 1 || tokens > 8192 || tokens % (32 * warps) !== 0) why.push(`${tokens} tokens are not 32 for each of ${warps} warps, or a multiple up to 8192`);
  if (why.length > 0) return why;
  const most = Math.min(255, arch.registersPerSm / threadsOf(tile)) - TALLY_OTHER_REGISTERS;
  const codes = tallyRegisters(contract, tile);
  if (codes > most) why.push(`${codes} registers of a thread for codes; ${warps} warps have ${most} for them`);
  return why;
}

/** Every reason why `tile` cannot run `contract` on `arch`; empty if it can. Decided before nvcc is started; nothing else prunes tiles. */
export function misfit(contract: Contract, tile: Tile, arch: Arch): string[] {
  const { op } = contract;
  const cannot = tile.algorithm === 'lookup' ? lookupMisfit(contract) : tile.algorithm === 'tally' ? tallyMisfit(contract) : tile.algorithm === 'group' && op !== 'score' ? [`algorithm group is one of score, not of ${op}`] : [];
  if (cannot.length > 0) return cannot;
  const fields = tileFields(op, tile.algorithm);
  for (const field of Object.keys(TILE_LETTERS) as TileField[]) {
    if (fields.includes(field) !== (tile[field] !== undefined)) return [`a tile of ${op} has ${fields.join(', ')}, not ${Object.keys(tile).join(', ')}`];
  }
  const why = tile.algorithm === 'lookup' ? lookupTileMisfit(tile) : tile.algorithm === 'tally' ? tallyTileMisfit(contract as CacheContract, tile, arch) : tile.algorithm === 'group' ? groupMisfit(contract, tile, arch) : rowsMisfit(op, tile);
  if (!tile.algorithm && why.length === 0) why.push(...(op === 'score' ? scoreMisfit(contract, tile, arch) : op === 'decode' ? rowsDecodeMisfit(contract, tile, arch) : []));
  if (threadsOf(tile) > arch.threadsPerBlock) why.push(`${threadsOf(tile)} threads, ${arch.name} has ${arch.threadsPerBlock} per block`);
  // Shared memory is a function of a sound tile only.
  if (why.length > 0) return why;
  const beyond = tile.algorithm === 'lookup' ? resultsBeyondTables(contract as CacheContract, tile) : 0;
  if (beyond > 0) why.push(`results of ${tile.warps} warps want ${beyond} B more than the tables that they are written over`);
  const bytes = sharedBytes(contract, tile);
  if (bytes > arch.sharedPerBlock) why.push(`${bytes} B of shared memory, ${arch.name} has ${arch.sharedPerBlock} per block`);
  return why;
}
