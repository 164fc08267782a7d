// Tests tuner/compile.ts and build.ts on a fake nvcc, and on the real one where it is there.
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { emitAll, type Files } from '../../generator/emit.ts';
import { fatbinPath, kernelName, sourcePath, type Kernel } from '../../generator/name.ts';
import { kernelsToShip, shippedContracts } from '../../generator/ship.ts';
import { apply, plan } from '../../generator/write.ts';
import { readBuild, writeBuild } from '../../tuner/build.ts';
import { cacheDir } from '../../tuner/cache.ts';
import { compileAll, dropStale } from '../../tuner/compile.ts';
import { findNvcc, type Nvcc } from '../../tuner/nvcc.ts';
import { temporaryFolder } from '../folder.ts';
import { fakeNvcc, WORKS } from './fake.ts';

const kernels = kernelsToShip([...shippedContracts().values()].map(({ contract }) => contract), []).filter(({ contract }) => contract.op === 'combine' || contract.op === 'select');
const files = emitAll(kernels);
const old = process.env['ANTKV_CACHE'];
test.before.each(() => void (process.env['ANTKV_CACHE'] = join(temporaryFolder(), 'cache')));
test.after(() => {
  if (old === undefined) delete process.env['ANTKV_CACHE'];
  else process.env['ANTKV_CACHE'] = old;
});

function written(text: Files = files): string {
  const out = temporaryFolder();
  apply(text, out, plan(text, out, []));
  return out;
}
const fake = (body: string, version = '12.4.131'): Nvcc => ({ path: join(fakeNvcc(body, version), 'nvcc'), version });

test('each kernel becomes a fatbin beside its source, with its numbers', async () => {
  const out = written();
  const done: string[] = [];
  const compiled = await compileAll(kernels, files, { nvcc: fake(WORKS), out, jobs: 2, onDone: (n, total, name) => done.push(`${n}/${total} ${name}`) });
  assert.is(compiled.length, 3);
  for (const { name, built, failure } of compiled) {
    assert.is(failure, undefined);
    assert.equal([built!.registers, built!.spillStores, built!.spillLoads, built!.nvcc], [40, 4, 8, '12.4.131']);
    assert.match(readFileSync(join(out, `sm80/${name}.fatbin`), 'utf8'), new RegExp(name));
  }
  assert.is(done.length, 3);
  assert.match(done[2]!, /^3\/3 /);
});

test('what was compiled once is not compiled again, until an input changes', async () => {
  const count = join(temporaryFolder(), 'count');
  const nvcc = fake(`echo x >> ${count}\n${WORKS}`);
  const compiles = (): number => (existsSync(count) ? readFileSync(count, 'utf8').split('\n').length - 1 : 0);
  await compileAll(kernels, files, { nvcc, out: written() });
  assert.is(compiles(), 3);
  await compileAll(kernels, files, { nvcc, out: written() });
  assert.is(compiles(), 3);
  const [first] = kernels as [Kernel];
  const source = new Map([...files, [sourcePath(first), `${files.get(sourcePath(first))}// changed\n`]]);
  await compileAll(kernels, source, { nvcc, out: written(source) });
  assert.is(compiles(), 4);
  const header = new Map([...files, ['antkv_device.cuh', `${files.get('antkv_device.cuh')}// changed\n`]]);
  await compileAll(kernels, header, { nvcc, out: written(header) });
  assert.is(compiles(), 7);
  // The Python binding is no input of a kernel.
  const other = new Map([...files, ['antkv_params.py', '']]);
  await compileAll(kernels, other, { nvcc, out: written(other) });
  assert.is(compiles(), 7);
  await compileAll(kernels, files, { nvcc: { ...nvcc, version: '12.5.1' }, out: written() });
  assert.is(compiles(), 10);
});

test('a kernel that fails says all, keeps its source, and does not stop the others', async () => {
  const out = written();
  const name = kernelName(kernels.find(({ contract }) => contract.op === 'select')!);
  writeFileSync(join(out, `sm80/${name}.fatbin`), 'of an older source');
  const nvcc = fake(`case "$src" in *select*) echo "$src(7): error: boom" >&2; echo half > "$out"; exit 1;; esac\n${WORKS}`);
  const compiled = await compileAll(kernels, files, { nvcc, out });
  const failed = compiled.filter(({ failure }) => failure);
  assert.equal(failed.map((c) => c.name), [name]);
  const { why, source, command } = failed[0]!.failure!;
  assert.is(why, `sm80/${name}.cu(7): error: boom`);
  assert.is(source, join(out, `sm80/${name}.cu`));
  assert.ok(existsSync(source));
  assert.is(command, `cd ${out} && ${nvcc.path} -fatbin -std=c++17 -O3 -gencode arch=compute_80,code=sm_80 -gencode arch=compute_80,code=compute_80 -I . -Xptxas -v -o sm80/${name}.fatbin sm80/${name}.cu`);
  assert.equal(readdirSync(join(out, 'sm80')).filter((file) => file.endsWith('.fatbin')).sort(), kernels.map(fatbinPath).map((path) => path.slice(5)).filter((path) => !path.includes('select')).sort());
  assert.is(readdirSync(cacheDir()).length, 2);
});

test('a compile that hangs is a failure with its limit', async () => {
  const [compiled] = await compileAll(kernels.slice(0, 1), files, { nvcc: fake('sleep 60'), out: written(), timeoutMs: 200 });
  assert.is(compiled!.failure!.why, 'nvcc took longer than 0.2 s');
  assert.equal(readdirSync(cacheDir()), []);
});

test('an nvcc that says nothing, or is too old, is a failure', async () => {
  const [silent] = await compileAll(kernels.slice(0, 1), files, { nvcc: fake('cat "$src" > "$out"'), out: written() });
  assert.is(silent!.failure!.why, 'nvcc gave no report of ptxas');
  const [ancient] = await compileAll(kernels.slice(0, 1), files, { nvcc: fake(WORKS, '11.2.152'), out: written() });
  assert.is(ancient!.failure!.why, 'nvcc 11.2.152 is too old for sm80, which needs 11.8');
});

test('build.json keeps the rows of kernels that are still there', async () => {
  const out = written();
  const names = kernels.map(kernelName);
  await writeBuild(out, await compileAll(kernels, files, { nvcc: fake(WORKS), out }), names);
  assert.equal(Object.keys((await readBuild(out)).kernels), [...names].sort());
  await writeBuild(out, [{ name: names[0]!, failure: { why: '', source: '', command: '' } }], names.slice(0, 2));
  assert.equal(Object.keys((await readBuild(out)).kernels), [names[1]]);
  writeFileSync(join(out, 'build.json'), 'broken');
  assert.equal(await readBuild(out), { kernels: {} });
});

test('a fatbin of other sources is removed, one of these sources stays', async () => {
  const out = written();
  await writeBuild(out, await compileAll(kernels, files, { nvcc: fake(WORKS), out }), kernels.map(kernelName));
  await dropStale(kernels, files, out);
  assert.is(readdirSync(join(out, 'sm80')).filter((file) => file.endsWith('.fatbin')).length, 3);
  const changed = new Map([...files, ['antkv.h', `${files.get('antkv.h')}\n`]]);
  await dropStale(kernels, changed, out);
  assert.is(readdirSync(join(out, 'sm80')).filter((file) => file.endsWith('.fatbin')).length, 0);
});

const nvcc = await findNvcc();
(nvcc ? test : test.skip)('the real nvcc gives the same bytes wherever the files lie', async () => {
  const [kernel] = kernels as [Kernel];
  const bytes: string[] = [];
  for (const deep of ['a', 'a/very/deep/folder']) {
    process.env['ANTKV_CACHE'] = join(temporaryFolder(), 'cache');
    const out = join(temporaryFolder(), deep);
    mkdirSync(out, { recursive: true });
    apply(files, out, plan(files, out, []));
    const [compiled] = await compileAll([kernel], files, { nvcc: nvcc!, out });
    assert.ok(compiled!.built, compiled!.failure?.why);
    bytes.push(compiled!.built!.sha256);
  }
  assert.is(bytes[0], bytes[1]);
});

test.run();
