// What is tuned for: the default grid, the heads of a model, or shapes from a file, as problems of every contract. Pure.
import { isCacheContract, isCoded, type CacheContract, type Contract } from '../../generator/contract.ts';
import { anchorPageBytes, unitLayout } from '../../generator/layout.ts';
import { contractName } from '../../generator/name.ts';
import { BENCH_OPS, HEADS } from '../bench-plan.ts';
import type { BenchOp } from '../bench-schema.ts';
import type { PointShape, Problem } from '../tune/problem.ts';

/** Doubling where a step is short, as starts, merges and waves of CTAs decide there; every second doubling where times grow with the work alone. */
const TOKENS = [1024, 2048, 4096, 8192, 16_384, 32_768, 131_072] as const;
/**
 * Tokens and batches of the default grid of decode: every doubling of the batch up to 64, and what lies between from 6 on, as each has other waves and meets shares that
 * end within sequences, which powers of two do not. Work that is spread over all sequences is for batches of several: two behave like four, and 48 gains nothing. Of the other ops a corner, as
 * their best tile hardly depends on the shape; that of `score` changes where its grid fills the device.
 */
export const DECODE_GRID = {
  sequence: { tokens: TOKENS, batch: [1, 2, 4, 6, 8, 12, 16, 24, 32, 48, 64] },
  spread: { tokens: TOKENS, batch: [1, 4, 6, 8, 12, 16, 24, 32, 64] },
} as const;
/** Of exact rows, in both modes: several CTAs of theirs share a multiprocessor and its memory, and batches that fill that unevenly have launches of their own. They are quick to measure. */
export const EXACT_GRID = { tokens: TOKENS, batch: [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64] } as const;
export const SCORE_GRID = { tokens: [1024, 2048, 4096, 8192, 16_384, 65_536], batch: [1, 8] } as const;
export const OTHER_GRID = { tokens: [1024, 8192, 65_536], batch: [1, 8] } as const;
/** Query rows of `score`: a window's worth. Of `append` all sequences flush: other steps take the same time with any tile. */
const SCORE_ROWS = 128;
/** A point whose cache takes more of the device's memory is left out: cold copies and outputs need the rest. */
export const MEMORY_SHARE = 0.4;

/** What every shape has unless it says otherwise: the runner's own defaults (harness/runner/README.md). */
export const SETTING = { qLen: 1, anchorPermille: 10, window: 128, pageSize: 64, codes: 'uniform' } as const;
const DEFAULTS: Readonly<Partial<Record<keyof PointShape, unknown>>> = { q_len: SETTING.qLen, anchor_permille: SETTING.anchorPermille, window: SETTING.window, page_size: SETTING.pageSize, codes: SETTING.codes };

/** A shape without what is at its default, and with its batch unless it has lengths, so that equal shapes are equal text whoever wrote them. */
export function plainShape({ batch, ...shape }: PointShape): PointShape {
  const told = Object.entries(shape).filter(([name, value]) => value !== undefined && value !== DEFAULTS[name as keyof PointShape]);
  return Object.fromEntries([...(shape.lens ? [] : [['batch', batch ?? 1]]), ...told]) as PointShape;
}

/** Heads that a grid is made for. */
export interface Heads {
  readonly q_heads: number;
  readonly kv_heads: number;
}

/** Shapes that a user gave, for one contract or for all. */
export interface GivenShape {
  readonly contract?: string;
  readonly shape: PointShape;
}

/** Where problems come from; the table says which. */
export interface Tuning {
  /** `the default grid`, `model config.json`, `shapes FILE`. */
  readonly tunedFor: string;
  readonly heads: Heads;
  /** Of a model: other contracts are not tuned. */
  readonly headDim?: number;
  /** Instead of the grid. */
  readonly shapes?: readonly GivenShape[];
}

export const DEFAULT_TUNING: Tuning = { tunedFor: 'the default grid', heads: HEADS };

const isBenchOp = (op: string): op is BenchOp => (BENCH_OPS as readonly string[]).includes(op);

/** Shapes of an op and mode on the grid. */
function gridShapes(op: BenchOp, mode: Problem['mode'], exact: boolean, heads: Heads): PointShape[] {
  const { tokens, batch } = op === 'decode' ? (exact ? EXACT_GRID : DECODE_GRID[mode]) : op === 'score' ? SCORE_GRID : OTHER_GRID;
  return tokens.flatMap((n) => batch.map((b): PointShape => ({ batch: b, tokens: n, ...heads, ...(op === 'score' ? { rows: SCORE_ROWS } : {}), ...(op === 'append' ? { flush: b } : {}) })));
}

/** Bytes of a cache of `contract` at a shape: pages with their anchors and the window. */
export function cacheBytes(contract: CacheContract, { batch = 1, tokens = 0, lens, kv_heads, anchor_permille = SETTING.anchorPermille, window = SETTING.window }: PointShape): number {
  const total = lens ? lens.reduce((a, b) => a + b, 0) : batch * tokens;
  const sequences = lens ? lens.length : batch;
  const units = total / 16;
  const exact = isCoded(contract) ? (units * anchor_permille) / 1000 * anchorPageBytes(contract.headDim) + sequences * window * contract.headDim * 4 : 0;
  return kv_heads * (units * unitLayout(contract).bytes + exact);
}

/** What the inputs of a problem take of the device's memory: the cache, or f16 rows of the ops that read those. */
function bytesOf(contract: Contract, shape: PointShape): number {
  const { batch = 1, tokens = 0, lens, kv_heads } = shape;
  const total = lens ? lens.reduce((a, b) => a + b, 0) : batch * tokens;
  const rows = total * kv_heads * (contract.headDim ?? 2) * 2;
  if (!isCacheContract(contract)) return rows;
  return cacheBytes(contract, shape) + (contract.op === 'decode' ? 0 : 2 * rows);
}

/**
 * The problems of a contract: each shape in every mode that is measured, from small to large. `memoryBytes`: of the device; points that are too large for it are left
 * out. Empty for ops that nobody times, for contracts of another head dim than the model's, and where no shape is meant for the contract.
 */
export function problemsOf(contract: Contract, tuning: Tuning, memoryBytes = Infinity): Problem[] {
  const { op } = contract;
  if (op === 'append' && isCacheContract(contract) && !isCoded(contract)) return []; // it copies a row, whatever its tile
  if (!isBenchOp(op) || (tuning.headDim !== undefined && contract.headDim !== undefined && contract.headDim !== tuning.headDim)) return [];
  const name = contractName(contract);
  const given = tuning.shapes?.filter((one) => one.contract === name || (one.contract === undefined && op === 'decode')).map(({ shape }) => shape);
  const modes = op === 'decode' ? (['sequence', 'spread'] as const) : (['sequence'] as const);
  const problems = modes.flatMap((mode) => (given ?? gridShapes(op, mode, isCacheContract(contract) && !isCoded(contract), tuning.heads)).map((shape): Problem => ({ contract: name, mode, shape: plainShape(shape) })));
  const streams = ({ shape: { batch = 1, lens } }: Problem): number => lens?.length ?? batch;
  const tokens = ({ shape: { batch = 1, tokens: each = 0, lens } }: Problem): number => (lens ? lens.reduce((sum, n) => sum + n, 0) : batch * each);
  // The modes of one shape side by side: they share its data.
  const sorted = problems.toSorted((one, other) => tokens(one) - tokens(other) || streams(one) - streams(other));
  return sorted.filter(({ shape }) => bytesOf(contract, shape) <= MEMORY_SHARE * memoryBytes);
}
