// decode by tallies (and combine) on the emulated driver against the fp64 reference.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { Shape } from '../../../tuner/problem.ts';
import type { Runner } from '../../../tuner/runner.ts';
import { DECODE } from '../../../tuner/shapes.ts';
import { emulatedRunner } from './lab.ts';
import { GROUPS, lookup, passes, type Group, type Lookup } from './lookup.ts';

const test = suite('ops/tally');
let runner: Runner;
const kernels = new Map<string, Lookup>();

/** The kernel that 0.375 bit is judged by; int8 keys and codes of two widths; a side in the order of lanes, and rounds so short that weights have their most places. */
const WIDE = 'd128_k32c12b_v32c12b_f16_gain_n4__sm90_tally_w16_t2048_p2';
const MIXED = 'd64_k16c12bq8_v8c10b_f16__sm80_tally_w8_t512_p1';
const SHORT = 'd128_k8c8b_v8c10bq8_f16_gain__sm80_tally_w4_t256_p2';
const ALL = [WIDE, MIXED, SHORT];

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
  anchors: [MIXED, WIDE],
  ragged: [SHORT],
  bound: [MIXED],
  ratios: [SHORT],
  ratiosOfRows: [MIXED],
  rings: [SHORT],
  positions: [WIDE, MIXED],
  masked: ALL,
  maskedRing: [MIXED],
  trees: [WIDE],
  frozen: [SHORT],
  sharedPrefix: [MIXED],
  segments: ALL,
  rope: [SHORT],
  scores: ALL,
  sink: ALL,
  ringScores: [MIXED],
  noLse: [SHORT],
  merged: [SHORT],
  spread: [MIXED],
  spreadMany: [SHORT],
};
/** Many CTAs take long: each makes its table and multiplies its tallies. */
const few = ({ splits = 1 }: Shape<'decode'>): boolean => splits <= 17;
for (const group of GROUPS) {
  test(group, async () => {
    const shapes = (DECODE[group] as readonly Shape<'decode'>[]).filter(few);
    assert.ok(shapes.length > 0);
    for (const words of ON[group]) for (const shape of shapes) await passes(runner, kernels.get(words)!, shape);
  });
}

test('other orders of blocks, warps and lanes give the same answer, and no race in global memory', async () => {
  const shape: Shape<'decode'> = { coded_len: [1100, 33], kv_len: [1110, 40], q_len: [3, 1], ring_rows: 16, q_heads: 4, kv_heads: 2, anchor_permille: 60, splits: 2, merge: 'last', ring_scores: true };
  for (const words of ALL) {
    const records = [];
    for (const order of [0, 1, 2, 3]) records.push(await passes(runner, kernels.get(words)!, shape, { order, race: 2 }));
    for (const { rel_l2, max_abs, lse_err } of records) assert.equal([rel_l2, max_abs, lse_err], [records[0]!.rel_l2, records[0]!.max_abs, records[0]!.lse_err]);
  }
});

test('more tokens than tallies hold unless they are halved', async () => {
  // Weights have 22 places in rounds of 256 and 512 tokens, 20 in those of 2048: tallies of even attention fill their 32 bits several times over.
  await passes(runner, kernels.get(SHORT)!, { coded_len: [30_000], page_size: 256, anchor_permille: 10, q_heads: 2, kv_heads: 1 }, { race: 0 });
  await passes(runner, kernels.get(MIXED)!, { coded_len: [30_000], page_size: 16, q_heads: 1, kv_heads: 1 }, { race: 0 });
  await passes(runner, kernels.get(WIDE)!, { coded_len: [40_000], page_size: 64, q_heads: 2, kv_heads: 1 }, { race: 0 });
});

test('a tile that does not fit is refused', async () => {
  const refused = (words: string): Promise<string> => lookup(words).then(() => assert.unreachable('no error'), (error: Error) => error.message) as Promise<string>;
  assert.match(await refused('d128_k32c12b_v32c12b_f16_n4__sm80_tally_w16_t2048_p2'), /B of shared memory, sm80 has/);
  assert.match(await refused('d128_k32c12b_v32c12b_f16_pre_n4__sm90_tally_w16_t2048_p2'), /keys coded before RoPE have none/);
  assert.match(await refused('d128_k32c12b_v32c12b_f16_n4__sm90_tally_w16_t2048_p8'), /8 columns at a time is not 1, 2 or 4 of 4/);
});

test.run();
