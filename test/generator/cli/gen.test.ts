// Tests generator/cli/gen.ts on temporary folders, with no compiler, with a fake one, and with the real one where it is there.
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { readRecipe } from '../../../generator/cli/recipe-file.ts';
import { kernelName, sourcePath } from '../../../generator/name.ts';
import { findArch } from '../../../generator/arch.ts';
import { kernelsOf, shippedContracts, shippedKernels, withChosen } from '../../../generator/ship.ts';
import { writeSafetensors } from '../../../generator/safetensors.ts';
import { fixture } from '../../fixtures/paths.ts';
import { temporaryFolder } from '../../folder.ts';
import { fakeNvcc, WORKS } from '../../tuner/fake.ts';
import { parallel } from '../../parallel.ts';
import { gen, startGen, WITHOUT_NVCC } from './run.ts';

const together = parallel(test);

const names = shippedKernels().map(kernelName);
/** What is written elsewhere for architectures: the default of every shipped contract, and what tables choose. */
const elsewhere = (...archs: string[]): number => withChosen(kernelsOf([...shippedContracts().values()].map(({ contract }) => contract), archs.map((name) => findArch(name)!))).length;
const withFake = (body: string): Record<string, string> => ({ CUDACXX: join(fakeNvcc(body), 'nvcc'), ANTKV_CACHE: join(temporaryFolder(), 'cache') });
const filesIn = (dir: string): string[] => readdirSync(dir, { recursive: true }).map(String).sort();

together('without nvcc all is written, and what is skipped comes with how to get it', async () => {
  const out = temporaryFolder();
  const { exitCode, stdout, stderr } = await gen(['--out', out], WITHOUT_NVCC);
  assert.is(exitCode, 0, stderr);
  assert.match(stderr, new RegExp(`skipped: nvcc was not found: ${names.length} kernels are written, not compiled; install the CUDA toolkit`));
  for (const kernel of shippedKernels()) assert.ok(stdout.includes(kernelName(kernel)) && existsSync(join(out, sourcePath(kernel))), kernelName(kernel));
  assert.equal(filesIn(out).filter((file) => /fatbin|build\.json|tmp/.test(file)), []);
});

together('--check is clean right after a run', async () => {
  const out = temporaryFolder();
  const { exitCode } = await gen(['--out', out, '--no-compile', '-q']);
  assert.is(exitCode, 0);
  const before = filesIn(out);
  const check = await gen(['--out', out, '--check']);
  assert.is(check.exitCode, 0);
  assert.match(check.stdout, /\d+ files, all up to date/);
  assert.equal(filesIn(out), before);
});

together('--check finds what is stale, missing and orphaned, exits 1 and writes nothing; gen mends it', async () => {
  const out = temporaryFolder();
  await gen(['--out', out, '--no-compile', '-q']);
  const source = join(out, `sm80/${names[0]}.cu`);
  const text = readFileSync(source, 'utf8');
  writeFileSync(join(out, 'antkv.h'), 'edited');
  writeFileSync(join(out, 'sm80/antkv_old__sm80_w4.cu'), text);
  writeFileSync(join(out, 'sm80/table.a100.json'), '{}');
  rmSync(source);
  const { exitCode, stdout, stderr } = await gen(['--out', out, '--check', '--json']);
  assert.is(exitCode, 1);
  const { clean, add, change, orphan } = JSON.parse(stdout) as Record<string, unknown>;
  assert.equal({ clean, add, change, orphan }, { clean: false, add: [`sm80/${names[0]}.cu`], change: ['antkv.h'], orphan: ['sm80/antkv_old__sm80_w4.cu'] });
  assert.match(stderr, /out of date\n {2}fix: npx gen --out/);
  assert.not(existsSync(source));
  await gen(['--out', out, '--no-compile', '-q']);
  assert.is(readFileSync(source, 'utf8'), text);
  assert.not(existsSync(join(out, 'sm80/antkv_old__sm80_w4.cu')));
  assert.is(readFileSync(join(out, 'sm80/table.a100.json'), 'utf8'), '{}');
});

together('--dry-run names every file and makes no folder', async () => {
  const out = join(temporaryFolder(), 'not-there');
  const { exitCode, stdout } = await gen(['--out', out, '--dry-run', '--arch', 'sm_80,90']);
  assert.is(exitCode, 0);
  assert.is(stdout.match(/^add {5}sm(80|90)\/antkv_/gm)?.length, elsewhere('sm80', 'sm90'));
  assert.not(existsSync(out));
});

together('recipes by layer are written from a list, or from the codebook file that has it; one recipe is not read out of several', async () => {
  const out = temporaryFolder();
  const at = (name: string): string => join(out, name);
  const recipe = { k: '8c8b', v: '8c8bq8', key: 'pre', gain: 'k', policy: 'none', budget_permille: 0 };
  const plan = [recipe, { ...recipe, k: '4c8b' }, recipe];
  writeFileSync(at('plan.json'), JSON.stringify(plan));
  const calibration = JSON.stringify({ seed: 0, iterations: 1, weights: 'none', power: 1, tensors: {} });
  writeFileSync(at('plan.safetensors'), writeSafetensors([], { format: 'antkv-codebook', version: '3', layout: '4', model: 'm', head_dim: '64', recipes: JSON.stringify(plan), recipe_hash: 'h', calibration }));
  const written: string[][] = [];
  for (const file of ['plan.json', 'plan.safetensors']) {
    const { exitCode, stdout, stderr } = await gen(['--recipe', at(file), '--head-dim', '64', '--arch', 'sm80', '--only', '*unpack*', '--out', at('out'), '--dry-run', '--json']);
    assert.is(exitCode, 0, stderr);
    written.push((JSON.parse(stdout) as { add: string[] }).add.filter((name) => name.endsWith('.cu')));
  }
  assert.equal(written[0]!.map((name) => /k\dc8b_v8c8bq8/.exec(name)![0]).sort(), ['k4c8b_v8c8bq8', 'k8c8b_v8c8bq8']);
  assert.equal(written[1], written[0]);
  writeFileSync(at('bad.json'), JSON.stringify([recipe, { ...recipe, windwo: 1 }]));
  assert.match((await gen(['--recipe', at('bad.json'), '--out', at('out')])).stderr, /bad\.json, layer 1 is not a recipe/);
  assert.match((await gen(['calibrate', fixture('kv-calib-small'), '--recipe', at('plan.json'), '--out', at('b')])).stderr, /codebooks are made for one recipe, not 2\n.*eval\.codebooks --plan/);
  assert.throws(() => readRecipe(at('plan.json')), /plan\.json has recipes of 3 layers, one is wanted here/);
});

together('a recipe of one\'s own is written on demand', async () => {
  const out = temporaryFolder();
  const recipe = join(out, 'mine.json');
  writeFileSync(recipe, JSON.stringify({ k: '4c8b', v: '8c8b', key: 'pre', policy: 'exact' }));
  const { exitCode, stdout, stderr } = await gen(['--recipe', recipe, '--set', 'window=64', '--head-dim', '64', '--head-dim', '128', '--out', out, '--no-compile', '--json']);
  assert.is(exitCode, 0, stderr);
  const { kernels } = JSON.parse(stdout) as { kernels: { kernel: string; effectiveBits: number | null }[] };
  assert.ok(kernels.length >= 15, 'seven ops at two head dims, n4 where look-ups serve, and what tables choose');
  assert.is(new Set(kernels.map(({ kernel }) => kernel)).size, kernels.length);
  assert.ok(kernels.some(({ kernel }) => kernel.startsWith('antkv_decode_d64_k4c8b_v8c8b_f16_pre__')) && kernels.some(({ kernel }) => kernel.startsWith('antkv_score_d128_f16_exact__')));
  assert.ok(kernels.filter(({ kernel }) => kernel.includes('decode')).every(({ effectiveBits }) => effectiveBits! > 1.5 && effectiveBits! < 2));
});

together('an architecture of which nothing is committed is written elsewhere only', async () => {
  const ofSm90 = shippedKernels().filter(({ arch }) => arch.name === 'sm90').length;
  const { exitCode, stdout, stderr } = await gen(['--arch', 'sm90', '--dry-run', '--json']);
  if (ofSm90 === 0) {
    assert.is(exitCode, 2);
    assert.match(stderr, /--arch sm90: no kernel is committed for it\n {2}fix: leave --arch out, or add --out DIR; sm80 serves newer ones/);
  } else {
    const { add, change, same } = JSON.parse(stdout) as Record<'add' | 'change' | 'same', string[]>;
    assert.is([...add, ...change, ...same].filter((path) => path.startsWith('sm90/')).length, ofSm90);
  }
  const other = await gen(['--arch', 'sm90', '--out', join(temporaryFolder(), 'x'), '--dry-run', '--json']);
  assert.is((JSON.parse(other.stdout) as { add: string[] }).add.filter((path) => path.startsWith('sm90/')).length, elsewhere('sm90'));
});

together('--only writes what matches, by kernel or contract, and leaves the rest alone', async () => {
  const out = temporaryFolder();
  await gen(['--out', out, '--no-compile', '-q', '--only', 'antkv_select']);
  assert.equal(readdirSync(join(out, 'sm80')), ['antkv_select__sm80_w32.cu']);
  const { stdout } = await gen(['--out', out, '--dry-run', '--only', 'antkv_score_*exact__*', '--json']);
  assert.is((JSON.parse(stdout) as { add: string[] }).add.filter((path) => path.endsWith('.cu')).length, names.filter((name) => /^antkv_score_.*exact__/.test(name)).length);
});

together('a further selection adds to a folder and loses nothing of it; what a newer antkv wrote there stays too', async () => {
  const out = temporaryFolder();
  const recipe = join(temporaryFolder(), 'mine.json');
  writeFileSync(recipe, JSON.stringify({ k: '4c8b', v: '8c8b', key: 'pre', policy: 'exact' }));
  const write = (...words: string[]) => gen(['--out', out, '--no-compile', ...words]);
  await write('--recipe', recipe, '--only', '*unpack*');
  const [own] = readdirSync(join(out, 'sm80'));
  assert.match(own!, /unpack_d128_k4c8b_v8c8b/);
  writeFileSync(join(out, 'sm80/antkv_later__sm80_w4.cu'), readFileSync(join(out, 'sm80', own!)));
  const more = await write('--only', 'antkv_select__sm90_w8', '--arch', 'sm90');
  assert.is(more.exitCode, 0, more.stderr);
  assert.match(more.stderr, /holds 1 more kernel: they stay/);
  assert.equal(filesIn(out).filter((file) => file.endsWith('.cu')), ['sm80/antkv_later__sm80_w4.cu', `sm80/${own}`, 'sm90/antkv_select__sm90_w8.cu']);
  for (const file of ['manifest.json', 'antkv_kernels.h']) for (const name of [own!.replace('.cu', ''), 'antkv_select__sm90_w8']) assert.ok(readFileSync(join(out, file), 'utf8').includes(name), `${name} in ${file}`);
  assert.is((await write('--recipe', recipe, '--only', '*unpack*', '--check')).exitCode, 0);
  await write('-q');
  assert.equal(filesIn(out).filter((file) => /k4c8b_v8c8b_|select__sm90_w8|later/.test(file)), [`sm80/${own}`, 'sm90/antkv_select__sm90_w8.cu']);
});

together('a whole name means that kernel, committed or not', async () => {
  const out = temporaryFolder();
  const name = 'antkv_decode_d64_k4c8b_v8c8b_f16_pre__sm90_w8_t128_s3';
  assert.is((await gen(['--out', out, '--no-compile', '-q', '--only', name])).exitCode, 0);
  assert.equal(readdirSync(join(out, 'sm90')), [`${name}.cu`]);
  const { exitCode, stderr } = await gen(['--only', name]);
  assert.is(exitCode, 2);
  assert.match(stderr, /add --out DIR/);
});

together('a compiled tree has fatbins, their numbers, and a table', async () => {
  const out = temporaryFolder();
  const { exitCode, stdout, stderr } = await gen(['--out', out, '--only', 'antkv_{combine,select}*', '--jobs', '2'], withFake(WORKS));
  assert.is(exitCode, 2, 'braces are no part of a glob');
  assert.is(stdout, '');
  assert.match(stderr, /no kernel matches/);
  const run = await gen(['--out', out, '--only', 'antkv_combine*', '--jobs', '2'], withFake(WORKS));
  assert.is(run.exitCode, 0, run.stderr);
  assert.match(run.stdout, /^kernel +registers +spills B +shared B +bits\nantkv_combine_d128_f16__sm80_w4 +40 +12 +0 +-\n/);
  assert.equal(filesIn(out).filter((file) => /fatbin|json$/.test(file)), ['build.json', 'manifest.json', 'manifest.schema.json', 'recipe.schema.json', 'sm80/antkv_combine_d128_f16__sm80_w4.fatbin', 'sm80/antkv_combine_d64_f16__sm80_w4.fatbin', 'table.schema.json']);
  assert.is((await gen(['--out', out, '--only', 'antkv_combine*', '--check'])).exitCode, 0);
});

together('a kernel that does not compile: exit 4, first error, source, command; the others are there', async () => {
  const out = temporaryFolder();
  const { exitCode, stderr } = await gen(['--out', out, '--only', '*'], withFake(`case "$src" in *select*) echo "$src(7): error: boom" >&2; exit 1;; esac\n${WORKS}`));
  assert.is(exitCode, 4);
  assert.match(stderr, /failed antkv_select__sm80_w32\n {2}sm80\/antkv_select__sm80_w32\.cu\(7\): error: boom\n {2}source {3}.*antkv_select__sm80_w32\.cu\n {2}command {2}cd .* && .*nvcc -fatbin/);
  assert.is(filesIn(out).filter((file) => file.endsWith('.fatbin')).length, names.filter((name) => !name.startsWith('antkv_select')).length);
  assert.ok(existsSync(join(out, 'sm80/antkv_select__sm80_w32.cu')));
});

together('a compile that takes too long is a failure too', async () => {
  const { exitCode, stderr } = await gen(['--out', temporaryFolder(), '--only', 'antkv_select', '--timeout', '0.3'], withFake('sleep 60'));
  assert.is(exitCode, 4);
  assert.match(stderr, /nvcc took longer than 0\.3 s/);
});

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) together(`${signal} while compiling: exit 130, no half file, no compiler left`, async () => {
  const out = temporaryFolder();
  const marker = join(temporaryFolder(), 'pid');
  const env = withFake(`echo half > "$out"; echo $$ > ${marker}.tmp; mv ${marker}.tmp ${marker}; sleep 60`);
  const child = startGen(['--out', out, '--only', 'antkv_select'], env);
  for (let i = 0; i < 200 && !existsSync(marker); i++) await new Promise((resolve) => setTimeout(resolve, 50));
  child.kill(signal);
  assert.is((await child).exitCode, 130);
  assert.equal(filesIn(out).filter((file) => /fatbin|tmp/.test(file)), []);
  assert.equal(readdirSync(env['ANTKV_CACHE']!), []);
  await new Promise((resolve) => setTimeout(resolve, 100));
  const pid = readFileSync(marker, 'utf8').trim();
  const state = existsSync(`/proc/${pid}/stat`) ? /\) (\w)/.exec(readFileSync(`/proc/${pid}/stat`, 'utf8'))?.[1] : 'gone';
  assert.ok(state === 'gone' || state === 'Z', `nvcc is ${state}`);
});

together('a folder that cannot be written is the machine\'s fault, with a fix', async () => {
  const { exitCode, stderr } = await gen(['--out', '/dev/null/x', '--no-compile']);
  assert.is(exitCode, 3);
  assert.match(stderr, /cannot write \/dev\/null\/x\/.* \(ENOTDIR\)\n {2}fix: .*--out/);
});

together('a cache that cannot be written is, too', async () => {
  const { exitCode, stderr } = await gen(['--out', temporaryFolder(), '--only', 'antkv_select'], { ...withFake(WORKS), ANTKV_CACHE: '/dev/null/cache' });
  assert.is(exitCode, 3);
  assert.match(stderr, /cannot write the build cache[\s\S]*fix: set ANTKV_CACHE/);
});

together('-q keeps stderr silent, and stdout is data alone', async () => {
  const { stdout, stderr } = await gen(['--out', temporaryFolder(), '--no-compile', '-q', '--json']);
  assert.is(stderr, '');
  const { kernels, compiled, failed, skipped } = JSON.parse(stdout) as { kernels: object[]; compiled: number; failed: unknown[]; skipped: string };
  assert.equal([kernels.length, compiled, failed.length], [names.length, 0, 0]);
  assert.match(skipped, /--no-compile/);
});

together('gen works from any folder', async () => {
  const cwd = temporaryFolder();
  mkdirSync(join(cwd, 'deep'));
  const { exitCode } = await gen(['--out', 'out', '--no-compile', '-q', '--only', 'antkv_select'], {}, { cwd: join(cwd, 'deep') });
  assert.is(exitCode, 0);
  assert.ok(existsSync(join(cwd, 'deep/out/sm80/antkv_select__sm80_w32.cu')));
});

test.run();
