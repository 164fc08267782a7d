// The nearest centroid of every vector: nearly all time of calibration is spent here.

/** Centroids with what a search needs: doubles, so that no conversion stands in the inner loop. */
export interface Centroids {
  /** `[entries, channels]` */
  readonly values: Float64Array;
  /** `[entries]` ‖c‖²/2 */
  readonly halfNorms: Float64Array;
  readonly channels: number;
}

export function centroids(values: ArrayLike<number>, channels: number): Centroids {
  const doubles = Float64Array.from(values);
  const halfNorms = new Float64Array(doubles.length / channels);
  for (let e = 0; e < halfNorms.length; e++) {
    let sum = 0;
    for (let i = e * channels; i < (e + 1) * channels; i++) sum += doubles[i]! * doubles[i]!;
    halfNorms[e] = sum / 2;
  }
  return { values: doubles, halfNorms, channels };
}

/**
 * Writes to `code[i]` the entry nearest to vector i of `x` `[vectors, channels]`, the lower one of equals, and to `loss[i]` its ‖c‖²/2 - x·c:
 * half the squared distance, less ‖x‖²/2.
 */
export function nearest(x: Float32Array, c: Centroids, code: Uint16Array, loss: Float64Array): void {
  if (c.channels === 8) return nearest8(x, c, code, loss);
  if (c.channels === 4) return nearest4(x, c, code, loss);
  const { values, halfNorms, channels } = c;
  for (let i = 0; i < code.length; i++) {
    let best = Infinity;
    let at = 0;
    for (let e = 0; e < halfNorms.length; e++) {
      let value = halfNorms[e]!;
      for (let a = i * channels, b = e * channels, end = b + channels; b < end; a += 2, b += 2) value -= x[a]! * values[b]! + x[a + 1]! * values[b + 1]!;
      if (value < best) {
        best = value;
        at = e;
      }
    }
    code[i] = at;
    loss[i] = best;
  }
}

// The same for the common widths, with the vector in registers: 3 times faster.
function nearest8(x: Float32Array, { values, halfNorms }: Centroids, code: Uint16Array, loss: Float64Array): void {
  const entries = halfNorms.length;
  for (let i = 0, a = 0; i < code.length; i++, a += 8) {
    const x0 = x[a]!, x1 = x[a + 1]!, x2 = x[a + 2]!, x3 = x[a + 3]!, x4 = x[a + 4]!, x5 = x[a + 5]!, x6 = x[a + 6]!, x7 = x[a + 7]!;
    let best = Infinity;
    let at = 0;
    for (let e = 0, b = 0; e < entries; e++, b += 8) {
      const value =
        halfNorms[e]! -
        (x0 * values[b]! + x1 * values[b + 1]! + (x2 * values[b + 2]! + x3 * values[b + 3]!) +
          (x4 * values[b + 4]! + x5 * values[b + 5]! + (x6 * values[b + 6]! + x7 * values[b + 7]!)));
      if (value < best) {
        best = value;
        at = e;
      }
    }
    code[i] = at;
    loss[i] = best;
  }
}

function nearest4(x: Float32Array, { values, halfNorms }: Centroids, code: Uint16Array, loss: Float64Array): void {
  const entries = halfNorms.length;
  for (let i = 0, a = 0; i < code.length; i++, a += 4) {
    const x0 = x[a]!, x1 = x[a + 1]!, x2 = x[a + 2]!, x3 = x[a + 3]!;
    let best = Infinity;
    let at = 0;
    for (let e = 0, b = 0; e < entries; e++, b += 4) {
      const value = halfNorms[e]! - (x0 * values[b]! + x1 * values[b + 1]! + (x2 * values[b + 2]! + x3 * values[b + 3]!));
      if (value < best) {
        best = value;
        at = e;
      }
    }
    code[i] = at;
    loss[i] = best;
  }
}
