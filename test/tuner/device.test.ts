// Tests tuner/device.ts, and what --arch native and doctor make of it, on a fake nvidia-smi.
import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { EnvironmentError } from '../../generator/errors.ts';
import { findDevices, nativeCapabilities } from '../../tuner/device.ts';
import { temporaryFolder } from '../folder.ts';
import { gen } from '../generator/cli/run.ts';
import { fakeNvcc } from './fake.ts';

/** PATH with an nvidia-smi that prints `lines`; with none it fails, as on a machine without a driver. */
function pathWith(...lines: string[]): string {
  const dir = temporaryFolder();
  writeFileSync(join(dir, 'nvidia-smi'), lines.length > 0 ? `#!/bin/sh\nprintf '%s\\n' ${lines.map((line) => `'${line}'`).join(' ')}\n` : '#!/bin/sh\nexit 9\n');
  chmodSync(join(dir, 'nvidia-smi'), 0o755);
  return `${dir}:${process.env['PATH']}`;
}

/** Runs `body` with that PATH in this process. */
async function withPath<T>(path: string, body: () => Promise<T>): Promise<T> {
  const old = process.env['PATH'];
  process.env['PATH'] = path;
  return body().finally(() => void (process.env['PATH'] = old));
}

const A100 = 'NVIDIA A100-SXM4-80GB, 8.0, 550.54.15';
const H100 = 'NVIDIA H100 80GB HBM3, 9.0, 550.54.15';

test('GPUs are what nvidia-smi lists', async () => {
  assert.equal(await withPath(pathWith(A100, H100), findDevices), [
    { name: 'NVIDIA A100-SXM4-80GB', capability: '8.0', driver: '550.54.15' },
    { name: 'NVIDIA H100 80GB HBM3', capability: '9.0', driver: '550.54.15' },
  ]);
  assert.equal(await withPath(pathWith(), findDevices), []);
  assert.equal(await withPath(pathWith('No devices were found'), findDevices), []);
});

test('native is the GPUs that are there, or an error with the fix', async () => {
  assert.equal(await withPath(pathWith(A100, A100, H100), nativeCapabilities), ['8.0', '9.0']);
  await withPath(pathWith(), nativeCapabilities).then(() => assert.unreachable(), (error) => assert.ok(error instanceof EnvironmentError && /--arch sm80/.test(error.fix ?? '')));
});

test('--arch native writes for the GPU that is there, and exits 3 where there is none', async () => {
  const words = ['--arch', 'native', '--out', join(temporaryFolder(), 'x'), '--dry-run', '--only', 'antkv_select'];
  const { stdout } = await gen(words, { PATH: pathWith(H100) });
  assert.match(stdout, /^add +sm90\/antkv_select__sm90_w8\.cu$/m);
  const none = await gen(words, { PATH: pathWith() });
  assert.is(none.exitCode, 3);
  assert.match(none.stderr, /nvidia-smi finds no GPU\n {2}fix: name the architecture/);
});

test('doctor compares GPU, driver and the PTX of the toolkit', async () => {
  const nvcc = (version: string): Record<string, string> => ({ CUDACXX: join(fakeNvcc('exit 1', version), 'nvcc') });
  const old = await gen(['doctor'], { PATH: pathWith(A100), ...nvcc('13.0.88') });
  assert.match(old.stdout, /^ok +GPU +NVIDIA A100.* runs the machine code of sm80$/m);
  assert.match(old.stdout, /^warn +PTX +PTX of nvcc 13\.0\.88 needs driver 580\.65, this is 550\.54\.15\n +fix: /m);
  const fits = await gen(['doctor'], { PATH: pathWith(H100), ...nvcc('12.4.131') });
  assert.match(fits.stdout, /^ok +GPU +NVIDIA H100.* runs the PTX of sm80, which the driver compiles when a kernel is loaded$/m);
  assert.match(fits.stdout, /^ok +PTX +driver 550\.54\.15 compiles PTX of nvcc 12\.4\.131$/m);
  const stuck = await gen(['doctor'], { PATH: pathWith(H100), ...nvcc('13.0.88') });
  assert.is(stuck.exitCode, 3);
  assert.match(stuck.stdout, /^fail +GPU +NVIDIA H100.* cannot run the machine code of sm80, and driver 550\.54\.15 cannot compile the PTX of nvcc 13\.0\.88\n +fix: install driver 580\.65/m);
  const wrong = await gen(['doctor', '--arch', 'sm100'], { PATH: pathWith(A100), ...nvcc('12.9.41') });
  assert.is(wrong.exitCode, 3);
  assert.match(wrong.stdout, /^fail +GPU +NVIDIA A100.* is older than sm100$/m);
  assert.match(wrong.stdout, /^fail +driver +550\.54\.15 is too old for sm100\n +fix: install driver 570\.26/m);
});

test.run();
