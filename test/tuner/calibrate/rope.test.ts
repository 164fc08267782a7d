// Tests tuner/calibrate/rope.ts.
import { readFileSync } from 'node:fs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { fromF16, fromF16Array } from '../../../generator/f16.ts';
import type { Rope } from '../../../generator/format.ts';
import { rotate } from '../../../tuner/calibrate/rope.ts';
import { openDump } from '../../../tuner/calibrate/file.ts';
import { keysOf } from '../../../tuner/calibrate/prepare.ts';
import { fixture } from '../../fixtures/paths.ts';

const rope = (change: Partial<Rope> = {}): Rope => ({ invFreq: Float32Array.of(1, 0.1), dim: 4, interleaved: false, attentionFactor: 1, ...change });

test('position 0 stays; position p turns each pair by p times its frequency', () => {
  const rows = Float32Array.of(1, 1, 0, 0, /* token 1 */ 1, 1, 0, 0);
  rotate(rows, 4, rope(), Infinity, 1);
  const want = [1, 1, 0, 0, Math.cos(1), Math.cos(0.1), Math.sin(1), Math.sin(0.1)];
  want.forEach((value, i) => assert.ok(Math.abs(rows[i]! - value) < 1e-6, `${i}: ${rows[i]}`));
});

test('interleaved pairs are neighbours; channels beyond dim stay; the attention factor scales', () => {
  const rows = Float32Array.of(9, 9, 9, 9, 9, 9, /* token 1 */ 1, 0, 1, 0, 5, 7);
  rotate(rows, 6, rope({ interleaved: true, attentionFactor: 2 }), Infinity, 1);
  const want = [2 * Math.cos(1), 2 * Math.sin(1), 2 * Math.cos(0.1), 2 * Math.sin(0.1), 5, 7];
  want.forEach((value, i) => assert.ok(Math.abs(rows[6 + i]! - value) < 1e-6));
});

test('there and back again, and positions start anew in each window', () => {
  const start = Float32Array.from({ length: 32 }, (_, i) => Math.sin(i));
  const rows = start.slice();
  rotate(rows, 4, rope({ attentionFactor: 1.3 }), 3, 1);
  assert.ok(Math.abs(rows[12]! - 1.3 * start[12]!) < 1e-6, 'token 3 is position 0');
  rotate(rows, 4, rope({ attentionFactor: 1.3 }), 3, -1);
  rows.forEach((value, i) => assert.ok(Math.abs(value - start[i]!) < 1e-6));
});

test('the fixture, rotated, is what the model computed, to the rounding of halves', () => {
  const golden = JSON.parse(readFileSync(new URL('../../golden/rope.json', import.meta.url), 'utf8')) as Record<string, number[]>;
  assert.is(Object.keys(golden).length, 3);
  const file = openDump(fixture('kv-eval-small'));
  try {
    const { data, headDim } = keysOf(file, file.dump.layers[0]!, 768, 'post');
    for (const [token, bits] of Object.entries(golden)) {
      const row = fromF16Array(data.subarray(Number(token) * headDim, (Number(token) + 1) * headDim));
      const size = Math.hypot(...row);
      const error = Math.hypot(...bits.map((half, i) => fromF16(half) - row[i]!));
      // Keys before RoPE, and after it twice, are rounded to halves: 2^-11 / √3 each, 5e-4 together.
      assert.ok(error < 6e-4 * size, `token ${token}: ${error / size}`);
    }
  } finally {
    file.close();
  }
});

test.run();
