// The search for the nearest centroid where codebooks have 1024 and 4096 entries: every code is held against the fp64 reference, ties within rounding excepted, and counted.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { Runner } from '../../../tuner/runner.ts';
import { cacheAxes, emulated, emulatedRunner, mustPass } from './lab.ts';

const test = suite('ops/encode, wide codes');
let runner: Runner;

test('the runner builds', async () => {
  runner = await emulatedRunner();
});
test.after(() => runner?.close());

for (const words of ['d128 8c10b/16c12b pre gain', 'd64 16c12bq8/8c10bq8 post', 'd128 32c12b/f16 pre', 'd128 f16/32c12bq8 post']) {
  test(words, async () => {
    const kernel = await emulated('encode', cacheAxes(words));
    const record = await mustPass(runner, 'encode', kernel, { end: [40, 17], page_size: 16, anchor_permille: 100 }, { emulator: { order: 0, race: 1 } });
    assert.ok(Number(record['ties']) <= 0.001 * Number(record['codes']), 'ties must be rare, else the checker is too lenient');
  });
}

test.run();
