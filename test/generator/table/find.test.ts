// Tests generator/table/: steps, words, checks, the ladder, and test/golden/table.json, which C and Python answer too. All tables are SYNTHETIC.
import fc from 'fast-check';
import { readFileSync } from 'node:fs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { emitAll } from '../../../generator/emit.ts';
import { InputError } from '../../../generator/errors.ts';
import { kernelName, parseKernelName } from '../../../generator/name.ts';
import { kernelsToShip, servedBy, shippedContracts, shippedKernels } from '../../../generator/ship.ts';
import { misfitsOf } from '../../../generator/table/check.ts';
import { BOARDS, usualPart } from '../../../generator/table/devices.ts';
import { entriesOf } from '../../../generator/table/entries.ts';
import { find, ladder, type Ask } from '../../../generator/table/find.ts';
import { codeOf, inputsOfSource, kernelInputs } from '../../../generator/table/inputs.ts';
import { parseTable, type NamedTable } from '../../../generator/table/read.ts';
import { MODES, tableJsonSchema, tableSchema, type Identity } from '../../../generator/table/schema.ts';
import { middleOf, placeOf, stepOf, valueOf } from '../../../generator/table/steps.ts';
import { cellWord, choiceWord, keysOf, parseCell, printTable, slugOf, tablePath } from '../../../generator/table/words.ts';
import { SYNTHETIC_CONTRACTS, SYNTHETIC_DEVICES, SYNTHETIC_KERNELS, syntheticInputs, syntheticKernels, syntheticTable, syntheticTables } from '../../fixtures/tables.ts';

const golden = JSON.parse(readFileSync(new URL('../../golden/table.json', import.meta.url), 'utf8')) as { kernels: string[]; devices: Record<string, Identity>; tables: NamedTable[]; queries: (Omit<Ask, 'device'> & { device: string; answer: object })[] };
const inputs = (kernel: Parameters<typeof kernelName>[0]): string => syntheticInputs(kernelName(kernel));
const tables = syntheticTables();
const kernels = syntheticKernels();
const entries = entriesOf(tables, kernels, inputs);

test('the golden answers hold', () => {
  const own = golden.kernels.map(parseKernelName);
  const from = entriesOf(golden.tables, own, inputs);
  for (const { answer, device, ...ask } of golden.queries) {
    const got = find(from, own, { ...ask, device: golden.devices[device]! });
    assert.equal({ ...got, kernel: got.kernel ?? null, table: got.table ?? null }, answer, JSON.stringify(ask));
  }
  assert.equal([...new Set(golden.queries.map(({ answer }) => (answer as { quality: string }).quality))].sort(), ['arch', 'default', 'interpolated', 'measured', 'modelled', 'sibling', 'stale']);
});

test('steps: a value is the nearest to itself, and every number goes to the nearest value but at the bounds', () => {
  for (let step = 0; step < 62; step++) if (step !== 1) assert.is(stepOf(valueOf(step)), step);
  assert.equal([0, 1, 2, 3, 4, 5, 6, 7, 10, 14, 2 ** 31 - 1, 2 ** 40, 2 ** 49 - 1, 2 ** 60].map(stepOf), [0, 0, 2, 3, 4, 5, 5, 6, 7, 8, 62, 80, 98, 104]);
  fc.assert(fc.property(fc.integer({ min: 1, max: 2 ** 31 - 1 }), fc.integer({ min: 1, max: 2 ** 31 - 1 }), (a, b) => a > b || stepOf(a) <= stepOf(b)));
  fc.assert(fc.property(fc.integer({ min: 2, max: 2 ** 30 }), (x) => valueOf(stepOf(x)) / x <= 4 / 3 && x / valueOf(stepOf(x)) <= 4 / 3));
  const fine = { first: 0, count: 41, power: 2 } as const;
  assert.equal([0, 1, 8, 9, 10, 11, 12, 13, 14, 15, 16, 1024, 65_536].map((x) => placeOf(fine, x)), [0, 0, 12, 13, 13, 14, 14, 15, 15, 16, 16, 40, 40]);
  for (let x = 4; x <= 1024; x++) assert.ok(Math.abs(Math.log2(middleOf(fine, placeOf(fine, x)) / x)) <= 0.17, String(x));
  // Squares that 32 bits do not hold.
  const long = { first: 32, count: 41, power: 2 } as const;
  assert.equal([255, 256, 1024, 1144, 1145, 46_341, 65_536, 100_000, 262_144, 2 ** 30].map((x) => placeOf(long, x)), [0, 0, 8, 8, 9, 30, 32, 34, 40, 40]);
  assert.equal([placeOf({ first: 4, count: 3 }, 1), placeOf({ first: 4, count: 3 }, 6), placeOf({ first: 4, count: 3 }, 10 ** 9)], [0, 1, 2]);
});

test('words parse back; keys never meet, and do not hang on the order', () => {
  for (const word of ['3fa0M12', '0000D0', 'ffffX9999']) assert.is(cellWord(parseCell(word)!), word);
  for (const word of ['3fa0M', '3faM12', '3fa0Q1', '3fa0M012', '3fa0M10000', '']) assert.is(parseCell(word), undefined, word);
  assert.is(cellWord({ key: '0001', letter: 'I', regret: 12.2 }), '0001I13');
  const choices = Array.from({ length: 3000 }, (_, i) => ({ kernel: `k${i}`, ctas: i, spread: i % 2 === 0, merge: 'last' as const }));
  const keys = keysOf(choices);
  assert.is(new Set(keys.values()).size, 3000);
  assert.equal([...keysOf([...choices].reverse())], [...keys]);
  assert.ok(keys.has(choiceWord(choices[7]!)));
  assert.equal([slugOf('NVIDIA A100-SXM4-80GB'), tablePath('sm90', { name: 'NVIDIA H200' })], ['nvidia-a100-sxm4-80gb', 'sm90/table.nvidia-h200.json']);
});

test('always an answer on a device that kernels run on, whose shared memory it fits', () => {
  const shape = { batch: fc.integer({ min: 1, max: 70_000 }), kvHeads: fc.integer({ min: 1, max: 16 }), ratio: fc.integer({ min: 1, max: 16 }), qLen: fc.integer({ min: 1, max: 16 }), tokens: fc.integer({ min: 1, max: 2 ** 31 - 1 }) };
  fc.assert(fc.property(fc.record(shape), fc.constantFrom(...SYNTHETIC_CONTRACTS), fc.constantFrom(...MODES), fc.constantFrom(...Object.values(SYNTHETIC_DEVICES)), ({ ratio, kvHeads, ...rest }, contract, mode, device) => {
    const { kernel, splits, quality, regret } = find(entries, kernels, { contract, mode, device, kvHeads, qHeads: ratio * kvHeads, ...rest });
    if (kernel === undefined) return quality === 'default'; // seventy-five runs none, and little memory has no room for look-up tables
    return SYNTHETIC_KERNELS.includes(kernel) && Number(parseKernelName(kernel).arch.name.slice(2)) <= device.cc && splits >= 0 && splits <= 1024 && (regret === null ? quality === 'default' : regret >= 0 && regret <= 9999);
  }));
});

test('the ladder: the device itself, siblings, others; a table of the device wins even if modelled, and one that was modelled for another device is not asked', () => {
  const files = (contract: string, device: Identity, mode: Ask['mode'] = 'sequence'): string[] => ladder(entries, { contract, mode, device }).map(({ entry, match }) => `${match} ${entry.named.file.replace(/\.json$|table\.synthetic-/g, '')}`);
  const [fast, wide] = SYNTHETIC_CONTRACTS as [string, string];
  const { eighty, eightySlow, ninety, ninetySlow, ninetySlice, old } = SYNTHETIC_DEVICES;
  assert.equal(files(fast, eighty), ['same sm80/eighty', 'arch sm80/ninety']);
  assert.equal(files(fast, eightySlow), ['sibling sm80/eighty', 'arch sm80/ninety']);
  assert.equal(files(fast, ninety), ['same sm90/ninety', 'same sm80/ninety']);
  assert.equal(files(fast, ninety, 'spread'), ['same sm80/ninety'], 'a table without the mode is not asked');
  assert.equal(files(wide, ninetySlow), ['sibling sm80/ninety-twin', 'sibling sm80/ninety', 'arch sm80/slice']);
  assert.equal(files(wide, ninetySlice), ['same sm80/slice', 'arch sm80/ninety-twin', 'arch sm80/ninety']);
  assert.equal(files(fast, old), []);
});

test('without tables, and with one that names an unknown kernel, the default answers', () => {
  const [contract] = SYNTHETIC_CONTRACTS as [string];
  const ask: Ask = { contract, mode: 'fastest', device: SYNTHETIC_DEVICES.ninety, batch: 1, qHeads: 32, kvHeads: 8, qLen: 1, tokens: 4096 };
  const answer = find([], kernels, ask);
  assert.equal([answer.quality, answer.splits, answer.spread, answer.regret], ['default', 0, true, null]);
  assert.is(answer.kernel, `${contract}__sm90_lookup_w16_s2_c4`);
  assert.equal(entriesOf(tables, kernels.filter((kernel) => kernelName(kernel) !== answer.kernel), inputs).filter((entry) => entry.contract === contract).map(({ named }) => named.file), ['sm80/table.synthetic-eighty.json', 'sm80/table.synthetic-ninety.json']);
});

test('a broken table is refused with what is wrong', () => {
  const { table } = tables[1]!;
  const text = printTable(table);
  assert.equal(parseTable(text, 'x'), JSON.parse(text));
  const refuses = (change: (copy: any) => void, words: RegExp): void => {
    const copy = JSON.parse(text);
    change(copy);
    assert.throws(() => parseTable(JSON.stringify(copy), 'x.json'), (error: Error) => error instanceof InputError && words.test(error.message) && (error.fix ?? '') !== '', String(words));
  };
  const [contract] = Object.keys(table.contracts) as [string];
  refuses((copy) => (copy.schema = 2), /schema 2, this antkv reads 1/);
  refuses((copy) => delete copy.axes, /x\.json is not a tuning table:[\s\S]*axes/);
  refuses((copy) => copy.contracts[contract].modes.sequence.cells.pop(), /5 rows of cells, the axis has 6/);
  refuses((copy) => (copy.contracts[contract].modes.sequence.cells[0] += ' zzzzM1'), /has 6 cells[\s\S]*"zzzzM1" is no cell/);
  refuses((copy) => (copy.contracts[contract].modes.sequence.choices = {}), /names no choice/);
  refuses((copy) => (copy.kernels = {}), /is not among the kernels/);
  assert.throws(() => parseTable('{', 'x.json'), /x\.json is not JSON/);
  for (const { table: one } of tables) assert.equal(misfitsOf(one), []);
});

test('the JSON Schema covers the members of a table', () => {
  const schema = tableJsonSchema() as { properties: object; additionalProperties: boolean };
  assert.equal(Object.keys(schema.properties).sort(), Object.keys(tableSchema.shape).sort());
  assert.is(schema.additionalProperties, false);
});

test('the digest of code does not see comments and white space, and sees all else', () => {
  const code = '#define A 1 \\\n  + 2 // why\n#include "antkv.h"\nint  f(int a) { return a /* b */ +A; } // end\nconst char* s = "// no comment";\n';
  const same = '// another\n#define A 1 + 2\n#include "antkv.h"\nint f(int a) {\n  return a + A;\n}\nconst char *s = "// no comment";';
  assert.is(codeOf(code).trim(), codeOf(same).trim());
  assert.is(inputsOfSource(code), inputsOfSource(same));
  for (const [from, to] of [['+ 2', '+ 3'], ['int a', 'int b'], ['no comment', 'no  comment'], ['#define A 1', '#define A\n1']] as const) assert.is.not(inputsOfSource(code.replace(from, to)), inputsOfSource(code), to);
  const [kernel] = shippedKernels();
  assert.match(kernelInputs(kernel!), /^[0-9a-f]{16}$/);
});

test('what a table chooses ships, behind its default, and is printed for C and Python', () => {
  const { table } = tables[4]!;
  const contracts = [...shippedContracts().values()].map(({ contract }) => contract);
  const chosen = { file: 'sm90/table.synthetic-ninety.json', table: { ...table, contracts: Object.fromEntries(Object.entries(table.contracts).slice(0, 1)) } };
  const names = kernelsToShip(contracts, [chosen]).map(kernelName);
  const [contract] = Object.keys(chosen.table.contracts) as [string];
  const plain = kernelsToShip(contracts, []);
  const own = names.filter((name) => name.startsWith(`${contract}__sm90_`));
  assert.ok(own.length >= 2 && own.every((name) => name.startsWith(`${contract}__sm90_lookup_`)), own.join());
  assert.is(new Set(names).size, names.length);
  assert.ok(plain.every((kernel) => names.includes(kernelName(kernel))));
  const all = kernelsToShip(contracts, [chosen]);
  for (const { contract: each, arch } of plain) assert.is(kernelName(servedBy(all, each, arch)!), kernelName(servedBy(plain, each, arch)!), 'what is used without a table is what it was');
  const files = emitAll(all.filter(({ contract: { op } }) => op === 'decode'), [chosen]);
  assert.match(files.get('antkv_tables.h')!, /#define ANTKV_TABLE_CONTRACT_COUNT 1\n/);
  assert.match(files.get('antkv_tables.py')!, /TABLES = \(\n {4}\("sm90\/table\.synthetic-ninety\.json", 90, /);
  assert.match(emitAll(shippedKernels(), []).get('antkv_tables.h')!, /#define ANTKV_TABLE_CONTRACT_COUNT 0\n/);
});

test('a kernel that is no longer offered neither ships nor breaks anything', () => {
  const odd = `${SYNTHETIC_CONTRACTS[0]}__sm80_lookup_w5_s2_c2`;
  const text = printTable(syntheticTable({ arch: 'sm80', device: SYNTHETIC_DEVICES.eighty, contracts: [SYNTHETIC_CONTRACTS[0]!], seed: 9 })).replaceAll(`${SYNTHETIC_CONTRACTS[0]}__sm80_w4_t64_s2`, odd);
  const named = { file: 'sm80/table.odd.json', table: parseTable(text, 'odd') };
  assert.not(kernelsToShip([...shippedContracts().values()].map(({ contract }) => contract), [named]).map(kernelName).includes(odd));
  assert.equal(entriesOf([named], kernels, inputs), []);
});

test('boards and parts that have a name', () => {
  assert.is(BOARDS['NVIDIA H200']!.sms, 132);
  assert.equal([usualPart('sm80')!.sms, usualPart('sm103'), usualPart('nonsense')], [108, undefined, undefined]);
});

test.run();
