// From a dump and a recipe to codebooks: weighted k-means per layer, side, and what shares a codebook.
import { resolve } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { chunksOf, codecOf, storedOf, type VqCodec } from '../../generator/codec.ts';
import { writeCodebook, type CodebookLayer } from '../../generator/codebook.ts';
import { isUndertrained } from '../../generator/contract.ts';
import { InputError, UsageError } from '../../generator/errors.ts';
import type { CalibrationRecord, DumpLayer } from '../../generator/format.ts';
import { recipeHash, type Recipe } from '../../generator/recipe.ts';
import type { DumpFile } from './file.ts';
import { openWeights, type GivenWeights } from './given.ts';
import { openClusterer, type Clusterer, type Source } from './device.ts';
import type { Device } from '../images.ts';
import { placesOf, sharesOf, vectorsPerToken } from './scope.ts';
import { createPool, type Pool } from './pool.ts';
import { keysOf, prepare, type Prepared } from './prepare.ts';
import { refineBooks } from './refine.ts';
import type { ChunkResult, ChunkTask, Rows } from './task.ts';

/** A form of the anchor score, or a file of weights (generator/format.ts). */
export type Weights = 'none' | 'column' | 'exact' | { readonly file: string };

export interface CalibrateOptions {
  readonly recipe: Recipe;
  /** Layers of the dump; default: all. */
  readonly layers?: readonly number[] | undefined;
  readonly seed?: number | undefined;
  readonly iterations?: number | undefined;
  /** `exact`: keys by the exact form, values by column sums. Default: exact if the dump has queries, else none. */
  readonly weights?: Weights | undefined;
  readonly power?: number | undefined;
  /** Default: one per processor core. */
  readonly threads?: number | undefined;
  /** Threads that are there already, for callers who calibrate several times; the caller closes it. */
  readonly pool?: Pool | undefined;
  /** Where chunks are clustered; default: on this machine's cores. `auto`: a GPU or an error. Weights and bases are always the cores' work. */
  readonly device?: 'cpu' | Device | undefined;
  /** Starts to try for each chunk; the best is kept. */
  readonly restarts?: number | undefined;
  /** Most rounds of least squares with gains, for the sides that have one (refine.ts); default 0. UsageError where no side has. */
  readonly refine?: number | undefined;
  /** Use the first tokens only. */
  readonly tokens?: number | undefined;
  readonly onProgress?: ((progress: Progress) => void) | undefined;
}

export interface Progress {
  readonly layer: number;
  readonly what: string;
  readonly done: number;
  readonly total: number;
}

/** How well one codebook codes: Σ w‖x - c‖² / Σ w‖x‖² on the training tokens. */
export interface ChunkLine {
  readonly layer: number;
  readonly side: 'k' | 'v';
  /** Null where all of them share it. */
  readonly head: number | null;
  readonly chunk: number | null;
  readonly distortion: number;
  readonly iterations: number;
  /** Empty clusters that got another start. */
  readonly reseeded: number;
}

export interface Calibrated {
  readonly layers: ReadonlyMap<number, CodebookLayer>;
  readonly record: CalibrationRecord;
  readonly chunks: readonly ChunkLine[];
  /** What clustered: a device, or the cores. */
  readonly device: string;
  /** The codebook file. */
  readonly bytes: Uint8Array;
}

export const DEFAULTS = { seed: 0, iterations: 25, power: 1, restarts: 1 } as const;

/** Calibrates codebooks for the coded sides of a recipe. Throws InputError if the dump lacks what is asked for, UsageError if nothing is coded. */
export async function calibrate(file: DumpFile, options: CalibrateOptions): Promise<Calibrated> {
  const { recipe, threads, layers: wanted } = options;
  const { dump } = file;
  const chosen = dump.layers.filter(({ layer }) => wanted?.includes(layer) ?? true);
  const missing = wanted?.find((layer) => !dump.layers.some((l) => l.layer === layer));
  if (missing !== undefined) throw new UsageError(`${file.path} has no layer ${missing}`, `it has ${dump.layers.map((l) => l.layer).join(', ')}`);
  if (codecOf(recipe.k).kind === 'exact' && codecOf(recipe.v).kind === 'exact') throw new UsageError('both sides of the recipe are exact: there is nothing to calibrate', 'choose a preset with codes, as antkv-1');
  if (options.refine && recipe.gain === 'none') throw new UsageError('the recipe has no gain: its centroids are the least squares already', 'leave --refine out, or choose a recipe with a gain');
  const staged = (['k', 'v'] as const).map((side) => codecOf(recipe[side])).find((codec) => codec.kind === 'vq' && codec.stages > 1);
  if (options.refine && staged) throw new UsageError(`${staged.name} has codes in stages, which are fitted together: nothing refines them further`, 'leave --refine out');
  const weights = options.weights ?? (chosen.every(({ q }) => q) ? 'exact' : 'none');
  const { seed = DEFAULTS.seed, iterations = DEFAULTS.iterations, power = DEFAULTS.power, restarts = DEFAULTS.restarts, device = 'cpu' } = options;
  const given = typeof weights === 'object' ? openWeights(weights.file) : undefined;
  const record: CalibrationRecord = { seed, iterations, weights: typeof weights === 'object' ? 'file' : weights, power, ...(restarts > 1 && { restarts }), ...(options.refine && { refine: options.refine }), tensors: {} };
  const layers = new Map<number, CodebookLayer>();
  const chunks: ChunkLine[] = [];
  const coded = [recipe.k, recipe.v].filter((name) => codecOf(name).kind === 'vq');
  const clusterer = device === 'cpu' ? undefined : await openClusterer(coded, device);
  const idle = clusterer && !options.refine && (given || weights === 'none') && recipe.transform === 'none';
  const pool = options.pool ?? createPool(idle ? 1 : threads);
  try {
    const settled = { ...options, seed, iterations, weights, power, restarts };
    const prepared = (layer: DumpLayer): Promise<Prepared> => prepare(file, layer, settled, pool);
    // While a device clusters a layer, the cores work on the next one; refinement wants them itself, behind the device.
    const ahead = clusterer !== undefined && !options.refine;
    let ready: Promise<Prepared> | undefined;
    for (const [i, layer] of chosen.entries()) {
      const next = chosen[i + 1];
      const mine = await (ready ?? prepared(layer));
      const clustered = calibrateLayer(file, layer, { ...settled, next }, mine, { pool, clusterer, given }, record, chunks);
      ready = ahead && next ? setImmediate().then(() => prepared(next)) : undefined; // its reading holds this thread up: the device's first request leaves before
      for (const later of [clustered, ready]) later?.catch(() => {}); // thrown where they are awaited, unless something else failed before
      layers.set(layer.layer, await clustered);
    }
    if (given) record.weights_digest = given.digest();
  } finally {
    given?.close();
    await clusterer?.close();
    if (!options.pool) await pool.close();
  }
  const { doc: _, ...members } = recipe;
  const about = { model: dump.metadata.model, headDim: dump.headDim, recipe: members, recipeHash: recipeHash(recipe), calibration: record, dump: dump.header.metadata };
  return { layers, record, chunks, device: clusterer?.device ?? 'cpu', bytes: writeCodebook(layers, about) };
}

type Settled = CalibrateOptions & { seed: number; iterations: number; weights: Weights; power: number; restarts: number; next: DumpLayer | undefined };
interface Workers {
  readonly pool: Pool;
  readonly clusterer: Clusterer | undefined;
  readonly given: GivenWeights | undefined;
}

async function calibrateLayer(file: DumpFile, layer: DumpLayer, options: Settled, { tokens, weights, turned }: Prepared, workers: Workers, record: CalibrationRecord, lines: ChunkLine[]): Promise<CodebookLayer> {
  const { recipe } = options;
  const values = turned?.rows;
  const out: { -readonly [S in 'k' | 'v']?: NonNullable<CodebookLayer['k']> } = {};
  for (const side of ['k', 'v'] as const) {
    const codec = codecOf(recipe[side]);
    if (codec.kind === 'exact') continue;
    const mine = workers.given?.of(layer, side, tokens, options.power) ?? weights?.[side];
    const found = await (workers.clusterer ? clusterOnDevice : clusterOnCores)(file, layer, side, codec, tokens, mine, { ...options, values }, workers);
    const refined = options.refine && recipe.gain.includes(side) ? await refineBooks(workers.pool, { rows: (side === 'v' && values) || rowsOf(file, layer, side, tokens, recipe.key), codec: codec.name, rounds: options.refine, weights: mine }, found, (done, total) =>
      options.onProgress?.({ layer: layer.layer, what: `${side} refined`, done, total })) : undefined;
    const results = refined?.books ?? found;
    out[side] = { codec, tensor: assemble(codec, file.dump.headDim, layer.kvHeads, results) };
    for (const { scope, head, chunk, loss, energy, iterations, reseeded } of results) lines.push({ layer: layer.layer, side, head: scope === 'layer' ? null : head, chunk: scope === 'chunk' ? chunk : null, distortion: energy > 0 ? loss / energy : 0, iterations, reseeded });
    record.tensors[`layers.${layer.layer}.${side}`] = describe(codec, side === 'k' ? recipe.key : null, tokens * vectorsPerToken(recipe.scope, layer.kvHeads, chunksOf(codec, file.dump.headDim)), results);
    if (refined) record.tensors[`layers.${layer.layer}.${side}`]!.refined = refined.record;
  }
  return { ...out, ...(turned && { basis: turned.basis }) };
}

type Cluster = (file: DumpFile, layer: DumpLayer, side: 'k' | 'v', codec: VqCodec, tokens: number, weights: Float32Array | undefined, options: Settled & { values: Rows | undefined }, workers: Workers) => Promise<ChunkResult[]>;
const streamOf = (seed: number, { layer }: DumpLayer, side: 'k' | 'v') => [seed, layer, side === 'k' ? 0 : 1] as const;

const clusterOnCores: Cluster = async (file, layer, side, codec, tokens, weights, { recipe, seed, iterations, restarts, values, onProgress }, { pool }) => {
  const rows = (side === 'v' && values) || rowsOf(file, layer, side, tokens, recipe.key);
  const shares = sharesOf(recipe.scope, layer.kvHeads, chunksOf(codec, file.dump.headDim));
  const tasks = shares.map((share): ChunkTask => ({ kind: 'chunk', ...share, rows, codec: codec.name, stream: streamOf(seed, layer, side), iterations, restarts, ...(weights && { weights }) }));
  let done = 0;
  return pool.run(tasks, () => onProgress?.({ layer: layer.layer, what: `${side} ${codec.name}`, done: ++done, total: tasks.length }));
};

const clusterOnDevice: Cluster = async (file, layer, side, codec, tokens, weights, { recipe, seed, iterations, restarts, values, next, onProgress }, { clusterer }) => {
  const of = (from: DumpLayer, which: 'k' | 'v'): Source => (which === 'v' && values) || sourceOf(file, from, which, tokens, recipe.key);
  const onDisk = (from: DumpLayer | undefined): Source | undefined => (from && hasKeys(from, recipe.key) ? of(from, 'k') : undefined);
  const [heads, headDim] = [layer.kvHeads, file.dump.headDim];
  const following = side === 'k' && codecOf(recipe.v).kind === 'vq' ? of(layer, 'v') : onDisk(next);
  const results = await clusterer!.cluster({ source: of(layer, side), codec: codec.name, scope: recipe.scope, heads, headDim, tokens, stream: streamOf(seed, layer, side), iterations, restarts, weights, next: following });
  onProgress?.({ layer: layer.layer, what: `${side} ${codec.name}`, done: results.length, total: results.length });
  return results;
};

const hasKeys = (layer: DumpLayer, position: 'pre' | 'post'): boolean => (position === 'pre' ? layer.k_pre_rope : layer.k) !== undefined;

/** Where the runner finds a side of a layer: in the dump, unless its keys must be rotated first. */
function sourceOf(file: DumpFile, layer: DumpLayer, side: 'k' | 'v', tokens: number, position: 'pre' | 'post'): Source {
  const tensor = side === 'v' ? layer.v : position === 'pre' ? layer.k_pre_rope : layer.k;
  return tensor ? { file: resolve(file.path), tensor: tensor.name } : keysOf(file, layer, tokens, position);
}

const rowsOf = (file: DumpFile, layer: DumpLayer, side: 'k' | 'v', tokens: number, position: 'pre' | 'post'): Rows => (side === 'k' ? keysOf(file, layer, tokens, position) : file.rows(layer.v, tokens));

function assemble(codec: VqCodec, headDim: number, kvHeads: number, results: readonly ChunkResult[]): NonNullable<CodebookLayer['k']>['tensor'] {
  const perChunk = storedOf(codec) * codec.channels;
  const size = kvHeads * headDim * storedOf(codec);
  const values = codec.codebook === 'q8' ? new Int8Array(size) : new Uint16Array(size);
  const scale = new Float32Array(kvHeads * headDim);
  for (const result of results) {
    for (const place of placesOf(result, kvHeads, chunksOf(codec, headDim))) {
      values.set(result.stored, place * perChunk);
      if (result.scale) scale.set(result.scale, place * codec.channels);
    }
  }
  return { kvHeads, values, ...(codec.codebook === 'q8' && { scale }) };
}

function describe(codec: VqCodec, position: 'pre' | 'post' | null, vectors: number, results: readonly ChunkResult[]): CalibrationRecord['tensors'][string] {
  const sum = (of: (result: ChunkResult) => number): number => results.reduce((total, result) => total + of(result), 0);
  const energy = sum((r) => r.energy);
  return {
    codec: codec.name,
    position,
    vectors,
    vectors_per_entry: vectors / storedOf(codec),
    undertrained: isUndertrained(codec.name, vectors),
    iterations: Math.max(...results.map((r) => r.iterations)),
    reseeded: sum((r) => r.reseeded),
    convergence: Array.from({ length: Math.max(...results.map((r) => r.iterations)) }, (_, i) => (energy > 0 ? sum((r) => r.losses[Math.min(i, r.losses.length - 1)] ?? 0) / energy : 0)),
    distortion: energy > 0 ? sum((r) => r.loss) / energy : 0,
  };
}
