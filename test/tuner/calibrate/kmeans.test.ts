// Tests tuner/calibrate/kmeans.ts and nearest.ts.
import { uniformFloat64 } from 'pure-rand/distribution/uniformFloat64';
import { xoroshiro128plus } from 'pure-rand/generator/xoroshiro128plus';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { kmeans, seedOf, squares, type KmeansOptions } from '../../../tuner/calibrate/kmeans.ts';
import { centroids, nearest } from '../../../tuner/calibrate/nearest.ts';

const random = xoroshiro128plus(7);
const uniform = (): number => uniformFloat64(random) - 0.5;

/** `count` vectors around each of the given centres, at most `spread` away in each channel; interleaved, so that order says nothing. */
function around(centres: number[][], count: number, spread: number): Float32Array {
  return Float32Array.from(Array.from({ length: count }, () => centres.map((centre) => centre.map((c) => c + 2 * spread * uniform()))).flat(2));
}
/** Σ w‖x - nearest centroid‖². */
function lossOf(x: Float32Array, values: Float64Array, channels: number, weights?: Float32Array): number {
  const code = new Uint16Array(x.length / channels);
  const loss = new Float64Array(code.length);
  nearest(x, centroids(values, channels), code, loss);
  return squares(x, channels).reduce((sum, square, i) => sum + (weights?.[i] ?? 1) * (square + 2 * loss[i]!), 0);
}
const rows = (values: Float64Array, channels: number): number[][] => Array.from({ length: values.length / channels }, (_, e) => [...values.subarray(e * channels, (e + 1) * channels)]);

for (const channels of [2, 4, 8, 16, 32]) {
  test(`nearest: equal to a plain search with ${channels} channels, the lower of equals`, () => {
    const values = Float64Array.from({ length: 32 * channels }, uniform);
    values.copyWithin(20 * channels, 3 * channels, 4 * channels); // entry 20 is entry 3
    const x = Float32Array.from({ length: 100 * channels }, uniform);
    x.set(values.subarray(3 * channels, 4 * channels), 0);
    const code = new Uint16Array(100);
    const loss = new Float64Array(100);
    nearest(x, centroids(values, channels), code, loss);
    assert.is(code[0], 3);
    for (let i = 0; i < 100; i++) {
      const distances = rows(values, channels).map((c) => c.reduce((sum, value, j) => sum + (value - x[i * channels + j]!) ** 2, 0));
      assert.ok(distances[code[i]!]! <= Math.min(...distances) + 1e-12);
      assert.ok(Math.abs(distances[code[i]!]! - (squares(x, channels)[i]! + 2 * loss[i]!)) < 1e-9);
    }
  });
}

test('known clusters are found: every centre has its centroid', () => {
  const centres = Array.from({ length: 16 }, (_, i) => [10 * (i % 4), 10 * Math.floor(i / 4)]);
  const x = around(centres, 50, 0.5);
  const { values } = kmeans(x, { channels: 2, entries: 16, seed: 3, iterations: 30 });
  for (const [a, b] of centres as [number, number][]) {
    assert.is(rows(values, 2).filter(([p, q]) => Math.hypot(p! - a, q! - b) < 0.3).length, 1, `${a}, ${b}`);
  }
});

test('more iterations never lose', () => {
  const x = Float32Array.from({ length: 4000 * 4 }, uniform);
  const losses = [1, 2, 4, 8, 16].map((iterations) => lossOf(x, kmeans(x, { channels: 4, entries: 32, seed: 1, iterations, tolerance: 0 }).values, 4));
  for (let i = 1; i < losses.length; i++) assert.ok(losses[i]! <= losses[i - 1]! * (1 + 1e-6), losses.join());
});

test('stops when little is gained, and at the bound', () => {
  const x = around([[0, 0], [9, 9]], 100, 0.1);
  assert.ok(kmeans(x, { channels: 2, entries: 2, seed: 1, iterations: 50 }).iterations < 5);
  assert.is(kmeans(Float32Array.from({ length: 4000 }, uniform), { channels: 2, entries: 64, seed: 1, iterations: 3, tolerance: 0 }).iterations, 3);
});

test('equal seeds give equal bits, other seeds other ones', () => {
  const x = Float32Array.from({ length: 2000 }, uniform);
  const run = (seed: number) => kmeans(x, { channels: 4, entries: 16, seed, iterations: 10 }).values;
  assert.equal(run(5), run(5));
  assert.not.equal(run(5), run(6));
});

test('weights: a centroid is the weighted mean, and weight 0 does not count', () => {
  const x = Float32Array.of(0, 0, 1, 1, 100, 100);
  const { values } = kmeans(x, { channels: 2, entries: 1, seed: 1, iterations: 5, weights: Float32Array.of(1, 3, 0) });
  assert.equal([...values], [0.75, 0.75]);
});

test('weights: heavy vectors are coded better than without', () => {
  const x = Float32Array.from({ length: 4000 * 4 }, uniform);
  const weights = Float32Array.from({ length: 4000 }, (_, i) => (i % 10 === 0 ? 50 : 1));
  const options: KmeansOptions = { channels: 4, entries: 32, seed: 1, iterations: 20 };
  const heavy = Float32Array.from(weights, (w) => (w > 1 ? 1 : 0));
  const [plain, weighted] = [undefined, weights].map((w) => lossOf(x, kmeans(x, { ...options, weights: w }).values, 4, heavy));
  assert.ok(weighted! < 0.95 * plain!, `${weighted} of ${plain}`);
});

test('from equal starts, empty clusters are put on the worst vectors until none is empty', () => {
  const centres = Array.from({ length: 16 }, (_, i) => [10 * (i % 4), 10 * Math.floor(i / 4)]);
  const x = around(centres, 50, 0.5);
  const found = kmeans(x, { channels: 2, entries: 16, seed: 3, iterations: 50, start: new Float64Array(32) });
  assert.ok(found.reseeded >= 15, `${found.reseeded} were re-seeded`);
  assert.ok(lossOf(x, found.values, 2) < lossOf(x, new Float64Array(32), 2) / 5);
  const code = new Uint16Array(x.length / 2);
  nearest(x, centroids(found.values, 2), code, new Float64Array(code.length));
  assert.is(new Set(code).size, 16, 'no entry is left without vectors');
});

test('a lone far vector gets a centroid that was empty', () => {
  const x = Float32Array.of(0, 0, 0.1, 0.1, 0.2, 0.2, 50, 50);
  const { values, reseeded } = kmeans(x, { channels: 2, entries: 2, seed: 1, iterations: 9, start: Float64Array.of(7, 7, 7, 7) });
  assert.is(reseeded, 1);
  assert.equal(rows(values, 2)[1], [50, 50]);
});

test('nothing is re-seeded where no vector has a loss', () => {
  const same = kmeans(Float32Array.from({ length: 64 }, () => 3), { channels: 2, entries: 8, seed: 1, iterations: 20 });
  assert.is(same.reseeded, 0);
  assert.ok(same.values.every((value) => value === 3));
});

test('fewer vectors than entries: each vector is a centroid', () => {
  const x = Float32Array.of(1, 2, 3, 4, 5, 6);
  const { values } = kmeans(x, { channels: 2, entries: 16, seed: 1, iterations: 5 });
  assert.is(lossOf(x, values, 2), 0);
});

test('all weights 0 is no division by 0', () => {
  const { values } = kmeans(Float32Array.of(1, 2, 3, 4), { channels: 2, entries: 2, seed: 1, iterations: 5, weights: new Float32Array(2) });
  assert.ok(values.every(Number.isFinite));
});

test('seeds of neighbouring chunks, heads, sides and layers differ', () => {
  const seeds = new Set<number>();
  for (let seed = 0; seed < 3; seed++) for (let layer = 0; layer < 8; layer++) for (let side = 0; side < 2; side++) for (let head = 0; head < 8; head++) for (let chunk = 0; chunk < 32; chunk++) seeds.add(seedOf(seed, layer, side, head, chunk));
  assert.is(seeds.size, 3 * 8 * 2 * 8 * 32);
});

test.run();
