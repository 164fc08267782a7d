// The whole way of a pack: archive, unpack, build the runner from the sources in it, measure, read back. Half a minute of g++.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { execa } from 'execa';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { parseKernelName } from '../../generator/name.ts';
import { casesOf } from '../../tuner/bench-plan.ts';
import { readRecords } from '../../tuner/bench-row.ts';
import { buildEmulator } from '../../tuner/host.ts';
import { packMeasure } from '../../tuner/measure-pack.ts';
import { temporaryFolder } from '../folder.ts';
import { EXACT, ONE_BIT } from './rows.ts';

test('an archive is measured where nothing but g++ and a driver is', async () => {
  const dir = temporaryFolder();
  await packMeasure(join(dir, 'measure.tar.gz'), { groups: [casesOf([ONE_BIT, EXACT].map(parseKernelName), { batch: [1, 2], tokens: [256], splits: 'auto' }, 132)], samples: 2, form: 'emulated' });
  await execa('tar', ['-xzf', 'measure.tar.gz'], { cwd: dir });
  const { exitCode, stderr } = await execa('sh', ['measure.sh'], { cwd: join(dir, 'measure'), reject: false, env: { ANTKV_DRIVER: await buildEmulator(), PYTHON: 'false' } });
  assert.is(exitCode, 0, stderr);
  const { rows, checks, errors } = readRecords(readFileSync(join(dir, 'measure/records.jsonl'), 'utf8'), 'records');
  assert.equal(errors, []);
  assert.equal(checks, { passed: 10, failed: [] });
  assert.ok(rows.length >= 4 && rows.every(({ ok }) => ok));
});

test.run();
