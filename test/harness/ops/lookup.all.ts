// decode by look-up, every contract and kind of tile that is offered: all shapes where kernels break, on the emulated driver against the fp64 reference.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { keyMethod } from '../../../generator/lookup.ts';
import { kernelName, parseKernelName } from '../../../generator/name.ts';
import { shippedKernels } from '../../../generator/ship.ts';
import { parallel } from '../../parallel.ts';
import { emulatedRunner } from './lab.ts';
import { GROUPS, lookup, passesAll, type Group } from './lookup.ts';

const test = suite('ops/lookup all');
const child = parallel(test);

/** Each meets all shapes: what is to be fast, every key method in 4 and 8 columns, and each of the other head dims. */
const WHOLE = [
  'd128_k8c8b_v8c8bq8_f16_n4__sm90_lookup_w16_s2_c4',
  'd128_k8c8b_v8c8bq8_f16_gain__sm90_lookup_w8_s2_c4',
  'd128_k8c8b_v8c8bq8_f16_pre_gain_n4__sm90_lookup_w8_s1_c4',
  'd128_k8c8b_v8c8bq8_f16_pre_gain__sm90_lookup_w8_s1_c2',
  'd128_k4c8b_v4c8bq8_f16_n4__sm90_lookup_w12_s2_c4',
  'd128_k4c8b_v4c8bq8_f16_pre_n4__sm90_lookup_w8_s1_c4',
  'd128_k16c8b_v8c8bq8_f16_pre_gain_n4__sm90_lookup_w8_s2_c4',
  'd128_k16c8b_v16c8bq8_f16_pre_gain__sm90_lookup_w8_s1_c2',
  'd128_k8c8b_v8c8bq8_bf16_pre_gain_n4__sm90_lookup_w8_s2_c4',
  'd128_k2c8bq8_v2c8bq8_f16_n4__sm90_lookup_w8_s2_c4',
  'd128_k2c8bq8_v2c8bq8_f16__sm90_lookup_w8_s2_c4',
  'd128_k16c8b_v16c8bq8_f16_gain_n4__sm90_lookup_w16_s2_c4',
  'd64_k8c8b_v8c8bq8_f16_pre_gain_n4__sm80_lookup_w8_s1_c4',
  'd96_k8c8b_v8c8bq8_f16_gain_n4__sm90_lookup_w16_s2_c4',
  'd96_k8c8b_v8c8bq8_f16__sm80_lookup_w8_s2_c2',
  'd256_k8c8b_v8c8bq8_f16_gain_n4__sm90_lookup_w8_s2_c2',
] as const;

/** Other divisions of the same work, codecs that differ by side, the tiles of an A100: shapes that a tile or a codec can break. */
const TILES = [
  'd128_k8c8b_v8c8bq8_f16__sm90_lookup_w8_s2_c4',
  'd128_k8c8b_v8c8bq8_f16_gain_n4__sm90_lookup_w16_s2_c4',
  'd128_k8c8b_v8c8bq8_f16_pre_gain_n4__sm90_lookup_w12_s2_c4',
  'd128_k4c8b_v4c8bq8_f16__sm90_lookup_w8_s2_c2',
  'd128_k4c8b_v4c8bq8_f16_pre_n4__sm90_lookup_w12_s2_c4',
  'd128_k16c8b_v16c8bq8_f16_n4__sm90_lookup_w16_s2_c4',
  'd64_k8c8b_v8c8bq8_f16_n4__sm90_lookup_w16_s2_c4',
  'd64_k4c8b_v8c8bq8_bf16_pre_gain__sm90_lookup_w8_s1_c2',
  'd64_k4c8b_v4c8bq8_f16_pre_n4__sm90_lookup_w12_s2_c4',
  'd64_k2c8bq8_v2c8bq8_f16_n4__sm80_lookup_w16_s2_c4',
  'd128_k8c8b_v8c8bq8_f16_n4__sm90_lookup_w12_s1_c4',
  'd128_k8c8b_v8c8bq8_f16_n4__sm90_lookup_w8_s2_c1',
  'd128_k8c8b_v8c8bq8_f16_n4__sm80_lookup_w16_s2_c2',
  'd128_k8c8b_v8c8bq8_f16_pre_gain_n4__sm80_lookup_w12_s2_c2',
  'd128_k8c8b_v8c8bq8_f16_pre_gain_n4__sm90_lookup_w16_s1_c2',
  'd128_k4c8b_v4c8bq8_f16_n4__sm80_lookup_w16_s2_c2',
  'd128_k4c8b_v4c8bq8_f16_n4__sm90_lookup_w12_s2_c1',
  'd128_k4c8b_v4c8bq8_f16_pre_n4__sm80_lookup_w12_s2_c2',
  'd128_k4c8b_v4c8bq8_f16_pre__sm90_lookup_w12_s1_c1',
  'd128_k16c8b_v4c8bq8_f16_pre_n4__sm80_lookup_w12_s1_c2',
  'd128_k2c8bq8_v2c8bq8_f16_n4__sm80_lookup_w16_s1_c2',
  'd128_k2c8bq8_v2c8bq8_f16__sm90_lookup_w12_s1_c1',
  'd128_k16c8b_v16c8bq8_f16_n4__sm80_lookup_w16_s2_c2',
  'd128_k16c8b_v16c8bq8_f16__sm90_lookup_w12_s2_c1',
  'd128_k2c8b_v8c8bq8_f16_n4__sm90_lookup_w8_s1_c2',
  'd128_k8c8b_v16c8bq8_f16_n4__sm90_lookup_w8_s2_c4',
  'd128_k16c8b_v4c8bq8_f16_gain_n4__sm90_lookup_w12_s2_c4',
  'd64_k4c8b_v8c8bq8_f16_pre_n4__sm80_lookup_w12_s2_c1',
  'd64_k8c8b_v2c8bq8_f16_n4__sm80_lookup_w12_s1_c2',
  'd96_k4c8b_v4c8bq8_f16_n4__sm90_lookup_w12_s2_c4',
  'd96_k8c8b_v4c8bq8_f16_n4__sm90_lookup_w16_s1_c1',
  'd96_k4c8b_v8c8bq8_f16_gain__sm90_lookup_w8_s2_c1',
  'd96_k2c8b_v2c8bq8_f16_n4__sm90_lookup_w8_s1_c2',
  'd256_k8c8b_v8c8bq8_f16_n4__sm80_lookup_w8_s2_c1',
  'd256_k4c8b_v4c8bq8_f16_n4__sm90_lookup_w8_s1_c1',
  'd256_k16c8b_v16c8bq8_f16_gain_n4__sm90_lookup_w8_s2_c2',
  'd256_k16c8b_v8c8bq8_f16__sm90_lookup_w8_s1_c1',
] as const;
/** Committed, and in neither list. */
const COMMITTED = shippedKernels()
  .filter(({ tile }) => tile.algorithm === 'lookup')
  .map((kernel) => kernelName(kernel).replace('antkv_decode_', ''))
  .filter((words) => !([...WHOLE, ...TILES] as readonly string[]).includes(words));
const OF_TILES: readonly Group[] = ['lengths', 'anchors', 'ragged', 'positions', 'trees', 'sink'];

/** In each order of blocks, warps and lanes, and with races in global memory watched for. */
const OF_ORDERS: readonly Group[] = ['ragged', 'rings', 'masked', 'trees', 'ringScores', 'scores'];
const ORDERED = ['d128_k8c8b_v8c8bq8_f16_n4__sm90_lookup_w16_s2_c4', 'd128_k8c8b_v8c8bq8_f16_pre_gain_n4__sm90_lookup_w12_s2_c4', 'd128_k2c8bq8_v2c8bq8_f16_n4__sm90_lookup_w16_s1_c4', 'd64_k4c8b_v4c8bq8_f16_pre__sm90_lookup_w8_s2_c4'] as const;

test('the lists meet every key method in 4 and 8 columns, every number of warps, stages and copies', () => {
  assert.ok(COMMITTED.length > 0);
  const met = new Set([...WHOLE, ...TILES].flatMap((words) => {
    const { contract, tile } = parseKernelName(`antkv_decode_${words}`);
    return [`${keyMethod(contract)} ${contract.columns}`, `w${tile.warps}`, `s${tile.stages}`, `c${tile.copies}`];
  }));
  assert.equal([...met].sort(), ['c1', 'c2', 'c4', 'dot 4', 'dot 8', 's1', 's2', 'sum 4', 'sum 8', 'turn 4', 'turn 8', 'w12', 'w16', 'w8']);
});

/** A child of its own: a kernel that breaks the driver breaks no other test. */
const withRunner = async (words: string, body: (...of: [Awaited<ReturnType<typeof emulatedRunner>>, Awaited<ReturnType<typeof lookup>>]) => Promise<void>): Promise<void> => {
  const [runner, kernel] = await Promise.all([emulatedRunner(), lookup(words)]);
  await body(runner, kernel).finally(() => runner.close());
};

for (const [i, words] of WHOLE.entries()) child(words, () => withRunner(words, (runner, kernel) => passesAll(runner, kernel, GROUPS, { order: i % 4 })));
for (const [i, words] of [...TILES, ...COMMITTED].entries()) child(words, () => withRunner(words, (runner, kernel) => passesAll(runner, kernel, OF_TILES, { order: i % 4 })));
for (const words of ORDERED) {
  child(`${words}: every order`, () => withRunner(words, async (runner, kernel) => {
    for (const order of [0, 1, 2, 3]) {
      await passesAll(runner, kernel, OF_ORDERS, { order, race: 2 });
      if (order > 1) await passesAll(runner, kernel, ['merged'], { order, race: 2 });
      if (order === 1 && words === ORDERED[1]) await passesAll(runner, kernel, ['spread'], { order, race: 2 }); // takes long, and is the same code in all
    }
  }));
}

test.run();
