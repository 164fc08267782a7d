// encode on the emulated driver: every code, gain, bit and anchor row against the fp64 reference, and nothing else written.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { Runner } from '../../../tuner/runner.ts';
import { parseKernelName } from '../../../generator/name.ts';
import { renderKernel } from '../../../generator/source.ts';
import { countersSchema, sitesAt, wasted } from '../../../tuner/counters.ts';
import type { CheckRecord, KernelRef, Shape } from '../../../tuner/problem.ts';
import { ENCODE, fit } from '../../../tuner/shapes.ts';
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
/** Every shape of a group on kernel `on`; the last record. */
async function all(on: string, shapes: readonly Shape<'encode'>[]): Promise<CheckRecord> {
  const { contract } = parseKernelName(kernels.get(on)!.name);
  let record: CheckRecord | undefined;
  for (const shape of shapes) record = await passes(on, fit('encode', shape, contract)!);
  return record!;
}

test('every length around unit, tile and page; few codes tie', async () => {
  for (const on of [...CODED, EXACT]) {
    const record = await all(on, ENCODE.lengths);
    assert.ok(Number(record['ties']) <= 0.001 * Number(record['codes']), 'ties must be rare, else the checker is too lenient');
  }
});

test('anchors: none kept, some, all; pages with stale bits and rows', async () => {
  for (const on of CODED) await all(on, ENCODE.anchors);
});

test('a later chunk of a prompt leaves the pages before it alone', async () => {
  for (const on of [...CODED, EXACT]) await all(on, ENCODE.chunks);
});

test('keys before RoPE, far positions, RoPE as data', async () => {
  for (const on of [ONE_BIT, TWO_SIDES]) await all(on, [...ENCODE.positions, ...ENCODE.unrotated]);
});

test('other orders of blocks, warps and lanes, and no race in global memory', async () => {
  for (const order of [1, 2, 3]) await passes(ONE_BIT, { end: [50, 17], kv_heads: 2, anchor_permille: 100 }, { emulator: { order, race: 2 } });
});

test('other tiles: more warps than chunks of rows, odd numbers of units, a warp alone', async () => {
  for (const [warps, tokens] of [[8, 128], [2, 48], [1, 16]] as const) {
    const kernel = await emulated('encode', cacheAxes(ONE_BIT), { warps, tokens });
    await mustPass(runner, 'encode', kernel, { end: [0, 1, 40, 131], kv_heads: 2, anchor_permille: 100, first_pos: [0, 5, 1000, 9] }, { emulator: { order: 1, race: 1 } });
  }
});

test('rows are read as operands without bank conflicts, and loaded in whole sectors', async () => {
  for (const on of [...CODED, 'd128 16c8b/2c8b post']) {
    const kernel = kernels.get(on) ?? (await emulated('encode', cacheAxes(on)));
    const record = await mustPass(runner, 'encode', kernel, { end: [192] }, { emulator: { order: 0, race: 0, counters: 1 } });
    const counters = countersSchema.parse(record.counters);
    const source = renderKernel(parseKernelName(kernel.name));
    const lines = [
      // Of runs that are searched again; 32 rows of 2 channels lie in 8 of the 16 pairs of banks.
      ...(on.includes('2c8b') ? [] : ['const auto piece = load_shared(reinterpret_cast<const row_piece<kPiece>*>(x + i']),
      'const bytes8 two = load_shared(reinterpret_cast<const bytes8*>(rows', // operands
      'store_shared(reinterpret_cast<bytes16*>(rows + row', 'four = load_global(reinterpret_cast<const bytes8*>(row_at(row)',
    ];
    for (const line of lines) {
      const sites = sitesAt(counters, source, line);
      assert.ok(sites.length > 0, `${on}: ${line} never ran`);
      assert.is(wasted(sites), 0, `${on}: ${line}`);
    }
  }
});

test.run();
