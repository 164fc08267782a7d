// Tests tuner/calibrate/stages.ts: sums of stages, the joint search, and that refinement gains on greedy stages.
import { uniformFloat64 } from 'pure-rand/distribution/uniformFloat64';
import { xoroshiro128plus } from 'pure-rand/generator/xoroshiro128plus';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { codecOf, type VqCodec } from '../../../generator/codec.ts';
import { fromF16, toF16, toF16Array } from '../../../generator/f16.ts';
import { centroidsOf } from '../../../generator/pack.ts';
import { kmeans, squares } from '../../../tuner/calibrate/kmeans.ts';
import { centroids, nearest } from '../../../tuner/calibrate/nearest.ts';
import { kmeansInStages, nearestSum, sumsOf, type Stages } from '../../../tuner/calibrate/stages.ts';
import { perform, type ChunkTask } from '../../../tuner/calibrate/task.ts';

const random = xoroshiro128plus(11);
const uniform = (): number => uniformFloat64(random) - 0.5;
/** Multiples of 1/512 below a half: their sums are halves. */
const halves = (count: number): Float64Array => Float64Array.from({ length: count }, () => Math.round(512 * uniform()) / 512);
const vectors = (count: number, channels: number): Float32Array => Float32Array.from({ length: count * channels }, () => uniform() + uniform() + uniform());
const lossOf = (x: Float32Array, stages: Stages): number => {
  const loss = nearestSum(x, stages, new Uint16Array(x.length / stages.channels));
  return squares(x, stages.channels).reduce((sum, square, i) => sum + square + 2 * loss[i]!, 0);
};

for (const [stages, entries, channels] of [[1, 16, 4], [2, 8, 4], [2, 16, 16], [3, 4, 2]] as const) {
  test(`${stages} stages of ${entries} entries: the nearest of all sums, as a plain search finds it`, () => {
    const book: Stages = { values: Array.from({ length: stages }, () => halves(entries * channels)), channels };
    const sums = sumsOf(book);
    assert.is(sums.length, entries ** stages * channels);
    const x = vectors(200, channels);
    x.set(sums.subarray(5 * channels, 6 * channels), 0);
    const [code, plain, loss] = [new Uint16Array(200), new Uint16Array(200), new Float64Array(200)];
    const found = nearestSum(x, book, code);
    nearest(x, centroids(sums, channels), plain, loss);
    assert.is(code[0], 5);
    for (let i = 0; i < 200; i++) assert.ok(Math.abs(found[i]! - loss[i]!) < 1e-12, `vector ${i}`);
  });
}

test('sums are what kernels read', () => {
  const codec = codecOf('16c6b6b') as VqCodec;
  const values = [halves(64 * 16), halves(64 * 16)];
  const stored = toF16Array(values.flatMap((stage) => [...stage]));
  assert.equal([...sumsOf({ values, channels: 16 })], [...centroidsOf(codec, 16, { kvHeads: 1, values: stored })]);
});

test('one stage is k-means', () => {
  const x = vectors(300, 8);
  const options = { channels: 8, entries: 16, iterations: 10 };
  assert.equal(kmeansInStages(x, { ...options, seeds: [3] }), kmeans(x, { ...options, seed: 3 }));
});

test('fitted together, two stages lose less than one after the other, and than one with as many entries', () => {
  const x = vectors(2000, 8);
  const options = { channels: 8, entries: 16, iterations: 20 };
  const { values, losses } = kmeansInStages(x, { ...options, seeds: [1, 2] });
  assert.is(values.length, 2 * 16 * 8);
  const joint = lossOf(x, { values: [values.slice(0, 128), values.slice(128)], channels: 8 });
  const first = kmeans(x, { ...options, seed: 1 });
  assert.ok(joint <= losses.at(-1)!, 'the last loss is of the choice before the last move');
  const code = new Uint16Array(2000);
  nearest(x, centroids(first.values, 8), code, new Float64Array(2000));
  const left = x.map((value, i) => value - first.values[code[Math.floor(i / 8)]! * 8 + (i % 8)]!);
  const second = kmeans(left, { ...options, seed: 2 });
  assert.ok(joint < 0.97 * second.losses.at(-1)!, `${joint} against ${second.losses.at(-1)} one after the other`);
  assert.ok(joint < kmeans(x, { ...options, entries: 32, seed: 1 }).losses.at(-1)!);
});

test('entries without a vector get one; fewer vectors than codes are met exactly', () => {
  const x = Float32Array.from([0, 0, 1, 0, 0, 1, 1, 1]); // sums of {0, (1, 0)} and {0, (0, 1)}
  const { values } = kmeansInStages(x, { channels: 2, entries: 2, seeds: [1, 2], iterations: 20 });
  assert.ok(lossOf(x, { values: [values.slice(0, 4), values.slice(4)], channels: 2 }) < 1e-6);
});

test('a chunk of a codec in stages is stored stage by stage, and its loss is that of what is stored', () => {
  const rows = { data: new Uint16Array(toF16Array(vectors(400, 16))), stride: 400, tokens: 400, headDim: 16 };
  for (const name of ['16c6b6b', '16c6b6bq8']) {
    const codec = codecOf(name) as VqCodec;
    const task: ChunkTask = { kind: 'chunk', rows, codec: name, stream: [1, 2, 0], scope: 'chunk', head: 0, chunk: 0, iterations: 4 };
    const result = perform(task);
    assert.equal(result, perform(task), 'a pure function');
    assert.is(result.stored.length, 128 * 16);
    assert.is(result.scale?.length, codec.codebook === 'q8' ? 16 : undefined);
    const means = centroidsOf(codec, 16, { kvHeads: 1, values: result.stored, ...(result.scale && { scale: result.scale }) });
    let loss = 0;
    for (let i = 0; i < 400; i++) {
      let least = Infinity;
      for (let code = 0; code < 4096; code++) {
        let distance = 0;
        for (let c = 0; c < 16; c++) distance += (fromF16(rows.data[i * 16 + c]!) - means[code * 16 + c]!) ** 2;
        least = Math.min(least, distance);
      }
      loss += least;
    }
    assert.ok(Math.abs(result.loss - loss) < 1e-6 * loss, `${name}: ${result.loss} against ${loss}`);
  }
});

test.run();
