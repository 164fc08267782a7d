// Look-up kernels as the counters see them: which look-ups wait for banks, what the loads of codes fetch, and that the cost model counts what ran. Builds many kernels.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { CacheContract } from '../../../generator/contract.ts';
import { sumTable } from '../../../generator/counts-lookup.ts';
import { exactUnit, tileParts } from '../../../generator/counts.ts';
import { keyMethod } from '../../../generator/lookup.ts';
import { parseKernelName } from '../../../generator/name.ts';
import { sumSlices } from '../../../generator/shared.ts';
import { countersSchema, sitesAt, wasted, type Counters, type Site } from '../../../tuner/counters.ts';
import type { Runner } from '../../../tuner/runner.ts';
import { emulatedRunner } from './lab.ts';
import { lookup, passes, type Lookup } from './lookup.ts';

const test = suite('ops/lookup counters');
let runner: Runner;
const kernels = new Map<string, Lookup>();

/** Every key method, entry size, number of columns and head dim, with 4 copies of the table of values. */
const FREE = [
  'd128_k8c8b_v8c8bq8_f16_n4__sm90_lookup_w8_s2_c4',
  'd128_k8c8b_v16c8bq8_f16__sm90_lookup_w8_s2_c4',
  'd128_k4c8b_v4c8bq8_f16_n4__sm90_lookup_w8_s2_c4',
  'd128_k16c8b_v2c8bq8_f16_n4__sm90_lookup_w8_s1_c4',
  'd128_k8c8b_v8c8bq8_f16_pre_gain_n4__sm90_lookup_w8_s2_c4',
  'd128_k4c8b_v4c8bq8_f16_pre_n4__sm90_lookup_w12_s2_c4',
  'd128_k16c8b_v8c8bq8_f16_pre_gain_n4__sm90_lookup_w8_s2_c4',
  'd128_k2c8bq8_v2c8bq8_f16__sm90_lookup_w8_s1_c4',
  'd64_k8c8b_v8c8bq8_f16_n4__sm90_lookup_w8_s2_c4',
  'd64_k4c8b_v2c8bq8_f16_pre_gain__sm90_lookup_w8_s1_c4',
  'd96_k8c8b_v8c8bq8_f16_gain_n4__sm90_lookup_w8_s2_c4',
  'd96_k8c8b_v8c8bq8_f16__sm90_lookup_w8_s2_c4',
  'd96_k4c8b_v4c8bq8_f16_n4__sm90_lookup_w8_s2_c4',
] as const;
/** Fewer copies: values wait, keys do not. */
const FEWER = [
  ['d128_k8c8b_v8c8bq8_f16_n4__sm80_lookup_w8_s2_c2', 2],
  ['d128_k4c8b_v4c8bq8_f16_pre_n4__sm80_lookup_w12_s2_c2', 2],
  ['d128_k16c8b_v16c8bq8_f16_pre__sm90_lookup_w8_s1_c2', 2],
  ['d128_k2c8bq8_v2c8bq8_f16_n4__sm80_lookup_w8_s1_c2', 2],
  ['d128_k16c8b_v16c8bq8_f16_n4__sm80_lookup_w8_s2_c2', 2],
  ['d64_k8c8b_v8c8bq8_f16_n4__sm80_lookup_w8_s2_c2', 2],
  ['d128_k4c8b_v8c8bq8_f16_n4__sm90_lookup_w8_s2_c1', 4],
  ['d96_k8c8b_v8c8bq8_f16__sm80_lookup_w8_s2_c2', 2],
  ['d256_k8c8b_v8c8bq8_f16_n4__sm90_lookup_w8_s2_c2', 2],
  ['d256_k4c8b_v4c8bq8_f16_n4__sm90_lookup_w8_s1_c1', 4],
] as const;
const TOKENS = 1024;

test('runner and kernels build', async () => {
  const names = [...FREE, ...FEWER.map(([words]) => words)];
  const [made, ...built] = await Promise.all([emulatedRunner(), ...names.map(lookup)]);
  runner = made;
  names.forEach((words, i) => kernels.set(words, built[i]!));
});
test.after(() => runner?.close());

const counted = new Map<string, Counters>();
/** The counters of one CTA's attention to {@link TOKENS} random codes: any two that could meet in a bank do somewhere. */
async function count(words: string, pageSize: number): Promise<Counters> {
  const key = `${words} ${pageSize}`;
  const known = counted.get(key);
  if (known) return known;
  const record = await passes(runner, kernels.get(words)!, { coded_len: [TOKENS], page_size: pageSize }, { counters: 1, race: 0 });
  const counters = countersSchema.parse(record.counters);
  counted.set(key, counters);
  return counters;
}
const lines = (words: string, counters: Counters, text: string): Site[] => sitesAt(counters, kernels.get(words)!.source, text);
const sum = (sites: readonly Site[], of: 'instructions' | 'wavefronts' | 'ideal'): number => sites.reduce((n, { count: tally }) => n + tally[of]!, 0);
const instructions = (sites: readonly Site[]): number => sum(sites, 'instructions');

/** Whether entries of keys are looked up in two halves of 8 channels, by lanes that share a code. */
const inHalves = (k: string, key: string): boolean => key === 'pre' && k.startsWith('16c');

/** Look-ups of keys and of values; those are the ones that value_table finds the rows for. Checks that all were counted, and that there are no others. */
function lookups(words: string, counters: Counters): { keys: Site[]; values: Site[] } {
  const all = lines(words, counters, 'load_table_');
  const text = kernels.get(words)!.source.split('\n');
  const those = (pattern: RegExp): Site[] => all.filter(({ line }) => pattern.test(text[line - 1]!));
  const [keys, values] = [those(/load_table_\w+\(at\b/), those(/load_table_\w+\(rows?\b/)];
  assert.is(keys.length + values.length, all.length, words);
  // A look-up serves one code, of int8 pairs too; a warp has 32 of them under way. Looked up in halves are keys of 16 channels before RoPE, and of values of an odd number of fours of
  // chunks the last four.
  const { headDim, k, v, key } = parseKernelName(kernels.get(words)!.kernel.name).contract;
  const chunks = (codec: string): number => headDim! / Number(/^\d+/.exec(codec)![0]);
  assert.equal([instructions(keys), instructions(values)], [chunks(k!) * (inHalves(k!, key!) ? 2 : 1), chunks(v!) + (chunks(v!) % 8)].map((each) => (each * TOKENS) / 32), words);
  return { keys, values };
}

for (const words of FREE) {
  test(`${words}: no look-up waits for a bank`, async () => {
    for (const pageSize of [64, 16]) {
      const { keys, values } = lookups(words, await count(words, pageSize));
      assert.equal([wasted(keys), wasted(values)], [0, 0]);
    }
  });
}

/** Products that build the table of a kernel's look-up sums. */
const tableProducts = (words: string): number => {
  const { contract, tile } = parseKernelName(kernels.get(words)!.kernel.name);
  return keyMethod(contract) === 'sum' ? sumTable(contract as CacheContract, tile).matrix : 0;
};

for (const words of FREE) {
  test(`${words}: the cost model counts what ran`, async () => {
    const counters = await count(words, 64);
    const { contract, tile } = parseKernelName(kernels.get(words)!.kernel.name);
    const parts = tileParts(contract as CacheContract, tile);
    const method = keyMethod(contract)!;
    const keys = parts[`keys (${method})`]!;
    const values = parts['values']!;
    const tiles = TOKENS / 32;
    const found = lookups(words, counters);
    assert.equal([instructions(found.values), sum(found.values, 'wavefronts')], [values.memory * tiles, values.wavefronts * tiles]);
    // Beside look-ups, turned keys read coefficients of a tile's places, if 8 warps do not hold them, and of the way to each tile, once more where 64 of a
    // warp's tiles begin, which here is once; the rest are shuffles: of the lane beside, and then of angles, and of codes whose entries have halves.
    const turned = method === 'turn';
    const waysRead = turned ? sum(lines(words, counters, 's = load_shared(from + kFastPairs / 4)'), 'wavefronts') / (tiles + tile.warps) : 0;
    const placesRead = turned && tile.warps > 8 ? sum(lines(words, counters, 'bytes16*>(places + v'), 'wavefronts') / tiles : 0;
    const rest = keys.wavefronts - (65 / 64) * waysRead - placesRead - sum(found.keys, 'wavefronts') / tiles;
    const { headDim, columns, k, key } = contract;
    const codes = inHalves(k!, key!) ? 4 : 0;
    const [kinds, own] = [headDim === 128 ? 2 : 1, columns === 4 ? 2 : 4];
    assert.is(rest, turned ? (65 / 64) * (columns !== 4 ? 0 : headDim === 128 ? 12 : 4) + (kinds * 4 * own) / 64 + codes : 0, words);
    const of = (name: string): number => counters.collectives[name]! / tiles;
    assert.is(of('transpose_matrix'), method === 'sum' ? 0 : 4, words);
    const products = { sum: 'mma_sparse_16x8x64_u8u8', turn: 'mma_16x8x16', dot: 'mma_16x8x32_s8s8' }[method];
    const want: Record<string, number> = { mma_16x8x16: tableProducts(words) / tiles, mma_16x8x32_s8u8: 0, mma_16x8x32_s8s8: 0, mma_sparse_16x8x64_u8s8: 0, mma_sparse_16x8x64_u8u8: 0 };
    want[products] = keys.matrix;
    want[columns === 4 ? 'mma_sparse_16x8x64_u8s8' : 'mma_16x8x32_s8u8'] = values.matrix;
    assert.equal(Object.fromEntries(Object.keys(want).map((name) => [name, of(name)])), want, words);
  });
}

test('the cost model counts what ran: exact tokens', async () => {
  const words = FREE[0];
  const shape = { coded_len: [TOKENS], page_size: 64, anchor_permille: 1000 };
  const counters = countersSchema.parse((await passes(runner, kernels.get(words)!, shape, { counters: 1, race: 0 })).counters);
  const { contract, tile } = parseKernelName(kernels.get(words)!.kernel.name);
  const { matrix } = exactUnit(contract as CacheContract, tile);
  const units = (counters.collectives['mma_16x8x16']! - tableProducts(words)) / matrix;
  assert.ok(Number.isInteger(units) && units >= TOKENS / 16, `${units} units`); // a page may be begun
  const stores = lines(words, counters, 'store_shared(at, bytes16{{float_bits(sum[0])');
  assert.equal([instructions(stores), sum(stores, 'wavefronts')], [units * (128 / 16), units * (128 / 16) * 8]);
});

for (const words of FREE.filter((name) => keyMethod(parseKernelName(`antkv_decode_${name}`).contract) === 'sum')) {
  test(`${words}: the table of sums is stored without waiting for banks, as often as the cost model says`, async () => {
    const stores = lines(words, await count(words, 64), 'store_shared(reinterpret_cast<uint32_t*>(to + half * 8 * kRow)');
    // Each of 16 blocks of entries is stored in 8 steps of two rows per slice of the table.
    const { contract } = parseKernelName(kernels.get(words)!.kernel.name);
    assert.is(instructions(stores), 16 * 16 * sumSlices(contract as CacheContract).length);
    assert.is(wasted(stores), 0);
  });
}

for (const [words, times] of FEWER) {
  test(`${words}: look-ups of values wait up to ${times} times as long, those of keys never`, async () => {
    const { keys, values } = lookups(words, await count(words, 64));
    assert.is(wasted(keys), 0);
    const [done, ideal] = [sum(values, 'wavefronts'), sum(values, 'ideal')];
    assert.ok(done > ideal && done <= times * ideal, `${done} wavefronts, ideal ${ideal}`);
  });
}

for (const words of FREE) {
  test(`${words}: codes come in whole sectors`, async () => {
    for (const pageSize of [256, 64, 16]) {
      const counters = await count(words, pageSize);
      const codes = lines(words, counters, 'load_global_once(reinterpret_cast<const ').filter(({ line }) => /\((from|last_codes_at.*)\)/.test(kernels.get(words)!.source.split('\n')[line - 1]!));
      assert.ok(instructions(codes) > 0 && codes.every(({ space, access }) => space === 'global' && access === 'load'));
      // Bitmaps of 16 bytes put every other page across two sectors' halves: a request then takes one more. Pages of 256 tokens begin with a sector.
      if (pageSize === 256) assert.is(wasted(codes), 0);
      else assert.ok(wasted(codes) <= instructions(codes), `${wasted(codes)} sectors too many in ${instructions(codes)} loads`);
    }
  });
}

test.run();
