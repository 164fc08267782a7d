// Tests tuner/calibrate/weights.ts against the definitions, written out for small cases.
import { uniformFloat64 } from 'pure-rand/distribution/uniformFloat64';
import { xoroshiro128plus } from 'pure-rand/generator/xoroshiro128plus';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { sensitivity, weightsOf, type AttentionInput } from '../../../tuner/calibrate/weights.ts';

const random = xoroshiro128plus(11);
const [tokens, d, ratio] = [7, 4, 2];
const floats = (n: number): Float32Array => Float32Array.from({ length: n }, () => 4 * uniformFloat64(random) - 2);
const input = (window: number): AttentionInput => ({ tokens, headDim: d, ratio, q: floats(ratio * tokens * d), k: floats(tokens * d), v: floats(tokens * d), window });
const at = (rows: Float32Array, i: number): number[] => [...rows.subarray(i * d, (i + 1) * d)];
const dot = (a: number[], b: number[]): number => a.reduce((sum, x, i) => sum + x * b[i]!, 0);

/** Both forms by the formulas, one matrix at a time. */
function plain({ q, k, v, window }: AttentionInput): { column: number[]; exact: number[] } {
  const column = new Array<number>(tokens).fill(0);
  const exact = new Array<number>(tokens).fill(0);
  for (let head = 0; head < ratio; head++) {
    for (let i = 0; i < tokens; i++) {
      const qi = at(q, head * tokens + i);
      const seen = Array.from({ length: tokens }, (_, j) => j).filter((j) => j <= i && Math.floor(j / window) === Math.floor(i / window));
      const e = seen.map((j) => Math.exp(dot(qi, at(k, j)) / Math.sqrt(d)));
      const p = e.map((x) => x / e.reduce((a, b) => a + b, 0));
      const o = Array.from({ length: d }, (_, c) => seen.reduce((sum, j, s) => sum + p[s]! * at(v, j)[c]!, 0));
      seen.forEach((j, s) => {
        column[j]! += p[s]!;
        exact[j]! += (p[s]! * Math.hypot(...at(v, j).map((x, c) => x - o[c]!)) * Math.hypot(...qi)) / Math.sqrt(d);
      });
    }
  }
  return { column, exact };
}

for (const window of [Infinity, 3]) {
  test(`column and exact sums follow their formulas, window ${window}`, () => {
    const given = input(window);
    const got = sensitivity(given, true);
    const want = plain(given);
    for (const form of ['column', 'exact'] as const) want[form].forEach((value, j) => assert.ok(Math.abs(got[form][j]! - value) < 1e-5 * (1 + value), `${form} ${j}`));
    // Every row spreads weight 1.
    assert.ok(Math.abs(got.column.reduce((a, b) => a + b, 0) - ratio * tokens) < 1e-9);
    assert.equal(sensitivity(given, false).column, got.column);
  });
}

test('weights have mean 1, follow the power, and are equal where nothing has weight', () => {
  const sums = Float64Array.of(1, 3, 0);
  assert.equal([...weightsOf(sums, 1)], [0.75, 2.25, 0]);
  assert.ok(Math.abs(weightsOf(sums, 2)[1]! - 2.7) < 1e-6);
  assert.equal([...weightsOf(sums, 0)], [1, 1, 1]);
  assert.equal([...weightsOf(new Float64Array(2), 1)], [1, 1]);
});

test.run();
