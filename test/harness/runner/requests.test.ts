// The runner's manners: bad requests get an error that says what is wrong, and the next request is answered.
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { EnvironmentError, InputError } from '../../../generator/errors.ts';
import { buildEmulator, buildRunner } from '../../../tuner/host.ts';
import type { KernelRef } from '../../../tuner/problem.ts';
import { Runner, RunnerError } from '../../../tuner/runner.ts';
import { cacheAxes, emulated } from '../ops/lab.ts';

const test = suite('runner/requests');
let binary: string;
let driver: string;
let runner: Runner;
let kernel: KernelRef;
let folder: string;
// A test, not a hook: uvu swallows what a before hook throws, and the suite would pass without having run.
test('runner and kernels build', async () => {
  [binary, driver, kernel, folder] = await Promise.all([buildRunner(), buildEmulator(), emulated('decode', cacheAxes('d64 4c8b/f16 post')), mkdtemp(join(tmpdir(), 'antkv-'))]);
  runner = new Runner({ binary, driver });
});
test.after(async () => {
  await runner?.close();
  await rm(folder, { recursive: true, force: true });
});

const refusal = (request: object): Promise<Error> => runner.request(request).then(() => assert.unreachable('no error'), (error: Error) => error) as Promise<Error>;

test('lines that are not JSON are told where, and do not end the runner', async () => {
  const lines = ['', '{', '{"a":1,}', '{"a":1,"a":2}', '[1,2', '"\\x"', '01', 'nul', '{"id":3} x', `${'['.repeat(100)}`, '{"id":7,"cmd":"info"}'];
  const { stdout, exitCode } = await execa(binary, ['--driver', driver], { input: `${lines.join('\n')}\n` });
  const records = stdout.split('\n').map((line) => JSON.parse(line) as { id: number | null; error?: string; device?: string });
  assert.is(exitCode, 0);
  assert.is(records.length, 10, 'one record per line that is not empty');
  for (const { id, error } of records.slice(0, -1)) {
    assert.is(id, null);
    assert.match(error!, /^not JSON: .* expected at column \d+$/);
  }
  assert.is(records.at(-1)!.id, 7);
  assert.ok(records.at(-1)!.device);
});

const check = (shape: object, more: object = {}) => ({ cmd: 'check', op: 'decode', kernel, shape, ...more });
const BAD: readonly (readonly [request: () => object, message: RegExp])[] = [
  [() => ({}), /"cmd" is missing/],
  [() => ({ cmd: 'fly' }), /unknown cmd "fly"; known: info, check, attend/],
  [() => ({ cmd: 5 }), /cmd must be a string, not a number/],
  [() => ({ cmd: 'info', verbose: true }), /unknown field "verbose"/],
  [() => ({ cmd: 'check', op: 'fly' }), /unknown op "fly"/],
  [() => ({ cmd: 'kmeans', kernel }), /a kernel of op "kmeans" is needed/],
  [() => ({ cmd: 'kmeans', kernel: { ...kernel, op: 'kmeans' }, data: { file: '/nowhere.safetensors', tensor: 'v' } }), /cannot read \/nowhere/],
  [() => ({ cmd: 'kmeans', kernel: { ...kernel, op: 'kmeans' }, scope: 'row' }), /"scope" is "row", not chunk, head or layer/],
  [() => ({ ...check({ coded_len: [4] }), kernel: undefined }), /"kernel" is missing/],
  [() => check({}), /"coded_len" is needed/],
  [() => check({ coded_len: 4 }), /an array is expected where a number stands/],
  [() => check({ coded_len: [4.5] }), /coded_len must be an integer/],
  [() => check({ coded_len: [-1] }), /coded_len must be 0 to/],
  [() => check({ coded_len: [4], page_size: 48 }), /page_size must be 16, 32/],
  [() => check({ coded_len: [4], page_size: 8 }), /page_size is 8, not 16 to 256/],
  [() => check({ coded_len: [4], q_len: [1, 1] }), /q_len has 2 elements for 1 sequences/],
  [() => check({ coded_len: [4], kv_len: [9] }), /kv_len - coded_len must be 0 to ring_rows/],
  [() => check({ coded_len: [4], q_heads: 3, kv_heads: 2 }), /q_heads must be 1 to 16 times kv_heads/],
  [() => check({ coded_len: [4], index: 'list' }), /index must be/],
  [() => check({ coded_len: [4], rope: { theeta: 1 } }), /unknown field "shape.rope.theeta"/],
  [() => check({ coded_len: [4], splits: 2 }), /"combine" is missing/],
  [() => check({ coded_len: [4] }, { kernel: { ...kernel, op: 'encode' } }), /a kernel of op "decode" is needed/],
  [() => check({ coded_len: [4] }, { kernel: { ...kernel, k: '5d' } }), /"5d" is not a codec/],
  [() => check({ coded_len: [4] }, { kernel: { ...kernel, dtype: 'fp8' } }), /dtype fp8/],
  [() => check({ coded_len: [4] }, { kernel: { ...kernel, threads: 100 } }), /threads must be a multiple of 32/],
  [() => check({ coded_len: [4] }, { kernel: { ...kernel, image: '/nowhere/kernel.fatbin' } }), /cannot read the image \/nowhere\/kernel.fatbin/],
  [() => check({ coded_len: [4] }, { kernel: { ...kernel, params_bytes: kernel.params_bytes + 8 } }), /parameter struct of \d+ B, this runner was built with \d+; build both/],
];

test('bad requests are refused by name, and the runner goes on', async () => {
  for (const [request, message] of BAD) {
    const error = await refusal(request());
    assert.instance(error, InputError, error.stack);
    assert.match(error.message, message);
  }
  assert.is((await runner.info()).emulated, true);
});

test('images that are no images: the driver says so', async () => {
  const text = join(folder, 'text.fatbin');
  const empty = join(folder, 'empty.fatbin');
  await Promise.all([writeFile(text, 'not an image'), writeFile(empty, '')]);
  for (const image of [text, empty]) {
    const error = await refusal(check({ coded_len: [4] }, { kernel: { ...kernel, image } }));
    assert.instance(error, RunnerError);
    assert.match(error.message, /cuModuleLoad\(.*fatbin\): CUDA_ERROR_/);
  }
  const renamed = await refusal(check({ coded_len: [4] }, { kernel: { ...kernel, name: 'antkv_other' } }));
  assert.match(renamed.message, /cuModuleGetFunction\(antkv_other\): CUDA_ERROR_NOT_FOUND/);
});

test('more shared memory than the device has is refused by the driver', async () => {
  const error = await refusal(check({ coded_len: [4] }, { kernel: { ...kernel, shared: 1 << 20 } }));
  assert.match(error.message, /cuFuncSetAttribute: dynamic shared memory\(antkv_decode_.*\): CUDA_ERROR_/);
});

test('no driver, or no driver at all in that file: an environment error', async () => {
  for (const path of [join(folder, 'libcuda.so.1'), binary]) {
    const lost = new Runner({ binary, driver: path });
    const error = await lost.info().then(() => assert.unreachable('no error'), (e: Error) => e);
    assert.instance(error, EnvironmentError);
    await lost.close();
  }
  const none = new Runner({ binary: join(folder, 'no-runner'), driver });
  assert.instance(await none.info().then(() => assert.unreachable('no error'), (e: Error) => e), EnvironmentError);
});

test('requests are answered in order, many at once', async () => {
  const records = await Promise.all([runner.info(), runner.check(check({ coded_len: [20] }) as never), runner.info()]);
  assert.equal(records.map((record) => ('device' in record ? 'info' : record['op'])), ['info', 'decode', 'info']);
});

test.run();
