// Tests generator/cli/demo.ts: what it refuses before any work. The demo itself: test/tuner/demo.test.ts and demo.all.ts.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { fixture } from '../../fixtures/paths.ts';
import { parallel } from '../../parallel.ts';
import { gen } from './run.ts';

const it = parallel(test);
const REFUSED: [what: string, words: string[], exitCode: number, message: RegExp][] = [
  ['data without calibration data', ['--data', fixture('kv-eval-small')], 2, /--data and --calib go together/],
  ['a device that is no device', ['--device', 'fast'], 2, /--device takes auto, emulated or a number, not "fast"/],
  ['policies of several recipes', ['--policies', '--preset', 'antkv-1', '--preset', 'antkv-2'], 2, /policies are compared on one recipe with codes, 2 are named/],
  ['a prompt longer than the dump', ['--policies', '--prompt', '768', '--device', 'emulated'], 2, /the prompt has 768 tokens, .*kv-eval-small\.safetensors 768/],
  ['a recipe whose rows are not those of dumps', ['--preset', 'bf16'], 2, /recipe bf16 is bf16: runs on real data have rows of f16/],
  ['no queries', ['--queries', '0'], 2, /--queries takes a whole number from 1, not 0/],
  ['an unknown preset', ['--preset', 'antkv1'], 2, /unknown preset "antkv1"[\s\S]*antkv-1/],
  ['evaluation data without queries', ['--data', fixture('kv-calib-small'), '--calib', fixture('kv-calib-small')], 2, /has no queries/],
];
for (const [what, words, exitCode, message] of REFUSED) {
  it(`refuses ${what} with exit code ${exitCode} and a fix`, async () => {
    const answer = await gen(['demo', ...words]);
    assert.match(answer.stderr, message);
    assert.match(answer.stderr, /fix: \S/);
    assert.is(answer.exitCode, exitCode, answer.stderr);
    assert.is(answer.stdout, '');
  });
}

test.run();
