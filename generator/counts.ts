// What decode does per piece of work, counted from the templates: bytes from memory, wavefronts of the shared-memory pipe, warp instructions by pipe. Pure.
import { chunksOf, codecOf, type VqCodec } from './codec.ts';
import type { CacheContract } from './contract.ts';
import { keyMethod } from './lookup.ts';
import { anchorPageBytes, unitLayout } from './layout.ts';
import type { Tile } from './tile.ts';

/** Work of one warp. Wavefronts are of shared memory and L1 together (one data pipe); all but `bytes` and `wavefronts` are warp instructions. */
export interface Work {
  /** Bytes from memory. */
  readonly bytes: number;
  readonly wavefronts: number;
  /** Integer, logic, select, PRMT, conversions: 64 lanes. */
  readonly alu: number;
  /** dp4a and integer multiply-add: 64 lanes of the FMA pipe. */
  readonly dot: number;
  /** Two halves at once. */
  readonly half: number;
  readonly float: number;
  /** ex2, sin, cos. */
  readonly mufu: number;
  /** mma of m16n8k16 f16 or m16n8k32 int8. */
  readonly matrix: number;
  /** Loads, stores, cp.async, ldmatrix, shuffles, movmatrix. */
  readonly memory: number;
  /** Branches, barriers, votes, uniform moves. */
  readonly control: number;
}

const NONE: Work = { bytes: 0, wavefronts: 0, alu: 0, dot: 0, half: 0, float: 0, mufu: 0, matrix: 0, memory: 0, control: 0 };
const work = (some: Partial<Work>): Work => ({ ...NONE, ...some });
const FIELDS = Object.keys(NONE) as (keyof Work)[];

/** `a` added up, each `times` as often. */
export const total = (parts: readonly (readonly [times: number, work: Work])[]): Work =>
  Object.fromEntries(FIELDS.map((field) => [field, parts.reduce((sum, [times, w]) => sum + times * w[field], 0)])) as unknown as Work;

const vq = (name: string): VqCodec => {
  const codec = codecOf(name);
  if (codec.kind !== 'vq') throw new Error(`${name} has no codes`);
  return codec;
};

/**
 * Keys of 32 tokens by look-up. Each look-up takes one dp4a (128 code + lane's offset) and one load; a lane makes one per chunk.
 * - `sum` (lookup_sum.cuh): entries of `columns` 16-bit numbers; up to 4 added, two columns to a word (4 words: 2 additions of three), then one int8 mma per 4 columns
 *   adds them up; a score is its two bytes joined, and one fma (with a gain: two, and a conversion).
 * - `turn` (lookup_turn.cuh): per two pairs of channels and token 2 multiplies and 2 fmas of halves; 8-byte entries trade places by selects; queries turned by their
 *   unit's position once per tile (4 columns) or unit (8); each tile's angles advanced by 4 fp32 operations per pair and shared through 1 store and d / 32 loads.
 * - `dot` (lookup_dot.cuh): 2-byte entries, two joined by a PRMT, put in order by two selects; exact int32 sums, two bytes of q.
 */
function keysOf(c: CacheContract): Work {
  const { headDim: d, columns = 8 } = c;
  const { channels } = vq(c.k);
  const chunks = d / channels;
  const looks = { dot: chunks, memory: chunks };
  switch (keyMethod(c)) {
    case 'sum': {
      const perToken = chunks / 4;
      const atOnce = Math.min(4, perToken);
      const sums = (4 * perToken) / atOnce; // 4 groups of 8 tokens
      return work({ ...looks, dot: chunks + 8, wavefronts: chunks * (columns / 2), alu: sums * (atOnce / 2) * (columns / 2), float: 8, matrix: sums * (columns / 4) });
    }
    case 'turn': {
      const turns = columns / 4;
      const words = d / 2;
      return work({
        dot: chunks,
        memory: chunks + turns * (d / 32) + 1,
        wavefronts: chunks * ((channels * 2) / 4) + turns * (d / 32) + 4,
        alu: (channels === 4 ? words : 0) + 4,
        half: 2 * words + turns * (d / 4),
        float: 16 + 2 * columns,
        mufu: 0.25, // angles from scratch every 32 tiles
        matrix: d / 8,
        control: 1,
      });
    }
    case 'dot':
      return work({ dot: chunks + columns, memory: chunks, wavefronts: chunks, alu: chunks / 2 + chunks + columns, float: columns, matrix: (d / 16) * (columns / 4) });
    default:
      throw new Error(`k ${c.k} has no look-ups`);
  }
}

/** Scores to weights: ex2, fixed point by adding 2^23, an OR and an addition of three per two, bytes packed by PRMT; one vote. Anchors are masked in a quarter of the tiles. */
function weightsOf(c: CacheContract): Work {
  const { columns = 8, gain } = c;
  const sum = keyMethod(c) === 'sum';
  const scores = sum ? 8 : columns; // of a lane: 4 columns are summed twice over, once for each byte of their weights
  const gained = gain === 'k' ? work({ float: sum ? 8 : 4, alu: 4, memory: 2, wavefronts: 2 }) : NONE;
  const moved = sum ? NONE : work({ memory: 4, wavefronts: 4 }); // movmatrix
  const masks = work({ alu: 2 * scores });
  return total([[1, work({ mufu: scores, float: scores, alu: scores + 4 + columns / 2, control: 3 })], [1, gained], [1, moved], [0.28, masks]]);
}

/** Values of 32 tokens (lookup_values.cuh): look-ups of 4 to 16 bytes (two of 2 bytes joined by a PRMT), transposed by 2 PRMT per word, int8 mma; 8 columns in two sets. */
function valuesOf(c: CacheContract, copies: number): Work {
  const { headDim: d, columns = 8 } = c;
  const { channels } = vq(c.v);
  const chunks = d / channels;
  const words = d / 4; // of a lane
  const phases = channels === 2 ? 1 : channels / 4;
  // Fewer copies: 2 or 4 lanes meet in each bank, with different entries.
  return work({ dot: chunks, memory: chunks, wavefronts: chunks * phases * (4 / copies), alu: 2 * words + (channels === 2 ? words : 0), matrix: (d / 16) * (columns / 4) });
}

/** Codes of 32 tokens to registers, their place and bitmap from the lane that looked them up for 32 tiles, the loop. */
function loadsOf(c: CacheContract): Work {
  const { headDim: d } = c;
  const bytes = 2 * unitLayout(c).bytes + 4;
  const loads = ([c.k, c.v] as const).reduce((sum, name) => sum + 2 * Math.max(1, chunksOf(codecOf(name), d) / 32), 0);
  return work({ bytes, wavefronts: bytes / 128 + 3, memory: loads + 3, alu: 10, dot: 2, control: 6 });
}

/**
 * 16 exact tokens, anchors or window. `rows`: 16 rows of K and V by cp.async (two half-warps each, with tests of the token's index), then ldmatrix and mma.
 * `lookup` (exact.cuh): rows straight to fragments, 6 of them per lane in 16-byte pieces, values paired by PRMT.
 */
export function exactUnit(c: CacheContract, tile: Tile): Work {
  const { headDim: d } = c;
  const step = d / 16;
  if (tile.algorithm === 'lookup') {
    return work({
      bytes: anchorPageBytes(d), wavefronts: d / 2 + d / 8 + 12,
      alu: 6 * 16 + d / 4 + 30, dot: 6 * 3, float: 40 + d / 4, mufu: 6, matrix: 2 * step, memory: (5 * d) / 32 + 6 * 3 + 12, control: 12,
    });
  }
  return work({
    bytes: anchorPageBytes(d),
    wavefronts: d + 20, // rows written once and read once by ldmatrix, 64 B of indices
    alu: 16 * 6 + 12, dot: 16 * 2, float: 24, mufu: 6, matrix: 2 * step, memory: 16 * 3 + 2 * step + 8, control: 24,
  });
}

/** A side's part of `rows` for 32 tokens: codes staged by cp.async, one gather per chunk and token from L1 (32 lines each: 32 wavefronts), rows to shared memory. */
function expandOf(c: CacheContract, name: string): Work {
  const codec = codecOf(name);
  const { headDim: d } = c;
  const rowWavefronts = (32 * d * 2) / 128;
  // An exact side is staged as it is; beside a coded one it is copied once more, which is left out.
  if (codec.kind === 'exact') return work({ memory: d / 8, wavefronts: 2 * rowWavefronts, alu: d / 4, dot: d / 8 });
  const chunks = d / codec.channels;
  const convert = codec.codebook === 'q8' ? d : 0; // per channel and 32 lanes: extract and convert, half a pack, a scale
  return work({
    memory: 3 * chunks + 2, wavefronts: 32 * chunks + chunks + 2 * rowWavefronts, alu: chunks * 6 + 2.5 * convert, dot: chunks * 2, float: convert,
  });
}

/** 32 tokens by `rows`: both sides expanded, keys rotated in shared memory (per pair: 2 loads and 2 stores of halves, 4 conversions, 8 fp32), ldmatrix and mma. */
function rowsTile(c: CacheContract): Work {
  const { headDim: d } = c;
  const step = d / 16;
  const bytes = 2 * unitLayout(c).bytes + (c.k === c.v && codecOf(c.k).kind === 'exact' ? 0 : 4);
  const product = work({ bytes, matrix: 4 * step, memory: 4 * step + 24, float: 40 + step * 8, mufu: 10, alu: 30, control: 20 });
  const pairs = d / 2;
  const turned = c.key === 'pre' ? work({ memory: 4 * pairs, wavefronts: 4 * pairs, alu: 6 * pairs, float: 8 * pairs, mufu: (8 * pairs) / 32, control: 8 }) : NONE;
  return total([[1, product], [1, expandOf(c, c.k)], [1, expandOf(c, c.v)], [1, turned]]);
}

/** The parts of 32 coded tokens (exact ones, if neither side is coded), by name. */
export function tileParts(c: CacheContract, tile: Tile): Readonly<Record<string, Work>> {
  if (tile.algorithm !== 'lookup') return { rows: rowsTile(c) };
  return { [`keys (${keyMethod(c)})`]: keysOf(c), weights: weightsOf(c), values: valuesOf(c, tile.copies ?? 4), 'loads, loop': loadsOf(c) };
}
