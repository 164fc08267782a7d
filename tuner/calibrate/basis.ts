// Balanced principal directions: the basis in which values are coded. Rotated so that the channels of a chunk vary independently, dealt to chunks so that each has as much variance, in logarithms,
// as the others (Ge et al. 2013, "Optimized product quantization", the parametric solution). Pure functions.
import { EigenvalueDecomposition, Matrix } from 'ml-matrix';
import { fromF16, toF16 } from '../../generator/f16.ts';
import { gather } from './rows.ts';
import type { Rows } from './task.ts';

/** Rows that directions are found from, at most, spread evenly: 128 for each direction of 128 channels. What a longer dump would add is time. */
const SAMPLE = 16384;
/** Variance, relative to the largest, below which directions count alike: a channel that never changes has none, and its logarithm would outweigh all others. */
const FLOOR = 1e-6;
/** Rows whose products are made at once. */
const TOGETHER = 4;

/** Covariance of `rows` `[rows, d]`, in double: `[d][d]`. */
export function covariance(rows: Float32Array, d: number): number[][] {
  const count = rows.length / d;
  const mean = new Float64Array(d);
  const sums = new Float64Array(d * d);
  const x = new Float64Array(TOGETHER * d);
  for (let at = 0; at < rows.length; at += TOGETHER * d) {
    x.fill(0);
    x.set(rows.subarray(at, at + TOGETHER * d));
    addProducts(x, d, mean, sums);
  }
  return Array.from({ length: d }, (_, i) => Array.from({ length: d }, (_, j) => sums[Math.max(i, j) * d + Math.min(i, j)]! / count - (mean[i]! / count) * (mean[j]! / count)));
}

/** Adds four rows to their sum, and their outer products to `sums`, below the diagonal: a sum is read and written once for all of them. */
function addProducts(x: Float64Array, d: number, sum: Float64Array, sums: Float64Array): void {
  for (let i = 0; i < d; i++) {
    const a = x[i]!;
    const b = x[d + i]!;
    const c = x[2 * d + i]!;
    const e = x[3 * d + i]!;
    sum[i]! += a + b + c + e;
    for (let j = 0; j <= i; j++) sums[i * d + j]! += a * x[j]! + b * x[d + j]! + c * x[2 * d + j]! + e * x[3 * d + j]!;
  }
}

/** Which direction stands at which place, for `variances` in falling order: each goes to the chunk with the least product that has room. Measured from the smallest, so that their scale does not matter. */
export function dealt(variances: readonly number[], chunks: number): number[] {
  const floor = Math.max(variances[0]! * FLOOR, Number.MIN_VALUE);
  const logs = variances.map((variance) => Math.log(Math.max(variance, floor)));
  const room = variances.length / chunks;
  const dealing = Array.from({ length: chunks }, () => ({ members: [] as number[], sum: 0 }));
  logs.forEach((log, i) => {
    const chunk = dealing.filter(({ members }) => members.length < room).reduce((least, other) => (other.sum < least.sum ? other : least));
    chunk.members.push(i);
    chunk.sum += log - logs.at(-1)!;
  });
  return dealing.flatMap(({ members }) => members);
}

/** The orthogonal basis T `[d, d]` for `rows` `[rows, d]` cut into `chunks` chunks: row i of it is the direction of channel i. */
export function principalBasis(rows: Float32Array, d: number, chunks: number): Float32Array {
  const { realEigenvalues, eigenvectorMatrix } = new EigenvalueDecomposition(new Matrix(covariance(rows, d)), { assumeSymmetric: true });
  const falling = realEigenvalues.map((_, i) => i).sort((a, b) => realEigenvalues[b]! - realEigenvalues[a]!);
  const places = dealt(falling.map((i) => realEigenvalues[i]!), chunks);
  return Float32Array.from(places.flatMap((place) => eigenvectorMatrix.getColumn(falling[place]!)));
}

/** The inverse of orthogonal matrices `[heads, d, d]`: each transposed. */
export function transposed(matrices: Float32Array, d: number): Float32Array {
  return matrices.map((_, at) => matrices[at - (at % (d * d)) + (at % d) * d + (Math.floor(at / d) % d)]!);
}

/** The basis of one head's rows, found from a sample of them. */
export function basisOf({ data, stride, tokens, headDim }: Rows, head: number, chunks: number): Float32Array {
  const step = Math.ceil(tokens / SAMPLE);
  // Seen as rows of `step` rows each, of which the first ones are gathered.
  const sampled = { data: data.subarray(head * stride * headDim), stride, tokens: Math.ceil(tokens / step), headDim: step * headDim };
  return principalBasis(gather(sampled, 0, 0, headDim), headDim, chunks);
}

/** Writes tokens `from` ... `until - 1` of one head, as they are in its basis, to their place in `out` `[heads, tokens, d]`, as halves. */
export function turnRows(rows: Rows, head: number, basis: Float32Array, [from, until]: readonly [number, number], out: Uint16Array): void {
  const { data, stride, headDim: d } = rows;
  const wide = Float64Array.from(basis);
  const x = new Float64Array(TOGETHER * d);
  const turned = new Float64Array(TOGETHER * d);
  for (let token = from; token < until; token += TOGETHER) {
    const count = Math.min(TOGETHER, until - token) * d;
    const at = (head * stride + token) * d;
    for (let i = 0; i < count; i++) x[i] = fromF16(data[at + i]!);
    x.fill(0, count);
    for (let i = 0; i < d; i += 2) products(wide, x, d, i, turned);
    const to = (head * rows.tokens + token) * d;
    for (let i = 0; i < count; i++) out[to + i] = toF16(turned[i]!);
  }
}

/** Channels i and i + 1 of four tokens: eight sums in registers, for six numbers read at each step. */
function products(basis: Float64Array, x: Float64Array, d: number, i: number, out: Float64Array): void {
  let a0 = 0, a1 = 0, a2 = 0, a3 = 0;
  let b0 = 0, b1 = 0, b2 = 0, b3 = 0;
  for (let j = 0; j < d; j++) {
    const a = basis[i * d + j]!;
    const b = basis[i * d + d + j]!;
    const x0 = x[j]!;
    const x1 = x[d + j]!;
    const x2 = x[2 * d + j]!;
    const x3 = x[3 * d + j]!;
    a0 += a * x0;
    a1 += a * x1;
    a2 += a * x2;
    a3 += a * x3;
    b0 += b * x0;
    b1 += b * x1;
    b2 += b * x2;
    b3 += b * x3;
  }
  out[i] = a0;
  out[i + 1] = b0;
  out[d + i] = a1;
  out[d + i + 1] = b1;
  out[2 * d + i] = a2;
  out[2 * d + i + 1] = b2;
  out[3 * d + i] = a3;
  out[3 * d + i + 1] = b3;
}
