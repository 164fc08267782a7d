// Tests generator/bits.ts: the counting rule of CACHE.md by hand.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { anchorsOf, effectiveBits, footprint } from '../../generator/bits.ts';
import { presetOf } from '../../generator/presets.ts';

const close = (a: number, b: number): void => assert.ok(Math.abs(a - b) < 1e-9, `${a} is not ${b}`);

test('1 bit at 32768 tokens, term by term', () => {
  const coded = 32768 - 128 - 64;
  const bytes = coded * (16 + 16) /* codes */ + coded * 2 /* gains */ + coded / 8 /* bitmap */ + 325 * (512 + 4) /* anchors with their index */ + 192 * 512; /* W + F/2 rows */
  const found = footprint(presetOf('antkv-1'), 128, 32768);
  close(found.bytes, bytes);
  close(found.bits, (bytes * 8) / (32768 * 256));
  close(effectiveBits(presetOf('antkv-1'), 128, 32768), found.bits);
});

test('codebooks stand beside the bits', () => {
  const { codebookBytes } = footprint(presetOf('antkv-1'), 128, 32768);
  const halfNorms = 16 * 256 * 4;
  assert.is(codebookBytes, 256 * 128 * 2 + halfNorms + (256 * 128 + 128 * 4 + halfNorms));
});

test('what is reserved covers what is used', () => {
  for (const name of ['antkv-4', 'antkv-2', 'antkv-1', 'antkv-1-fast', 'antkv-0.5', 'f16']) {
    for (const tokens of [1, 100, 192, 193, 4096, 131072]) {
      const { bytes, allocatedBytes } = footprint(presetOf(name), 128, tokens);
      assert.ok(allocatedBytes >= bytes, `${name} at ${tokens}: ${allocatedBytes} < ${bytes}`);
    }
  }
});

test('exact rows have 16 bits at any length, and so has a short sequence that is all window', () => {
  for (const tokens of [1, 1000, 32768]) close(effectiveBits(presetOf('f16'), 128, tokens), 16);
  close(effectiveBits(presetOf('antkv-1'), 128, 100), 16);
});

test('the budget is counted over all coded tokens, and the first tokens come on top', () => {
  const recipe = presetOf('antkv-1');
  assert.equal([0, 99, 100, 199, 32576].map((coded) => anchorsOf(recipe, coded)), [0, 0, 1, 1, 325]);
  assert.is(anchorsOf({ ...recipe, first_tokens: 4 }, 1000), 14);
  assert.is(anchorsOf({ ...recipe, first_tokens: 4 }, 2), 2);
  assert.equal([10, 40, 9000].map((coded) => anchorsOf({ ...recipe, budget_permille: 0, budget_tokens: 3, extra_tokens: 32 }, coded)), [10, 35, 35]);
  assert.is(anchorsOf({ ...recipe, policy: 'none', budget_permille: 0 }, 1000), 0);
});

test('a longer context costs fewer bits', () => {
  const bits = [512, 1024, 4096, 32768, 131072].map((tokens) => effectiveBits(presetOf('antkv-1'), 128, tokens));
  assert.equal(bits, [...bits].sort((a, b) => b - a));
});

test.run();
