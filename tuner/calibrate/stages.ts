// Codebooks in stages: k-means on the vectors, then on what it leaves, then all stages together. A pure function of its arguments.
// After the first fits a code is chosen jointly (the sum of one entry of each stage that is nearest), and each stage is moved to the means of what the others leave of
// its vectors, until that gains nothing more. Centroids are halves throughout, as in kmeans.ts; round.ts brings them to a grid on which all sums are halves.
import { fromF16, toF16 } from '../../generator/f16.ts';
import { kmeans, squares, TOLERANCE, type KmeansOptions, type KmeansResult } from './kmeans.ts';
import { centroids, nearest } from './nearest.ts';

export interface StagesOptions extends Omit<KmeansOptions, 'seed' | 'start'> {
  /** Of each stage. */
  readonly seeds: readonly number[];
}

/** A codebook in stages, each `[entries, channels]`. */
export interface Stages {
  readonly values: readonly Float64Array[];
  readonly channels: number;
}

/** Means of one stage are moved by those of the others, so all are moved this often for each choice of codes. */
const SWEEPS = 4;

const half = (x: number): number => fromF16(toF16(Math.fround(x)));

/** Clusters the vectors `x` `[vectors, channels]`; `values` are `[stages, entries, channels]`. With one stage this is k-means. */
export function kmeansInStages(x: Float32Array, { seeds, ...options }: StagesOptions): KmeansResult {
  const { channels, iterations, tolerance = TOLERANCE, weights } = options;
  const firsts = seeds.reduce<{ rest: Float32Array; found: KmeansResult[] }>(({ rest, found }, seed, stage) => {
    const one = kmeans(rest, { ...options, seed });
    return { rest: stage + 1 < seeds.length ? residual(rest, one.values, channels) : rest, found: [...found, one] };
  }, { rest: x, found: [] }).found;
  const sum = (of: (found: KmeansResult) => number): number => firsts.reduce((total, found) => total + of(found), 0);
  const losses = firsts.flatMap((found) => found.losses);
  const stages: Stages = { values: firsts.map(({ values }) => values), channels };
  let reseeded = sum((found) => found.reseeded);
  const code = new Uint16Array(x.length / channels);
  for (let round = 0; seeds.length > 1 && round < iterations; round++) {
    const loss = lossesOf(x, stages, code, weights);
    const [total, before] = [loss.reduce((a, b) => a + b, 0), losses.at(-1)!];
    losses.push(total);
    const filled = move(x, stages, code, loss, weights);
    reseeded += filled;
    // The first choice is joint, the fit before it was not: its gain says nothing of the next.
    if (round > 0 && filled === 0 && before - total <= tolerance * total) break;
  }
  const values = Float64Array.from(stages.values.flatMap((of) => [...of]));
  return { values, iterations: losses.length, reseeded, losses };
}

/** What a codebook leaves of each vector. */
function residual(x: Float32Array, values: Float64Array, channels: number): Float32Array {
  const code = new Uint16Array(x.length / channels);
  nearest(x, centroids(values, channels), code, new Float64Array(code.length));
  return x.map((value, i) => value - values[code[Math.floor(i / channels)]! * channels + (i % channels)]!);
}

/** The centroids that codes mean, `[entries ^ stages, channels]`: sums of one entry of each stage. The first stage is the lowest part of a code. */
export function sumsOf({ values, channels }: Stages): Float64Array {
  return values.slice(1).reduce((sums, stage) => {
    const codes = sums.length;
    const out = new Float64Array((codes * stage.length) / channels);
    for (let i = 0; i < out.length; i++) out[i] = sums[i % codes]! + stage[Math.floor(i / codes) * channels + (i % channels)]!;
    return out;
  }, values[0]!);
}

/**
 * Writes to `code[i]` the code whose sum is nearest to vector i, the lower one of equals. x·(a + b) is x·a + x·b, so products are made for each stage, and of all sums only
 * the norms are read. Returns half the squared distance, less ‖x‖²/2, of each.
 */
export function nearestSum(x: Float32Array, stages: Stages, code: Uint16Array): Float64Array {
  const { values, channels } = stages;
  const { halfNorms } = centroids(sumsOf(stages), channels);
  const loss = new Float64Array(code.length);
  for (let i = 0; i < code.length; i++) {
    const row = x.subarray(i * channels, (i + 1) * channels);
    // Products of all but the last stage, by the part of the code that they name.
    const inner = values.slice(0, -1).map((stage) => products(row, stage)).reduce(outerSum, Float64Array.of(0));
    const last = products(row, values.at(-1)!);
    let best = Infinity;
    let at = 0;
    for (let b = 0, next = 0; b < last.length; b++) {
      for (let a = 0; a < inner.length; a++, next++) {
        const value = halfNorms[next]! - inner[a]! - last[b]!;
        if (value < best) {
          best = value;
          at = next;
        }
      }
    }
    code[i] = at;
    loss[i] = best;
  }
  return loss;
}

function products(row: Float32Array, stage: Float64Array): Float64Array {
  const out = new Float64Array(stage.length / row.length);
  for (let e = 0, b = 0; e < out.length; e++) for (let a = 0; a < row.length; a++, b++) out[e]! += row[a]! * stage[b]!;
  return out;
}

function outerSum(sums: Float64Array, more: Float64Array): Float64Array {
  const out = new Float64Array(sums.length * more.length);
  for (let b = 0, i = 0; b < more.length; b++) for (let a = 0; a < sums.length; a++, i++) out[i] = sums[a]! + more[b]!;
  return out;
}

/** Chooses codes; returns w‖x - c‖² of each vector. */
function lossesOf(x: Float32Array, stages: Stages, code: Uint16Array, weights: Float32Array | undefined): Float64Array {
  const loss = nearestSum(x, stages, code);
  squares(x, stages.channels).forEach((square, i) => (loss[i] = (weights?.[i] ?? 1) * Math.max(0, square + 2 * loss[i]!)));
  return loss;
}

/** Moves each stage to the weighted means of what the others leave of its vectors, and entries without weight to the worst vectors' remainders; returns how many of those. */
function move(x: Float32Array, { values, channels }: Stages, code: Uint16Array, loss: Float64Array, weights: Float32Array | undefined): number {
  const entries = values[0]!.length / channels;
  const parts = values.map((_, stage) => Uint16Array.from(code, (c) => Math.floor(c / entries ** stage) % entries));
  const worst = Array.from(loss.keys()).sort((a, b) => loss[b]! - loss[a]! || a - b);
  let filled = 0;
  for (let sweep = 0; sweep < SWEEPS; sweep++) {
    values.forEach((stage, s) => {
      const left = x.slice();
      values.forEach((other, o) => o !== s && left.forEach((_, i) => (left[i]! -= other[parts[o]![Math.floor(i / channels)]! * channels + (i % channels)]!)));
      const [sums, mass] = [new Float64Array(stage.length), new Float64Array(entries)];
      parts[s]!.forEach((entry, i) => {
        const weight = weights?.[i] ?? 1;
        mass[entry]! += weight;
        for (let c = 0; c < channels; c++) sums[entry * channels + c]! += weight * left[i * channels + c]!;
      });
      mass.forEach((weight, entry) => {
        const vector = worst[filled];
        if (weight > 0) for (let c = entry * channels; c < (entry + 1) * channels; c++) stage[c] = half(sums[c]! / weight);
        else if (sweep === 0 && vector !== undefined && loss[vector]! > 0) {
          stage.set(left.subarray(vector * channels, (vector + 1) * channels).map(half), entry * channels);
          filled++;
        }
      });
    });
  }
  return filled;
}
