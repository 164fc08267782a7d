// The same claims by the generated kernels, emulated, on the whole dumps where they are: $ANTKV_DATA or ../shared/data. Says so where they are not.
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { presetOf } from '../../generator/presets.ts';
import { setAxis, type Recipe } from '../../generator/recipe.ts';
import { demo, type DemoRow } from '../../tuner/demo.ts';
import { calibrate } from '../../tuner/calibrate/calibrate.ts';
import { openDump } from '../../tuner/calibrate/file.ts';
import { createPool } from '../../tuner/calibrate/pool.ts';
import { wholeData } from '../fixtures/paths.ts';
import { errorsOf, type Errors } from './attention.ts';

const data = wholeData();
if (data === undefined) console.log('# skipped: no kv-eval.safetensors and kv-calib.safetensors in $ANTKV_DATA or ../shared/data');

(data === undefined ? test.skip : test)('1 bit, keys before RoPE, two KV heads, 2048 tokens: the gain lowers the error, anchors lower it further', async () => {
  const recipe = presetOf('antkv-1');
  const { rows } = await demo({
    variants: [{ name: 'gain', recipe }, { name: 'none', recipe: setAxis(recipe, 'gain=none') }],
    evaluation: join(data!, 'kv-eval.safetensors'),
    calibration: join(data!, 'kv-calib.safetensors'),
    queries: 128,
    device: 'emulated',
  });
  console.log(rows.map(({ recipe, window, error, errorWithAnchors }) => `# ${recipe}, window ${window}: error ${error.toFixed(4)}, with anchors ${errorWithAnchors?.toFixed(4)}`).join('\n'));
  for (const row of rows) {
    assert.equal(row.faults, [], `${row.recipe}, window ${row.window}`);
    assert.not(row.undertrained);
  }
  for (const window of [0, recipe.window]) {
    const row = (name: string): DemoRow => rows.find((r) => r.recipe === name && r.window === window)!;
    const [gain, none] = [row('gain'), row('none')];
    assert.ok(gain.error < none.error, `window ${window}, without anchors`);
    assert.ok(gain.errorWithAnchors! < none.errorWithAnchors!, `window ${window}, with anchors`);
    assert.ok(gain.errorWithAnchors! < gain.error, `window ${window}, anchors`);
  }
});

(data === undefined ? test.skip : test)('int8 codebooks at 4 and 2 bits, two KV heads, 2048 tokens: the error changes by less than a hundredth of itself (in plain TypeScript, as accuracy.test.ts)', async () => {
  const [evaluation, training, pool] = [openDump(join(data!, 'kv-eval.safetensors')), openDump(join(data!, 'kv-calib.safetensors')), createPool()];
  const { layer } = evaluation.dump.layers[0]!;
  const errors = async (recipe: Recipe): Promise<Errors> => {
    const side = async (alone: Recipe) => (await calibrate(training, { recipe: alone, iterations: 6, weights: 'none', layers: [layer], pool })).layers.get(layer)!;
    const [k, v] = [await side({ ...recipe, v: 'f16', transform: 'none' }), await side({ ...recipe, k: 'f16', key: 'post' })];
    return errorsOf(evaluation, recipe, { k: k.k!, v: v.v!, ...(v.basis && { basis: v.basis }) });
  };
  try {
    for (const name of ['antkv-4', 'antkv-2'] as const) {
      const rounded = presetOf(name);
      const [q8, f16] = [await errors(rounded), await errors({ ...rounded, k: rounded.k.replace('q8', '') as Recipe['k'], v: rounded.v.replace('q8', '') as Recipe['v'] })];
      console.log(`# ${name}, ${rounded.k}/${rounded.v}: error ${q8.plain.toFixed(5)}, with anchors ${q8.anchors.toFixed(5)}; f16 codebooks ${f16.plain.toFixed(5)}, ${f16.anchors.toFixed(5)}`);
      assert.ok(Math.abs(q8.plain - f16.plain) < 0.01 * f16.plain && Math.abs(q8.anchors - f16.anchors) < 0.01 * f16.anchors, name);
    }
  } finally {
    await pool.close();
    evaluation.close();
    training.close();
  }
});

test.run();
