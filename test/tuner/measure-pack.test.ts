// Tests tuner/measure-pack.ts and harness/bench/measure.sh: a pack for the emulated driver, run as a user of a machine without Node would. Built from its own sources: measure-pack.all.ts.
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { copyFile, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { execa } from 'execa';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { InputError } from '../../generator/errors.ts';
import { parseKernelName } from '../../generator/name.ts';
import { readRecords } from '../../tuner/bench-row.ts';
import { buildEmulator, buildRunner } from '../../tuner/host.ts';
import { packMeasure } from '../../tuner/measure-pack.ts';
import { temporaryFolder } from '../folder.ts';
import { EXACT } from './rows.ts';

const dir = join(temporaryFolder(), 'measure');
const options = { kernels: [parseKernelName(EXACT)], grid: { batch: [1], tokens: [32, 128], splits: [1, 2] }, samples: 2, emulated: true } as const;
const requests = (): Record<string, unknown>[] => readFileSync(join(dir, 'requests.jsonl'), 'utf8').trim().split('\n').map((line) => JSON.parse(line) as Record<string, unknown>);

/** Runs measure.sh with the runner already there; Python is one that fails. */
async function measure(name: string, env: Record<string, string> = {}): Promise<{ text: string; stderr: string; exitCode: number | undefined }> {
  const out = join(dir, '..', name);
  await mkdir(out);
  await copyFile(await buildRunner(), join(out, 'antkv-runner'));
  const { stderr, exitCode } = await execa('sh', [join(dir, 'measure.sh')], { reject: false, timeout: 110_000, env: { OUT: join(out, 'records.jsonl'), ANTKV_DRIVER: await buildEmulator(), PYTHON: 'false', ...env } });
  const file = join(out, 'records.jsonl');
  return { text: existsSync(file) ? readFileSync(file, 'utf8') : '', stderr, exitCode };
}

test.before(async () => void (await packMeasure(dir, options)));

test('a pack has kernels, sources, requests and the script; paths in requests are its own', () => {
  for (const path of ['measure.sh', 'baseline.py', 'pack.json', 'harness/runner/main.cc', 'harness/antkv_load.h', 'harness/reference/decode.cc', 'generated/antkv.h']) assert.ok(existsSync(join(dir, path)), path);
  const all = requests();
  assert.equal(all.map(({ id }) => id), all.map((_, i) => i + 1));
  assert.equal(all.map(({ cmd }) => cmd), ['info', 'ceilings', 'check', 'check', 'bench', 'bench', 'bench', 'bench']);
  for (const { kernel } of all.slice(2)) assert.ok(existsSync(join(dir, (kernel as { image: string }).image)));
});

test('the likeliest splits of every shape come before the second ones', () => {
  assert.equal(requests().slice(4).map(({ shape }) => (shape as { splits: number }).splits), [1, 1, 2, 2]);
});

test('measure.sh writes records that are read back: checks, and rows with their environment', async () => {
  const { text, stderr, exitCode } = await measure('a');
  assert.is(exitCode, 0, stderr);
  const { rows, checks, errors } = readRecords(text, 'records');
  assert.equal(errors, []);
  assert.equal(checks, { passed: 2, failed: [] });
  assert.equal(rows.map(({ shape, splits, ok }) => [shape.tokens, splits, ok]), [[32, 1, true], [128, 1, true], [32, 2, true], [128, 2, true]]);
  assert.ok(rows.every(({ environment }) => environment.emulated));
  assert.match(stderr, /no FP16 baseline from PyTorch/);
});

test('LIMIT stops it early and says what was left out', async () => {
  const { text, stderr, exitCode } = await measure('b', { LIMIT: '0' });
  assert.is(exitCode, 0, stderr);
  assert.match(stderr, /requests 1 to 8 were not run/);
  assert.is(text.trim().split('\n').length, 1);
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
  assert.equal(lines.map(({ id }) => id), [1, 2, 3, 4, 5, 6, 7, 8]);
  assert.equal(lines.filter(({ error }) => error !== undefined).map(({ id }) => id), [3]);
});

test('a pack replaces a pack, never a folder of anything else', async () => {
  const other = temporaryFolder();
  writeFileSync(join(other, 'thesis.tex'), '');
  try {
    await packMeasure(other, options);
    assert.unreachable();
  } catch (error) {
    assert.instance(error, InputError);
  }
  assert.ok(existsSync(join(other, 'thesis.tex')));
});

test.run();
