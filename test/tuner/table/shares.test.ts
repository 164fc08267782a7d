// Tests tuner/table/shares.ts: all shares together are the line, and what launches of the H200 were seen to do.
import fc from 'fast-check';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { parseKernelName } from '../../../generator/name.ts';
import { readTemplate } from '../../../generator/render.ts';
import { sharesOf } from '../../../tuner/table/shares.ts';

const SUM = parseKernelName('antkv_decode_d128_k8c8b_v8c8bq8_f16_gain_n4__sm90_lookup_w8_s2_c4');
const TURN = parseKernelName('antkv_decode_d128_k8c8b_v8c8bq8_f16_pre_gain_n4__sm90_lookup_w8_s2_c4');
const EXACT = parseKernelName('antkv_decode_d128_kf16_vf16_f16__sm90_w4_t64_s2');
const words = (shares: ReturnType<typeof sharesOf>): string => shares.map(({ pieces, sequences }) => `${pieces}:${sequences.toFixed(2)}`).join(' ');

test('all shares are all sequences, each has at most two pieces more than whole ones, and no piece is empty', () => {
  fc.assert(
    fc.property(fc.constantFrom(SUM, TURN, EXACT), fc.integer({ min: 1, max: 70 }), fc.integer({ min: 1, max: 40_000 }), fc.integer({ min: 1, max: 140 }), (kernel, batch, tokens, splits) => {
      const shares = sharesOf(kernel, { batch, tokens, window: 128 }, splits);
      assert.ok(Math.abs(shares.reduce((sum, { sequences }) => sum + sequences, 0) - batch) < 1e-6);
      for (const { pieces, sequences } of shares) assert.ok(pieces >= sequences - 1e-9 && pieces <= sequences + 2 && (pieces > 0) === (sequences > 0), `${pieces} ${sequences}`);
    }),
  );
});

test('exact rows: shares that end with sequences have a piece each, others two', () => {
  assert.is(words(sharesOf(EXACT, { batch: 6, tokens: 2048, window: 0 }, 24)), Array.from({ length: 24 }, () => '1:0.25').join(' '));
  assert.is(Math.max(...sharesOf(EXACT, { batch: 6, tokens: 2048, window: 0 }, 16).map(({ pieces }) => pieces)), 2);
});

test('look-ups: a share in the price between two sequences is nobody\'s', () => {
  assert.equal(sharesOf(SUM, { batch: 4, tokens: 1024, window: 128 }, 16).map(({ pieces }) => pieces), Array.from({ length: 4 }, () => [0, 1, 1, 0]).flat());
  // 17 shares of three sequences of 2,500 tokens waited for each other on 132 SMs, 25 to 39 us: none of them is empty.
  assert.ok(sharesOf(TURN, { batch: 3, tokens: 2500, window: 128 }, 17).every(({ pieces }) => pieces > 0));
});

test('the prices are those of the kernels', () => {
  const text = readTemplate('work.cuh');
  for (const price of ['kPiece = K::kKeySum ? 15500 / (70 + 2 * K::kHeadDim / K::Key::kChannels) : 32, kSide = (kPiece - 1) / 2, kCoded32 = 1, kExact16 = 4', 'kPiece = 8, kSide = 0, kCoded32 = 2, kExact16 = 1']) assert.ok(text.includes(price), price);
});

test.run();
