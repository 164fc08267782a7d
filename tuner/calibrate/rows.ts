// Rows of a dump in memory that threads share.
import { fromF16, toF16Array } from '../../generator/f16.ts';
import type { Rope } from '../../generator/format.ts';
import { rotate } from './rope.ts';
import type { Rows } from './task.ts';

/** Channels `from` ... `from + width - 1` of all used tokens of one head, fp32 `[tokens, width]`. */
export function gather({ data, stride, tokens, headDim }: Rows, head: number, from: number, width: number): Float32Array {
  const out = new Float32Array(tokens * width);
  for (let token = 0, to = 0; token < tokens; token++) {
    const at = (head * stride + token) * headDim + from;
    for (let c = 0; c < width; c++) out[to++] = fromF16(data[at + c]!);
  }
  return out;
}

/** The same rows rotated by their positions (back when `direction` is -1), rounded to halves as in a dump, in memory that threads share. */
export function rotated(rows: Rows, heads: number, rope: Rope, window: number, direction: 1 | -1): Rows {
  const { tokens, headDim } = rows;
  const data = new Uint16Array(new SharedArrayBuffer(heads * tokens * headDim * 2));
  for (let head = 0; head < heads; head++) {
    const part = gather(rows, head, 0, headDim);
    rotate(part, headDim, rope, window, direction);
    data.set(toF16Array(part), head * tokens * headDim);
  }
  return { data, stride: tokens, tokens, headDim };
}
