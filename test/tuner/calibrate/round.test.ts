// Tests tuner/calibrate/round.ts.
import fc from 'fast-check';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { fromF16, toF16 } from '../../../generator/f16.ts';
import { onGrid, roundF16, roundInt8 } from '../../../tuner/calibrate/round.ts';

const CHANNELS = 4;
const centroids = fc.array(fc.array(fc.double({ min: -60000, max: 60000, noNaN: true }), { minLength: CHANNELS, maxLength: CHANNELS }), { minLength: 1, maxLength: 16 }).map((rows) => rows.flat());

test('int8: no centroid moves by more than half a step, and the largest uses 127 steps', () => {
  fc.assert(
    fc.property(centroids, (c) => {
      const { stored, scale, values } = roundInt8(c, CHANNELS);
      for (let i = 0; i < c.length; i++) {
        const step = scale![i % CHANNELS]!;
        assert.ok(Math.abs(stored[i]! * step - c[i]!) <= step * (0.5 + 1e-5), `${stored[i]} * ${step} for ${c[i]}`);
        assert.is(values[i], Math.fround(stored[i]! * step));
      }
      for (let channel = 0; channel < CHANNELS; channel++) {
        const column = c.filter((_, i) => i % CHANNELS === channel);
        const steps = [...stored].filter((_, i) => i % CHANNELS === channel).map(Math.abs);
        // Below the smallest float there is nothing to resolve.
        if (column.some((value) => Math.abs(value) > 1e-30)) assert.is(Math.max(...steps), 127);
      }
    }),
  );
});

test('stages: every sum of entries is a half, and no entry moves by more than a part in 1024 of the largest sum', () => {
  const value = fc.oneof(fc.double({ min: -20000, max: 20000, noNaN: true }), fc.double({ min: -1, max: 1, noNaN: true }));
  const book = (stages: number): fc.Arbitrary<number[]> => fc.array(value, { minLength: stages * 3 * 2, maxLength: stages * 3 * 2 }); // 3 entries of 2 channels
  fc.assert(
    fc.property(fc.constantFrom(2, 3).chain((stages) => fc.tuple(fc.constant(stages), book(stages))), ([stages, entries]) => {
      const found = onGrid(entries, 2, stages);
      for (let channel = 0; channel < 2; channel++) {
        const stage = (of: ArrayLike<number>, s: number): number[] => [0, 1, 2].map((entry) => of[(s * 3 + entry) * 2 + channel]!);
        const sums = Array.from({ length: stages }, (_, s) => stage(found, s)).reduce((all, more) => all.flatMap((a) => more.map((b) => a + b)));
        for (const sum of [...sums, ...found]) assert.is(fromF16(toF16(sum)), sum);
        const most = Array.from({ length: stages }, (_, s) => Math.max(...stage(entries, s).map(Math.abs))).reduce((a, b) => a + b);
        for (let s = 0; s < stages; s++) stage(found, s).forEach((to, e) => assert.ok(Math.abs(to - stage(entries, s)[e]!) <= Math.max(most / 1024, 2 ** -25)));
      }
    }),
  );
});

test('int8: a channel of zeros has scale 1 and entries 0', () => {
  const { stored, scale } = roundInt8([0, 1, 0, -2], 2);
  assert.equal([...stored], [0, 64, 0, -127]);
  assert.is(scale![0], 1);
});

test('f16: the stored half is the value that everyone reads, within half a unit in the last place', () => {
  fc.assert(
    fc.property(centroids, (c) => {
      const { stored, values } = roundF16(c);
      c.forEach((value, i) => {
        assert.is(values[i], fromF16(stored[i]!));
        assert.ok(Math.abs(values[i]! - value) <= Math.max(Math.abs(value) * 2 ** -11, 2 ** -25));
      });
    }),
  );
});

test.run();
