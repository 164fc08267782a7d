// Tests tuner/cache.ts, with several processes at once.
import { execaNode } from 'execa';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { EnvironmentError } from '../../generator/errors.ts';
import { cacheDir, cached, digestOf } from '../../tuner/cache.ts';
import { temporaryFolder } from '../folder.ts';

const old = process.env['ANTKV_CACHE'];
test.before.each(() => void (process.env['ANTKV_CACHE'] = join(temporaryFolder(), 'cache')));
test.after(() => {
  if (old === undefined) delete process.env['ANTKV_CACHE'];
  else process.env['ANTKV_CACHE'] = old;
});

test('the folder is $ANTKV_CACHE, else $XDG_CACHE_HOME/antkv, else ~/.cache/antkv', () => {
  assert.is(cacheDir({ ANTKV_CACHE: '/a', XDG_CACHE_HOME: '/b' }), '/a');
  assert.is(cacheDir({ XDG_CACHE_HOME: '/b' }), '/b/antkv');
  assert.match(cacheDir({}), /\/\.cache\/antkv$/);
});

test('keys differ by every part of theirs', () => {
  assert.is(new Set([['ab', 'c'], ['a', 'bc'], ['abc'], ['c', 'ab'], []].map(digestOf)).size, 5);
});

test('a key is built once, also when it is asked for twice at the same time', async () => {
  let builds = 0;
  const build = async (dir: string): Promise<void> => {
    builds++;
    await new Promise((resolve) => setTimeout(resolve, 20));
    writeFileSync(join(dir, 'x'), 'made');
  };
  const [a, b] = await Promise.all([cached(['k'], build), cached(['k'], build)]);
  assert.is(a, b);
  assert.is(await cached(['k'], build), a);
  assert.is(builds, 1);
  assert.is(readFileSync(join(a, 'x'), 'utf8'), 'made');
  assert.is.not(await cached(['other'], build), a);
});

test('a build that throws leaves nothing, and the next one is tried', async () => {
  const boom = new Error('boom');
  await cached(['k'], async (dir) => {
    writeFileSync(join(dir, 'half'), '');
    throw boom;
  }).then(() => assert.unreachable(), (error) => assert.is(error, boom));
  assert.equal(readdirSync(cacheDir()), []);
  assert.ok(existsSync(await cached(['k'], async () => {})));
});

test('another process that was first wins, and its work is used', async () => {
  const dir = await cached(['k'], async (temporary) => {
    writeFileSync(join(temporary, 'x'), 'mine');
    const other = join(cacheDir(), digestOf(['k']));
    mkdirSync(other);
    writeFileSync(join(other, 'x'), 'theirs');
  });
  assert.is(readFileSync(join(dir, 'x'), 'utf8'), 'theirs');
  assert.equal(readdirSync(cacheDir()), [digestOf(['k'])]);
});

test('four processes agree on one folder', async () => {
  const script = join(temporaryFolder(), 'build.mts');
  writeFileSync(script, `import { cached } from ${JSON.stringify(new URL('../../tuner/cache.ts', import.meta.url).href)};
import { writeFileSync } from 'node:fs';
const dir = await cached(['shared'], async (d) => { for (let i = 0; i < 50; i++) { writeFileSync(d + '/' + i, 'x'.repeat(1000)); await new Promise((r) => setTimeout(r, 1)); } });
console.log(dir);`);
  const runs = await Promise.all([0, 1, 2, 3].map(() => execaNode(script, { nodeOptions: ['--import', 'tsx'], cwd: new URL('../..', import.meta.url) })));
  assert.is(new Set(runs.map(({ stdout }) => stdout)).size, 1);
  assert.is(readdirSync(runs[0]!.stdout).length, 50);
  assert.is(readdirSync(cacheDir()).length, 1);
});

test('Ctrl-C leaves no half folder', async () => {
  const script = join(temporaryFolder(), 'hang.mts');
  writeFileSync(script, `import { cached } from ${JSON.stringify(new URL('../../tuner/cache.ts', import.meta.url).href)};
process.on('SIGINT', () => process.exit(130));
await cached(['hang'], async () => { console.log('started'); await new Promise((r) => setTimeout(r, 60000)); });`);
  const child = execaNode(script, { nodeOptions: ['--import', 'tsx'], cwd: new URL('../..', import.meta.url), reject: false });
  await new Promise((resolve) => child.stdout.once('data', resolve));
  assert.is(readdirSync(cacheDir()).length, 1);
  child.kill('SIGINT');
  assert.is((await child).exitCode, 130);
  assert.equal(readdirSync(cacheDir()), []);
});

test('a cache that cannot be written names the fix', async () => {
  process.env['ANTKV_CACHE'] = '/dev/null/cache';
  await cached(['k'], async () => {}).then(() => assert.unreachable(), (error) => assert.ok(error instanceof EnvironmentError && /ANTKV_CACHE/.test(error.fix ?? '')));
});

test('a full disk while building names the fix', async () => {
  await cached(['k'], async () => {
    throw Object.assign(new Error('ENOSPC'), { code: 'ENOSPC' });
  }).then(() => assert.unreachable(), (error) => assert.ok(error instanceof EnvironmentError && /no space/.test(error.message)));
});

test.run();
