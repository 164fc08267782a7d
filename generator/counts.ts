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
 * - `sum` (lookup_sum.cuh): entries of `columns` 14-bit numbers; up to 4 added, two columns to a word (4 words: 2 additions of three), then one int8 mma per 4 columns
 *   adds them up; a lane has one score per column: two bytes joined, converted, one fma (with a gain: two).
 * - `turn` (lookup_turn.cuh): see {@link turnedKeys}.
 * - `dot` (lookup_dot.cuh): 2-byte entries, two joined by a PRMT, put in order by two selects; exact int32 sums, two bytes of q.
 */
function keysOf(c: CacheContract): Work {
  const { headDim: d, columns = 8 } = c;
  const { channels } = vq(c.k);
  const chunks = d / channels;
  const scores = work({ dot: columns, alu: columns, float: columns });
  switch (keyMethod(c)) {
    case 'sum': {
      const perToken = chunks / 4;
      const atOnce = Math.min(4, perToken);
      const sums = (4 * perToken) / atOnce; // 4 groups of 8 tokens
      const found = work({ dot: chunks, memory: chunks, wavefronts: chunks * (columns / 2), alu: sums * (atOnce / 2) * (columns / 2), float: 1, matrix: sums * (columns / 4) });
      return total([[1, found], [1, scores]]);
    }
    case 'turn':
      return turnedKeys(d, channels, columns);
    case 'dot':
      return total([[1, work({ dot: chunks, memory: chunks, wavefronts: chunks, alu: chunks / 2 + chunks, matrix: (d / 16) * (columns / 4) })], [1, scores]]);
    default:
      throw new Error(`k ${c.k} has no look-ups`);
  }
}

/**
 * Keys before RoPE. A lane owns d / 16 words (pairs of channels) of each half of a token's key. 4 of them are fast: turned in registers by 2 multiplies and 2 fmas of
 * halves per word and token, coefficients from shared memory (one row of 128 B per place). The others are slow: centroids as they are, times three operands.
 * - Queries, once per tile: turned on in fp32 (8 operations per pair, cosines and sines from shared memory), made two halves each (2 packs, 2 conversions, 2
 *   subtractions per word), multiplied by the powers of the frequency. With 4 columns lanes in twos turn one half each and trade words by shuffles.
 * - Each word pair of a unit: 2 selects per register put odd rows' halves in order; an mma for either half of the channels, twice over: of fast pairs for the centroid
 *   as it is and for (cos - 1, sin) of it, of slow ones for the query and for the powers. 4 columns hold a query's halves and their rests in one mma, 8 take two.
 * Head dim 64 has fast pairs only.
 */
function turnedKeys(d: number, channels: number, columns: number): Work {
  const chunks = d / channels;
  const words = d / 16;
  const fast = words < 8 ? words : words / 2;
  const slow = words - fast;
  const shares = columns === 4 && slow > 0;
  const own = shares ? words / 2 : words;
  const sets = columns / 4;
  const found = work({ dot: chunks, memory: chunks, wavefronts: (chunks * channels) / 2, alu: channels === 4 ? d / 2 : 0 }); // 8-byte entries trade places
  const advanced = work({ memory: own, wavefronts: 4 * own, float: 8 * own });
  const anew = work({ memory: 4 * own, wavefronts: 4 * own, mufu: 4 * own, float: 16 * own, alu: 6 * own }); // every 32 tiles
  const halved = work({ alu: 2 * own * 4, float: 2 * own * 2 });
  // Of each word and half: a shuffle and 4 selects; of each slow word: 2 selects, a sign and 2 products. Without sharing: a select, or (8 columns) nothing; 4 products.
  const traded = shares
    ? work({ memory: 2 * own, wavefronts: 2 * own, alu: 2 * own * 4 + slow * 3, half: slow * 2 })
    : work({ alu: columns === 4 ? 2 * own : 0, half: slow * 4 });
  const places = work({ memory: 8, wavefronts: 32 });
  // 8 tokens of a lane are 4 groups of a word pair's 2 x 2 registers in each of 2 units.
  const turned = work({ half: 2 * (fast / 2) * 16, alu: 2 * (words / 2) * 8 + sets * 2 * fast });
  const products = work({ matrix: 4 * sets * words });
  const sums = work({ float: columns * ((columns === 4 ? 2 : 1) + (slow > 0 ? 2 : 0) + 1) + (slow > 0 ? 4 : 0) });
  return total([...[found, advanced, halved, traded, places, turned, products, sums, work({ alu: 2, control: 2 })].map((part) => [1, part] as const), [1 / 32, anew]]);
}

/** Scores to weights: ex2, fixed point by adding 2^23, an OR and an addition of three per two, bytes packed by PRMT; one vote. Anchors are masked in a quarter of the tiles. */
function weightsOf(c: CacheContract): Work {
  const { columns = 8, gain } = c;
  const sum = keyMethod(c) === 'sum';
  const scores = columns; // of a lane: 8 tokens of half as many columns, or of 2 or 1 in four
  // A score's gain: a conversion and an fma, of `sum` each score's own; else two columns share a multiplication.
  const gained = gain !== 'k' ? NONE : sum ? work({ float: scores, alu: scores * (columns === 4 ? 2 : 1), memory: 2, wavefronts: 2 }) : work({ float: 4, alu: 4, memory: 2, wavefronts: 2 });
  // To where the values' mma wants them: shuffles of pairs (`sum`, 4 columns; 8 are there already), else movmatrix.
  const moved = sum ? work(columns === 4 ? { memory: 4, wavefronts: 4, alu: 4 } : { alu: 8 }) : work({ memory: 4, wavefronts: 4, alu: 4 + columns / 2 });
  const masks = work({ alu: 2 * scores });
  return total([[1, work({ mufu: scores, float: scores, alu: scores + 5, dot: 1, control: 4 })], [1, gained], [1, moved], [0.28, masks]]);
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

/**
 * Codes of 32 tokens to registers, one tile ahead, and from there to where the loop uses them; their place and bitmap from the lane that looked them up for 16 tiles.
 * With one stage only keys are a tile ahead, and lines two tiles ahead are prefetched to L2.
 */
function loadsOf(c: CacheContract, tile: Tile): Work {
  const { headDim: d } = c;
  const bytes = 2 * unitLayout(c).bytes + 4;
  const words = (name: string): number => chunksOf(codecOf(name), d) / 8; // of a lane and unit
  const loads = [c.k, c.v].reduce((sum, name) => sum + 2 * Math.max(1, words(name) / 4), 0);
  const early = tile.stages === 1;
  return work({ bytes, wavefronts: bytes / 128 + 4 + (early ? 3 : 0), memory: loads + 4 + (early ? 3 : 0), alu: 11 + 2 * (words(c.k) + (early ? 0 : words(c.v))), dot: 2, control: 6 });
}

/**
 * 16 exact tokens, anchors or window. `rows`: 16 rows of K and V by cp.async (two half-warps each, with tests of the token's index), then ldmatrix and mma.
 * `lookup` (exact.cuh): rows straight to fragments, 6 of them per lane in 16-byte pieces, queries again for each unit, values paired by PRMT; sums stay in shared
 * memory, read and written in 16-byte pieces that meet in banks by twos (of 4 columns half of the lanes have one).
 */
export function exactUnit(c: CacheContract, tile: Tile): Work {
  const { headDim: d } = c;
  const step = d / 16;
  if (tile.algorithm === 'lookup') {
    return work({
      bytes: anchorPageBytes(d), wavefronts: d / 2 + d / 8 + 11 + 2 * step * 8,
      alu: 6 * 16 + d / 4 + 30, dot: 6 * 3, float: 40 + d / 4, mufu: 6, matrix: 2 * step, memory: (5 * d) / 32 + 11 + 2 * step, control: 12,
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
  return { [`keys (${keyMethod(c)})`]: keysOf(c), weights: weightsOf(c), values: valuesOf(c, tile.copies ?? 4), 'loads, loop': loadsOf(c, tile) };
}
