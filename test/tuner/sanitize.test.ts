// Tests tuner/sanitize.ts: what logs of compute-sanitizer say, by the summaries of its manual, and a stand-in for the program.
import { chmod, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Loaded } from '../../tuner/images.ts';
import type { CheckRequest } from '../../tuner/problem.ts';
import { readLog, sanitize } from '../../tuner/sanitize.ts';
import type { Runner } from '../../tuner/runner.ts';
import { temporaryFolder } from '../folder.ts';

const BANNER = '========= COMPUTE-SANITIZER\n';

test('clean logs, of every tool', () => {
  assert.equal(readLog(`${BANNER}========= ERROR SUMMARY: 0 errors\n`), { clean: true });
  assert.equal(readLog(`${BANNER}========= RACECHECK SUMMARY: 0 hazards displayed (0 errors, 0 warnings)\n`), { clean: true });
});

test('errors and hazards: what was said, and of which kernel', () => {
  const said = readLog(`${BANNER}========= Invalid __global__ read of size 4 bytes\n=========     at antkv_select__sm80_w8+0x40\n========= ERROR SUMMARY: 1 error\n`);
  assert.ok(said && !said.clean);
  assert.equal(said.kernels, ['antkv_select__sm80_w8']);
  assert.match(said.says, /Invalid __global__ read/);
  assert.not(readLog(`${BANNER}========= RACECHECK SUMMARY: 2 hazards displayed (0 errors, 2 warnings)\n`)!.clean);
});

test('a log that breaks off says nothing', () => {
  assert.is(readLog(''), undefined);
  assert.is(readLog(BANNER), undefined);
});

/** A program called compute-sanitizer, which writes `log` and answers like a runner. */
async function standIn(log: string): Promise<string> {
  const folder = temporaryFolder();
  const program = `#!/usr/bin/env node
const words = process.argv.slice(2);
if (words[0] === '--version') { console.log('NVIDIA (R) Compute Sanitizer'); process.exit(0); }
require('node:fs').writeFileSync(words[words.indexOf('--log-file') + 1], ${JSON.stringify(log)});
const record = { device: 'd', emulated: false, driver_version: 1, memory_bytes: 1, cc: 90, multiprocessors: 1, shared_per_block: 1, abi_version: 1,
  ok: true, op: 'select', rel_l2: 0, max_abs: 0, lse_err: 0, bit_equal: true, tolerance: { rel_l2: 1, lse: 1 }, faults: [], ms: 1 };
require('node:readline').createInterface({ input: process.stdin }).on('line', (line) => {
  const { id, poison } = JSON.parse(line);
  console.log(JSON.stringify({ ...record, id, ...(poison === false && !words.includes('initcheck') ? { ok: false, faults: ['poison'] } : {}) }));
});
`;
  const path = join(folder, 'compute-sanitizer');
  await writeFile(path, program);
  await chmod(path, 0o755);
  return folder;
}

async function withPath<T>(path: string, body: () => Promise<T>): Promise<T> {
  const before = process.env['PATH'];
  process.env['PATH'] = path;
  try {
    return await body();
  } finally {
    process.env['PATH'] = before;
  }
}

const info = { device: 'd', emulated: false, driver_version: 1, memory_bytes: 1, cc: 90, multiprocessors: 1, shared_per_block: 1, abi_version: 1 };
const loaded: Loaded = { runner: {} as Runner, binary: 'runner', info, kernels: new Map(), close: async () => {} };
const request: CheckRequest = { cmd: 'check', op: 'select', kernel: { name: 'antkv_select__sm80_w8', image: 'i', op: 'select', threads: 32, tokens: 0, shared: 0, params_bytes: 8 }, shape: { token_count: [3] } };

test('four tools, one record each', async () => {
  const folder = await standIn(`${BANNER}========= ERROR SUMMARY: 0 errors\n`);
  const { records, notes } = await withPath(`${folder}:${process.env['PATH']}`, () => sanitize(loaded, [request], () => {}));
  assert.equal(notes, []);
  assert.equal(records.map(({ tool, ok, faults }) => [tool, ok, faults]), ['memcheck', 'racecheck', 'initcheck', 'synccheck'].map((tool) => [tool, true, []]));
});

test('what it finds fails, and so does a log without a summary', async () => {
  for (const [log, fault] of [[`${BANNER}========= ERROR SUMMARY: 3 errors\n`, /ERROR SUMMARY: 3 errors/], [BANNER, /no summary/]] as const) {
    const folder = await standIn(log);
    const { records } = await withPath(`${folder}:${process.env['PATH']}`, () => sanitize(loaded, [request], () => {}));
    assert.is(records.length, 4);
    for (const { ok, faults } of records) assert.ok(!ok && fault.test(faults.join()));
  }
});

test('without the program, and on the emulator, a note says why', async () => {
  assert.match((await withPath('/nonexistent', () => sanitize(loaded, [request], () => {}))).notes.join(), /not on PATH/);
  assert.match((await sanitize({ ...loaded, info: { ...info, emulated: true } }, [request], () => {})).notes.join(), /needs a GPU/);
});

test.run();
