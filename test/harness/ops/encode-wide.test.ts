// The search for the nearest centroid where codebooks have 1024 and 4096 entries. Codecs of these widths are not offered yet (contract.ts), but encode is ready for them:
// its kernels are rendered here past the pruner, and every code held against the fp64 reference, ties within rounding excepted.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { findArch } from '../../../generator/arch.ts';
import { contractOf, reject } from '../../../generator/contract.ts';
import { kernelName } from '../../../generator/name.ts';
import { renderKernel } from '../../../generator/source.ts';
import { defaultTile } from '../../../generator/tile.ts';
import { buildEmulatedKernel } from '../../../tuner/host.ts';
import { kernelRef } from '../../../tuner/problem.ts';
import type { Runner } from '../../../tuner/runner.ts';
import { cacheAxes, emulatedRunner, mustPass } from './lab.ts';

const test = suite('ops/encode, wide codes');
const arch = findArch('sm80')!;
let runner: Runner;

test('the runner builds', async () => {
  runner = await emulatedRunner();
});
test.after(() => runner?.close());

for (const words of ['d128 8c10b/16c12b pre gain', 'd64 16c12bq8/8c10bq8 post', 'd128 32c12b/f16 pre', 'd128 f16/32c12bq8 post']) {
  test(words, async () => {
    const contract = contractOf('encode', cacheAxes(words));
    assert.ok(reject(contract).every((why) => why.endsWith('not built yet')), 'only what is not built is in the way');
    const kernel = { contract, arch, tile: defaultTile(contract, arch) };
    const name = kernelName(kernel);
    const record = await mustPass(runner, 'encode', kernelRef(name, await buildEmulatedKernel(name, renderKernel(kernel))), { end: [40, 17], page_size: 16, anchor_permille: 100 }, { emulator: { order: 0, race: 1 } });
    assert.ok(Number(record['ties']) <= 0.001 * Number(record['codes']), 'ties must be rare, else the checker is too lenient');
  });
}

test.run();
