// generated/ is what the generator writes today.
import { existsSync } from 'node:fs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { ARCHS } from '../../generator/arch.ts';
import { GENERATED } from '../../generator/cli/select.ts';
import { emitAll } from '../../generator/emit.ts';
import { shippedKernels } from '../../generator/ship.ts';
import { plan } from '../../generator/write.ts';

test('generated/ is up to date', () => {
  assert.ok(existsSync(GENERATED));
  const { add, change, orphan } = plan(emitAll(shippedKernels()), GENERATED, ARCHS.map(({ name }) => name));
  assert.equal([...add, ...change, ...orphan], [], 'stale: npx gen');
});

test.run();
