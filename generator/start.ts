// What a CTA of decode does before its first tile: tables and queries. Pure.
import type { Machine } from './arch.ts';
import { codecOf } from './codec.ts';
import type { CacheContract } from './contract.ts';
import { sumTable } from './counts-lookup.ts';
import { tallyClocks } from './counts-tally.ts';
import { expect, floorsOf } from './floors.ts';
import { keyMethod } from './lookup.ts';
import { lookupTables } from './shared.ts';
import type { Tile } from './tile.ts';

/** One round trip to L2 or memory. */
export const ROUND_TRIP = 600;
/** Instructions of a warp's sines and cosines of a position, with their reduction and where they are put (rope.cuh). */
const ANGLE = 24;

/**
 * Clocks before a CTA's first tile: lengths, then queries and codebooks; its tables from L2 (all CTAs at once); of `sum`, the products of queries and centroids; of
 * `turn`, sines and cosines of the places and of the way to the next tile. `again`: before the first tile of its second sequence, where only what depends on the queries
 * is made again. `tally`: tables and, behind the last tile, the product of tallies and codebook, for each sequence and pass.
 */
export function startClocks(c: CacheContract, tile: Tile, m: Machine): { first: number; again: number } {
  if (tile.algorithm === 'tally') {
    const tables = tallyClocks(c, tile, m.l2);
    return { first: 2 * ROUND_TRIP + tables, again: 2 * ROUND_TRIP + tables };
  }
  if (tile.algorithm !== 'lookup') return { first: 2 * ROUND_TRIP, again: 2 * ROUND_TRIP };
  const book = (name: string): number => {
    const codec = codecOf(name);
    return codec.kind === 'vq' ? 256 * c.headDim * (codec.codebook === 'q8' ? 1 : 2) : 0;
  };
  const table = lookupTables(c, tile);
  const method = keyMethod(c);
  const products = method === 'sum' ? expect(floorsOf(sumTable(c, tile), m)).expected : 0;
  const angles = method === 'turn' ? ((1024 + c.headDim / 2) / 32) * (ANGLE / 4) : 0;
  const keys = Math.max(book(c.k) / m.l2, products, table.k / 128) + angles;
  const values = Math.max(book(c.v) / m.l2, table.v / 128);
  return { first: 2 * ROUND_TRIP + keys + values, again: 2 * ROUND_TRIP + (method === 'sum' ? keys : 0) };
}
