// Tests tuner/measure-pack.ts and harness/bench/measure.sh: a pack for the emulated driver, run as a user of a machine without Node would. Built from its own sources: measure-pack.all.ts.
import { existsSync, lstatSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { copyFile, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { execa } from 'execa';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { AntkvError } from '../../generator/errors.ts';
import { kernelName, parseKernelName } from '../../generator/name.ts';
import { parseLaunch } from '../../tuner/bench-launch.ts';
import { casesOf } from '../../tuner/bench-plan.ts';
import { readRecords } from '../../tuner/bench-row.ts';
import { launchOf } from '../../tuner/bench-table.ts';
import { buildEmulator, buildRunner } from '../../tuner/host.ts';
import { packMeasure } from '../../tuner/measure-pack.ts';
import { writePackImages } from '../../tuner/pack-images.ts';
import { writeSamplePack } from '../../tuner/sample/pack.ts';
import { temporaryFolder } from '../folder.ts';
import { EXACT, ONE_BIT } from './rows.ts';

const dir = join(temporaryFolder(), 'measure');
const groups = [casesOf([parseKernelName(EXACT)], { batch: [1], tokens: [32, 128], splits: ['1', '2', '2c', '3s'].map(parseLaunch) }, 132)];
const options = { groups, samples: 2, form: 'emulated' } as const;
const requests = (): Record<string, unknown>[] => readFileSync(join(dir, 'requests.jsonl'), 'utf8').trim().split('\n').map((line) => JSON.parse(line) as Record<string, unknown>);

/** Runs measure.sh with the runner already there; Python is one that fails. */
async function measure(name: string, env: Record<string, string> = {}): Promise<{ text: string; stderr: string; exitCode: number | undefined }> {
  const out = join(dir, '..', name);
  await mkdir(out, { recursive: true });
  await copyFile(await buildRunner(), join(out, 'antkv-runner'));
  const { stderr, exitCode } = await execa('sh', [join(dir, 'measure.sh')], { reject: false, timeout: 110_000, env: { OUT: join(out, 'records.jsonl'), ANTKV_DRIVER: await buildEmulator(), PYTHON: 'false', ...env } });
  const file = join(out, 'records.jsonl');
  return { text: existsSync(file) ? readFileSync(file, 'utf8') : '', stderr, exitCode };
}

test.before(async () => void (await packMeasure(dir, options)));

test('a pack has kernels, sources, requests and the script; paths in requests are its own', () => {
  for (const path of ['measure.sh', 'baseline.py', 'baseline.json', 'pack.json', 'harness/runner/main.cc', 'harness/antkv_load.h', 'harness/reference/decode.cc', 'generated/antkv.h']) assert.ok(existsSync(join(dir, path)), path);
  const all = requests();
  assert.equal(all.map(({ id }) => id), all.map((_, i) => i + 1));
  assert.equal(all.map(({ cmd }) => cmd), ['info', 'ceilings', ...Array(5).fill('check'), ...Array(8).fill('bench')]);
  for (const { kernel } of all.slice(2)) assert.ok(existsSync(join(dir, (kernel as { image: string }).image)));
});

test('the likeliest launch of every shape comes before the second ones', () => {
  assert.equal(requests().slice(7).map(({ shape }) => (shape as { splits: number }).splits), [1, 1, 2, 2, 2, 2, 3, 3]);
});

test('measure.sh writes records that are read back: checks, and rows with their environment', async () => {
  const { text, stderr, exitCode } = await measure('a');
  assert.is(exitCode, 0, stderr);
  const { rows, checks, errors } = readRecords(text, 'records');
  assert.equal(errors, []);
  assert.equal(checks, { passed: 5, failed: [] });
  assert.equal(rows.map((row) => [row.shape.tokens, launchOf(row), row.ok]), ['1', '2', '2c', '3s'].flatMap((launch) => [[32, launch, true], [128, launch, true]]));
  assert.ok(rows.every(({ environment }) => environment.emulated));
  assert.match(stderr, /no FP16 baseline from PyTorch/);
});

test('LIMIT stops it early and says what was left out', async () => {
  const { text, stderr, exitCode } = await measure('b', { LIMIT: '0' });
  assert.is(exitCode, 0, stderr);
  assert.match(stderr, /15 requests of 15 were not run; run again/);
  assert.is(text.trim().split('\n').length, 1);
});

test('run again, it goes on with what has no answer, and measures its own ceilings; ONLY chooses', async () => {
  const first = await measure('e', { CHECKS: '0', ONLY: '"tokens":32,.*"splits":1' });
  assert.is(first.exitCode, 0, first.stderr);
  assert.equal(readRecords(first.text, 'x').rows.map((row) => [row.shape.tokens, launchOf(row)]), [[32, '1']]);
  const { text, stderr } = await measure('e', { CHECKS: '0', ONLY: '"splits":[13]' });
  assert.match(stderr, /going on with/);
  const { rows } = readRecords(text, 'x');
  assert.equal(rows.map((row) => [row.shape.tokens, launchOf(row), row.environment.run]), [[32, '1', 'x 1'], [128, '1', 'x 2'], [32, '3s', 'x 2'], [128, '3s', 'x 2']]);
});

test('records of another pack are not gone on with', async () => {
  await mkdir(join(dir, '../f'));
  writeFileSync(join(dir, '../f/records.jsonl'), '{"record":"pack","antkv":"0","nvcc":null,"requests":1,"digest":"0"}\n{"id":8}\n');
  const { text } = await measure('f', { CHECKS: '0', ONLY: '"tokens":32,.*"splits":1' });
  assert.equal(readRecords(text, 'x').rows.map(({ shape }) => shape.tokens), [32]);
});

test('a driver that is not there has exit code 3 and a fix', async () => {
  const { stderr, exitCode } = await measure('c', { ANTKV_DRIVER: '/nonexistent/libcuda.so.1' });
  assert.is(exitCode, 3);
  assert.match(stderr, /fix: install the NVIDIA driver/);
});

test('a runner that dies loses one request, not the rest', async () => {
  const out = join(dir, '..', 'd');
  await mkdir(out);
  // Answers like a runner, and crashes at the third request.
  writeFileSync(join(out, 'antkv-runner'), '#!/bin/sh\nwhile read -r line; do id=$(echo "$line" | sed \'s/.*"id":\\([0-9]*\\).*/\\1/\'); [ "$id" = 3 ] && kill -SEGV $$; echo "{\\"id\\":$id,\\"abi_version\\":1}"; done\n', { mode: 0o755 });
  const { exitCode } = await execa('sh', [join(dir, 'measure.sh')], { reject: false, env: { OUT: join(out, 'records.jsonl'), PYTHON: 'false' } });
  assert.is(exitCode, 0);
  const lines = readFileSync(join(out, 'records.jsonl'), 'utf8').trim().split('\n').slice(1).map((line) => JSON.parse(line) as { id: number; error?: string });
  assert.equal(lines.map(({ id }) => id), requests().map(({ id }) => id));
  assert.equal(lines.filter(({ error }) => error !== undefined).map(({ id }) => id), [3]);
});

test('sources are compiled once, into the folder of the records; a kernel that nvcc refuses is said and left out', async () => {
  const [pack, out] = [temporaryFolder(), temporaryFolder()];
  const kernels = [EXACT, ONE_BIT].map(parseKernelName);
  const { paths, files } = await writePackImages(kernels, pack, 'sources', () => {});
  assert.equal(files.filter((path) => path.endsWith('.cu')), kernels.map((kernel) => `sources/${kernelName(kernel)}.cu`));
  // Writes what it was told to the file behind -o; refuses the second kernel.
  const nvcc = join(out, 'nvcc');
  writeFileSync(nvcc, `#!/bin/sh\nall=$*\ncase $all in *${kernelName(kernels[1]!)}*) echo "x.cu(1): error: no"; exit 1 ;; esac\nwhile [ $# -gt 1 ]; do [ "$1" = -o ] && echo "$all" >>"$2"; shift; done\n`, { mode: 0o755 });
  for (let times = 0; times < 2; times++) {
    const { stderr, exitCode } = await execa('sh', [join(pack, 'compile.sh'), out], { env: { NVCC: nvcc } });
    assert.is(exitCode, 0);
    assert.match(stderr, /error: no/);
    assert.match(stderr, /1 of 2 kernels/);
  }
  const [first, second] = kernels.map((kernel) => join(out, paths.get(kernelName(kernel))!));
  assert.is(existsSync(second!), false);
  const said = readFileSync(first!, 'utf8').trim().split('\n');
  assert.is(said.length, 1);
  assert.match(said[0]!, new RegExp(`^-fatbin .*code=sm_80 .* ${kernelName(kernels[0]!)}\\.cu$`));
});

/** What to pack, never looked at. */
const UNREAD = { form: 'emulated', get groups(): never { throw new Error('too late'); } } as const;
const refused = (out: string, message: RegExp): Promise<void> =>
  packMeasure(out, UNREAD).then(() => assert.unreachable(out), (error: unknown) => assert.ok(error instanceof AntkvError && message.test(error.message) && error.fix !== undefined, `${out}: ${String(error)}`));

test('a pack replaces a pack, never files, records or folders of anything else; that is said before the work', async () => {
  const place = temporaryFolder();
  const at = (name: string): string => join(place, name);
  const keep = ['thesis.tex', 'other/thesis.tex', 'pack/records.jsonl', 'pack/mine/notes'];
  for (const path of ['other', 'pack/mine', 'archive.tar.gz']) await mkdir(at(path), { recursive: true });
  for (const path of [...keep, 'pack/pack.json']) writeFileSync(at(path), path);
  await refused(at('thesis.tex'), /is no folder/);
  await refused(at('other'), /other files/);
  await refused(at('pack'), /holds (mine, records\.jsonl|records\.jsonl, mine) besides/);
  await refused(at('archive.tar.gz'), /is a folder/);
  await refused('/dev/null', /is no folder/);
  for (const below of ['thesis.tex/x', 'thesis.tex/x.tar.gz']) await refused(at(below), /cannot write .*ENOTDIR/);
  for (const path of ['other', 'pack', 'thesis.tex']) await writeSamplePack(at(path), [], 'sources', () => {}).then(() => assert.unreachable(), (error: unknown) => assert.ok(error instanceof AntkvError && /besides what a pack has|is no folder/.test(error.message), path));
  assert.equal(keep.map((path) => readFileSync(at(path), 'utf8')), keep);
});

test('a pack is replaced part by part, and an archive when the new one is whole', async () => {
  const place = temporaryFolder();
  for (const path of ['pack/images', 'pack/sources']) await mkdir(join(place, path), { recursive: true });
  for (const path of ['pack/pack.json', 'pack/images/old.fatbin', 'pack/antkv-runner', 'pack.tar.gz']) writeFileSync(join(place, path), 'old');
  symlinkSync('pack', join(place, 'link'));
  await packMeasure(join(place, 'link'), options);
  assert.equal(readdirSync(join(place, 'pack'), { recursive: true }).sort(), readdirSync(dir, { recursive: true }).sort());
  assert.ok(lstatSync(join(place, 'link')).isSymbolicLink());
  await packMeasure(join(place, 'pack.tar.gz'), options);
  assert.match((await execa('tar', ['-tzf', join(place, 'pack.tar.gz')])).stdout, /^pack\/pack\.json$/m);
  assert.equal(readdirSync(place).sort(), ['link', 'pack', 'pack.tar.gz']);
});

test.run();
