// decode by tallies (and combine) on the emulated driver against the fp64 reference.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { countersSchema, sitesAt, wasted, type Site } from '../../../tuner/counters.ts';
import { lookup, meetsShapes, refusal, type Group } from './lookup.ts';

const test = suite('ops/tally');
/** The kernel that 0.375 bit is judged by; int8 keys and codes of two widths; a side in the order of lanes, and rounds so short that weights have their most places. */
const WIDE = 'd128_k32c12b_v32c12b_f16_gain_n4__sm90_tally_w16_t2048_p2';
const MIXED = 'd64_k16c12bq8_v8c10b_f16__sm80_tally_w8_t512_p1';
const SHORT = 'd128_k8c8b_v8c10bq8_f16_gain__sm80_tally_w4_t256_p2';
/** Codes in stages: a codebook for each share of a code; int8 keys, and rounds of one tile. */
const STAGED = 'd128_k16c6b6b_v16c6b6bq8_f16_gain_n4__sm80_tally_w16_t512_p4';
const STAGED_KEYS = 'd64_k16c6b6bq8_v32c12b_f16__sm80_tally_w8_t256_p1';
/** Exact rows of a head dim that is no multiple of 64. */
const UNEVEN = 'd96_k8c8b_v8c8bq8_f16_n4__sm90_tally_w8_t512_p2';
const ALL = [WIDE, MIXED, SHORT, STAGED, STAGED_KEYS, UNEVEN];

/** Which kernels meet which shapes. */
const ON: Readonly<Record<Group, readonly string[]>> = {
  lengths: ALL,
  anchors: [MIXED, WIDE, STAGED, UNEVEN],
  ragged: [SHORT],
  bound: [MIXED],
  ratios: [SHORT],
  ratiosOfRows: [MIXED],
  rings: [SHORT],
  positions: [WIDE, MIXED, STAGED_KEYS],
  masked: [WIDE, MIXED, SHORT, STAGED, STAGED_KEYS],
  maskedRing: [MIXED],
  trees: [WIDE],
  frozen: [SHORT, STAGED],
  sharedPrefix: [MIXED],
  segments: [WIDE, MIXED, SHORT],
  rope: [SHORT],
  scores: ALL,
  sink: [WIDE, MIXED, SHORT],
  nan: [MIXED, STAGED],
  ringScores: [MIXED],
  noLse: [SHORT],
  merged: [SHORT],
  spread: [MIXED, STAGED],
  spreadMany: [SHORT],
};
const { passes } = meetsShapes(test, ALL, ON, [1100, 33]);

test('more tokens than tallies hold unless they are halved', async () => {
  // Weights have 22 places in rounds of 256 and 512 tokens, 20 in those of 2048: tallies of even attention fill their 32 bits several times over.
  await passes(SHORT, { coded_len: [30_000], page_size: 256, anchor_permille: 10, q_heads: 2, kv_heads: 1 }, { race: 0 });
  await passes(MIXED, { coded_len: [30_000], page_size: 16, q_heads: 1, kv_heads: 1 }, { race: 0 });
  await passes(WIDE, { coded_len: [40_000], page_size: 64, q_heads: 2, kv_heads: 1 }, { race: 0 });
  await passes(STAGED, { coded_len: [30_000], page_size: 64, q_heads: 4, kv_heads: 1 }, { race: 0 });
});

test('turned tables: no look-up and no addition waits for a bank', async () => {
  const TILES = 32;
  const sites = async (words: string, keys: string, values: string): Promise<Site[][]> => {
    const counters = countersSchema.parse((await passes(words, { coded_len: [32 * TILES], page_size: 64 }, { counters: 1, race: 0 })).counters);
    const { source } = await lookup(words);
    return [sitesAt(counters, source, keys), sitesAt(counters, source, values)];
  };
  const [keys, values] = await sites(STAGED, 'load_table_8(at)', 'atomic_add_shared(reinterpret_cast<uint32_t*>(from');
  const instructions = (of: readonly Site[]): number => of.reduce((n, { count }) => n + count.instructions, 0);
  assert.equal([keys!, values!].map(instructions), [16 * TILES, 16 * 4 * TILES]); // 16 books, four columns at a time
  assert.equal([keys!, values!].map(wasted), [0, 0]);
  // Book by book they do: what is counted above can be otherwise.
  for (const met of await sites(WIDE, 'load_table_u32(at)', 'atomic_add_shared(entry')) assert.ok(wasted(met) > instructions(met));
});

test('a tile that does not fit is refused', async () => {
  assert.match(await refusal('d128_k32c12b_v32c12b_f16_n4__sm80_tally_w16_t2048_p2'), /B of shared memory, sm80 has/);
  assert.match(await refusal('d128_k32c12b_v32c12b_f16_pre_n4__sm90_tally_w16_t2048_p2'), /keys coded before RoPE have none/);
  assert.match(await refusal('d128_k32c12b_v32c12b_f16_n4__sm90_tally_w16_t2048_p8'), /8 columns at a time is not 1, 2 or 4 of 4/);
});

test.run();
