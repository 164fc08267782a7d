// Runs harness/examples/python/decode.py, and with it the torch-free core of harness/python/antkv, on the emulated driver.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { execa } from 'execa';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { kernelName } from '../../../generator/name.ts';
import { shippedKernels } from '../../../generator/ship.ts';
import { buildEmulator } from '../../../tuner/host.ts';
import { temporaryFolder } from '../../folder.ts';
import { ROOT } from '../load/build.ts';
import { emulatedPythonFolder } from './folder.ts';

const EXAMPLE = join(ROOT, 'harness/examples/python/decode.py');
const FIXTURE = join(ROOT, 'test/fixtures/decode-antkv-1.bin');

const folder = await emulatedPythonFolder(shippedKernels().filter((kernel) => /^antkv_decode_d64_/.test(kernelName(kernel))));
const env = { ANTKV_LIBCUDA: await buildEmulator(), PYTHONPATH: join(ROOT, 'harness/python') };
const run = (args: readonly string[], more: Record<string, string> = {}) => execa('python3', ['-B', EXAMPLE, ...args], { env: { ...env, ...more }, reject: false, timeout: 60_000 });

for (const splits of [0, 1, 3]) {
  test(`the example finds the stored answer with ${splits || 'its own number of'} splits`, async () => {
    const { exitCode, stdout, stderr } = await run([folder, FIXTURE, ...(splits ? [String(splits)] : [])]);
    assert.is(exitCode, 0, stderr);
    const [, used, error] = /^antkv_decode_d64_k8c8b_v8c8bq8_f16_pre_gain__sm80_\w+, (\d+) splits: relative error (\S+)$/.exec(stdout)!;
    assert.is(Number(used), splits || 1, '300 tokens are one step of 12 warps');
    assert.ok(Number(error) > 0 && Number(error) < 1e-3, error);
  });
}

test('a wrong answer is noticed', async () => {
  const broken = Buffer.from(readFileSync(FIXTURE));
  broken.writeUInt16LE(broken.readUInt16LE(64) ^ 0x8000, 64); // the sign of one channel of q
  const path = join(temporaryFolder(), 'broken.bin');
  writeFileSync(path, broken);
  const { exitCode, stdout } = await run([folder, path]);
  assert.is(exitCode, 1, stdout);
});

test('what is missing is named', async () => {
  assert.match((await run([folder, FIXTURE], { ANTKV_LIBCUDA: '/no/libcuda.so.1' })).stderr, /DeviceError: no CUDA driver: .*install one, or point ANTKV_LIBCUDA/);
  assert.match((await run([temporaryFolder(), FIXTURE])).stderr, /FolderError: .*manifest.json.*give the folder that `gen` wrote/);
});

test.run();
