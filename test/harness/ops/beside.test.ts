// decode by look-up where the last warps attend to exact rows beside the others' tiles (lookup_share.cuh): every tile and every unit once, whatever there is of each, and every
// planted mistake is found.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { CacheContract } from '../../../generator/contract.ts';
import { parseKernelName } from '../../../generator/name.ts';
import { exactWarps } from '../../../generator/shared.ts';
import { buildEmulatedKernel } from '../../../tuner/host.ts';
import { kernelRef, type Shape } from '../../../tuner/problem.ts';
import type { Runner } from '../../../tuner/runner.ts';
import { emulatedRunner } from './lab.ts';
import { lookup, passes, type Lookup } from './lookup.ts';

const test = suite('ops/beside');
const SUM = 'd128_k8c8b_v8c8bq8_f16_n4__sm90_lookup_w16_s2_c4';
const TURN = 'd128_k8c8b_v8c8bq8_f16_pre_gain_n4__sm90_lookup_w8_s2_c4';
const DOT = 'd128_k2c8bq8_v2c8bq8_f16_n4__sm90_lookup_w8_s1_c4';
const SMALL = 'd64_k8c8b_v8c8bq8_f16_n4__sm80_lookup_w8_s2_c2';
const ALL = [SUM, TURN, DOT, SMALL];

let runner: Runner;
const made = new Map<string, Lookup>();
test('runner and kernels build, each with warps for exact rows', async () => {
  const [own, ...built] = await Promise.all([emulatedRunner(), ...ALL.map(lookup)]);
  runner = own;
  ALL.forEach((words, i) => made.set(words, built[i]!));
  const warps = ALL.map((words) => parseKernelName(`antkv_decode_${words}`)).map(({ contract, tile }) => exactWarps(contract as CacheContract, tile));
  assert.equal(warps, [4, 2, 2, 2]);
});
test.after(() => runner?.close());

const HEADS = { q_heads: 4, kv_heads: 1 } as const;
const SHAPES: Readonly<Record<string, readonly Shape<'decode'>[]>> = {
  'tiles that helpers take, none, some and all of a warp': [
    { coded_len: [9000, 2300, 1100, 40], kv_len: [9040, 2331, 1100, 47], ring_rows: 48, anchor_permille: 30 },
    { coded_len: [9000, 2300], ring_rows: 48, anchor_permille: 30, splits: 3, merge: 'last' },
    { coded_len: [3000, 4465], kv_len: [3040, 4470], ring_rows: 48, anchor_permille: 30, splits: 7, spread: true, merge: 'last' },
  ],
  'exact rows alone': [
    { coded_len: [0, 0, 0, 0], kv_len: [1, 17, 40, 200], ring_rows: 208 },
    { coded_len: [0, 0], kv_len: [3, 200], ring_rows: 208, splits: 3, merge: 'last' },
  ],
  'fewer units than warps for them, and pieces without any': [
    { coded_len: [900, 33], kv_len: [901, 34], ring_rows: 16 },
    { coded_len: [2000, 3000], kv_len: [2020, 3000], ring_rows: 32, anchor_permille: 5, splits: 40, merge: 'last' },
  ],
  'coded rows alone': [{ coded_len: [2000, 32, 1] }],
  'nothing': [{ coded_len: [0, 0] }],
  'more exact rows than coded ones': [{ coded_len: [600, 2100], kv_len: [640, 2148], ring_rows: 48, anchor_permille: 1000 }],
};

for (const [what, shapes] of Object.entries(SHAPES)) {
  test(what, async () => {
    for (const words of ALL) for (const shape of shapes) await passes(runner, made.get(words)!, { ...HEADS, ...shape }, { race: words === SMALL ? 2 : 0 });
  });
}

const PLANTED: readonly (readonly [what: string, from: string, to: string])[] = [
  ['tiles that their warp leaves from the wrong end', 'first += left * K::kWarps;', ''],
  ['tiles that are left and taken too', 'count -= left;', 'first -= left * K::kWarps;'],
  ['tiles that are left and not taken', 'count += detour.count;', ''],
  ['a detour one tile too far', '(begun + detour.count) * K::kWarps', '(begun + detour.count + 1) * K::kWarps'],
  ['a detour that goes on too long', 'tile < detour.count ?', 'tile <= detour.count ?'],
  ['helpers that all take the first tiles', 'begun = Shares::before(left, helper);', 'begun = 0;'],
  ['units between those of the exact warps', 'units.count = end > units.first ? (end - units.first + K::kExactWarps - 1) / K::kExactWarps : 0;', 'units.count = end > units.first ? (end - units.first + K::kWarps - 1) / K::kWarps : 0;'],
  ['results of exact rows that no one cleared', 'clear_result<K>(result, lane_index(), 32);', ''],
  ['results of exact rows that no one merges', 'kResults, &cta->flag);', 'K::kWarps, &cta->flag);'],
];

for (const [what, from, to] of PLANTED) {
  test(`found: ${what}`, async () => {
    const on = made.get(SMALL)!;
    assert.is(on.source.split(from).length, 2, `"${from}" occurs ${on.source.split(from).length - 1} times`);
    const kernel = kernelRef(on.kernel.name, await buildEmulatedKernel(on.kernel.name, on.source.replace(from, () => to)));
    let found = '';
    for (const shape of Object.values(SHAPES).flat()) {
      if (!found) found = await passes(runner, { ...on, kernel }, { ...HEADS, ...shape }).then(() => '', (error: Error) => error.message);
    }
    assert.match(found, /L2 error above|NaN|race|shared/);
  });
}

test.run();
