// append on the emulated driver: the whole state that a step leaves against the fp64 reference, and nothing else written.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { Runner } from '../../../tuner/runner.ts';
import { parseKernelName } from '../../../generator/name.ts';
import type { CheckRecord, KernelRef, Shape } from '../../../tuner/problem.ts';
import { APPEND } from '../../../tuner/shapes-append.ts';
import { fit } from '../../../tuner/shapes.ts';
import { cacheAxes, emulated, emulatedRunner, mustPass } from './lab.ts';

const test = suite('ops/append');
let runner: Runner;
const kernels = new Map<string, KernelRef>();
const ONE_BIT = 'd128 8c8b/8c8bq8 pre gain';
const MIXED = 'd64 4c8b/f16 post gain';
const OTHER = 'd64 16c8b/2c8bq8 pre';
const EXACT = 'd128 f16/f16';
/** Encodes quickly: what is not about codes is tested on it. */
const QUICK = 'd64 f16/16c8bq8 post';
const CODED = [ONE_BIT, MIXED, OTHER, QUICK];

// A test, not a hook: uvu swallows what a before hook throws, and the suite would pass without having run.
test('runner and kernels build', async () => {
  const words = [...CODED, EXACT];
  // Fewer threads than a block has tokens, so that a choice takes several turns.
  const [made, ...built] = await Promise.all([emulatedRunner(), ...words.map((w) => emulated('append', cacheAxes(w), w === QUICK ? { warps: 2, tokens: 48 } : w === ONE_BIT ? undefined : { warps: 4, tokens: 32 }))]);
  runner = made;
  words.forEach((key, i) => kernels.set(key, built[i]!));
});
test.after(() => runner?.close());

const passes = (on: string, shape: Shape<'append'>, more = {}) => mustPass(runner, 'append', kernels.get(on)!, shape, { emulator: { order: 0, race: 2 }, ...more });
/** Every shape of a group on kernel `on`; the records. */
async function all(on: string, shapes: readonly Shape<'append'>[]): Promise<CheckRecord[]> {
  const { contract } = parseKernelName(kernels.get(on)!.name);
  const records: CheckRecord[] = [];
  for (const shape of shapes) {
    const fitted = fit('append', shape, contract);
    if (fitted) records.push(await passes(on, fitted));
  }
  return records;
}
const sum = (records: readonly CheckRecord[], field: string): number => records.reduce((total, record) => total + Number(record[field]), 0);

test('lengths around a flush, mixed batches, two blocks at once', async () => {
  for (const on of CODED) {
    const records = await all(on, APPEND.lengths);
    assert.equal(records.map((r) => [r['flushed'], r['folded']]), [[4, 18], [4, 18], [10, 8], [4, 6]], on);
    assert.ok(sum(records, 'ties') <= 0.001 * sum(records, 'codes'), 'ties must be rare, else the checker is too lenient');
  }
});

for (const group of ['budgets', 'long', 'first', 'frozen', 'accepted', 'tails', 'scores', 'policies', 'pools', 'ratios'] as const) {
  test(group, async () => {
    const records = await all(QUICK, APPEND[group]);
    assert.ok(sum(records, 'flushed') > 0 && sum(records, 'kept') > 0, 'something must leave the window, and something must stay');
    if (group !== 'tails') assert.ok(sum(records, 'handed_back') > 0, 'anchors must be handed back');
  });
}

test('keys before RoPE, far positions, RoPE as data', async () => {
  for (const on of [ONE_BIT, OTHER]) await all(on, APPEND.positions);
});

test('exact recipes: rows go straight to pages', async () => {
  const records = (await Promise.all(Object.values(APPEND).map((shapes) => all(EXACT, shapes)))).flat();
  assert.ok(records.length > 15);
});

test('other orders of blocks, warps and lanes, and no race in global memory', async () => {
  const shapes = [APPEND.accepted[0], APPEND.tails[0], APPEND.frozen[0], APPEND.budgets[6]!, APPEND.lengths[2]!, ...APPEND.long];
  for (const order of [1, 2, 3]) for (const shape of shapes) await passes(QUICK, shape, { emulator: { order, race: 2 } });
  for (const order of [1, 2]) await passes(ONE_BIT, APPEND.accepted[1], { emulator: { order, race: 2 } });
  await passes(EXACT, { seq_len: [3, 70], q_len: [20, 1] }, { emulator: { order: 2, race: 2 } });
});

test.run();
