// What gain, anchors, rate and weights buy on the fixture, in plain TypeScript: quick, and independent of kernels. accuracy.all.ts asks the kernels.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { presetOf } from '../../generator/presets.ts';
import { setAxis, type Recipe } from '../../generator/recipe.ts';
import { calibrate, type Calibrated } from '../../tuner/calibrate/calibrate.ts';
import { openDump } from '../../tuner/calibrate/file.ts';
import { fixture } from '../fixtures/paths.ts';
import { errorsOf, type Errors } from './attention.ts';

const evaluation = openDump(fixture('kv-eval-small'));
const training = openDump(fixture('kv-calib-small'));
const one = presetOf('antkv-1');
const books = new Map<string, Promise<Calibrated>>();

/** Errors of a recipe on the evaluation text with codebooks of the calibration text. */
async function errors(recipe: Recipe): Promise<Errors> {
  const key = [recipe.k, recipe.v, recipe.key].join();
  if (!books.has(key)) books.set(key, calibrate(training, { recipe, iterations: 15 }));
  const book = await books.get(key)!;
  assert.ok(Object.values(book.record.tensors).every(({ undertrained }) => !undertrained));
  return errorsOf(evaluation, recipe, book);
}

test('1 bit, keys before RoPE: the gain lowers the error, anchors lower it further', async () => {
  const [gain, none] = [await errors(one), await errors(setAxis(one, 'gain=none'))];
  const shown = JSON.stringify({ gain, none });
  assert.ok(gain.plain < 0.99 * none.plain, shown);
  assert.ok(gain.anchors < 0.99 * none.anchors, shown);
  assert.ok(gain.anchors < 0.9 * gain.plain, shown);
});

test('2 bits are closer than 1, and 1 bit before RoPE is closer than after it', async () => {
  const [two, pre, post] = [await errors(presetOf('antkv-2')), await errors(one), await errors(presetOf('antkv-1-fast'))];
  const shown = JSON.stringify({ two, pre, post });
  assert.ok(two.plain < 0.7 * pre.plain, shown);
  assert.ok(pre.plain < post.plain, shown);
});

test('an int8 codebook costs next to nothing', async () => {
  const [f16, q8] = [await errors(setAxis(one, 'v=8c8b')), await errors(one)];
  assert.ok(Math.abs(q8.plain - f16.plain) < 0.01 * f16.plain, JSON.stringify({ f16, q8 }));
});

test('training on the evaluation text would flatter: the texts are disjoint', async () => {
  const book = await calibrate(evaluation, { recipe: one, iterations: 15, weights: 'none' });
  assert.ok(errorsOf(evaluation, one, book).plain < 0.8 * (await errors(one)).plain);
});

test.after(() => {
  evaluation.close();
  training.close();
});
test.run();
