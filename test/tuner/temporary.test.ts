// Tests tuner/temporary.ts: folders go with the process, also when it is interrupted.
import { execa } from 'execa';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { removeTemporary, temporaryFolder } from '../../tuner/temporary.ts';

test('a folder is new and empty, and gone when removed', () => {
  const dir = temporaryFolder('antkv-test-');
  assert.ok(existsSync(dir));
  removeTemporary(dir);
  assert.not(existsSync(dir));
});

test('a process that ends in the middle leaves none', async () => {
  const module = fileURLToPath(new URL('../../tuner/temporary.ts', import.meta.url));
  const { stdout } = await execa('node', ['--import', 'tsx', '--input-type=module', '-e', `import { temporaryFolder } from ${JSON.stringify(module)}; console.log(temporaryFolder('antkv-test-')); process.exit(130);`], { reject: false, cwd: fileURLToPath(new URL('../../', import.meta.url)) });
  assert.match(stdout, /antkv-test-/);
  assert.not(existsSync(stdout));
});

test.run();
