// RoPE on rows of a dump, in double: derives keys after RoPE from keys before it, and back.
import type { Rope } from '../../generator/format.ts';

/**
 * Rotates `rows` `[tokens, head_dim]` in place by position `i mod window` of token i, backwards when `direction` is -1. The attention factor
 * multiplies on the way forward and divides on the way back.
 */
export function rotate(rows: Float32Array, headDim: number, rope: Rope, window: number, direction: 1 | -1): void {
  const half = rope.dim / 2;
  const factor = direction === 1 ? rope.attentionFactor : 1 / rope.attentionFactor;
  for (let token = 0; token * headDim < rows.length; token++) {
    const position = window === Infinity ? token : token % window;
    for (let i = 0; i < half; i++) {
      // The phase is a float product, as kernels and references take inv_freq in fp32.
      const phase = position * rope.invFreq[i]!;
      const cosine = Math.cos(phase) * factor;
      const sine = Math.sin(phase) * factor * direction;
      const a = token * headDim + (rope.interleaved ? 2 * i : i);
      const b = rope.interleaved ? a + 1 : a + half;
      const x = rows[a]!;
      const y = rows[b]!;
      rows[a] = x * cosine - y * sine;
      rows[b] = x * sine + y * cosine;
    }
  }
}
