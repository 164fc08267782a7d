// Tests generator/write.ts, with a file system that fails on demand.
import * as nodeFs from 'node:fs';
import { closeSync, existsSync, lstatSync, mkdirSync, openSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { EnvironmentError } from '../../generator/errors.ts';
import { stamp } from '../../generator/stamp.ts';
import { apply, isClean, plan, writeWhole, type Fs } from '../../generator/write.ts';
import { temporaryFolder } from '../folder.ts';

const OURS = `${stamp({ kernel: 'k' })}int x;\n`;
const FILES = new Map([['antkv.h', 'header\n'], ['sm80/antkv_a.cu', OURS], ['sm80/antkv_b.cu', OURS]]);

/** A node:fs in which `call` fails with `code`, on its `nth` call. */
function failing(call: keyof Fs, code: string, nth = 1): Fs {
  let calls = 0;
  const fail = (...args: unknown[]): unknown => {
    if (++calls === nth) throw Object.assign(new Error(code), { code });
    return (nodeFs[call] as (...a: unknown[]) => unknown)(...args);
  };
  return { ...nodeFs, [call]: fail } as unknown as Fs;
}

test('a plan says what is new, changed, equal and orphaned, and applying it makes the folder so', () => {
  const dir = temporaryFolder();
  const first = plan(FILES, dir, ['sm80']);
  assert.equal(first, { add: ['antkv.h', 'sm80/antkv_a.cu', 'sm80/antkv_b.cu'], change: [], same: [], orphan: [] });
  apply(FILES, dir, first);
  assert.ok(isClean(plan(FILES, dir, ['sm80'])));

  writeFileSync(join(dir, 'antkv.h'), 'edited\n');
  writeFileSync(join(dir, 'sm80/antkv_c.cu'), OURS);
  writeFileSync(join(dir, 'sm80/antkv_c.fatbin'), 'binary');
  writeFileSync(join(dir, 'sm80/antkv_a.fatbin'), 'binary');
  const second = plan(FILES, dir, ['sm80']);
  assert.equal(second, { add: [], change: ['antkv.h'], same: ['sm80/antkv_a.cu', 'sm80/antkv_b.cu'], orphan: ['sm80/antkv_c.cu'] });
  assert.not(isClean(second));
  apply(FILES, dir, second);
  assert.equal(readdirSync(join(dir, 'sm80')).sort(), ['antkv_a.cu', 'antkv_a.fatbin', 'antkv_b.cu']);
});

test('a changed source takes the fatbin that was made of the old one with it', () => {
  const dir = temporaryFolder();
  apply(FILES, dir, plan(FILES, dir, []));
  writeFileSync(join(dir, 'sm80/antkv_a.fatbin'), 'binary');
  const changed = new Map([...FILES, ['sm80/antkv_a.cu', `${OURS}int y;\n`] as const]);
  apply(changed, dir, plan(changed, dir, []));
  assert.not(existsSync(join(dir, 'sm80/antkv_a.fatbin')));
});

test('tables, unstamped files and files of other names are never orphans', () => {
  const dir = temporaryFolder();
  mkdirSync(join(dir, 'sm80'));
  for (const name of ['table.a100.json', 'antkv_mine.cu', 'notes.cu', 'antkv_x.txt']) writeFileSync(join(dir, 'sm80', name), name === 'notes.cu' ? OURS : 'mine\n');
  assert.equal(plan(new Map(), dir, ['sm80', 'sm90']).orphan, []);
});

test('orphans are looked for only where asked', () => {
  const dir = temporaryFolder();
  apply(FILES, dir, plan(FILES, dir, []));
  assert.equal(plan(new Map(), dir, []).orphan, []);
  assert.equal(plan(new Map(), dir, ['sm90']).orphan, []);
  assert.is(plan(new Map(), dir, ['sm80']).orphan.length, 2);
});

for (const [call, code, want] of [['writeFileSync', 'ENOSPC', /no space left/], ['writeFileSync', 'EACCES', /cannot write .*EACCES/], ['mkdirSync', 'EROFS', /cannot write .*EROFS/], ['renameSync', 'EPERM', /cannot write .*EPERM/]] as const) {
  test(`${call} failing with ${code} names the fix and leaves nothing half written`, () => {
    const dir = temporaryFolder();
    writeFileSync(join(dir, 'antkv.h'), 'old\n');
    const planned = plan(FILES, dir, []);
    assert.throws(() => apply(FILES, dir, planned, failing(call, code, 2)), (error: unknown) => error instanceof EnvironmentError && want.test(error.message) && error.fix !== undefined && error.exitCode === 3);
    const left = readdirSync(dir, { recursive: true }).map(String).filter((name) => name !== 'sm80');
    for (const name of left) assert.ok(['old\n', FILES.get(name)].includes(readFileSync(join(dir, name), 'utf8')), name);
    assert.equal(left.filter((name) => name.endsWith('.tmp')), []);
    // The same command again finishes the work.
    apply(FILES, dir, plan(FILES, dir, []));
    assert.ok(isClean(plan(FILES, dir, ['sm80'])));
  });
}

test('a write that breaks off keeps the old file', () => {
  const dir = temporaryFolder();
  const path = join(dir, 'x');
  writeWhole(path, 'old');
  for (const call of ['writeFileSync', 'renameSync'] as const) {
    assert.throws(() => writeWhole(path, 'new', failing(call, 'ENOSPC')), (error: unknown) => error instanceof EnvironmentError);
    assert.equal([readFileSync(path, 'utf8'), readdirSync(dir)], ['old', ['x']]);
  }
});

test('a link stays a link, and what it leads to is written', () => {
  const dir = temporaryFolder();
  mkdirSync(join(dir, 'far'));
  writeFileSync(join(dir, 'far/x'), 'old');
  symlinkSync('far/x', join(dir, 'link'));
  symlinkSync('link', join(dir, 'second'));
  symlinkSync('far/new', join(dir, 'dangling'));
  writeWhole(join(dir, 'second'), 'new');
  writeWhole(join(dir, 'dangling'), 'begun');
  assert.ok(['link', 'second', 'dangling'].every((name) => lstatSync(join(dir, name)).isSymbolicLink()));
  assert.equal([readFileSync(join(dir, 'far/x'), 'utf8'), readFileSync(join(dir, 'far/new'), 'utf8')], ['new', 'begun']);
  assert.equal(readdirSync(join(dir, 'far')).sort(), ['new', 'x']);
});

test('links to devices, to what a process has open and to themselves are refused, and stay', () => {
  const dir = temporaryFolder();
  const open = openSync(join(dir, 'log'), 'w');
  for (const [name, to] of [['null', '/dev/null'], ['out', `/proc/self/fd/${open}`], ['loop', 'loop']] as const) {
    const path = join(dir, name);
    symlinkSync(to, path);
    assert.throws(() => writeWhole(path, 'new'), (error: unknown) => error instanceof EnvironmentError && /it is no regular file|a process has it open|in a circle/.test(error.message) && error.fix !== undefined, name);
    assert.ok(lstatSync(path).isSymbolicLink());
  }
  closeSync(open);
  assert.equal(readdirSync(dir).sort(), ['log', 'loop', 'null', 'out']);
});

test('a name that is too long is the user\'s to mend', () => {
  assert.throws(() => writeWhole(join(temporaryFolder(), 'x'.repeat(300)), 'new'), (error: unknown) => error instanceof EnvironmentError && /ENAMETOOLONG/.test(error.message));
});

test('a folder that cannot be read or made is the user\'s to mend', () => {
  assert.throws(() => plan(FILES, temporaryFolder(), [], failing('readFileSync', 'EACCES')), (error: unknown) => error instanceof EnvironmentError && /cannot read/.test(error.message));
  assert.throws(() => apply(FILES, '/dev/null/x', plan(FILES, '/dev/null/x', ['sm80'])), (error: unknown) => error instanceof EnvironmentError && /cannot write \/dev\/null\/x\/antkv\.h \(ENOTDIR\)/.test(error.message));
});

test('a fault that is no fault of the machine is not dressed up', () => {
  assert.throws(() => writeWhole(join(temporaryFolder(), 'x'), 'new', failing('writeFileSync', 'EWHATEVER')), (error: unknown) => !(error instanceof EnvironmentError));
});

test.run();
