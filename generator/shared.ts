// Dynamic shared memory of each kernel, in bytes: the twins of the structs in templates/*.cuh, which assert that they fit.
import { chunksOf, codecOf, rowBytes } from './codec.ts';
import { isCacheContract, type Contract } from './contract.ts';
import { UNIT_TOKENS, unitLayout } from './layout.ts';
import type { Tile } from './tile.ts';

/** `unit_rows` (rows.cuh): 16 rows of keys and of values, each padded by 16 bytes. */
const unitRows = (headDim: number): number => 2 * UNIT_TOKENS * (headDim + 8) * 2;

/** `warp_memory` and `warp_result` (decode.cuh). */
function decodeBytes(c: Contract, t: Tile): number {
  if (!isCacheContract(c)) throw new Error('decode without a page format');
  const warpUnits = (t.tokens ?? 0) / UNIT_TOKENS / t.warps;
  const rows = unitRows(c.headDim);
  const inPlace = codecOf(c.k).kind === 'exact' && codecOf(c.v).kind === 'exact';
  const loop = warpUnits * (inPlace ? (t.stages ?? 1) * rows : (t.stages ?? 1) * unitLayout(c).bytes + rows);
  const result = (8 * (c.headDim + 4) + 16) * 4;
  return t.warps * Math.max(loop, result);
}

/** `encode_memory` (encode.cuh). */
function encodeBytes(c: Contract, t: Tile): number {
  if (!isCacheContract(c)) throw new Error('encode without a page format');
  const tokens = t.tokens ?? 0;
  const { maxChunks, maxRowBytes } = encodeLimits(c);
  const floats = tokens * (c.headDim + 1 + 2 * maxChunks);
  return Math.ceil((floats * 4) / 16) * 16 + tokens * maxRowBytes;
}

/** The larger of the two sides: chunks (at least 1, so that arrays exist) and bytes of a row of codes. */
export function encodeLimits(c: Pick<Contract, 'k' | 'v' | 'headDim'>): { maxChunks: number; maxRowBytes: number } {
  const { k, v, headDim } = c;
  if (!k || !v || !headDim) throw new Error('encode without a page format');
  const coded = [codecOf(k), codecOf(v)].filter((codec) => codec.kind === 'vq');
  return {
    maxChunks: Math.max(1, ...coded.map((codec) => chunksOf(codec, headDim))),
    maxRowBytes: Math.max(1, ...coded.map((codec) => rowBytes(codec, headDim))),
  };
}

/** Bytes of dynamic shared memory that a kernel of this contract and tile is launched with. */
export function sharedBytes(c: Contract, t: Tile): number {
  switch (c.op) {
    case 'decode':
      return decodeBytes(c, t);
    case 'encode':
      return encodeBytes(c, t);
    case 'unpack':
      if (!isCacheContract(c)) throw new Error('unpack without a page format');
      return t.warps * (unitLayout(c).bytes + unitRows(c.headDim));
    case 'score':
      return ((t.tokens ?? 0) / UNIT_TOKENS) * unitRows(c.headDim ?? 0);
    case 'select':
      return (256 + 2 + 2 * t.warps) * 4;
    default:
      return 0;
  }
}
