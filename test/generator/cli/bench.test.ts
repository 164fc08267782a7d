// Tests generator/cli/{bench,bench-options,records,device,report,pack}.ts: what they refuse, and small runs on the emulated driver.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { gridOf, planOf } from '../../../generator/cli/bench-options.ts';
import { deviceOf } from '../../../generator/cli/device.ts';
import { readRowFiles } from '../../../generator/cli/records.ts';
import { UsageError } from '../../../generator/errors.ts';
import { kernelName } from '../../../generator/name.ts';
import { shippedKernels } from '../../../generator/ship.ts';
import { rowSchema } from '../../../tuner/bench-row.ts';
import { GOALS } from '../../../tuner/goals.ts';
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
  ['an output that cannot be written, before the work', ['bench', '--out', join(records, 'x')], 3, /cannot write .*ENOTDIR/],
  ['options of a measurement with --records', ['bench', '--records', records, '--samples', '3'], 2, /--records measures nothing: --samples has no meaning/],
  ['one of several globs that matches nothing', ['bench', '--sheet', 'goals', '--only', '*decode*,*decod_*'], 2, /--only \*decod_\*: no kernel of the sheets matches/],
  ['several kernels to profile', ['bench', '--profile'], 2, /--profile takes one kernel/],
  ['a folder without a name', ['bench', '--keep', '', '--only', EXACT], 2, /--keep is empty/],
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

const grid = { batch: '1,16', tokens: '4096', splits: 'auto' } as const;
const archs = { sheet: 'sm90', other: 'sm80' };
const plan = (options: object) => planOf({ tiles: 'default', splits: 'auto', ...options }, archs);
test('the grid is read from lists', async () => {
  assert.equal(await gridOf(grid), { batch: [1, 16], tokens: [4096], splits: 'auto' });
  assert.equal(await gridOf({ splits: 'auto', codes: 'zipf' }), { batch: [1, 16], tokens: [4096, 32768, 131072], splits: 'auto', codes: 'zipf' });
  const { splits } = await gridOf({ ...grid, splits: '2, 4s,2,2c' });
  assert.equal(splits, [{ splits: 2, spread: false, merge: 'last' }, { splits: 4, spread: true, merge: 'last' }, { splits: 2, spread: false, merge: 'combine' }]);
  assert.equal(await gridOf({ ...grid, rows: 'all', sampled: 100 }), { batch: [1, 16], tokens: [4096], splits: 'auto', rows: 'all', sampledPermille: 100 });
});

const named = async (options: Partial<Parameters<typeof planOf>[0]>): Promise<string[]> => [...new Set((await planOf({ tiles: 'default', splits: 'auto', ...options }, archs)).groups(132).flat().map(({ kernel }) => kernelName(kernel)))];

test('without a word about kernels or shapes the goals are measured, by sm90 kernels; else what is chosen', async () => {
  const goals = await named({});
  assert.is(goals.length, GOALS.length + 1);
  assert.ok(goals.every((name) => name.includes('__sm90_')));
  assert.equal(goals, await named({ sheet: 'goals' }));
  const exact = await named({ only: '*decode_d128_kf16*' });
  assert.is(exact[0], EXACT);
  assert.ok(exact.every((name) => name.startsWith('antkv_decode_d128_kf16_vf16_f16__sm80_')), 'the default, and what a table chooses');
  assert.ok((await named({ batch: '1' })).every((name) => name.includes('__sm80_')));
});

test('sheets: all or some, chosen kernels, tiles by name or all that are worth a race', async () => {
  const [first, ...rest] = await named({ sheet: 'goals,codes', only: '*k4c8b*', tiles: 'lookup_w16_s2_c4,lookup_w12_s1_c4,w4_t64_s2', arch: 'sm90' });
  assert.match(first!, /kf16/);
  const tilesOf = (contract: string): string[] => rest.filter((name) => name.startsWith(`${contract}__`)).map((name) => name.replace(/^.*__sm90_/, '')).sort();
  assert.equal(tilesOf('antkv_decode_d128_k4c8b_v4c8bq8_f16_n4'), ['lookup_w12_s1_c4', 'lookup_w16_s2_c4', 'w4_t64_s2']);
  assert.equal(tilesOf('antkv_decode_d128_k4c8b_v4c8bq8_f16_pre_n4'), ['lookup_w12_s1_c4', 'w4_t64_s2'], 'the other does not fit shared memory');
  assert.ok(rest.every((name) => name.includes('k4c8b')));
  assert.ok((await named({ sheet: 'all' })).length > (await named({ sheet: 'goals' })).length);
  assert.ok((await named({ tiles: 'all' })).length > 3 * GOALS.length);
  const shipped = new Set(shippedKernels().map(kernelName));
  const coded = (names: readonly string[]): string[] => names.filter((name) => shipped.has(name) && !name.includes('kf16'));
  assert.ok(coded(await named({ tiles: 'shipped' })).length > coded(await named({})).length, 'what a table chooses beside the default');
});

const MISREAD: [what: string, read: () => unknown, message: RegExp][] = [
  ['a batch that is no number', () => gridOf({ ...grid, batch: '1,x' }), /--batch takes whole numbers with commas, not "1,x"/],
  ['rows that are no number', () => gridOf({ ...grid, rows: '1,2' }), /--rows takes a whole number or all, not "1,2"/],
  ['a sample of no rows', () => gridOf({ ...grid, sampled: 100 }), /--sampled takes 1 to 1000, with --rows/],
  ['no tokens', () => gridOf({ ...grid, tokens: '0' }), /--tokens takes whole numbers/],
  ['splits that are no number', () => gridOf({ ...grid, splits: 'many' }), /--splits takes numbers/],
  ['no samples', () => gridOf({ ...grid, samples: 0 }), /--samples takes 1 to 10000/],
  ['splits that no launch has', () => gridOf({ ...grid, splits: '2x' }), /--splits takes numbers/],
  ['a sheet that is none', () => plan({ sheet: 'goals,beds' }), /there is no sheet "beds"/],
  ['a sheet of another op', () => plan({ sheet: 'goals', op: 'encode' }), /sheets have their own contracts/],
  ['shapes that no sheet has', () => plan({ sheet: 'goals', tokens: '77' }), /no sheet has such shapes/],
  ['kernels that no sheet has', () => plan({ sheet: 'goals', only: '*encode*' }), /no kernel of the sheets matches/],
  ['tiles that no kernel has', () => plan({ tiles: 'lookup_w16' }), /--tiles takes shipped, default, all, or tiles/],
  ['a device that is no device', () => deviceOf('fast'), /--device takes auto, emulated or a number, not "fast"/],
];
for (const [what, read, message] of MISREAD) {
  test(`refuses ${what}`, async () => {
    const error = await (async () => read())().then(() => undefined, (e: unknown) => e);
    assert.ok(error instanceof UsageError && message.test(error.message) && error.fix !== undefined, String(error));
  });
}

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
  const words = ['bench', '--device', 'emulated', '--batch', '1', '--tokens', '32,128', '--splits', '1,2', '--samples', '2', '--only', EXACT, '--json', '--out', file];
  const { exitCode, stdout, stderr } = await gen(words, { ...SHARED });
  assert.is(exitCode, 0, stderr);
  const rows = stdout.trim().split('\n').map((line) => rowSchema.parse(JSON.parse(line)));
  assert.equal(rows.map(({ shape, splits }) => [shape.tokens, splits]), [[32, 1], [128, 1], [32, 2], [128, 2]]);
  assert.ok(rows.every(({ ok, environment }) => ok && environment.emulated));
  assert.is(readFileSync(file, 'utf8'), stdout.endsWith('\n') ? stdout : `${stdout}\n`);
  assert.match(stderr, /emulated, times mean nothing/);
  const again = await gen(['bench', '--records', file]);
  assert.match(again.stdout, /^op +kernel +code/);
  assert.is(again.stdout.trim().split('\n').length, 3);
});

it('prints the table of records, with the speed over FP16, and the goals as its last page', async () => {
  const goal = row(ONE_BIT, 10, { shape: { batch: 16, tokens: 4096, q_heads: 32, kv_heads: 8 } });
  const file = join(dir, 'goals.jsonl');
  writeFileSync(file, [goal, row(EXACT, 30, { shape: goal.shape }), row(ONE_BIT, 10), row(EXACT, 30)].map((one) => `${JSON.stringify(one)}\n`).join(''));
  const { exitCode, stdout } = await gen(['bench', '--records', file]);
  assert.is(exitCode, 0);
  assert.match(stdout, /antkv-1 .* 10\.0 .* 3\.00$/m);
  assert.match(stdout, /\n\nSpeed over the best FP16 kernel[^\n]*\nK \/ V[\s\S]*1 bit \+ gain, pre .* 3\.00 ✓✓ \(2 \/ 3\) .*\n[\s\S]*Reach: 2 of 28[^\n]*\n[^\n]*$/);
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
