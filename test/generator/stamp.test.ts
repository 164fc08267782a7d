// Tests generator/stamp.ts.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { digest, stamp, stampedInputs } from '../../generator/stamp.ts';

test('a stamp is aligned comment lines', () => {
  assert.is(stamp({ template: 't', kernel: 'k' }), '// Generated file. Do not edit.\n//   template  t\n//   kernel    k\n');
  assert.is(stamp({ remake: 'r' }, '#'), '# Generated file. Do not edit.\n#   remake  r\n');
});

test('the digest tells inputs apart, and where one ends', () => {
  assert.match(digest(['a']), /^[0-9a-f]{16}$/);
  assert.is(digest(['a', 'b']), digest(['a', 'b']));
  assert.is(new Set([['a', 'b'], ['ab'], ['b', 'a'], ['a', 'b', ''], []].map(digest)).size, 5);
});

test('the digest reads back from a stamped text', () => {
  const inputs = digest(['x']);
  assert.is(stampedInputs(`${stamp({ template: 't', inputs, remake: 'r' })}int x;\n`), inputs);
  assert.is(stampedInputs('int x;\n'), undefined);
});

test.run();
