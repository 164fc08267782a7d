// decode by look-up (and combine) on the emulated driver against the fp64 reference: one kernel of each key method; lookup.all.ts meets all of them at all shapes.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { Runner } from '../../../tuner/runner.ts';
import type { Shape } from '../../../tuner/problem.ts';
import { DECODE } from '../../../tuner/shapes.ts';
import { emulatedRunner } from './lab.ts';
import { GROUPS, lookup, passes, type Group, type Lookup } from './lookup.ts';

const test = suite('ops/lookup');
let runner: Runner;
const kernels = new Map<string, Lookup>();

const SUM = 'd128_k8c8b_v8c8bq8_f16_gain_n4__sm90_lookup_w16_s2_c4';
const TURN = 'd128_k4c8b_v4c8bq8_f16_pre_gain_n4__sm90_lookup_w12_s2_c4';
const DOT = 'd128_k2c8bq8_v2c8bq8_f16__sm90_lookup_w8_s1_c4';
const SMALL = 'd64_k8c8b_v8c8bq8_f16_pre_gain__sm80_lookup_w8_s2_c2';
const ALL = [SUM, TURN, DOT, SMALL];

// A test, not a hook: uvu swallows what a before hook throws, and the suite would pass without having run.
test('runner and kernels build', async () => {
  const [made, ...built] = await Promise.all([emulatedRunner(), ...ALL.map(lookup)]);
  runner = made;
  ALL.forEach((words, i) => kernels.set(words, built[i]!));
});
test.after(() => runner?.close());

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
  ringScores: [SMALL],
  noLse: [SUM],
  merged: [SMALL],
  spread: [SMALL],
  spreadMany: [SMALL],
};
/** Many CTAs take long: each builds its tables. */
const few = ({ splits = 1 }: Shape<'decode'>): boolean => splits <= 17;
for (const group of GROUPS) {
  test(group, async () => {
    const shapes = (DECODE[group] as readonly Shape<'decode'>[]).filter(few);
    assert.ok(shapes.length > 0);
    for (const words of ON[group]) for (const shape of shapes) await passes(runner, kernels.get(words)!, shape);
  });
}

test('other orders of blocks, warps and lanes give the same answer, and no race in global memory', async () => {
  const shape: Shape<'decode'> = { coded_len: [70, 33], kv_len: [80, 40], q_len: [3, 1], ring_rows: 16, q_heads: 4, kv_heads: 2, anchor_permille: 60, splits: 2, merge: 'last', ring_scores: true };
  for (const words of ALL) {
    const records = [];
    for (const order of [0, 1, 2, 3]) records.push(await passes(runner, kernels.get(words)!, shape, { order, race: 2 }));
    for (const { rel_l2, max_abs, lse_err } of records) assert.equal([rel_l2, max_abs, lse_err], [records[0]!.rel_l2, records[0]!.max_abs, records[0]!.lse_err]);
  }
});

test('more tiles per warp than places are kept for at once, and than fit a sum', async () => {
  // 8 warps of 32 tokens, 32 places each, and one more tile; then the 1024 tiles after which sums are lowered.
  await passes(runner, kernels.get(SMALL)!, { coded_len: [8 * 32 * 32 + 40], page_size: 256, anchor_permille: 10 }, { race: 0 });
  await passes(runner, kernels.get(SMALL)!, { coded_len: [8 * 32 * 1024 + 40], page_size: 256, anchor_permille: 10 }, { race: 0 });
  await passes(runner, kernels.get(DOT)!, { coded_len: [8 * 32 * 1024 + 1], page_size: 16, q_heads: 8, kv_heads: 1 }, { race: 0 });
});

test('a name that is no look-up kernel, or does not fit, is refused', async () => {
  const refused = (words: string): Promise<string> => lookup(words).then(() => assert.unreachable('no error'), (error: Error) => error.message) as Promise<string>;
  assert.match(await refused('d128_k8c8b_v8c8bq8_f16_n4__sm80_lookup_w16_s2_c4'), /B of shared memory, sm80 has/);
  assert.match(await refused('d128_k8c8b_v8c8bq8_f16_n4__sm80_w4_t64_s2'), /algorithm rows/);
});

test.run();
