// What decode does per piece of work, counted from the templates: bytes from memory, wavefronts of the shared-memory pipe, warp instructions by pipe. Pure.
import { codecOf } from './codec.ts';
import type { CacheContract } from './contract.ts';
import { lookupParts } from './counts-lookup.ts';
import { tallyParts } from './counts-tally.ts';
import { anchorPageBytes, unitLayout } from './layout.ts';
import type { Tile } from './tile.ts';
import { NONE, total, work, type Work } from './work.ts';

export type { Work } from './work.ts';

/** Groups of eight query columns that `rows` multiplies a unit by. */
const groupsOf = ({ columns = 8 }: CacheContract): number => Math.max(1, columns / 8);
/** What `groups` of columns take of 16 tokens beside the first: queries by ldmatrix (of one group they lie in registers), sights, products, masks, softmax. */
const moreColumns = (groups: number, d: number): Work =>
  groups === 1 ? NONE : work({ wavefronts: groups * (d / 8 + 2), memory: groups * (d / 32 + 1), matrix: (groups - 1) * (d / 8), float: (groups - 1) * (20 + d / 4), mufu: (groups - 1) * 5, alu: (groups - 1) * 20, control: groups });

/**
 * 16 exact tokens, anchors or window. `rows`: 16 rows of K and V by cp.async (two half-warps each, with tests of the token's index), then ldmatrix and mma.
 * `lookup` and `tally` (exact.cuh): rows straight to fragments, 6 of them per lane in 16-byte pieces, queries again for each unit, values paired by PRMT; sums stay in shared
 * memory, read and written in 16-byte pieces that meet in banks by twos (of 4 columns half of the lanes have one).
 */
export function exactUnit(c: CacheContract, tile: Tile): Work {
  const { headDim: d } = c;
  const step = d / 16;
  if (tile.algorithm) {
    return work({
      bytes: anchorPageBytes(d), wavefronts: d / 2 + d / 8 + 11 + 2 * step * 8,
      alu: 6 * 16 + d / 4 + 30, dot: 6 * 3, float: 40 + d / 4, mufu: 6, matrix: 2 * step, memory: (5 * d) / 32 + 11 + 2 * step, control: 12,
    });
  }
  const one = work({
    bytes: anchorPageBytes(d),
    wavefronts: d + 20, // rows written once and read once by ldmatrix, 64 B of indices
    alu: 16 * 6 + 12, dot: 16 * 2, float: 24, mufu: 6, matrix: 2 * step, memory: 16 * 3 + 2 * step + 8, control: 24,
  });
  return total([[1, one], [1, moreColumns(groupsOf(c), d)]]);
}

/** A side's part of `rows` for 32 tokens: codes staged by cp.async, one gather per chunk, stage and token from L1 (32 lines each: 32 wavefronts), rows to shared memory. */
function expandOf(c: CacheContract, name: string): Work {
  const codec = codecOf(name);
  const { headDim: d } = c;
  const rowWavefronts = (32 * d * 2) / 128;
  // An exact side is staged as it is; beside a coded one it is copied once more, which is left out.
  if (codec.kind === 'exact') return work({ memory: d / 8, wavefronts: 2 * rowWavefronts, alu: d / 4, dot: d / 8 });
  const chunks = d / codec.channels;
  const gathers = chunks * codec.stages;
  // Stages are added up two channels at a time.
  const adds = codec.codebook === 'q8' ? 0 : (codec.stages - 1) * (d / 2);
  const convert = codec.codebook === 'q8' ? d * codec.stages : 0; // per channel and 32 lanes: extract and convert, half a pack, a scale
  return work({
    memory: 2 * chunks + gathers + 2, wavefronts: 32 * gathers + chunks + 2 * rowWavefronts, alu: chunks * 5 + gathers + 2.5 * convert, dot: gathers * 2, float: convert, half: adds,
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
  return total([[1, product], [2, moreColumns(groupsOf(c), d)], [1, expandOf(c, c.k)], [1, expandOf(c, c.v)], [1, turned]]);
}

/** The parts of 32 coded tokens (exact ones, if neither side is coded), by name. */
export function tileParts(c: CacheContract, tile: Tile): Readonly<Record<string, Work>> {
  if (tile.algorithm === 'tally') return tallyParts(c, tile);
  return tile.algorithm === 'lookup' ? lookupParts(c, tile) : { rows: rowsTile(c) };
}
