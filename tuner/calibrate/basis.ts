// Balanced principal directions: the basis in which values are coded. Rotated so that the channels of a chunk vary independently, dealt to chunks so that each has as much variance, in logarithms,
// as the others (Ge et al. 2013, "Optimized product quantization", the parametric solution). Pure functions.
import { EigenvalueDecomposition, Matrix } from 'ml-matrix';
import { toF16Array } from '../../generator/f16.ts';
import { gather } from './rows.ts';
import type { Rows } from './task.ts';

/** Rows that directions are found from, at most, spread evenly: 128 for each direction of 128 channels. What a longer dump would add is time. */
const SAMPLE = 16384;
/** Variance, relative to the largest, below which directions count alike: a channel that never changes has none, and its logarithm would outweigh all others. */
const FLOOR = 1e-6;

/** Covariance of `rows` `[rows, d]`, in double: `[d][d]`. */
export function covariance(rows: Float32Array, d: number): number[][] {
  const count = rows.length / d;
  const mean = new Float64Array(d);
  const sums = new Float64Array(d * d);
  for (let at = 0; at < rows.length; at += d) {
    for (let i = 0; i < d; i++) {
      const x = rows[at + i]!;
      mean[i]! += x / count;
      for (let j = 0; j <= i; j++) sums[i * d + j]! += x * rows[at + j]!;
    }
  }
  return Array.from({ length: d }, (_, i) => Array.from({ length: d }, (_, j) => sums[Math.max(i, j) * d + Math.min(i, j)]! / count - mean[i]! * mean[j]!));
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

/** Of `n` numbers each, n a multiple of 4: in four sums, so that an addition need not wait for the one before it. */
function dot(a: Float32Array, i: number, b: Float32Array, j: number, n: number): number {
  let [s, t, u, v] = [0, 0, 0, 0];
  for (const end = i + n; i < end; i += 4, j += 4) {
    s += a[i]! * b[j]!;
    t += a[i + 1]! * b[j + 1]!;
    u += a[i + 2]! * b[j + 2]!;
    v += a[i + 3]! * b[j + 3]!;
  }
  return s + t + u + v;
}

/** Finds the basis of one head's rows, and writes what they are in it to the same place of `out` `[heads, tokens, d]`, as halves. */
export function turnHead(rows: Rows, head: number, chunks: number, out: Uint16Array): Float32Array {
  const { tokens, headDim: d } = rows;
  const all = gather(rows, head, 0, d);
  const step = Math.ceil(tokens / SAMPLE);
  const sample = step === 1 ? all : Float32Array.from({ length: Math.ceil(tokens / step) * d }, (_, i) => all[Math.floor(i / d) * step * d + (i % d)]!);
  const basis = principalBasis(sample, d, chunks);
  const turned = new Float32Array(d * tokens);
  for (let token = 0; token < tokens; token++) for (let i = 0; i < d; i++) turned[token * d + i] = dot(basis, i * d, all, token * d, d);
  out.set(toF16Array(turned), head * tokens * d);
  return basis;
}
