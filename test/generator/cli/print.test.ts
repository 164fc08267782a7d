// Tests generator/cli/print.ts and config.ts.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { readConfig } from '../../../generator/cli/config.ts';
import { table } from '../../../generator/cli/print.ts';
import { InputError } from '../../../generator/errors.ts';
import { temporaryFolder } from '../../folder.ts';

test('a table aligns words left and numbers right', () => {
  assert.is(table([['name', 'n'], ['a', 5], ['long', '-'], ['b', '12.5']]), 'name     n\na        5\nlong     -\nb     12.5');
  assert.is(table([['a', 'b'], ['x', 'y']]), 'a  b\nx  y');
});

test('a config file is checked; none is none', () => {
  const path = join(temporaryFolder(), 'antkv.config.json');
  assert.equal(readConfig(path), {});
  writeFileSync(path, '{ "arch": "sm80", "head-dim": [64, 128] }');
  assert.equal(readConfig(path), { arch: 'sm80', 'head-dim': [64, 128] });
  for (const text of ['{', '[]', '{ "jobs": 0 }', '{ "unknown": 1 }']) {
    writeFileSync(path, text);
    assert.throws(() => readConfig(path), (error: unknown) => error instanceof InputError && error.message.includes(path), text);
  }
});

test.run();
