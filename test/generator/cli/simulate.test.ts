// Tests generator/cli/simulate.ts: what it refuses before any work. The simulation itself: test/tuner/simulate.test.ts.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { temporaryFolder } from '../../folder.ts';
import { fixture } from '../../fixtures/paths.ts';
import { parallel } from '../../parallel.ts';
import { gen } from './run.ts';

const it = parallel(test);
const REFUSED: [what: string, words: string[], exitCode: number, message: RegExp][] = [
  ['data without calibration data', ['--data', fixture('kv-eval-small')], 2, /--data and --calib go together/],
  ['no steps', ['--steps', '0'], 2, /--steps takes a whole number from 1, not 0/],
  ['half a sequence', ['--batch', '0.5'], 2, /--batch takes a whole number from 1, not 0.5/],
  ['a device that is no device', ['--device', 'fast'], 2, /--device takes auto, emulated or a number, not "fast"/],
  ['two recipes', ['--preset', 'antkv-1', '--preset', 'antkv-4'], 2, /one recipe lives at a time, 2 are named/],
  ['a head dim', ['--head-dim', '64'], 2, /--head-dim has no meaning here/],
  ['a policy without an online form', ['--set', 'selection=global', '--device', 'emulated'], 2, /anchors are chosen at each flush here/],
  ['more tokens than a step may add', ['--tokens-per-step', '17'], 2, /--tokens-per-step 17: a sequence has at most 16 new rows/],
  ['a prompt longer than the dump', ['--prompt', '768', '--device', 'emulated'], 2, /the prompt has 768 tokens/],
  ['a place that cannot be written', ['--out', '/proc/antkv/records.jsonl'], 3, /cannot write/],
];
for (const [what, words, exitCode, message] of REFUSED) {
  it(`refuses ${what} with exit code ${exitCode} and a fix`, async () => {
    const answer = await gen(['simulate', ...words]);
    assert.match(answer.stderr, message);
    assert.match(answer.stderr, /fix: \S/);
    assert.is(answer.exitCode, exitCode, answer.stderr);
    assert.is(answer.stdout, '');
  });
}

it('leaves a file that is there as it was when nothing comes of the run', async () => {
  const file = join(temporaryFolder(), 'records.jsonl');
  writeFileSync(file, 'of an older run\n');
  assert.is((await gen(['simulate', '--prompt', '768', '--device', 'emulated', '--out', file])).exitCode, 2);
  assert.is(readFileSync(file, 'utf8'), 'of an older run\n');
});

test.run();
