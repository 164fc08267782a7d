// Tests sampleRows (generator/sample.ts): what a sample is, and that antkv_sample_rows of antkv_launch.h draws the same.
import { execaSync } from 'execa';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { sampleRows } from '../../generator/sample.ts';
import { temporaryFolder } from '../folder.ts';
import { compile, generatedFolder } from '../harness/load/build.ts';

const CASES: readonly (readonly [seed: number, older: number, count: number])[] = [[1, 100, 10], [2, 100, 10], [0xffffffff, 5000, 333], [7, 20, 20], [7, 20, 90], [7, 0, 5], [7, 9, 0], [3, 100_000, 17]];

test('a sample is ascending, of the rows there are, as many as wanted, and depends on the seed', () => {
  for (const [seed, older, count] of CASES) {
    const rows = sampleRows(seed, older, count);
    assert.is(rows.length, Math.min(older, count), `${seed} ${older} ${count}`);
    assert.ok(rows.every((row, i) => row < older && row > (rows[i - 1] ?? -1)));
  }
  assert.not.equal(sampleRows(1, 100, 10), sampleRows(2, 100, 10));
});

test('every row is as likely', () => {
  const draws = 4000, hits = Array<number>(20).fill(0);
  for (let seed = 0; seed < draws; seed++) for (const row of sampleRows(seed, 20, 5)) hits[row]!++;
  // A quarter each; 5 standard deviations.
  const far = 5 * Math.sqrt(draws * 0.25 * 0.75);
  assert.ok(hits.every((n) => Math.abs(n - draws / 4) < far), hits.join(' '));
});

test('the C twin draws the same rows', async () => {
  const source = join(temporaryFolder(), 'sample.c');
  writeFileSync(source, `#include <stdio.h>
#include "antkv_launch.h"
int main(void) {
  static int32_t rows[100000];
  unsigned seed;
  int older, count, i, n;
  while (scanf("%u %d %d", &seed, &older, &count) == 3) {
    n = antkv_sample_rows(seed, older, count, rows);
    for (i = 0; i < n; i++) printf("%d ", rows[i]);
    printf("\\n");
  }
  return 0;
}
`);
  const program = await compile([source], ['-I', generatedFolder([], false), '-Wno-unused-function']);
  const { stdout } = execaSync(program, [], { input: CASES.map((numbers) => numbers.join(' ')).join('\n') });
  assert.equal(stdout.split('\n').map((line) => line.trim()), CASES.map((numbers) => sampleRows(...numbers).join(' ')));
});

test.run();
