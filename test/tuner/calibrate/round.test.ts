// Tests tuner/calibrate/round.ts.
import fc from 'fast-check';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { fromF16 } from '../../../generator/f16.ts';
import { roundF16, roundInt8 } from '../../../tuner/calibrate/round.ts';

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
