// generated/ is what the generator writes today, its modelled table too.
import { existsSync } from 'node:fs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { ARCHS } from '../../generator/arch.ts';
import { GENERATED } from '../../generator/cli/select.ts';
import { emitAll } from '../../generator/emit.ts';
import { shippedKernels } from '../../generator/ship.ts';
import { plan } from '../../generator/write.ts';
import { gen } from './cli/run.ts';

test('generated/ is up to date', () => {
  assert.ok(existsSync(GENERATED));
  const { add, change, orphan } = plan(emitAll(shippedKernels()), GENERATED, ARCHS.map(({ name }) => name));
  assert.equal([...add, ...change, ...orphan], [], 'stale: npx gen');
});

test('the modelled table is what the model says of the kernels of today', async () => {
  const { exitCode, stdout, stderr } = await gen(['tune', 'model', '--arch', 'sm80', '--check'], {}, { timeout: 400_000 }); // a minute and a half of a core
  assert.is(exitCode, 0, `stale: npx gen tune model --arch sm80 && npx gen\n${stdout}\n${stderr}`);
});

test.run();
