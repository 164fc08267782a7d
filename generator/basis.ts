// A basis of values: a cache holds T v instead of v, and T⁻¹ brings back what attention gives (CACHE.md, "Basis of values"). Row-major fp32 matrices, one pair per KV head.
import { InputError } from './errors.ts';

/** What becomes of values before they are coded. No axis of a contract: kernels do not know of it. */
export const TRANSFORMS = ['none', 'basis'] as const;

/** A layer's basis. */
export interface Basis {
  readonly kvHeads: number;
  readonly headDim: number;
  /** T, `[kv_heads, head_dim, head_dim]`: row i is the direction that channel i of a coded value is measured along. */
  readonly to: Float32Array;
  /** T⁻¹, of the same shape. */
  readonly back: Float32Array;
}

/** Most that T⁻¹ T may change a vector, relative to its length: fp32 matrices of a condition up to 10³ stay well below it, a transposed or foreign matrix far above. */
const TOLERANCE = 1e-2;

/** Matrix `head` of `matrices` times `x` `[head_dim]`. */
export function product(matrices: Float32Array, head: number, x: ArrayLike<number>): Float64Array {
  const d = x.length;
  const out = new Float64Array(d);
  for (let i = 0, at = head * d * d; i < d; i++) for (let j = 0; j < d; j++) out[i]! += matrices[at++]! * x[j]!;
  return out;
}

/** Throws InputError unless the matrices have the basis' shape and undo each other; `name` says which they are. One vector of unequal entries is sent there and back: d² products instead of d³. */
export function checkBasis({ kvHeads, headDim, to, back }: Basis, name: string): void {
  const want = kvHeads * headDim * headDim;
  if (to.length !== want || back.length !== want) throw new InputError(`${name}: ${to.length} and ${back.length} elements, not ${want}, [kv_heads, head_dim, head_dim]`, 'calibrate again: gen calibrate DUMP --out FILE');
  const probe = Float64Array.from({ length: headDim }, (_, i) => Math.cos(i * i + 1));
  const norm = (x: Float64Array): number => Math.hypot(...x);
  for (let head = 0; head < kvHeads; head++) {
    const came = product(back, head, product(to, head, probe));
    const off = norm(came.map((value, i) => value - probe[i]!)) / norm(probe);
    if (!(off < TOLERANCE)) throw new InputError(`${name}: the inverse of KV head ${head} does not undo its basis (off by ${off.toPrecision(2)})`, 'write both matrices from one calibration, rows first');
  }
}

/** The bytes that the runner reads: T of all heads, then T⁻¹ of all heads. */
export function packBasis({ to, back }: Basis): Uint8Array {
  const both = new Float32Array(to.length + back.length);
  both.set(to);
  both.set(back, to.length);
  return new Uint8Array(both.buffer);
}
