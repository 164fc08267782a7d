// unpack on the emulated driver: every row against the fp64 reference, bit for bit where its values are halves.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { Runner } from '../../../tuner/runner.ts';
import type { KernelRef, Shape } from '../../../tuner/problem.ts';
import { cacheAxes, emulated, emulatedRunner, mustPass } from './lab.ts';

const test = suite('ops/unpack');
let runner: Runner;
const kernels = new Map<string, KernelRef>();
const ONE_BIT = 'd128 8c8b/8c8bq8 pre gain';
const MIXED = 'd64 4c8b/f16 post';
const TWO_SIDES = 'd64 8c8bq8/4c8b pre';
const EXACT = 'd128 f16/f16';
const CODED = [ONE_BIT, MIXED, TWO_SIDES];

// A test, not a hook: uvu swallows what a before hook throws, and the suite would pass without having run.
test('runner and kernels build', async () => {
  const words = [...CODED, EXACT];
  const [made, ...built] = await Promise.all([emulatedRunner(), ...words.map((w) => emulated('unpack', cacheAxes(w)))]);
  runner = made;
  words.forEach((key, i) => kernels.set(key, built[i]!));
});
test.after(() => runner?.close());

const passes = (on: string, shape: Shape<'unpack'>, more = {}) => mustPass(runner, 'unpack', kernels.get(on)!, shape, { emulator: { order: 0, race: 1 }, ...more });
const LENGTHS = [0, 1, 15, 16, 17, 31, 32, 33, 65, 129];

test('every length around unit, tile and page', async () => {
  for (const on of [...CODED, EXACT]) {
    await passes(on, { coded_len: LENGTHS });
    await passes(on, { coded_len: LENGTHS, kv_heads: 2, page_size: 16, index: 'csr', pad: 16 });
  }
});

test('exact keys, plain codes and anchors come out bit for bit', async () => {
  const exact = await passes(EXACT, { coded_len: [40] });
  assert.is(exact['exact_rows_k'], 40);
  const codes = await passes(MIXED, { coded_len: [40], anchor_permille: 100 });
  assert.is(codes['exact_rows_k'], 40);
  const rotated = await passes(ONE_BIT, { coded_len: [200], anchor_permille: 100, first_pos: [9] });
  assert.ok(Number(rotated['exact_rows_k']) > 5 && Number(rotated['exact_rows_k']) < 60, 'only anchors are exact');
});

test('anchors: none, some, all; a shared prefix', async () => {
  for (const on of CODED) {
    for (const anchor_permille of [0, 100, 1000]) await passes(on, { coded_len: [33, 64, 20], kv_heads: 2, anchor_permille });
    await passes(on, { coded_len: [128, 64], anchor_permille: 300, frozen_len: [64, 64], frozen_anchor_pages: [1, 2] });
  }
});

test('a range that begins inside a page', async () => {
  for (const on of [...CODED, EXACT]) {
    const anchors = on === EXACT ? {} : { anchor_permille: 100 };
    await passes(on, { coded_len: [150, 64, 100], first_token: [48, 64, 16], kv_heads: 2, ...anchors });
  }
});

test('far positions, RoPE as data', async () => {
  for (const on of [ONE_BIT, TWO_SIDES]) {
    await passes(on, { coded_len: [40, 17], first_pos: [1_000_000, 4_000_000], rope: { theta: 500_000 } });
    await passes(on, { coded_len: [40], first_pos: [77], rope: { rotary_dim: 32, interleaved: true, factor: 1.3 } });
  }
});

test('other orders of blocks, warps and lanes, and no race in global memory', async () => {
  for (const order of [1, 2, 3]) await passes(ONE_BIT, { coded_len: [50, 17], kv_heads: 2, anchor_permille: 100 }, { emulator: { order, race: 2 } });
});

test.run();
