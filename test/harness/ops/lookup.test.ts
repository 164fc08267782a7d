// decode by look-up (and combine) on the emulated driver against the fp64 reference: one kernel of each key method; lookup.all.ts meets all of them at all shapes.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { meetsShapes, refusal, type Group } from './lookup.ts';

const test = suite('ops/lookup');
const SUM = 'd128_k8c8b_v8c8bq8_f16_gain_n4__sm90_lookup_w16_s2_c4';
const TURN = 'd128_k4c8b_v4c8bq8_f16_pre_gain_n4__sm90_lookup_w12_s2_c4';
const DOT = 'd128_k2c8bq8_v2c8bq8_f16__sm90_lookup_w8_s1_c4';
const SMALL = 'd64_k8c8b_v8c8bq8_f16_pre_gain__sm80_lookup_w8_s2_c2';
const SMALL_TURN = 'd64_k4c8b_v4c8bq8_f16_pre_gain_n4__sm90_lookup_w12_s2_c4';
const ALL = [SUM, TURN, DOT, SMALL, SMALL_TURN];

/** Which kernels meet which shapes. */
const ON: Readonly<Record<Group, readonly string[]>> = {
  lengths: ALL,
  anchors: [SMALL],
  ragged: [SUM, SMALL],
  bound: [TURN],
  ratios: [SMALL],
  ratiosOfRows: [DOT],
  rings: [TURN],
  positions: [TURN, SMALL],
  masked: [DOT, SUM],
  maskedRing: [SUM],
  trees: [TURN],
  frozen: [SMALL],
  sharedPrefix: [SUM],
  segments: [SUM],
  rope: [TURN, SMALL],
  scores: ALL,
  sink: [SUM, DOT],
  nan: ALL,
  ringScores: [SMALL],
  noLse: [SUM],
  merged: [SMALL],
  spread: [SUM, SMALL],
  spreadMany: [SUM, SMALL],
};
const { passes } = meetsShapes(test, ALL, ON, [70, 33]);

test('more tiles per warp than places are kept for at once, and than fit a sum', async () => {
  // 8 warps of 32 tokens, 32 places each, and one more tile; then the 1024 tiles after which sums are lowered.
  await passes(SMALL, { coded_len: [8 * 32 * 32 + 40], page_size: 256, anchor_permille: 10 }, { race: 0 });
  await passes(SMALL, { coded_len: [8 * 32 * 1024 + 40], page_size: 256, anchor_permille: 10 }, { race: 0 });
  await passes(DOT, { coded_len: [8 * 32 * 1024 + 1], page_size: 16, q_heads: 8, kv_heads: 1 }, { race: 0 });
});

test('scores of deviation 8 at head dim 64, where keys before RoPE are all turned in f16', async () => {
  for (const shape of [{ coded_len: [129, 300], q_heads: 4, score_std: 8, anchor_permille: 50 }, { coded_len: [700, 400], q_heads: 4, score_std: 8 }])
    for (const seed of [1, 2, 3]) for (const words of [SMALL, SMALL_TURN]) await passes(words, shape, {}, seed);
});

test('a name that is no look-up kernel, or does not fit, is refused', async () => {
  assert.match(await refusal('d128_k8c8b_v8c8bq8_f16_n4__sm80_lookup_w16_s2_c4'), /B of shared memory, sm80 has/);
  assert.match(await refusal('d128_k8c8b_v8c8bq8_f16_n4__sm80_w4_t64_s2'), /algorithm rows/);
});

test.run();
