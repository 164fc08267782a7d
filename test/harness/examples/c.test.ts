// Runs harness/examples/c/decode.c on the emulated driver, and checks the fixture that it reads.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { execa } from 'execa';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { kernelName } from '../../../generator/name.ts';
import { shippedKernels } from '../../../generator/ship.ts';
import { buildEmulator } from '../../../tuner/host.ts';
import { makeDecode } from '../../fixtures/make-decode.ts';
import { compile, emulatedFolder, ROOT } from '../load/build.ts';
import { findsTheAnswer, FIXTURE } from './decode.ts';

const EXAMPLE = join(ROOT, 'harness/examples/c/decode.c');

const needed = shippedKernels().filter((kernel) => /^antkv_(decode|combine)_d64_/.test(kernelName(kernel)));
const folder = await emulatedFolder(needed);
const ANTKV_LIBCUDA = await buildEmulator();
const program = await compile([EXAMPLE], ['-g', '-fsanitize=undefined', '-fno-sanitize-recover=all', '-I', folder, '-I', join(ROOT, 'harness')]);
const run = (args: readonly string[], env: Record<string, string> = {}) => execa(program, args, { env: { ANTKV_LIBCUDA, ...env }, reject: false, timeout: 60_000 });

findsTheAnswer(test, folder, run);

test('what is missing is named', async () => {
  assert.match((await run([])).stderr, /^usage: .* GENERATED-FOLDER FIXTURE/);
  const { exitCode, stderr } = await run([folder, FIXTURE], { ANTKV_LIBCUDA: '/no/libcuda.so.1' });
  assert.is(exitCode, 2);
  assert.match(stderr, /antkv_open\(&lib, argv\[1\], 0\)\nno CUDA driver/);
});

test('the example fits on a page and says how to compile it', () => {
  const text = readFileSync(EXAMPLE, 'utf8');
  assert.ok(text.split('\n').length <= 61);
  assert.match(text, /cc -I generated -I harness -o decode harness\/examples\/c\/decode\.c -ldl -lm && \.\/decode generated test\/fixtures\/decode-antkv-1\.bin/);
});

test('the fixture is what its script makes', () => {
  const [stored, made] = [readFileSync(FIXTURE), makeDecode()];
  assert.is(stored.length, made.length);
  assert.ok(stored.length < 100_000);
  const answer = made.length - 8 * (4 * 64 + 4);
  assert.ok(stored.subarray(0, answer).equals(made.subarray(0, answer)), 'inputs: equal bytes');
  // cos, exp and log may differ in the last bit between engines.
  for (let at = answer; at < made.length; at += 8) assert.ok(Math.abs(stored.readDoubleLE(at) - Buffer.from(made).readDoubleLE(at)) < 1e-12);
});

test.run();
