// Dynamic shared memory of each kernel, in bytes: the twins of the structs in templates/*.cuh, which assert that they fit.
import { chunksOf, codecOf, entriesOf, storedOf } from './codec.ts';
import { isCacheContract, isCoded, type CacheContract, type Contract } from './contract.ts';
import { UNIT_TOKENS, unitLayout } from './layout.ts';
import { keyMethod } from './lookup.ts';
import type { Tile } from './tile.ts';

/** Query columns of a tile of `score`. Groups of four warps halve a tile, and each warp prepares eight of its columns. */
export const scoreColumns = ({ algorithm, warps }: Tile): number => (algorithm === 'group' ? 8 * warps : 64);

/** `unit_rows` (rows.cuh): 16 rows of keys and of values, each padded by 16 bytes. */
const unitRows = (headDim: number): number => 2 * UNIT_TOKENS * (headDim + 8) * 2;

/** `column_tile` of score_tile.cuh and score_group_tile.cuh: rows of queries, of form exact as many of outputs, and four words for each column. */
const columnTile = ({ headDim, form }: Contract, tile: Tile): number => {
  const columns = scoreColumns(tile);
  const group = tile.algorithm === 'group';
  const rows = columns * ((headDim ?? 0) + (group ? 0 : 8)) * 2;
  const bytes = rows + (form === 'exact' ? rows : group ? 1024 : 16) + columns * 16;
  return group ? Math.ceil(bytes / 1024) * 1024 : bytes;
};

/** What `block_columns` (decode_columns.cuh) has beside the warps' memory: of more than eight columns queries, of bf16 those for keys that were codes too, sights and places. */
const columnBytes = ({ columns = 8, headDim, dtype, k }: CacheContract): number => {
  if (columns <= 8) return 0;
  const tile = columns * (headDim + 8) * 2;
  return tile + (dtype === 'bf16' && codecOf(k).kind === 'vq' ? tile : 16) + columns * 12;
};

/** `rows_memory` (decode.cuh): `warp_memory` of each warp and `columnBytes`, or `warp_result` of each, then `work_memory` (work.cuh) and a flag. */
function decodeBytes(c: Contract, t: Tile): number {
  if (!isCacheContract(c)) throw new Error('decode without a page format');
  const warpUnits = (t.tokens ?? 0) / UNIT_TOKENS / t.warps;
  const rows = unitRows(c.headDim);
  const inPlace = codecOf(c.k).kind === 'exact' && codecOf(c.v).kind === 'exact';
  const loop = warpUnits * (inPlace ? (t.stages ?? 1) * rows : (t.stages ?? 1) * unitLayout(c).bytes + rows);
  return Math.max(t.warps * loop + columnBytes(c), t.warps * resultBytes(c)) + 64;
}

/** `warp_result` (result.cuh): what a warp leaves for the merge, `[columns, d + 4]` sums, then maxima and weights, fp32. */
const resultBytes = (c: CacheContract): number => {
  const columns = c.columns ?? 8;
  return (columns * (c.headDim + 4) + 2 * columns) * 4;
};

/** The tables of a `lookup` kernel (lookup.cuh), each entry-major in rows of 128 bytes, one bank line. */
export interface LookupTables {
  /** Keys. `sum`: [256, chunks, columns] 16-bit numbers, copied to fill rows; `turn`: the f16 codebook [256, d]; `dot`: two copies of the int8 codebook [256, d]. */
  readonly k: number;
  /** Values: the int8 codebook, `copies` times; 256 d bytes each, the last row filled up. */
  readonly v: number;
}

/** Bytes of the tables. Throws for a contract that has no key method: `misfit` refuses those first. */
export function lookupTables(c: Contract, t: Tile): LookupTables {
  const method = keyMethod(c);
  if (!isCacheContract(c) || !method) throw new Error(`${c.op} of k ${c.k} has no look-up tables`);
  const { headDim, columns = 8 } = c;
  const rows = { sum: sumSlices(c).length * LINE, turn: headDim * 2, dot: headDim * 2 };
  // The values' table too has whole lines: its last one may have room for more.
  return { k: 256 * rows[method], v: 256 * Math.ceil((headDim * (t.copies ?? 4)) / LINE) * LINE };
}

/** Bytes of all banks: the row of an entry in one slice of a table. */
const LINE = 128;

/**
 * The table of look-up sums, slice by slice: the chunks in a row of each. What fills no row is cut into powers of two, each in a slice of its own, which has as many copies of it as
 * there is room for (lookup_sum.cuh).
 */
export function sumSlices({ k, headDim, columns = 8 }: CacheContract): number[] {
  const chunks = chunksOf(codecOf(k), headDim);
  const slots = LINE / (2 * columns);
  const full: number[] = Array.from({ length: Math.floor(chunks / slots) }, () => slots);
  const parts = [8, 4].filter((part) => (chunks % slots) & part);
  return [...full, ...parts];
}

/**
 * Whether a `lookup` kernel's results are written over its tables, for which all warps wait for the last and each piece makes its tables again: those of 2048 sums and more,
 * for which eight warps would want as much as a table.
 */
export const resultsOverTables = (c: CacheContract): boolean => c.headDim * (c.columns ?? 8) >= 2048;

/** Bytes of a `lookup` kernel's results that find no room over its tables; 0 where they do, or lie elsewhere. */
export function resultsBeyondTables(c: CacheContract, t: Tile): number {
  const { k, v } = lookupTables(c, t);
  return resultsOverTables(c) ? Math.max(0, t.warps * resultBytes(c) - k - v) : 0;
}

/** `warp_memory` (lookup_codes.cuh): a warp's places of tiles, then its result, where that does not go over the tables. */
export const lookupWarpBytes = (c: Contract): number => {
  if (!isCacheContract(c)) throw new Error('decode without a page format');
  return resultsOverTables(c) ? 32 * 16 : Math.max(resultBytes(c), 32 * 16);
};

/** `lookup.cuh`: tables, the warps' own, flags. */
function lookupBytes(c: Contract, t: Tile): number {
  if (!isCacheContract(c)) throw new Error('decode without a page format');
  const { k, v } = lookupTables(c, t);
  // `turn_keys`: for all warps, cos and sin (f16) of 32 channel pairs at a tile's 32 places, then (fp32) twice of these, and once of the others.
  // `sum_keys`: the largest dot product of each column.
  const perWarp = { turn: Math.ceil((32 * 16 * 8 + 2 * 256 + (c.headDim / 2 - 32) * 8) / 16 / t.warps) * 16, sum: (c.columns ?? 8) * 4, dot: 0 }[keyMethod(c)!];
  // `cta_memory`: flag, work, context with its columns, scales.
  const cta = 192 + (c.columns ?? 8) * 20 + c.headDim * 4;
  return k + v + t.warps * (lookupWarpBytes(c) + perWarp) + Math.ceil(cta / 16) * 16;
}

/**
 * Bytes of a `tally` kernel's table of scores and of its tallies, for a pass of `pass` columns (`tally_places`, tally_state.cuh): products lie in the tallies' place first,
 * and sums of the last product, `[slices of a chunk's entries][pass][d + 4]` fp32, in the table's.
 */
export function tallyTables({ k, v, headDim }: CacheContract, { warps, pass = 1 }: Tile): { scores: number; tallies: number } {
  const rows = (name: string): number => chunksOf(codecOf(name), headDim) * storedOf(codecOf(name));
  const codec = codecOf(v);
  const stages = codec.kind === 'vq' ? codec.stages : 1;
  const slices = stages * Math.max(1, Math.floor(warps / (chunksOf(codec, headDim) * stages)));
  return { scores: Math.max(rows(k) * 2 * pass, slices * pass * (headDim + 4) * 4), tallies: Math.max(rows(k), rows(v)) * 4 * pass };
}

/** Tables and tallies, in whose place the warps' results lie at the end; then `tally_memory`: a result, work and context, and of each warp two words per column, twice, and a flag. */
function tallyBytes(c: Contract, t: Tile): number {
  if (!isCacheContract(c)) throw new Error('decode without a page format');
  const { scores, tallies } = tallyTables(c, t);
  const result = Math.ceil(resultBytes(c) / 16) * 16;
  return Math.max(scores + tallies, t.warps * result) + result + 192 + (c.columns ?? 8) * 20 + t.warps * (16 * (t.pass ?? 1) + 4);
}

/** `encode_memory` (encode.cuh): rows of one side in fp32, of keys with a gain two sums per warp and token, codes. */
function encodeBytes(c: Contract, t: Tile): number {
  if (!isCacheContract(c)) throw new Error('encode without a page format');
  const tokens = t.tokens ?? 0;
  const sums = c.gain.includes('k') ? t.warps * tokens : 1;
  return Math.ceil(((tokens * (c.headDim + 4) + 2 * sums) * 4) / 16) * 16 + tokens * encodeCodeBytes(c);
}

/** `choose_memory` (append_candidates.cuh), then in its place `encode_memory`. */
function appendBytes(c: Contract, t: Tile): number {
  if (!isCacheContract(c)) throw new Error('append without a page format');
  const choose = Math.ceil(((256 + 3 + 4 + t.warps + 2 * 32 * t.warps) * 4) / 8) * 8 + 8;
  return isCoded(c) ? Math.max(choose, encodeBytes(c, t)) : 0;
}

/** Bytes of a token's codes in shared memory, on the side that has more: packed if they have 8 bits, else 16-bit words. At least 1, so that an array of them exists. */
export function encodeCodeBytes({ k, v, headDim }: Pick<Contract, 'k' | 'v' | 'headDim'>): number {
  if (!k || !v || !headDim) throw new Error('encode without a page format');
  return Math.max(1, ...[codecOf(k), codecOf(v)].map((codec) => chunksOf(codec, headDim) * (codec.kind === 'vq' && codec.bits === 8 ? 1 : 2)));
}

/** Rows that a CTA of `kmeans` assigns at a time: four tiles of the matrix unit for each warp. */
export const kmeansTokens = (t: Tile): number => 64 * t.warps;

/** `kmeans_memory` (kmeans.cuh), or where that is less `start_memory`. */
function kmeansBytes(c: Contract, t: Tile): number {
  const codec = codecOf(c.k ?? '');
  if (codec.kind !== 'vq') throw new Error(`kmeans of ${c.k}, which has no codebook`);
  const stride = (Math.ceil(codec.channels / 4) | 1) * 4;
  const step = (kmeansTokens(t) * stride + 2 * entriesOf(codec) * (codec.channels + 1) + 4) * 4;
  return Math.max(step, 512 * 8 + 16);
}

/** `select_memory` (select.cuh): 32 columns of 257 digits, their sums, 8192 candidates, 4 words, 2 x 32 counts of warps. */
const SELECT_BYTES = (257 * 32 + 256 + 8192 + 4 + 2 * 32) * 4;

/** Bytes of dynamic shared memory that a kernel of this contract and tile is launched with. */
export function sharedBytes(c: Contract, t: Tile): number {
  switch (c.op) {
    case 'decode':
      return t.algorithm === 'lookup' ? lookupBytes(c, t) : t.algorithm === 'tally' ? tallyBytes(c, t) : decodeBytes(c, t);
    case 'encode':
      return encodeBytes(c, t);
    case 'append':
      return appendBytes(c, t);
    case 'unpack':
      if (!isCacheContract(c)) throw new Error('unpack without a page format');
      return t.warps * (unitLayout(c).bytes + unitRows(c.headDim));
    case 'score':
      return (t.stages ?? 0) * columnTile(c, t);
    case 'select':
      return SELECT_BYTES;
    case 'kmeans':
      return kmeansBytes(c, t);
    default:
      return 0;
  }
}
