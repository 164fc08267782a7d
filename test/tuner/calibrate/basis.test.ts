// Tests tuner/calibrate/basis.ts: directions are orthogonal and independent, chunks balanced, rows survive the way there and back.
import { xoroshiro128plus } from 'pure-rand/generator/xoroshiro128plus';
import { uniformFloat64 } from 'pure-rand/distribution/uniformFloat64';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { checkBasis } from '../../../generator/basis.ts';
import { fromF16, toF16Array } from '../../../generator/f16.ts';
import { covariance, dealt, basisOf, principalBasis, transposed, turnRows } from '../../../tuner/calibrate/basis.ts';

const D = 16;
const ROWS = 500;
const random = xoroshiro128plus(3);
const draw = (): number => uniformFloat64(random) - 0.5;
/** Rows whose channels are mixtures of sources of sizes 1, 1/2, 1/3 ..., beside a mean. */
const mixing = Float64Array.from({ length: D * D }, draw);
const rows = new Float32Array(ROWS * D);
for (let r = 0; r < ROWS; r++) {
  const source = Array.from({ length: D }, (_, j) => draw() / (j + 1));
  for (let i = 0; i < D; i++) rows[r * D + i] = 3 + source.reduce((sum, x, j) => sum + mixing[i * D + j]! * x, 0);
}
const times = (basis: Float32Array, from: Float32Array): Float32Array =>
  Float32Array.from(from, (_, n) => from.subarray(n - (n % D), n - (n % D) + D).reduce((sum, x, j) => sum + basis[(n % D) * D + j]! * x, 0));

test('covariance is that of the definition', () => {
  const mean = (of: (row: Float32Array) => number): number => Array.from({ length: ROWS }, (_, r) => of(rows.subarray(r * D, (r + 1) * D))).reduce((a, b) => a + b, 0) / ROWS;
  const found = covariance(rows, D);
  for (const [i, j] of [[0, 0], [3, 9], [9, 3], [15, 2]] as const) {
    const [a, b] = [mean((row) => row[i]!), mean((row) => row[j]!)];
    assert.ok(Math.abs(found[i]![j]! - mean((row) => (row[i]! - a) * (row[j]! - b))) < 1e-12);
  }
});

const sum = (list: number[]): number => list.reduce((a, b) => a + b, 0);

test('the basis is orthogonal; in it channels do not vary together; its chunks have like products of variances', () => {
  const basis = principalBasis(rows, D, 4);
  checkBasis({ kvHeads: 1, headDim: D, to: basis, back: transposed(basis, D) }, 'b');
  for (let i = 0; i < D; i++) {
    for (let j = 0; j < D; j++) assert.ok(Math.abs(basis.subarray(i * D, i * D + D).reduce((sum, x, n) => sum + x * basis[j * D + n]!, 0) - Number(i === j)) < 1e-6);
  }
  const after = covariance(times(basis, rows), D);
  const product = (chunk: number, of: number[][]): number => [0, 1, 2, 3].reduce((sum, n) => sum + Math.log(of[chunk * 4 + n]![chunk * 4 + n]!), 0);
  for (let i = 0; i < D; i++) for (let j = 0; j < i; j++) assert.ok(Math.abs(after[i]![j]!) < 1e-5 * Math.sqrt(after[i]![i]! * after[j]![j]!) + 1e-9, `${i}, ${j}`);
  const [mine, plain] = [after, covariance(rows, D)].map((of) => [0, 1, 2, 3].map((chunk) => product(chunk, of)));
  // Against chunks of neighbouring directions; and the sum, which bounds the error of codes, is lower than in the channels as they came.
  const falling = after.map((row, i) => Math.log(row[i]!)).sort((a, b) => b - a);
  const neighbours = [0, 1, 2, 3].map((chunk) => sum(falling.slice(chunk * 4, chunk * 4 + 4)));
  const apart = (list: number[]): number => Math.max(...list) - Math.min(...list);
  assert.ok(apart(mine!) < apart(neighbours) / 2, JSON.stringify({ mine, neighbours }));
  assert.ok(sum(mine!) < sum(plain!) - 1, JSON.stringify({ mine, plain }));
});

test('directions are dealt by products: whatever the scale of variances, each at one place', () => {
  const variances = [64, 32, 16, 8, 4, 2, 1, 0.5];
  const places = dealt(variances, 2);
  assert.equal([...places].sort((a, b) => a - b), [0, 1, 2, 3, 4, 5, 6, 7]);
  assert.equal(places, [0, 3, 4, 7, 1, 2, 5, 6], 'largest with smallest: 64 * 8 * 4 / 2 = 32 * 16 * 2');
  for (const scale of [1e-9, 1e9]) assert.equal(dealt(variances.map((variance) => variance * scale), 2), places);
  assert.equal(dealt([1, 0, 0, 0], 2).length, 4);
  assert.equal(dealt([0, 0, 0, 0], 4).sort(), [0, 1, 2, 3]);
});

test('rows of a head go to their place of the output, one that varies in no channel too, and come back to rounding', () => {
  const data = new Uint16Array(2 * ROWS * D);
  data.set(toF16Array(rows), ROWS * D);
  const out = new Uint16Array(2 * ROWS * D);
  const given = { data, stride: ROWS, tokens: ROWS, headDim: D };
  const still = basisOf(given, 0, 2);
  turnRows(given, 0, still, [0, ROWS], out);
  checkBasis({ kvHeads: 1, headDim: D, to: still, back: transposed(still, D) }, 'still');
  const basis = basisOf(given, 1, 2);
  for (const range of [[0, 3], [3, 8], [8, ROWS]] as const) turnRows(given, 1, basis, range, out); // pieces of any length meet
  assert.ok(out.subarray(0, ROWS * D).every((half) => (half & 0x7fff) === 0));
  const back = times(transposed(basis, D), Float32Array.from(out.subarray(ROWS * D), fromF16));
  back.forEach((value, n) => assert.ok(Math.abs(value - rows[n]!) < 0.02, `${value}, not ${rows[n]}`));
});

test('transposed swaps rows and columns of each head', () => {
  assert.equal([...transposed(Float32Array.from([1, 2, 3, 4, 5, 6, 7, 8]), 2)], [1, 3, 2, 4, 5, 7, 6, 8]);
});

test.run();
