// Tests generator/f16.ts.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { fromF16, fromF16Array, isSpecialF16, toF16, toF16Array } from '../../generator/f16.ts';

test('every half survives a round trip; NaN stays NaN', () => {
  for (let half = 0; half < 65536; half++) {
    const value = fromF16(half);
    if (Number.isNaN(value)) assert.ok(Number.isNaN(fromF16(toF16(value))));
    else assert.is(toF16(value), half);
    assert.is(isSpecialF16(half), !Number.isFinite(value));
  }
});

test('between two neighbours the nearer one wins, and the even one in the middle', () => {
  for (let half = 0; half < 0x7bff; half++) {
    const [low, high] = [fromF16(half), fromF16(half + 1)];
    const middle = (low + high) / 2;
    const gap = (high - low) / 2 ** 20;
    assert.is(toF16(middle), half % 2 === 0 ? half : half + 1);
    assert.is(toF16(middle - gap), half);
    assert.is(toF16(middle + gap), half + 1);
    assert.is(toF16(-middle - gap), 0x8000 | (half + 1));
  }
});

// Independent of the table: IEEE 754-2019, table 3.5.
const KNOWN: [number, number][] = [
  [0, 0x0000], [-0, 0x8000], [1, 0x3c00], [-2, 0xc000], [65504, 0x7bff], [65519.99, 0x7bff], [65520, 0x7c00], [Infinity, 0x7c00], [-Infinity, 0xfc00],
  [2 ** -24, 0x0001], [2 ** -25, 0x0000], [2 ** -25 * 1.0001, 0x0001], [2 ** -14, 0x0400], [2 ** -14 - 2 ** -24, 0x03ff], [1 / 3, 0x3555],
];
for (const [value, half] of KNOWN) test(`${value} is 0x${half.toString(16)}`, () => assert.is(toF16(value), half));

test('rounds once: a double just above a tie is not lost in single precision', () => assert.is(toF16(1 + 2 ** -11 + 2 ** -40), 0x3c01));

test('arrays go element by element', () => {
  assert.equal(toF16Array([1, -2]), Uint16Array.of(0x3c00, 0xc000));
  assert.equal(fromF16Array(Uint16Array.of(0x3c00, 0xc000)), Float32Array.of(1, -2));
});

test.run();
