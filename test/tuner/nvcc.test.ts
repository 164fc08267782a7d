// Tests tuner/nvcc.ts.
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { EnvironmentError } from '../../generator/errors.ts';
import { findArch } from '../../generator/arch.ts';
import { findNvcc, firstErrorLine, nvccArgs, nvccCandidates, parsePtxas, runNvcc } from '../../tuner/nvcc.ts';
import { temporaryFolder } from '../folder.ts';
import { fakeNvcc } from './fake.ts';

test('the command line makes one fatbin of machine code and PTX, with relative paths', () => {
  assert.is(
    nvccArgs(findArch('sm80')!, 'sm80/x.cu', 'sm80/x.fatbin').join(' '),
    '-fatbin -std=c++17 -O3 -gencode arch=compute_80,code=sm_80 -gencode arch=compute_80,code=compute_80 -I . -Xptxas -v -o sm80/x.fatbin sm80/x.cu',
  );
});

test('nvcc is looked for on PATH, then where CUDA is installed', () => {
  assert.equal(nvccCandidates({ PATH: '/a:/b', CUDA_HOME: '/c', CUDA_PATH: '' }), ['/a/nvcc', '/b/nvcc', '/c/bin/nvcc', '/usr/local/cuda/bin/nvcc']);
  assert.equal(nvccCandidates({ PATH: '/a', CUDACXX: '/mine/nvcc' }), ['/mine/nvcc']);
});

test('an nvcc that is there tells its version; one that does not counts as none', async () => {
  const dir = fakeNvcc('exit 1', '12.9.41');
  assert.equal(await findNvcc({ PATH: dir }), { path: join(dir, 'nvcc'), version: '12.9.41' });
  assert.is(await findNvcc({ PATH: fakeNvcc('exit 1', 'unknown') }), undefined);
});

test('the report of ptxas is read', () => {
  const log = `ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function 'k' for 'sm_80'
    16 bytes stack frame, 12 bytes spill stores, 20 bytes spill loads
ptxas info    : Used 128 registers, used 1 barriers, 1096 bytes smem, 728 bytes cmem[0]`;
  assert.equal(parsePtxas(log), { registers: 128, spillStores: 12, spillLoads: 20, stack: 16, staticShared: 1096 });
  assert.is(parsePtxas('ptxas fatal: no'), undefined);
});

test('the line that says what is wrong is found', () => {
  assert.is(firstErrorLine('In file included from x\nx.cu(3): error: no\nx.cu(4): error: never\n'), 'x.cu(3): error: no');
  assert.is(firstErrorLine('\nkilled\n'), 'killed');
  assert.is(firstErrorLine(''), 'no output');
});

test('a run that hangs is ended with all that it started', async () => {
  const dir = fakeNvcc('sleep 60 & echo $! > child.pid; wait');
  const cwd = temporaryFolder();
  const started = performance.now();
  const run = await runNvcc(join(dir, 'nvcc'), ['-o', 'x', 'y'], cwd, 300);
  assert.ok(run.timedOut && performance.now() - started < 10_000);
  const { readFileSync } = await import('node:fs');
  const pid = Number(readFileSync(join(cwd, 'child.pid'), 'utf8'));
  // A killed process may stay as a zombie of whoever reaps it; it no longer runs.
  const state = (): string => {
    try {
      return /\) (\w)/.exec(readFileSync(`/proc/${pid}/stat`, 'utf8'))?.[1] ?? 'gone';
    } catch {
      return 'gone';
    }
  };
  for (let i = 0; i < 50 && !['Z', 'gone'].includes(state()); i++) await new Promise((resolve) => setTimeout(resolve, 20));
  assert.ok(['Z', 'gone'].includes(state()), state());
});

test('a compiler that is not there is a result, not an exception', async () => {
  const run = await runNvcc('/nonexistent/nvcc', [], temporaryFolder(), 1000);
  assert.is(run.code, null);
  assert.match(run.log, /ENOENT/);
});

test('a host compiler that is missing, and a full disk, say nothing of the source', async () => {
  for (const [body, message, fix] of [
    ['echo "gcc: No such file or directory" >&2; echo "nvcc fatal   : Failed to preprocess host compiler properties." >&2; exit 1', /^nvcc finds no C\+\+ compiler: gcc: No such file/, /install g\+\+/],
    ['echo "x: No space left on device" >&2; exit 1', /no space left/, /ANTKV_CACHE/],
  ] as const) {
    const nvcc = join(fakeNvcc(body), 'nvcc');
    await runNvcc(nvcc, ['-o', 'x', 'y'], temporaryFolder(), 5000).then(() => assert.unreachable(), (error: unknown) => assert.ok(error instanceof EnvironmentError && message.test(error.message) && fix.test(error.fix!), String(error)));
  }
});

test('its temporary files stay in the working folder', async () => {
  const cwd = temporaryFolder();
  await runNvcc(join(fakeNvcc('echo x > "$TMPDIR/intermediate"'), 'nvcc'), ['-o', 'x', 'y'], cwd, 5000);
  assert.equal(readdirSync(cwd), ['intermediate']);
});

test.run();
