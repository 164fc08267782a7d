// Tests the look-up in C and in Python against test/golden/table.json and, for random shapes of all sizes, against generator/table/find.ts; and how long it takes in C.
import { execa } from 'execa';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { uniformInt } from 'pure-rand/distribution/uniformInt';
import { xoroshiro128plus } from 'pure-rand/generator/xoroshiro128plus';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { printHeader } from '../../../generator/bindings/c.ts';
import { printKernels } from '../../../generator/bindings/kernels.ts';
import { printTables, printTablesPython } from '../../../generator/bindings/table.ts';
import { kernelName, parseKernelName } from '../../../generator/name.ts';
import { entriesOf } from '../../../generator/table/entries.ts';
import { find, IDENTITY_KEYS, type Answer } from '../../../generator/table/find.ts';
import { flatten } from '../../../generator/table/flat.ts';
import type { NamedTable } from '../../../generator/table/read.ts';
import { MODES, type Identity, type Mode } from '../../../generator/table/schema.ts';
import { temporaryFolder } from '../../folder.ts';
import { SYNTHETIC_CONTRACTS, syntheticInputs } from '../../fixtures/tables.ts';
import { compile, ROOT } from '../load/build.ts';

interface Query {
  contract: string; device: string; mode: Mode; batch: number; qHeads: number; kvHeads: number; qLen: number; tokens: number;
  answer: Omit<Answer, 'kernel' | 'table'> & { kernel: string | null; table: string | null };
}
const GOLDEN = join(ROOT, 'test/golden/table.json');
const golden = JSON.parse(readFileSync(GOLDEN, 'utf8')) as { kernels: string[]; devices: Record<string, Identity>; tables: NamedTable[]; queries: Query[] };
const kernels = golden.kernels.map(parseKernelName);
const flat = flatten(golden.tables, kernels, (kernel) => syntheticInputs(kernelName(kernel)));

/** Questions with numbers of all sizes, most beyond what a launch takes. */
function extremeQueries(seed: number, count: number): Query[] {
  const random = xoroshiro128plus(seed);
  const pick = <T>(items: readonly T[]): T => items[uniformInt(random, 0, items.length - 1)]!;
  const most = 2 ** 31 - 1;
  const number = (): number => pick([1, 2, 3, 8, 16, 17, 65_535, 65_536, 2 ** 30, most, 0, -1, -most - 1, uniformInt(random, 1, most), uniformInt(random, 1, most) >> uniformInt(random, 0, 30), -uniformInt(random, 1, most)]);
  const entries = entriesOf(golden.tables, kernels, (kernel) => syntheticInputs(kernelName(kernel)));
  const contracts = [...SYNTHETIC_CONTRACTS, 'antkv_select'];
  return Array.from({ length: count }, () => {
    const device = pick(Object.keys(golden.devices));
    const ask = { contract: pick(contracts), mode: pick(MODES), batch: number(), qHeads: number(), kvHeads: number(), qLen: number(), tokens: number() };
    const answer = find(entries, kernels, { ...ask, device: golden.devices[device]! });
    return { ...ask, device, answer: { ...answer, kernel: answer.kernel ?? null, table: answer.table ?? null } };
  });
}
const queries = [...golden.queries, ...extremeQueries(10, 2000)];

const folder = temporaryFolder();
const QUESTIONS = join(folder, 'questions.json');
writeFileSync(QUESTIONS, JSON.stringify({ devices: golden.devices, queries }));
writeFileSync(join(folder, 'antkv.h'), printHeader([]));
writeFileSync(join(folder, 'antkv_kernels.h'), printKernels(kernels));
writeFileSync(join(folder, 'antkv_tables.h'), printTables(flat, kernels));
writeFileSync(join(folder, 'antkv_tables.py'), printTablesPython(flat, kernels));

const CLIENT = join(ROOT, 'test/harness/table/client.c');
const include = ['-I', folder, '-I', join(ROOT, 'harness')];
const question = ({ contract, device, batch, qHeads, kvHeads, qLen, tokens, mode }: Query, verb = 'find'): string =>
  [verb, contract, ...IDENTITY_KEYS.map((key) => golden.devices[device]![key]), batch, qHeads, kvHeads, qLen, tokens, MODES.indexOf(mode)].join(' ');

test('C answers every question as TypeScript does, without undefined behaviour', async () => {
  const client = await compile([CLIENT], [...include, '-g', '-fsanitize=undefined,address', '-fno-sanitize-recover=all']);
  const { stdout } = await execa(client, [], { input: queries.map((query) => question(query)).join('\n'), timeout: 20_000 });
  const want = queries.map(({ answer: { kernel, splits, spread, merge, quality, regret, table } }) => [kernel ?? '-', splits, spread ? 1 : 0, merge, quality, regret ?? -1, table ?? '-'].join(' '));
  const got = stdout.split('\n');
  assert.is(got.length, want.length);
  assert.equal(queries.flatMap((query, i) => (got[i] === want[i] ? [] : [`${question(query)}: ${got[i]}, not ${want[i]}`])), []);
});

for (const language of ['c', 'c++'] as const) {
  test(`it compiles as ${language} without a warning, with and without tables`, async () => {
    await compile([CLIENT], [...include, '-Wpedantic', '-Wshadow', '-Wconversion', '-O2'], language);
    const empty = temporaryFolder();
    for (const name of ['antkv.h', 'antkv_kernels.h']) writeFileSync(join(empty, name), readFileSync(join(folder, name)));
    writeFileSync(join(empty, 'antkv_tables.h'), printTables(flatten([], kernels), kernels));
    const client = await compile([CLIENT], ['-I', empty, '-I', join(ROOT, 'harness'), '-Wpedantic', '-Wconversion', '-O2'], language);
    const { stdout } = await execa(client, [], { input: question(golden.queries[0]!), timeout: 20_000 });
    assert.match(stdout, / default -1 -$/);
  });
}

test('a look-up in C takes less than a microsecond', async () => {
  const client = await compile([CLIENT], [...include, '-O2']);
  const hardest = golden.queries.find(({ contract, device, mode }) => contract.includes('_pre_gain') && device === 'ninety' && mode !== 'sequence')!;
  const { stdout } = await execa(client, [], { input: question(hardest, 'time'), timeout: 60_000 });
  const nanoseconds = Number(stdout.split(' ')[0]);
  assert.ok(nanoseconds > 0 && nanoseconds < 1000, `${nanoseconds} ns`);
});

test('Python answers every question as TypeScript does', async () => {
  const PYTHONPATH = [folder, join(ROOT, 'harness/python')].join(':');
  const ran = await execa('python3', ['-B', join(ROOT, 'test/harness/table/client.py'), QUESTIONS], { env: { PYTHONPATH }, reject: false, timeout: 60_000 });
  if (ran.code === 'ENOENT') return void process.stdout.write('skipped: python3 is not on PATH\n');
  assert.is(ran.stdout, `${queries.length} queries, 0 wrong`, ran.stderr);
});

test('tables of another release are refused in Python', async () => {
  const other = temporaryFolder();
  writeFileSync(join(other, 'antkv_tables.py'), printTablesPython(flat, kernels).replace(/^TABLES_VERSION = \d+$/m, 'TABLES_VERSION = 1'));
  const ask = `import antkv_table as t; t.find(${JSON.stringify(SYNTHETIC_CONTRACTS[0])}, t.Device(90, 132, 1, 1, 1, 1), batch=1, q_heads=8, kv_heads=8, tokens=1)`;
  const ran = await execa('python3', ['-B', '-c', ask], { env: { PYTHONPATH: `${other}:${join(ROOT, 'harness/python')}` }, reject: false });
  if (ran.code === 'ENOENT') return void process.stdout.write('skipped: python3 is not on PATH\n');
  assert.match(ran.stderr, /ImportError: .*antkv_tables\.py: tables of version 1, antkv_table\.py reads \d+: take both from one release/);
});

test.run();
