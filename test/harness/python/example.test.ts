// Runs harness/examples/python/decode.py, and with it the torch-free core of harness/python/antkv, on the emulated driver.
import { join } from 'node:path';
import { execa } from 'execa';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { kernelName } from '../../../generator/name.ts';
import { shippedKernels } from '../../../generator/ship.ts';
import { buildEmulator } from '../../../tuner/host.ts';
import { temporaryFolder } from '../../folder.ts';
import { findsTheAnswer, FIXTURE } from '../examples/decode.ts';
import { ROOT } from '../load/build.ts';
import { emulatedPythonFolder } from './folder.ts';

const EXAMPLE = join(ROOT, 'harness/examples/python/decode.py');

const folder = await emulatedPythonFolder(shippedKernels().filter((kernel) => /^antkv_decode_d64_/.test(kernelName(kernel))));
const env = { ANTKV_LIBCUDA: await buildEmulator(), PYTHONPATH: join(ROOT, 'harness/python') };
const run = (args: readonly string[], more: Record<string, string> = {}) => execa('python3', ['-B', EXAMPLE, ...args], { env: { ...env, ...more }, reject: false, timeout: 60_000 });

findsTheAnswer(test, folder, run);

test('what is missing is named', async () => {
  assert.match((await run([folder, FIXTURE], { ANTKV_LIBCUDA: '/no/libcuda.so.1' })).stderr, /DeviceError: no CUDA driver: .*install one, or point ANTKV_LIBCUDA/);
  assert.match((await run([temporaryFolder(), FIXTURE])).stderr, /FolderError: .*manifest.json.*give the folder that `gen` wrote/);
});

test('arrays on the device', async () => {
  const { exitCode, stderr } = await execa('python3', ['-B', join(ROOT, 'test/harness/python/test_memory.py'), folder], { env, reject: false, timeout: 60_000 });
  assert.is(exitCode, 0, stderr);
  assert.match(stderr, /Ran 3 tests/);
});

test.run();
