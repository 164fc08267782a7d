// Tests covering.ts by definition.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { covering } from './covering.ts';

const AXES = { a: [1, 2, 3], b: ['x', 'y'], c: [true, false], d: [0, 1, 2, 3] } as const;

test('every pair is in a row or listed as impossible, and no row breaks the rule', () => {
  const valid = (row: { a: number; b: string }): boolean => !(row.a === 1 && row.b === 'y');
  const { rows, impossible } = covering(AXES, valid);
  assert.equal(impossible, ['a=1 b=y']);
  assert.ok(rows.every(valid));
  const names = Object.keys(AXES) as (keyof typeof AXES)[];
  for (const p of names) for (const q of names) for (const x of AXES[p]) for (const y of AXES[q]) {
    if (p >= q || (p === 'a' && q === 'b' && x === 1 && y === 'y')) continue;
    assert.ok(rows.some((row) => row[p] === x && row[q] === y), `${p}=${x} ${q}=${y}`);
  }
  assert.ok(rows.length >= 12 && rows.length <= 20, `${rows.length} rows; 12 is the least, 44 would be every valid one`);
});

test('equal input gives equal rows', () => assert.equal(covering(AXES, () => true, 5), covering(AXES, () => true, 5)));

test.run();
