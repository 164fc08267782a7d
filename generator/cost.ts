// The analytic cost of decode: where the time of a kernel goes on a device, from counts of its work. Orders tiles, and documents them. Pure.
import type { Machine } from './arch.ts';
import { isCacheContract, isCoded, type CacheContract } from './contract.ts';
import { exactUnit, tileParts } from './counts.ts';
import { expect, floorsOf, type Floors, type Pipe } from './floors.ts';
import type { Kernel } from './name.ts';
import { ROUND_TRIP, startClocks } from './start.ts';
import { total, type Work } from './work.ts';

export { PIPES } from './floors.ts';

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

/** A shape of {@link launchCost}: what a launch covers, whoever its heads are. */
export interface WorkShape extends CostShape {
  /** CTAs side by side for each sequence and split: KV heads x groups of query columns. */
  readonly lines: number;
  /** Share of the coded tokens that are anchors, and newest tokens that are exact: {@link COST_SETTING} unless given. */
  readonly anchors?: number;
  readonly window?: number;
}

/** How the work is cut, as p.splits and p.spread say. */
export interface CostLaunch {
  /** CTAs of each sequence and line; `spread`: of all sequences of a line together. */
  readonly splits: number;
  readonly spread: boolean;
  readonly merge: 'none' | 'last' | 'combine';
  /** CTAs that one multiprocessor holds at once: 1 unless given. */
  readonly resident?: number;
}

/** Clocks of the busiest multiprocessor by part, with `launchUs`, the starts of one or two kernels, and the sum of all in microseconds. */
export interface LaunchCost {
  readonly start: number;
  readonly loop: number;
  readonly merge: number;
  readonly launchUs: number;
  readonly us: number;
}

/** What all shapes share: 32 query and 8 KV heads, 1 % anchors, a window of 128. */
export const COST_SETTING = { queryHeads: 32, kvHeads: 8, anchors: 0.01, window: 128 } as const;

/** A tile from its codes' arrival to its last mma with nothing else in the way, and 16 exact tokens from their page's index: what short sequences wait for. */
const TILE_LATENCY = 800;
const EXACT_LATENCY = 2000;
/** Clocks from a warp's instruction to the next one that needs it, on average: what few warps wait for whatever pipes they use (4 warps of turned keys: 2259 for a tile's 600 slots). */
const DEPENDENT = 3.8;
/** Launch of a graph's node, and the end of the grid, in microseconds. */
const LAUNCH = 4;

/** The work of 32 tokens of one KV head, and the floors of it. */
export interface TileCost {
  readonly parts: Readonly<Record<string, Work>>;
  /** All parts, and the exact tokens that come with 32 coded ones in a long sequence. */
  readonly work: Work;
  readonly floors: Floors;
  readonly bound: Pipe;
  /** The bounding floor / `reached` (floors.ts): what a loop takes that keeps that pipe busy. Kernels that wait for latencies or barriers take longer. */
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
function lengths(c: CacheContract, tokens: number, { anchors, window }: { anchors: number; window: number } = COST_SETTING): { tiles: number; exact: number } {
  if (!isCoded(c)) return { tiles: tokens / 32, exact: 0 };
  const coded = Math.max(0, tokens - window);
  return { tiles: coded / 32, exact: Math.ceil((coded * anchors) / 16) + Math.min(tokens, window) / 16 };
}

const cacheOf = ({ contract }: Kernel): CacheContract => {
  if (contract.op !== 'decode' || !isCacheContract(contract)) throw new Error(`the cost model knows decode, not ${contract.op}`);
  return contract;
};

// A tuner asks for one kernel at thousands of launches.
const pieces = new WeakMap<Kernel, { tile: Work; unit: Work }>();
/** The work of 32 coded tokens, and of 16 exact ones. */
function piecesOf(kernel: Kernel): { tile: Work; unit: Work } {
  const known = pieces.get(kernel);
  if (known) return known;
  const c = cacheOf(kernel);
  const made = { tile: total(Object.values(tileParts(c, kernel.tile)).map((part) => [1, part])), unit: exactUnit(c, kernel.tile) };
  pieces.set(kernel, made);
  return made;
}

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
 * The cost of one launch on `m`. CTAs beyond what the device holds at once come in waves; those that share a multiprocessor share its pipes, but wait for latencies at
 * the same time. Throws for ops other than decode.
 */
export function launchCost(kernel: Kernel, m: Machine, shape: WorkShape, { splits, spread, merge: merging, resident = 1 }: CostLaunch): LaunchCost {
  const c = cacheOf(kernel);
  const { batch, tokens, lines, anchors = COST_SETTING.anchors, window = COST_SETTING.window } = shape;
  const { tiles, exact } = lengths(c, tokens, { anchors, window });
  const ctas = splits * lines * (spread ? 1 : batch);
  const share = spread ? batch / splits : 1 / splits; // sequences of one CTA
  const perSm = Math.ceil(ctas / m.sms);
  const waves = Math.ceil(perSm / resident);
  const { tile, unit } = piecesOf(kernel);
  const work = total([[perSm * share * tiles, tile], [perSm * share * exact, unit]]);
  const { warps } = kernel.tile;
  const waits = Math.ceil((share * tiles) / warps) * TILE_LATENCY + Math.ceil((share * exact) / warps) * EXACT_LATENCY;
  const floors = floorsOf(work, m, Math.min(ctas, m.sms));
  const { expected } = expect(floors);
  const dependent = (4 * floors.issue * DEPENDENT) / (warps * Math.min(resident, perSm));
  const loop = Math.max(expected, dependent, share * tiles > 2 * warps ? 0 : waves * waits);
  const parts = spread ? 1 + (batch - 1) / splits : 1; // sequences that a CTA holds a part of
  const { first, again } = startClocks(c, kernel.tile, m);
  const start = waves * (first + (parts - 1) * again);
  // Warps are merged in shared memory; a part is written, announced and, by the last CTA, read: a round trip each.
  const merge = waves * parts * (splits > 1 ? 4 : 2) * ROUND_TRIP + (splits > 1 ? splits * 12 : 0);
  const launchUs = LAUNCH * (merging === 'combine' ? 2 : 1);
  return { start, loop, merge, launchUs, us: launchUs + (start + loop + merge) / (m.ghz * 1e3) };
}

/** The cost of one shape on `m`, at the best number of splits up to one CTA per SM. */
export function shapeCost(kernel: Kernel, m: Machine, shape: CostShape): ShapeCost {
  const c = cacheOf(kernel);
  const most = Math.floor(m.sms / COST_SETTING.kvHeads);
  const lines = COST_SETTING.kvHeads * Math.ceil(COST_SETTING.queryHeads / COST_SETTING.kvHeads / (c.columns ?? 8));
  const launches = Array.from({ length: most }, (_, i) => ({ splits: i + 1, ...launchCost(kernel, m, { ...shape, lines }, { splits: i + 1, spread: true, merge: 'last' }) }));
  const { launchUs: _, ...best } = launches.reduce((a, b) => (b.us < a.us ? b : a));
  const heads = shape.batch * COST_SETTING.kvHeads;
  const { tiles, exact } = lengths(c, shape.tokens);
  const { tile, unit } = piecesOf(kernel);
  const bytes = heads * (tiles * tile.bytes + exact * unit.bytes);
  const floorUs = LAUNCH + bytes / m.memory / 1e3;
  const f16Us = LAUNCH + (heads * shape.tokens * c.headDim * 4) / m.memory / 1e3;
  return { ...shape, ...best, floorUs, f16Us, overF16: f16Us / best.us };
}
