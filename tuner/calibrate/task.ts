// One unit of work that a thread can take: one codebook, the weights of a KV head, the basis of its values, or codebooks refined. A pure function of its task.
import { findCodec, stageEntries } from '../../generator/codec.ts';
import { centroidsOf } from '../../generator/pack.ts';
import { basisOf, turnRows } from './basis.ts';
import { seedOf, squares } from './kmeans.ts';
import { centroids, nearest } from './nearest.ts';
import { refine, type RefineResult, type RefineTask } from './refine.ts';
import { round } from './round.ts';
import { gather } from './rows.ts';
import { vectorsOf, weightsFor, type Share } from './scope.ts';
import { kmeansInStages } from './stages.ts';
import { sensitivity, weightsOf } from './weights.ts';

/** Rows of one tensor, shared by all threads: halves as they lie in the dump, or as rotated. */
export interface Rows {
  /** `[heads, stride, head_dim]` */
  readonly data: Uint16Array;
  /** Tokens of a head in memory; the first `tokens` of them are used. */
  readonly stride: number;
  readonly tokens: number;
  readonly headDim: number;
}

export interface ChunkTask extends Share {
  readonly kind: 'chunk';
  readonly rows: Rows;
  readonly codec: string;
  /** [seed, layer, side (0 K, 1 V)]: with head and chunk the identity of the random stream. */
  readonly stream: readonly [number, number, number];
  readonly iterations: number;
  /** Starts to try, at least 1; the best is kept. */
  readonly restarts?: number;
  /** `[heads, tokens]`; default: all equal. */
  readonly weights?: Float32Array;
}

export interface ChunkResult extends Share {
  /** `[stages, entries, channels]` as stored. */
  readonly stored: Uint16Array | Int8Array;
  readonly scale?: Float32Array;
  readonly iterations: number;
  readonly reseeded: number;
  /** Σ w‖x - c‖² of each iteration. */
  readonly losses: readonly number[];
  /** Σ w‖x - c‖² and Σ w‖x‖² with the centroids as stored. */
  readonly loss: number;
  readonly energy: number;
}

export interface WeightTask {
  readonly kind: 'weights';
  readonly q: Rows;
  /** After RoPE. */
  readonly k: Rows;
  readonly v: Rows;
  readonly head: number;
  /** Query heads per KV head. */
  readonly ratio: number;
  readonly window: number;
  readonly exact: boolean;
  readonly power: number;
}

export interface WeightResult {
  readonly head: number;
  /** `[tokens]`, for keys and for values. */
  readonly k: Float32Array;
  readonly v: Float32Array;
}

export interface BasisTask {
  readonly kind: 'basis';
  readonly rows: Rows;
  readonly head: number;
  /** Codes of a row. */
  readonly chunks: number;
}

export interface BasisResult {
  readonly head: number;
  /** T, orthogonal. `[head_dim, head_dim]` */
  readonly to: Float32Array;
}

/** Some rows of a head to be written in its basis. */
export interface TurnTask {
  readonly kind: 'turn';
  readonly rows: Rows;
  readonly head: number;
  /** T of the head. */
  readonly basis: Float32Array;
  /** Tokens: from, until. */
  readonly range: readonly [number, number];
  /** Takes them as halves; memory that threads share. `[heads, tokens, head_dim]` */
  readonly out: Uint16Array;
}

export type Task = ChunkTask | WeightTask | BasisTask | TurnTask | RefineTask;
export type Result<T extends Task> = T extends ChunkTask ? ChunkResult : T extends WeightTask ? WeightResult : T extends BasisTask ? BasisResult : T extends TurnTask ? void : RefineResult;

/** Does one task. */
export function perform<T extends Task>(task: T): Result<T> {
  switch (task.kind) {
    case 'chunk':
      return cluster(task) as Result<T>;
    case 'weights':
      return weigh(task) as Result<T>;
    case 'basis':
      return { head: task.head, to: basisOf(task.rows, task.head, task.chunks) } satisfies BasisResult as Result<T>;
    case 'turn':
      return turnRows(task.rows, task.head, task.basis, task.range, task.out) as Result<T>;
    case 'refine':
      return refine(task) as Result<T>;
  }
}

/** What a restart adds to the stream of random numbers; the first start has the plain one. */
export const restartStream = (restart: number): number[] => (restart === 0 ? [] : [restart]);
/** What a stage adds to it behind that: no restart's number. */
const stageStream = (stage: number): number[] => (stage === 0 ? [] : [0x10000 + stage]);

function cluster(task: ChunkTask): ChunkResult {
  const tries = Array.from({ length: task.restarts ?? 1 }, (_, restart) => clusterOnce(task, restart));
  return tries.reduce((best, other) => (other.loss < best.loss ? other : best));
}

function clusterOnce({ rows, codec: name, stream, scope, head, chunk, iterations, weights: all }: ChunkTask, restart: number): ChunkResult {
  const codec = findCodec(name);
  if (codec?.kind !== 'vq') throw new Error(`${name} has no codebook`);
  const { channels } = codec;
  const share = { scope, head, chunk };
  const x = vectorsOf(rows, share, channels);
  const weights = all && weightsFor(all, rows, share, channels);
  const seeds = Array.from({ length: codec.stages }, (_, stage) => seedOf(...stream, head, chunk, ...restartStream(restart), ...stageStream(stage)));
  const found = kmeansInStages(x, { channels, entries: stageEntries(codec), seeds, iterations, weights });
  const rounded = round(codec, found.values);
  // Every code's centroid as everyone reads it, so that the loss is that of what is stored.
  const means = centroidsOf(codec, channels, { kvHeads: 1, values: rounded.stored, ...(rounded.scale && { scale: rounded.scale }) });
  const code = new Uint16Array(x.length / channels);
  const half = new Float64Array(code.length);
  nearest(x, centroids(means, channels), code, half);
  let loss = 0;
  let energy = 0;
  squares(x, channels).forEach((square, i) => {
    loss += (weights?.[i] ?? 1) * Math.max(0, square + 2 * half[i]!);
    energy += (weights?.[i] ?? 1) * square;
  });
  return { ...share, stored: rounded.stored, ...(rounded.scale && { scale: rounded.scale }), iterations: found.iterations, reseeded: found.reseeded, losses: found.losses, loss, energy };
}

function weigh({ q, k, v, head, ratio, window, exact, power }: WeightTask): WeightResult {
  const { tokens, headDim } = k;
  const queries = new Float32Array(ratio * tokens * headDim);
  for (let r = 0; r < ratio; r++) queries.set(gather(q, head * ratio + r, 0, headDim), r * tokens * headDim);
  const sums = sensitivity({ tokens, headDim, ratio, q: queries, k: gather(k, head, 0, headDim), v: gather(v, head, 0, headDim), window }, exact);
  return { head, k: weightsOf(exact ? sums.exact : sums.column, power), v: weightsOf(sums.column, power) };
}
