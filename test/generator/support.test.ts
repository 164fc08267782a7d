// Tests generator/support.ts: the matrix of SUPPORT.md is that of today, and a state is the best that records and tables give.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { ROOT } from '../../generator/cli/select.ts';
import { countValues, MARKERS, SEEN, supportMatrix, supportSchema, withMatrix } from '../../generator/support.ts';
import { committedTables } from '../../generator/table/read.ts';

const rowOf = (matrix: string, title: string): string[] => matrix.split('\n').find((line) => line.startsWith(`| ${title}`))!.split(' | ').slice(1).map((cell) => cell.replace(/ \|$/, ''));

test('SUPPORT.md has the matrix of today', () => {
  const page = readFileSync(join(ROOT, 'generator/SUPPORT.md'), 'utf8');
  assert.ok(withMatrix(page, supportMatrix(committedTables())) === page, 'stale: gen support');
});

test('the best state stands; what nothing tried is untested', () => {
  const seen = {
    sm80: { emulated: countValues(['antkv_decode_d96_k8c8b_v8c8b_bf16_softcap']), 'NVIDIA X': countValues(['antkv_decode_d96_k8c8b_v8c8b_f16']) },
    sm120: { 'nvcc 13.0.88': countValues(['antkv_decode_d96_k8c8b_v8c8b_f16']) },
  };
  const matrix = supportMatrix([], supportSchema.parse(seen));
  assert.equal(rowOf(matrix, 'head dim `96`'), ['checked', 'untested', 'untested', 'untested', 'untested', 'compiled']);
  assert.equal(rowOf(matrix, 'softcap'), ['emulated', 'untested', 'untested', 'untested', 'untested', 'untested']);
  assert.match(matrix, /Seen by sm80: emulated, NVIDIA X; sm120: nvcc 13\.0\.88\./);
  assert.match(matrix, /Named, and not offered: .*gain `v`/);
});

test('a measured table counts for its own architecture', () => {
  const matrix = supportMatrix(committedTables(), {});
  assert.is(rowOf(matrix, 'head dim `128`')[3], 'measured');
  assert.is(rowOf(matrix, 'head dim `128`')[1], 'untested');
});

test('contracts count once', () => {
  const name = 'antkv_combine_d64_bf16';
  assert.equal(countValues([name, name]), { 'dtype=bf16': 1, 'headDim=64': 1, 'op=combine': 1 });
});

test('a page without the markers is refused', () => assert.throws(() => withMatrix(MARKERS[0], 'x'), /lacks the lines/));

test('what was seen is of architectures that exist', () => {
  for (const arch of Object.keys(SEEN)) assert.match(arch, /^sm\d+$/);
});

test.run();
