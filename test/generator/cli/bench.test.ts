// Tests generator/cli/{bench,bench-options,records,device,report,pack}.ts: what they refuse, and small runs on the emulated driver.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { gridOf } from '../../../generator/cli/bench-options.ts';
import { deviceOf } from '../../../generator/cli/device.ts';
import { readRowFiles } from '../../../generator/cli/records.ts';
import { UsageError } from '../../../generator/errors.ts';
import { rowSchema } from '../../../tuner/bench-row.ts';
import { temporaryFolder } from '../../folder.ts';
import { parallel } from '../../parallel.ts';
import { EXACT, ONE_BIT, row } from '../../tuner/rows.ts';
import { gen, WITHOUT_NVCC } from './run.ts';

const it = parallel(test);
const dir = temporaryFolder();
// The cache of all tests: the runner and the emulated driver take long to build.
const SHARED = { ANTKV_CACHE: process.env['ANTKV_CACHE'] ?? '' };
const records = join(dir, 'records.jsonl');
writeFileSync(records, [row(ONE_BIT, 10), row(EXACT, 30)].map((one) => `${JSON.stringify(one)}\n`).join(''));
const wrong = join(dir, 'wrong.jsonl');
writeFileSync(wrong, JSON.stringify(row(ONE_BIT, 10, { ok: false, faults: ['17 outputs are not finite'] })));

const REFUSED: [what: string, words: string[], exitCode: number, message: RegExp][] = [
  ['an op without kernels', ['bench', '--op', 'score', '--only', '*decode*'], 2, /no score kernel is selected/],
  ['large shapes on the emulated driver', ['bench', '--device', 'emulated'], 3, /the emulated driver takes at most/],
  ['several kernels to profile', ['bench', '--profile'], 2, /--profile takes one kernel/],
  ['a report of nothing', ['report'], 2, /gen report takes one or more files/],
  ['a pack of another kind', ['pack', '--out', join(dir, 'p')], 2, /only measuring packs/],
  ['a pack without nvcc', ['pack', '--measure', '--out', join(dir, 'p')], 3, /nvcc was not found/],
];
for (const [what, words, exitCode, message] of REFUSED) {
  it(`refuses ${what} with exit code ${exitCode} and a fix`, async () => {
    const answer = await gen(words, { ...SHARED, ...WITHOUT_NVCC });
    assert.match(answer.stderr, message);
    assert.match(answer.stderr, /fix: \S/);
    assert.is(answer.exitCode, exitCode, answer.stderr);
    assert.is(answer.stdout, '');
  });
}

const grid = { arch: 'sm80', op: 'decode', batch: '1,16', tokens: '4096', splits: 'auto' } as const;
test('the grid is read from lists', () => {
  assert.equal(gridOf(grid), { batch: [1, 16], tokens: [4096], splits: 'auto' });
  assert.equal(gridOf({ ...grid, splits: '2, 4,2' }).splits, [2, 4]);
});

const MISREAD: [what: string, read: () => unknown, message: RegExp][] = [
  ['a batch that is no number', () => gridOf({ ...grid, batch: '1,x' }), /--batch takes whole numbers with commas, not "1,x"/],
  ['no tokens', () => gridOf({ ...grid, tokens: '0' }), /--tokens takes whole numbers/],
  ['splits that are no number', () => gridOf({ ...grid, splits: 'many' }), /--splits takes whole numbers/],
  ['no samples', () => gridOf({ ...grid, samples: 0 }), /--samples takes 1 to 10000/],
  ['a device that is no device', () => deviceOf('fast'), /--device takes auto, emulated or a number, not "fast"/],
];
for (const [what, read, message] of MISREAD) test(`refuses ${what}`, () => assert.throws(read, (error: Error) => error instanceof UsageError && message.test(error.message) && error.fix !== undefined));

test('a file that is not there is named', async () => {
  const read = readRowFiles({ quiet: true, verbose: false }, [join(dir, 'none.jsonl')]);
  await read.then(() => assert.unreachable(), (error: Error) => assert.match(error.message, /cannot read .*none\.jsonl \(ENOENT\)/));
});

it('without a GPU it refuses, and names pack and the emulated driver', async () => {
  writeFileSync(join(dir, 'libcuda.so.1'), ''); // found before a real one, and no library
  const { exitCode, stderr, stdout } = await gen(['bench', '--only', '*d128_kf16*'], { ...SHARED, LD_LIBRARY_PATH: dir });
  assert.is(exitCode, 3, stderr);
  assert.match(stderr, /no GPU to measure on: [\s\S]*fix: "gen pack --measure"[\s\S]*--device emulated/);
  assert.is(stdout, '');
});

it('measures on the emulated driver when told to, as a table, as records and into a file', async () => {
  const file = join(dir, 'out.jsonl');
  const words = ['bench', '--device', 'emulated', '--batch', '1', '--tokens', '32,128', '--splits', '1,2', '--samples', '2', '--only', '*d128_kf16*', '--json', '--out', file];
  const { exitCode, stdout, stderr } = await gen(words, { ...SHARED });
  assert.is(exitCode, 0, stderr);
  const rows = stdout.trim().split('\n').map((line) => rowSchema.parse(JSON.parse(line)));
  assert.equal(rows.map(({ shape, splits }) => [shape.tokens, splits]), [[32, 1], [32, 2], [128, 1], [128, 2]]);
  assert.ok(rows.every(({ ok, environment }) => ok && environment.emulated));
  assert.is(readFileSync(file, 'utf8'), stdout.endsWith('\n') ? stdout : `${stdout}\n`);
  assert.match(stderr, /emulated, times mean nothing/);
  const again = await gen(['bench', '--records', file]);
  assert.match(again.stdout, /^op +kernel +code/);
  assert.is(again.stdout.trim().split('\n').length, 3);
});

it('prints the table of records, with the speed over FP16', async () => {
  const { exitCode, stdout } = await gen(['bench', '--records', records]);
  assert.is(exitCode, 0);
  assert.match(stdout, /antkv-1 .* 10\.0 .* 3\.00$/m);
});

it('wrong results have exit code 5 and say why', async () => {
  for (const words of [['bench', '--records', wrong], ['report', wrong, '--markdown']]) {
    const { exitCode, stdout, stderr } = await gen(words);
    assert.is(exitCode, 5, stderr);
    assert.match(stdout, /WRONG/);
  }
});

it('a report is a file, or Markdown on stdout', async () => {
  const file = join(dir, 'report.html');
  assert.is((await gen(['report', records, '--out', file])).exitCode, 0);
  assert.match(readFileSync(file, 'utf8'), /^<!doctype html>[\s\S]*antkv-1[\s\S]*<\/html>\n$/);
  const { stdout } = await gen(['report', records, '--markdown']);
  assert.match(stdout, /^\| op \| kernel/);
});

test.run();
