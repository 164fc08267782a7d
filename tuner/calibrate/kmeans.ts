// Weighted k-means: k-means++ start, Lloyd iterations, empty clusters re-seeded. A pure function of its arguments. Centroids are halves throughout: what is searched is
// what will be stored, and what the generated kernel `kmeans` searches, so that both find the same codebooks.
import { uniformFloat64 } from 'pure-rand/distribution/uniformFloat64';
import { xoroshiro128plus } from 'pure-rand/generator/xoroshiro128plus';
import { fromF16, toF16 } from '../../generator/f16.ts';
import { centroids, nearest } from './nearest.ts';

export interface KmeansOptions {
  readonly channels: number;
  readonly entries: number;
  /** 32-bit integer; see {@link seedOf}. */
  readonly seed: number;
  /** Bound on Lloyd iterations. */
  readonly iterations: number;
  /** Stop when an iteration lowers the loss by less than this part of it. */
  readonly tolerance?: number;
  /** `[vectors]`, non-negative; default: all 1. */
  readonly weights?: Float32Array | undefined;
  /** `[entries, channels]` centroids to start from; default: k-means++. */
  readonly start?: Float64Array;
}

export interface KmeansResult {
  /** `[entries, channels]` */
  readonly values: Float64Array;
  readonly iterations: number;
  /** Clusters that were empty and got a new centroid. */
  readonly reseeded: number;
  /** Σ w‖x - c‖² of each iteration, with the centroids that it began with. */
  readonly losses: readonly number[];
}

/** Part of the loss that an iteration must gain, or it is the last one. */
export const TOLERANCE = 5e-4;

/** The half nearest to a mean, rounded to a float first as on a device. */
const half = (mean: number): number => fromF16(toF16(Math.fround(mean)));

/** The numbers from 0 to below 1 that k-means++ draws `entries` starts with. */
export function drawsOf(seed: number, entries: number): Float64Array {
  const random = xoroshiro128plus(seed);
  return Float64Array.from({ length: entries }, () => uniformFloat64(random));
}

/** A 32-bit seed from several whole numbers (FNV-1a over their bytes): each (seed, layer, side, head, chunk) has its own stream, whoever computes it. */
export function seedOf(...numbers: readonly number[]): number {
  let hash = 0x811c9dc5;
  for (const number of numbers) {
    for (let shift = 0; shift < 32; shift += 8) hash = Math.imul(hash ^ ((number >>> shift) & 255), 0x01000193);
  }
  return hash | 0;
}

/** Clusters the vectors `x` `[vectors, channels]`. With fewer distinct vectors than entries some centroids are equal. */
export function kmeans(x: Float32Array, options: KmeansOptions): KmeansResult {
  const { channels, entries, iterations, tolerance = TOLERANCE, weights } = options;
  const vectors = x.length / channels;
  const code = new Uint16Array(vectors);
  const loss = new Float64Array(vectors);
  const energy = squares(x, channels);
  const values = options.start?.slice() ?? plusPlus(x, energy, options);
  const losses: number[] = [];
  let before = Infinity;
  let reseeded = 0;
  let done = 0;
  while (done < iterations) {
    nearest(x, centroids(values.map(half), channels), code, loss);
    let total = 0;
    for (let i = 0; i < vectors; i++) {
      loss[i] = (weights?.[i] ?? 1) * Math.max(0, energy[i]! + 2 * loss[i]!);
      total += loss[i]!;
    }
    losses.push(total);
    const empty = move(x, code, values, entries, channels, weights);
    const filled = fill(x, empty, loss, values, channels);
    reseeded += filled;
    done++;
    // A re-seeded cluster needs an iteration before its gain shows.
    if (filled === 0 && before - total <= tolerance * total) break;
    before = total;
  }
  return { values: values.map(half), iterations: done, reseeded, losses };
}

/** ‖x‖² of each vector. */
export function squares(x: Float32Array, channels: number): Float64Array {
  const out = new Float64Array(x.length / channels);
  for (let i = 0; i < x.length; i++) out[Math.floor(i / channels)]! += x[i]! * x[i]!;
  return out;
}

/** k-means++ (Arthur and Vassilvitskii 2007): each start is drawn with probability weight * squared distance to the starts so far. */
function plusPlus(x: Float32Array, energy: Float64Array, { channels, entries, seed, weights }: KmeansOptions): Float64Array {
  const draws = drawsOf(seed, entries);
  const vectors = energy.length;
  const values = new Float64Array(entries * channels);
  const distance = Float64Array.from({ length: vectors }, (_, i) => weights?.[i] ?? 1); // the first is drawn by weight alone
  const code = new Uint16Array(vectors);
  const loss = new Float64Array(vectors);
  for (let e = 0; e < entries; e++) {
    const pick = draw(distance, draws[e]!);
    const row = x.subarray(pick * channels, (pick + 1) * channels);
    values.set(row, e * channels);
    nearest(x, centroids(row, channels), code, loss);
    for (let i = 0; i < vectors; i++) {
      const to = (weights?.[i] ?? 1) * Math.max(0, energy[i]! + 2 * loss[i]!);
      if (e === 0 || to < distance[i]!) distance[i] = to;
    }
  }
  return values;
}

/** The index where the running sum of `mass` passes `part` of its total; spread evenly if there is no mass. */
function draw(mass: Float64Array, part: number): number {
  let total = 0;
  for (let i = 0; i < mass.length; i++) total += mass[i]!;
  if (!(total > 0)) return Math.floor(part * mass.length);
  let left = part * total;
  let last = 0;
  for (let i = 0; i < mass.length; i++) {
    if (mass[i]! <= 0) continue;
    left -= mass[i]!;
    last = i;
    if (left < 0) break;
  }
  return last;
}

/** Moves each centroid to the weighted mean of its vectors; returns the entries that have none. */
function move(x: Float32Array, code: Uint16Array, values: Float64Array, entries: number, channels: number, weights?: Float32Array): number[] {
  const sums = new Float64Array(values.length);
  const mass = new Float64Array(entries);
  for (let i = 0, a = 0; i < code.length; i++) {
    const weight = weights ? weights[i]! : 1;
    mass[code[i]!]! += weight;
    for (let b = code[i]! * channels, end = b + channels; b < end; a++, b++) sums[b]! += weight * x[a]!;
  }
  const empty: number[] = [];
  for (let e = 0; e < entries; e++) {
    if (mass[e]! > 0) for (let b = e * channels; b < (e + 1) * channels; b++) values[b] = half(sums[b]! / mass[e]!);
    else empty.push(e);
  }
  return empty;
}

/** Puts each empty centroid on one of the vectors with the largest weighted loss; returns how many found a vector with any loss. */
function fill(x: Float32Array, empty: readonly number[], loss: Float64Array, values: Float64Array, channels: number): number {
  if (empty.length === 0) return 0;
  const worst = Array.from(loss.keys()).sort((a, b) => loss[b]! - loss[a]! || a - b);
  let filled = 0;
  for (const entry of empty) {
    const vector = worst[filled];
    if (vector === undefined || !(loss[vector]! > 0)) break;
    values.set(x.subarray(vector * channels, (vector + 1) * channels), entry * channels);
    filled++;
  }
  return filled;
}
