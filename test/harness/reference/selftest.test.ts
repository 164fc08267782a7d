// The fp64 reference against cases worked out by hand (selftest.cc).
import { execa } from 'execa';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { buildProgram } from '../../../tuner/host.ts';

test('every case comes out as worked out by hand', async () => {
  const { stdout } = await execa(await buildProgram('reference-selftest', ['test/harness/reference', 'harness/reference']), { reject: false });
  const lines = stdout.split('\n');
  assert.equal(lines.filter((line) => !line.startsWith('ok ')), []);
  assert.ok(lines.length >= 50, `${lines.length} cases ran`);
});

test.run();
