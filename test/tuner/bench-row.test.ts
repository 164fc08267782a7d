// Tests tuner/bench-row.ts: labels of code, and every kind of file that holds records.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { InputError } from '../../generator/errors.ts';
import { codeLabel, readRecords } from '../../tuner/bench-row.ts';
import { ENVIRONMENT, ONE_BIT, row } from './rows.ts';

const spread = { median: 10, p10: 9, p90: 11, min: 9 };
const PACK = { record: 'pack', antkv: '0.1.0', nvcc: '13.0.88', requests: 4 };
const INFO = { id: 1, device: 'Test GPU', emulated: false, driver_version: 13000, memory_bytes: 8e10, cc: 90, multiprocessors: 132, shared_per_block: 232448, abi_version: 1 };
const CEILINGS = {
  id: 2, device: 'Test GPU', emulated: false, cc: 90, multiprocessors: 132, l2_bytes: 5e7, memory_bytes: 8e10, driver_version: 13000, driver: '580.1',
  clocks_idle: null, clocks_busy: { sm_mhz: 1980, memory_mhz: 3201, power_w: 600, temperature_c: 50 }, copy: { bytes: 1, us: spread, gbps: 3900 }, read: { bytes: 1, us: spread, gbps: 4400, threads: 512, ctas: 264 }, mma: null,
};
const CHECK = { id: 3, ok: true, op: 'decode', bit_equal: true, faults: [] };
const { record: _r, source: _s, code: _c, head_dim: _h, environment: _e, ...measured } = row(ONE_BIT, 10);
const BENCH = { id: 4, ...measured, b2b_steps: 16, byte_parts: { codes: 16_000_000 }, copies: 3, copy_bytes: 1, l2_bytes: 5e7, graph: true, emulated: false, check: { kind: 'full' } };
const text = (...lines: object[]): string => lines.map((line) => JSON.stringify(line)).join('\n');

test('code is named by what runs on the device', () => {
  assert.is(codeLabel('sm80', 80), 'sm_80');
  assert.is(codeLabel('sm80', 86), 'sm_80');
  assert.is(codeLabel('sm80', 90), 'sm_80 through PTX');
  assert.is(codeLabel('sm90', 90), 'sm_90');
  assert.is(codeLabel('sm90', 100), 'sm_90 through PTX');
});

test('records of a pack become rows with the environment of their run', () => {
  const { rows, checks, errors } = readRecords(text(PACK, INFO, CEILINGS, CHECK, BENCH, { id: 5, error: 'too little memory', kind: 'request', fatal: false }), 'x');
  assert.is(rows.length, 1);
  assert.is(rows[0]!.code, 'sm_80 through PTX');
  assert.is(rows[0]!.head_dim, 128);
  assert.is(rows[0]!.environment.read_gbps, 4400);
  assert.is(rows[0]!.environment.nvcc, '13.0.88');
  assert.is(rows[0]!.environment.busy_mhz, 1980);
  assert.equal(checks, { passed: 1, failed: [] });
  assert.equal(errors, ['request 5: too little memory']);
});

test('a peer takes the ceilings of the run that it belongs to, and keeps what it knows itself', () => {
  const { read_gbps: _, ...own } = ENVIRONMENT;
  const peer = { ...row('torch_sdpa_cudnn', 12), source: 'peer', environment: { ...own, driver: '580.2', nvcc: null, software: 'PyTorch' } };
  const { rows } = readRecords(text(PACK, CEILINGS, peer), 'x');
  assert.is(rows[0]!.environment.read_gbps, 4400);
  assert.is(rows[0]!.environment.driver, '580.2');
  assert.is(rows[0]!.environment.nvcc, '13.0.88');
});

test('a pack that was taken up again is several runs, each with its own ceilings and peers', () => {
  const { read_gbps: _, ...own } = ENVIRONMENT;
  const peer = { ...row('torch_sdpa_cudnn', 12), source: 'peer', environment: own };
  const { rows } = readRecords(text(PACK, CEILINGS, peer, BENCH, { ...CEILINGS, read: { ...CEILINGS.read, gbps: 4500 } }, peer, { ...BENCH, id: 5 }), 'x');
  assert.equal(rows.map(({ environment }) => [environment.run, environment.read_gbps]), [['x 1', 4400], ['x 1', 4400], ['x 2', 4500], ['x 2', 4500]]);
});

test('rows come back as they were written', () => {
  const rows = [row(ONE_BIT, 10), row(ONE_BIT, 11, { splits: 2 })];
  assert.equal(readRecords(text(...rows), 'x').rows, rows);
});

test('a torn last line is passed over and said; a first line that is none is no record', () => {
  const whole = text(PACK, CEILINGS, BENCH);
  assert.equal([readRecords(whole, 'x').torn, readRecords(`${whole}\n{"id":7,"us`, 'x').torn], [false, true]);
  assert.is(readRecords(`${whole}\n{"id":7,"us`, 'x').rows.length, 1);
});

test('a failed check is told with its faults', () => {
  assert.equal(readRecords(text({ ...CHECK, ok: false, faults: ['NaN'] }), 'x').checks, { passed: 0, failed: ['request 3 (decode): NaN'] });
});

const REFUSED: [what: string, text: string, message: RegExp][] = [
  ['no JSON', `${text(PACK)}\n{\n`, /x, line 2: not JSON/],
  ['an unknown object', text({ a: 1 }), /line 1: no record that is known/],
  ...['null', '5', '"x"', '[]'].map((line): [string, string, RegExp] => [`the line ${line}`, `${line}\n`, /line 1: no record that is known/]),
  ['ceilings that are none', text({ copy: 1 }), /line 1:[\s\S]*copy/],
  ['a failed check without its faults', text({ ...CHECK, ok: false, faults: undefined }), /line 1: a failed check without its faults/],
  ['a kernel of another name', text(row('antkv_dream', 1)), /line 1: "antkv_dream" is not a kernel's name/],
  ['a row that lacks its time', text({ ...row(ONE_BIT, 1), us: undefined }), /line 1:[\s\S]*us/],
  ['a measurement before its ceilings', text(PACK, BENCH), /line 2: a measurement without the ceilings/],
];
for (const [what, lines, message] of REFUSED) test(`refuses ${what}`, () => assert.throws(() => readRecords(lines, 'x'), (error: Error) => error instanceof InputError && message.test(error.message)));

test.run();
