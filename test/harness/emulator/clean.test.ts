// Correct kernels give the plain C++ answers, whatever the order of fibres.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { build, run } from './build.ts';

interface Line {
  readonly case: string;
  readonly order: number;
  readonly code: number;
  readonly words: number;
  readonly wrong: number;
  readonly first: number;
  readonly got: string;
  readonly report: string;
}

const built = await build();
const CASES = ['addresses', 'arithmetic', 'bytes', 'fragments', 'halves', 'lookups', 'matrix', 'merge', 'packed', 'pipeline', 'sparse', 'votes', 'widths'];
const ORDERS = [0, 1, 2, 3, 4711];

if (built) {
  test('every accessor, under several fibre orders', async () => {
    const lines = await run<Line>(built, 'clean', [await built.kernel('clean'), ...ORDERS]);
    for (const line of lines) {
      assert.is(line.code, 0, `${line.case}, order ${line.order}: ${line.report}`);
      assert.is(line.report, '');
      assert.is(line.wrong, 0, `${line.case}, order ${line.order}: word ${line.first} is ${line.got}`);
    }
    assert.equal([...new Set(lines.map((line) => line.case))].sort(), CASES);
    assert.is(lines.length, CASES.length * ORDERS.length);
  });
}

test.run();
