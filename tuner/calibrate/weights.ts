// How much the error of each token matters: sums over the attention of the dump itself (the forms of templates/score.cuh).

/** One KV head of a dump, fp32: keys and queries after RoPE. */
export interface AttentionInput {
  readonly tokens: number;
  readonly headDim: number;
  /** Query heads per KV head. */
  readonly ratio: number;
  /** `[ratio, tokens, head_dim]` */
  readonly q: Float32Array;
  /** `[tokens, head_dim]` */
  readonly k: Float32Array;
  readonly v: Float32Array;
  /** Tokens see only earlier tokens of their own window. */
  readonly window: number;
}

export interface Sensitivity {
  /** Σ P: what an error of the value costs. `[tokens]` */
  readonly column: Float64Array;
  /** Σ P ‖v - o‖ ‖q‖ / √d: what an error of the key costs. Empty unless asked for. */
  readonly exact: Float64Array;
}

function dot(a: Float32Array, i: number, b: Float32Array, j: number, n: number): number {
  let even = 0;
  let odd = 0;
  for (let c = 0; c < n; c += 2) {
    even += a[i + c]! * b[j + c]!;
    odd += a[i + c + 1]! * b[j + c + 1]!;
  }
  return even + odd;
}

/** Sums over all query rows and heads that may see a token; `exact` costs one more pass over the values. */
export function sensitivity({ tokens, headDim: d, ratio, q, k, v, window }: AttentionInput, withExact: boolean): Sensitivity {
  const column = new Float64Array(tokens);
  const exact = new Float64Array(withExact ? tokens : 0);
  const p = new Float64Array(Math.min(tokens, window));
  const o = new Float32Array(d);
  for (let row = 0; row < ratio * tokens; row++) {
    const i = row % tokens;
    const from = window === Infinity ? 0 : i - (i % window);
    softmax(p, q, row * d, k, from * d, i - from + 1, d);
    for (let j = from; j <= i; j++) column[j]! += p[j - from]!;
    if (!withExact) continue;
    const mean = new Float64Array(d);
    for (let j = from; j <= i; j++) for (let c = 0; c < d; c++) mean[c]! += p[j - from]! * v[j * d + c]!;
    o.set(mean);
    const size = Math.sqrt(dot(q, row * d, q, row * d, d) / d);
    const oo = dot(o, 0, o, 0, d);
    for (let j = from; j <= i; j++) {
      const gap = oo + dot(v, j * d, v, j * d, d) - 2 * dot(v, j * d, o, 0, d);
      exact[j]! += p[j - from]! * Math.sqrt(Math.max(0, gap)) * size;
    }
  }
  return { column, exact };
}

/** Attention weights of one query row over `count` keys, natural softmax of q·k/√d, into `p`. */
export function softmax(p: Float64Array, q: Float32Array, qAt: number, k: Float32Array, kAt: number, count: number, d: number): void {
  let top = -Infinity;
  for (let j = 0; j < count; j++) {
    p[j] = dot(q, qAt, k, kAt + j * d, d) / Math.sqrt(d);
    top = Math.max(top, p[j]!);
  }
  let sum = 0;
  for (let j = 0; j < count; j++) sum += p[j] = Math.exp(p[j]! - top);
  for (let j = 0; j < count; j++) p[j]! /= sum;
}

/** Weights for k-means: sensitivity to the power `power`, scaled to mean 1. All equal if nothing has weight. */
export function weightsOf(sums: Float64Array, power: number): Float32Array {
  const raised = sums.map((sum) => sum ** power);
  const mean = raised.reduce((a, b) => a + b, 0) / raised.length;
  return Float32Array.from(raised, (value) => (mean > 0 ? value / mean : 1));
}
