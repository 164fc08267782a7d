// Tests that launches of harness/antkv_load.h can be captured into a CUDA graph, and what it says when a kernel fails, on the emulated driver.
import { copyFileSync } from 'node:fs';
import { join } from 'node:path';
import { execa } from 'execa';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { kernelName } from '../../../generator/name.ts';
import { buildEmulator } from '../../../tuner/host.ts';
import { compile, emulatedFolder, generatedFolder, GOOD, paramsHex, ROOT } from './build.ts';
import { shippedKernels } from '../../../generator/ship.ts';

const combine = shippedKernels().find((kernel) => kernelName(kernel).startsWith('antkv_combine_d64'))!;
const folder = await emulatedFolder([combine]);
const ANTKV_LIBCUDA = await buildEmulator();
const include = ['-I', folder, '-I', join(ROOT, 'harness')];

test('a captured launch replays', async () => {
  const program = await compile([join(ROOT, 'test/harness/load/graph.c')], include);
  assert.equal((await execa(program, [folder], { env: { ANTKV_LIBCUDA }, timeout: 60_000 })).stdout, 'equal');
});

test('an address that is none comes back with the emulated driver\'s report', async () => {
  const program = await compile([join(ROOT, 'test/harness/load/client.c')], include);
  const input = `open ${folder} 0\nget antkv_combine_d64_f16\nlaunch ${paramsHex('combine', GOOD.combine)}\n`;
  const { stdout } = await execa(program, [], { input, env: { ANTKV_LIBCUDA }, timeout: 60_000 });
  assert.match(stdout, /launch 12 cuLaunchKernel\(antkv_combine_d64.*CUDA_ERROR_ILLEGAL_ADDRESS.*\nantkv emulator: /);
});

test('an image for a real GPU is refused by the emulated driver, and the loader names the file', async () => {
  const real = generatedFolder([combine]);
  copyFileSync(join(ROOT, 'package.json'), join(real, 'sm80', `${kernelName(combine)}.fatbin`));
  const program = await compile([join(ROOT, 'test/harness/load/client.c')], include);
  const { stdout } = await execa(program, [], { input: `open ${real} 0\nget antkv_combine_d64_f16\n`, env: { ANTKV_LIBCUDA }, timeout: 60_000 });
  assert.match(stdout, /get 6 cuModuleLoad\(.*antkv_combine_d64_f16__sm80_w4.fatbin\): CUDA_ERROR_INVALID_IMAGE/);
});

test.run();
