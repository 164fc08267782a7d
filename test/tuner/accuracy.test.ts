// What gain, anchors, rate and weights buy on the fixture, in plain TypeScript: quick, and independent of kernels. accuracy.all.ts asks the kernels.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { presetOf } from '../../generator/presets.ts';
import { setAxis, type Recipe } from '../../generator/recipe.ts';
import { calibrate, type Calibrated } from '../../tuner/calibrate/calibrate.ts';
import { openDump, type DumpFile } from '../../tuner/calibrate/file.ts';
import { createPool } from '../../tuner/calibrate/pool.ts';
import { fixture } from '../fixtures/paths.ts';
import { errorsOf, type Errors } from './attention.ts';

const evaluation = openDump(fixture('kv-eval-small'));
const training = openDump(fixture('kv-calib-small'));
const one = presetOf('antkv-1');
const pool = createPool();
const sides = new Map<string, Promise<Calibrated>>();
/** The codebook of one side; recipes share it. Six iterations are within 2 % of convergence. */
function side(file: DumpFile, recipe: Recipe): Promise<Calibrated> {
  const key = [file.path, recipe.k, recipe.v, recipe.key, recipe.transform].join();
  if (!sides.has(key)) sides.set(key, calibrate(file, { recipe, iterations: 6, weights: 'none', pool }));
  return sides.get(key)!;
}

/** Errors of a recipe on the evaluation text, with codebooks of `file`. */
async function errors(recipe: Recipe, file: DumpFile = training): Promise<Errors> {
  const [k, v] = [await side(file, { ...recipe, v: 'f16', transform: 'none' }), await side(file, { ...recipe, k: 'f16', key: 'post' })];
  if (file === training) assert.ok([k, v].every(({ record }) => Object.values(record.tensors).every(({ undertrained }) => !undertrained)));
  const [keys, values] = [k.layers.get(3)!, v.layers.get(3)!];
  return errorsOf(evaluation, recipe, { k: keys.k!, v: values.v!, ...(values.basis && { basis: values.basis }) });
}

test('1 bit, keys before RoPE: the gain lowers the error, anchors lower it further', async () => {
  const [gain, none] = [await errors(one), await errors(setAxis(one, 'gain=none'))];
  const shown = JSON.stringify({ gain, none });
  assert.ok(gain.plain < 0.99 * none.plain, shown);
  assert.ok(gain.anchors < 0.99 * none.anchors, shown);
  assert.ok(gain.anchors < 0.9 * gain.plain, shown);
});

test('2 bits are closer than 1, and 1 bit before RoPE is closer than after it', async () => {
  const plain = (name: string): Promise<Errors> => errors(setAxis(presetOf(name), 'transform=none'));
  const [two, pre, post] = [await plain('antkv-2'), await plain('antkv-1'), await plain('antkv-1-fast')];
  const shown = JSON.stringify({ two, pre, post });
  assert.ok(two.plain < 0.7 * pre.plain, shown);
  assert.ok(pre.plain < post.plain, shown);
});

test('an int8 codebook costs next to nothing, at 1, 2 and 4 bits: less than codebooks of another seed would differ', async () => {
  const pairs: [f16: Recipe, q8: Recipe][] = [
    [setAxis(one, 'v=8c8b'), one],
    [setAxis(presetOf('antkv-2'), 'v=4c8b'), presetOf('antkv-2')],
    [setAxis(setAxis(presetOf('antkv-4'), 'k=2c8b'), 'v=2c8b'), presetOf('antkv-4')],
  ];
  for (const [exact, rounded] of pairs) {
    const [f16, q8] = [await errors(exact), await errors(rounded)];
    const shown = JSON.stringify({ codecs: [rounded.k, rounded.v], f16, q8 });
    // Seeds 0 to 2 of 4 bits: f16 0.1293, 0.1337, 0.1377 (6 % apart); int8 costs 3.3, 1.5 and 1.0 %.
    assert.ok(Math.abs(q8.plain - f16.plain) < 0.04 * f16.plain, shown);
    assert.ok(Math.abs(q8.anchors - f16.anchors) < 0.04 * f16.anchors, shown);
  }
});

test('half a bit is between 1 bit and nothing, and closer with the gain', async () => {
  const half = presetOf('antkv-0.5');
  const [gain, none, fast] = [await errors(half), await errors(setAxis(half, 'gain=none')), await errors(presetOf('antkv-1-fast'))];
  const shown = JSON.stringify({ gain, none, fast });
  assert.ok(fast.plain < 0.9 * gain.plain && gain.plain < 0.98 * none.plain && none.plain < 0.95, shown);
  assert.ok(gain.anchors < 0.9 * gain.plain, shown);
});

test('values in a basis of their own are nearer: by a tenth of the error and more from 4 bits to 1, by a twentieth at half a bit', async () => {
  for (const [name, most] of [['antkv-4', 0.9], ['antkv-2', 0.9], ['antkv-1', 0.9], ['antkv-1-fast', 0.9], ['antkv-0.5', 0.95]] as const) {
    const [basis, none] = [await errors(setAxis(presetOf(name), 'transform=basis')), await errors(setAxis(presetOf(name), 'transform=none'))];
    const shown = JSON.stringify({ name, basis, none });
    assert.ok(basis.plain < most * none.plain && basis.anchors < most * none.anchors, shown);
  }
});

test('training on the evaluation text would flatter: the texts are disjoint', async () => {
  const [flattered, honest] = [await errors(one, evaluation), await errors(one)];
  assert.ok(flattered.plain < 0.8 * honest.plain, JSON.stringify({ flattered, honest }));
});

test.after(async () => {
  await pool.close();
  evaluation.close();
  training.close();
});
test.run();
