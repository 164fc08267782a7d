// The same claims by the generated kernels, emulated, on the whole dumps where they are: $ANTKV_DATA or ../shared/data. Says so where they are not.
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { presetOf } from '../../generator/presets.ts';
import { setAxis } from '../../generator/recipe.ts';
import { demo, type DemoRow } from '../../tuner/demo.ts';
import { wholeData } from '../fixtures/paths.ts';

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

test.run();
