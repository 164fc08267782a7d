// What the programs that show a decode step, in C and in Python, are both held to: the answer that the fixture stores, however many splits find it, and no other.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Test } from 'uvu';
import * as assert from 'uvu/assert';
import { temporaryFolder } from '../../folder.ts';
import { ROOT } from '../load/build.ts';

export const FIXTURE = join(ROOT, 'test/fixtures/decode-antkv-1.bin');

export interface Ran {
  readonly exitCode?: number | undefined;
  readonly stdout: string;
  readonly stderr: string;
}

/** Adds the tests of a program that takes `folder`, a fixture and, if wanted, the number of splits. */
export function findsTheAnswer(test: Test, folder: string, run: (args: readonly string[]) => Promise<Ran>): void {
  for (const splits of [0, 1, 3]) {
    test(`the example finds the stored answer with ${splits || 'its own number of'} splits`, async () => {
      const { exitCode, stdout, stderr } = await run([folder, FIXTURE, ...(splits ? [String(splits)] : [])]);
      assert.is(exitCode, 0, stderr);
      const [, used, error] = /^antkv_decode_d64_k8c8b_v8c8bq8_f16_pre_gain__sm80_\w+, (\d+) splits: relative error (\S+)$/.exec(stdout)!;
      assert.is(Number(used), splits || 1, '300 tokens are one step of 12 warps');
      assert.ok(Number(error) > 0 && Number(error) < 1e-3, error);
    });
  }

  test('a wrong answer is noticed', async () => {
    const broken = Buffer.from(readFileSync(FIXTURE));
    broken.writeUInt16LE(broken.readUInt16LE(64) ^ 0x8000, 64); // the sign of one channel of q
    const path = join(temporaryFolder(), 'broken.bin');
    writeFileSync(path, broken);
    const { exitCode, stdout } = await run([folder, path]);
    assert.is(exitCode, 1, stdout);
  });
}
