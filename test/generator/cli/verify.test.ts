// Tests generator/cli/verify.ts: what it refuses before any work, one kernel on the emulated driver, and what a wrong answer looks like.
import { execaSync } from 'execa';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { verifyRecordSchema } from '../../../tuner/problem.ts';
import { parallel } from '../../parallel.ts';
import { gen } from './run.ts';

const it = parallel(test);
const REFUSED: [what: string, words: string[], message: RegExp][] = [
  ['a glob that matches nothing', ['--only', 'antkv_decod_*'], /no kernel matches/],
  ['a shape that the op does not have', ['--device', 'emulated', '--only', 'antkv_select', '--shape', '{"coded_len":[3]}'], /--shape is no shape of select/],
  ['a shape for several ops', ['--shape', '{"rows":3}'], /--shape is of one op/],
];
for (const [what, words, message] of REFUSED) {
  it(`refuses ${what} with a fix`, async () => {
    const answer = await gen(['verify', ...words]);
    assert.match(answer.stderr, message);
    assert.match(answer.stderr, /fix: \S/);
    assert.is(answer.exitCode, 2, answer.stderr);
    assert.is(answer.stdout, '');
  });
}

const compiler = process.env['CXX'] ?? 'g++';
const compiles = execaSync(compiler, ['--version'], { reject: false }).exitCode === 0;
if (!compiles) console.log(`skipped: nothing is verified, no ${compiler}`);
else {
  const only = ['verify', '--device', 'emulated', '--only', 'antkv_combine_d64_f16'];
  // The suite's own cache holds runner and emulator already; a cache of the command line's tests would build them again.
  const SHARED = { ANTKV_CACHE: process.env['ANTKV_CACHE'] };
  it('one line per kernel; exit code 0', async () => {
    const { exitCode, stdout, stderr } = await gen([...only, '--quick'], SHARED as Record<string, string>);
    assert.is(exitCode, 0, stderr);
    assert.match(stdout, /^antkv_combine_d64_f16__sm80_w4 +3 +0 +\d\.\de-\d.* ok$/m);
    assert.match(stderr, /3 of 3 checks passed/);
  });
  it('a check that fails: exit code 5, the fault, the command that repeats it; --json: one record per check', async () => {
    const { exitCode, stdout, stderr } = await gen([...only, '--json', '--seed', '5', '--shape', '{"rows":100,"splits":8}'], { ...SHARED, ANTKV_EMU_MEMORY: '100000' } as Record<string, string>);
    assert.is(exitCode, 5, stderr);
    const records = stdout.trim().split('\n').map((line) => verifyRecordSchema.parse(JSON.parse(line)));
    assert.equal(records.map(({ kernel, ok, seed, shape }) => [kernel, ok, seed, shape]), [['antkv_combine_d64_f16__sm80_w4', false, 5, { rows: 100, splits: 8 }]]);
    assert.match(stderr, /failed antkv_combine_d64_f16__sm80_w4 \(given\)\n +cuMemAlloc/);
    assert.match(stderr, /again: gen verify --device emulated --only antkv_combine_d64_f16__sm80_w4 --seed 5 --shape '\{"rows":100,"splits":8\}'/);
  });
}

test.run();
