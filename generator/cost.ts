// The analytic cost of decode: where the time of a kernel goes on a device, from counts of its work. Orders tiles, and documents them. Pure.
import type { Machine } from './arch.ts';
import { chunksOf, codecOf } from './codec.ts';
import { isCacheContract, isCoded, type CacheContract } from './contract.ts';
import { exactUnit, tileParts, total, type Work } from './counts.ts';
import { keyMethod } from './lookup.ts';
import type { Kernel } from './name.ts';
import { lookupTables } from './shared.ts';

/** Sequences of equal length, one query token each. */
export interface CostShape {
  readonly batch: number;
  readonly tokens: number;
}

/** The shapes that decode is judged by. */
export const COST_SHAPES: readonly CostShape[] = [
  { batch: 16, tokens: 131072 },
  { batch: 16, tokens: 32768 },
  { batch: 1, tokens: 131072 },
  { batch: 16, tokens: 4096 },
  { batch: 1, tokens: 4096 },
];

/** What all shapes share: 32 query and 8 KV heads, 1 % anchors, a window of 128. */
export const COST_SETTING = { queryHeads: 32, kvHeads: 8, anchors: 0.01, window: 128 } as const;

// Clocks. A mma takes the issue port for about four more slots: of kernels that differ only in the number of mma, time follows instructions + 3.2 x mma per tile,
// and in micro-benchmarks a mma.sync with 6 FFMA between takes 10.8 clocks of a scheduler.
const MMA_SLOTS = 4.2;
/** Loops reach this share of their largest floor. Of an SM's pipes 0.86 was the best seen, 0.7 to 0.8 is usual when two are close; copying f16 rows reaches 0.9 of memory. */
const reached = (pipe: Pipe): number => (pipe === 'memory' ? 0.9 : 0.75);
/** One round trip to L2 or memory. */
const ROUND_TRIP = 600;
/** A tile from its codes' arrival to its last mma with nothing else in the way, and 16 exact tokens from their page's index: what short sequences wait for. */
const TILE_LATENCY = 800;
const EXACT_LATENCY = 2000;
/** Instructions of a warp's sines and cosines of a position, with their reduction and where they are put (rope.cuh). */
const ANGLE = 24;
/** Launch of a graph's node, and the end of the grid, in microseconds. */
const LAUNCH = 4;

export const PIPES = ['memory', 'shared', 'issue', 'alu', 'fma', 'mufu', 'matrix'] as const;
export type Pipe = (typeof PIPES)[number];
export type Floors = Readonly<Record<Pipe, number>>;

/** Clocks of one SM that each pipe needs for `w`, when `active` SMs share the memory; half of them suffice to use all of it. */
export function floorsOf(w: Work, m: Machine, active = m.sms): Floors {
  const instructions = w.alu + w.dot + w.half + w.float + w.mufu + w.memory + w.control;
  return {
    memory: (w.bytes * Math.max(active, m.sms / 2) * m.ghz) / m.memory,
    shared: w.wavefronts,
    issue: (instructions + MMA_SLOTS * w.matrix) / 4,
    alu: w.alu / 2,
    fma: w.dot / 2 + w.half / m.half + w.float / m.float,
    mufu: w.mufu * 2,
    matrix: (w.matrix * m.matrix) / 4,
  };
}

/** The pipe that bounds, and the clocks that a loop is expected to take. */
function expect(floors: Floors): { bound: Pipe; expected: number } {
  const bound = PIPES.reduce((top, pipe) => (floors[pipe] / reached(pipe) > floors[top] / reached(top) ? pipe : top));
  return { bound, expected: floors[bound] / reached(bound) };
}

/** The work of 32 tokens of one KV head, and the floors of it. */
export interface TileCost {
  readonly parts: Readonly<Record<string, Work>>;
  /** All parts, and the exact tokens that come with 32 coded ones in a long sequence. */
  readonly work: Work;
  readonly floors: Floors;
  readonly bound: Pipe;
  /** The bounding floor / {@link reached}: what a loop takes that keeps that pipe busy. Kernels that wait for latencies or barriers take longer. */
  readonly expected: number;
}

export interface ShapeCost extends CostShape {
  /** CTAs per KV head, a launch parameter: as many as fill the device once, fewer where a merge costs more than it saves. */
  readonly splits: number;
  /** Clocks of one CTA: tables and queries, tiles, merges. */
  readonly start: number;
  readonly loop: number;
  readonly merge: number;
  readonly us: number;
  /** Bytes of the cache / bandwidth, and the launch. */
  readonly floorUs: number;
  /** The same of an f16 cache, which the best f16 kernels reach. */
  readonly f16Us: number;
  readonly overF16: number;
}

/** Work of a KV head of one sequence in tiles of 32 coded tokens and units of 16 exact ones. */
function lengths(c: CacheContract, tokens: number): { tiles: number; exact: number } {
  if (!isCoded(c)) return { tiles: tokens / 32, exact: 0 };
  const coded = Math.max(0, tokens - COST_SETTING.window);
  return { tiles: coded / 32, exact: Math.ceil((coded * COST_SETTING.anchors) / 16) + Math.min(tokens, COST_SETTING.window) / 16 };
}

const cacheOf = ({ contract }: Kernel): CacheContract => {
  if (contract.op !== 'decode' || !isCacheContract(contract)) throw new Error(`the cost model knows decode, not ${contract.op}`);
  return contract;
};

/** The cost of 32 tokens on `m`. */
export function tileCost(kernel: Kernel, m: Machine): TileCost {
  const c = cacheOf(kernel);
  const anchors: Readonly<Record<string, Work>> = isCoded(c) ? { 'anchors, 1 %': total([[(32 * COST_SETTING.anchors) / 16, exactUnit(c, kernel.tile)]]) } : {};
  const parts = { ...tileParts(c, kernel.tile), ...anchors };
  const work = total(Object.values(parts).map((part) => [1, part]));
  const floors = floorsOf(work, m);
  return { parts, work, floors, ...expect(floors) };
}

/**
 * Clocks before a CTA's first tile: lengths, then queries and codebooks; its tables from L2 (all CTAs at once); of `sum`, d multiply-adds per entry and column, twice
 * where registers do not hold them until the largest is known, and their rounding; of `turn`, sines and cosines of the places and of the way to the next tile.
 * `again`: before the first tile of its second sequence, where only what depends on the queries is made again.
 */
function startClocks(kernel: Kernel, m: Machine): { first: number; again: number } {
  const c = cacheOf(kernel);
  if (kernel.tile.algorithm !== 'lookup') return { first: 2 * ROUND_TRIP, again: 2 * ROUND_TRIP };
  const book = (name: string): number => {
    const codec = codecOf(name);
    return codec.kind === 'vq' ? 256 * c.headDim * (codec.codebook === 'q8' ? 1 : 2) : 0;
  };
  const table = lookupTables(c, kernel.tile);
  const method = keyMethod(c);
  const { columns = 8, headDim: d } = c;
  const entries = 256 * chunksOf(codecOf(c.k), d);
  const times = (entries / (32 * kernel.tile.warps)) * columns <= 64 ? 1 : 2; // kHold in lookup_sum.cuh
  const products = method === 'sum' ? times * ((256 * d * columns) / 32 / m.float + (256 * d) / 64) + (entries * columns) / 32 / m.float : 0;
  const angles = method === 'turn' ? ((1024 + d / 2) / 32) * (ANGLE / 4) : 0;
  const keys = Math.max(book(c.k) / m.l2, products, table.k / 128) + angles;
  const values = Math.max(book(c.v) / m.l2, table.v / 128);
  return { first: 2 * ROUND_TRIP + keys + values, again: 2 * ROUND_TRIP + (method === 'sum' ? keys : 0) };
}

/** The cost of a launch at `splits` CTAs per KV head, all of them resident at once. */
function launchCost(kernel: Kernel, m: Machine, { batch, tokens }: CostShape, splits: number): Omit<ShapeCost, 'floorUs' | 'f16Us' | 'overF16'> {
  const c = cacheOf(kernel);
  const groups = Math.ceil(COST_SETTING.queryHeads / COST_SETTING.kvHeads / (c.columns ?? 8));
  const { tiles, exact } = lengths(c, tokens);
  const share = (batch / splits) * groups;
  const work = total([[share * tiles, total(Object.values(tileParts(c, kernel.tile)).map((part) => [1, part]))], [share * exact, exactUnit(c, kernel.tile)]]);
  const { warps } = kernel.tile;
  const waits = Math.ceil((share * tiles) / warps) * TILE_LATENCY + Math.ceil((share * exact) / warps) * EXACT_LATENCY;
  const { expected } = expect(floorsOf(work, m, splits * COST_SETTING.kvHeads));
  const loop = Math.max(expected, share * tiles > 2 * warps ? 0 : waits);
  const pieces = 1 + (batch - 1) / splits; // sequences that a CTA holds a part of
  const { first, again } = startClocks(kernel, m);
  const start = first + (pieces - 1) * again;
  // Warps are merged in shared memory; a part is written, announced and, by the last CTA, read: a round trip each.
  const merge = pieces * (splits > 1 ? 4 : 2) * ROUND_TRIP + (splits > 1 ? splits * 12 : 0);
  return { batch, tokens, splits, start, loop, merge, us: LAUNCH + (start + loop + merge) / (m.ghz * 1e3) };
}

/** The cost of one shape on `m`, at the best number of splits up to one CTA per SM. */
export function shapeCost(kernel: Kernel, m: Machine, shape: CostShape): ShapeCost {
  const c = cacheOf(kernel);
  const most = Math.floor(m.sms / COST_SETTING.kvHeads);
  const launches = Array.from({ length: most }, (_, i) => launchCost(kernel, m, shape, i + 1));
  const best = launches.reduce((a, b) => (b.us < a.us ? b : a));
  const heads = shape.batch * COST_SETTING.kvHeads;
  const { tiles, exact } = lengths(c, shape.tokens);
  const tile = total(Object.values(tileParts(c, kernel.tile)).map((part) => [1, part]));
  const bytes = heads * (tiles * tile.bytes + exact * exactUnit(c, kernel.tile).bytes);
  const floorUs = LAUNCH + bytes / m.memory / 1e3;
  const f16Us = LAUNCH + (heads * shape.tokens * c.headDim * 4) / m.memory / 1e3;
  return { ...best, floorUs, f16Us, overF16: f16Us / best.us };
}
