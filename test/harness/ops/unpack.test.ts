// unpack on the emulated driver: every row against the fp64 reference, bit for bit where its values are halves.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { Runner } from '../../../tuner/runner.ts';
import { parseKernelName } from '../../../generator/name.ts';
import type { KernelRef, Shape } from '../../../tuner/problem.ts';
import { fit, UNPACK } from '../../../tuner/shapes.ts';
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
/** Every shape of some groups on kernel `on`. */
async function all(on: string, shapes: readonly Shape<'unpack'>[]): Promise<void> {
  const { contract } = parseKernelName(kernels.get(on)!.name);
  for (const shape of shapes) await passes(on, fit('unpack', shape, contract)!);
}

test('every length around unit, tile and page', async () => {
  for (const on of [...CODED, EXACT]) await all(on, UNPACK.lengths);
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
  for (const on of CODED) await all(on, [...UNPACK.anchors, ...UNPACK.frozen, ...UNPACK.sharedPrefix]);
});

test('a range that begins inside a page', async () => {
  for (const on of [...CODED, EXACT]) await all(on, UNPACK.ranges);
});

test('far positions, RoPE as data', async () => {
  for (const on of [ONE_BIT, TWO_SIDES]) await all(on, UNPACK.positions);
});

test('pages far apart in a large pool', async () => {
  for (const on of [ONE_BIT, EXACT]) await passes(on, { coded_len: [70, 20], kv_heads: 2, pad: 64, spare_pages: 500 });
});

test('other orders of blocks, warps and lanes, and no race in global memory', async () => {
  for (const order of [1, 2, 3]) await passes(ONE_BIT, { coded_len: [50, 17], kv_heads: 2, anchor_permille: 100 }, { emulator: { order, race: 2 } });
});

test.run();
