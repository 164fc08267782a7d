// encode on the emulated driver: every code, gain, bit and anchor row against the fp64 reference, and nothing else written.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { Runner } from '../../../tuner/runner.ts';
import type { KernelRef, Shape } from '../../../tuner/problem.ts';
import { cacheAxes, emulated, emulatedRunner, mustPass } from './lab.ts';

const test = suite('ops/encode');
let runner: Runner;
const kernels = new Map<string, KernelRef>();
const ONE_BIT = 'd128 8c8b/8c8bq8 pre gain';
const MIXED = 'd64 4c8b/f16 post gain';
const TWO_SIDES = 'd64 8c8bq8/4c8b pre';
const EXACT = 'd128 f16/f16';
const CODED = [ONE_BIT, MIXED, TWO_SIDES];

// A test, not a hook: uvu swallows what a before hook throws, and the suite would pass without having run.
test('runner and kernels build', async () => {
  const words = [...CODED, EXACT];
  const [made, ...built] = await Promise.all([emulatedRunner(), ...words.map((w) => emulated('encode', cacheAxes(w)))]);
  runner = made;
  words.forEach((key, i) => kernels.set(key, built[i]!));
});
test.after(() => runner?.close());

const passes = (on: string, shape: Shape<'encode'>, more = {}) => mustPass(runner, 'encode', kernels.get(on)!, shape, { emulator: { order: 0, race: 1 }, ...more });
const LENGTHS = [0, 1, 15, 16, 17, 31, 32, 33, 65, 129];

test('every length around unit, tile and page; few codes tie', async () => {
  for (const on of [...CODED, EXACT]) {
    await passes(on, { end: LENGTHS });
    const record = await passes(on, { end: LENGTHS.slice(0, 6), kv_heads: 2, page_size: 16, index: 'csr', pad: 16 });
    assert.ok(Number(record['ties']) <= 0.001 * Number(record['codes']), 'ties must be rare, else the checker is too lenient');
  }
});

test('anchors: none kept, some, all; pages with stale bits and rows', async () => {
  for (const on of CODED) {
    for (const anchor_permille of [0, 100, 1000]) await passes(on, { end: [33, 64, 20], kv_heads: 2, anchor_permille });
    await passes(on, { end: [50, 70], anchor_permille: 200, page_size: 16 });
  }
});

test('a later chunk of a prompt leaves the pages before it alone', async () => {
  for (const on of [...CODED, EXACT]) {
    const anchors = on === EXACT ? {} : { anchor_permille: 100 };
    await passes(on, { end: [150, 64, 128], first_token: [128, 64, 0], kv_heads: 2, ...anchors });
    await passes(on, { end: [70, 90], first_token: [64, 16], page_size: 16, ...anchors });
  }
});

test('keys before RoPE, far positions, RoPE as data', async () => {
  for (const on of [ONE_BIT, TWO_SIDES]) {
    await passes(on, { end: [40], keys_unrotated: true, anchor_permille: 200, first_pos: [12345] });
    await passes(on, { end: [40, 17], first_pos: [1_000_000, 4_000_000], rope: { theta: 500_000 } });
    await passes(on, { end: [40], first_pos: [77], rope: { rotary_dim: 32, interleaved: true, factor: 1.3 }, anchor_permille: 100 });
    await passes(on, { end: [40], first_pos: [77], rope: { rotary_dim: 48, factor: 0.7 }, keys_unrotated: true, anchor_permille: 300 });
  }
});

test('other orders of blocks, warps and lanes, and no race in global memory', async () => {
  for (const order of [1, 2, 3]) await passes(ONE_BIT, { end: [50, 17], kv_heads: 2, anchor_permille: 100 }, { emulator: { order, race: 2 } });
});

test.run();
