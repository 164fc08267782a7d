// Tests generator/cli/tune.ts: what it refuses, what it plans, and a sweep on the emulated driver that goes on where it ended.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { eventsOf, readJournal } from '../../../tuner/journal/read.ts';
import { temporaryFolder } from '../../folder.ts';
import { gen, WITHOUT_NVCC } from './run.ts';

const test = suite('cli/tune');
const dir = temporaryFolder();
// The cache of all tests: the runner and the emulated driver take long to build.
const SHARED = { ANTKV_CACHE: process.env['ANTKV_CACHE'] ?? '' };
const shapes = join(dir, 'shapes.jsonl');
writeFileSync(shapes, [100, 200].map((tokens) => `${JSON.stringify({ contract: 'antkv_select', shape: { batch: 1, tokens, q_heads: 2, kv_heads: 2 } })}\n`).join(''));
const journal = join(dir, 'tune.jsonl');
const SWEEP = ['tune', '--only', 'antkv_select', '--arch', 'sm80', '--shapes', shapes, '--device', 'emulated', '--effort', 'quick', '--journal', journal, '--out', join(dir, 'out')];

test('what is mistyped, or cannot be, is refused with a fix before anything happens', async () => {
  const refused: [words: string[], exitCode: number, message: RegExp][] = [
    [['tune', 'plam'], 2, /unknown command of gen tune "plam"\n {2}fix: did you mean plan/],
    [['tune', '--effort', 'huge'], 2, /effort/],
    [['tune', '--device', 'one'], 2, /--device takes all, emulated or numbers/],
    [['tune', '--budget', 'soon'], 2, /--budget takes a time/],
    [['tune', '--max-slowdown', '0.9'], 2, /--max-slowdown takes a ratio from 1/],
    [['tune', '--only', 'antkv_combine_d128_f16', '--dry-run'], 2, /nothing to tune/],
    [['tune', '--stale', '--arch', 'sm90', '--only', 'antkv_select', '--device', 'emulated', '--shapes', shapes, '--journal', join(dir, 'none.jsonl')], 2, /nothing is stale: tables hold these contracts/],
    [['tune', '--device', '0'], 3, /nvcc was not found/],
  ];
  await Promise.all(refused.map(async ([words, exitCode, message]) => {
    const answer = await gen(words, { ...SHARED, ...WITHOUT_NVCC });
    assert.match(answer.stderr, message);
    assert.match(answer.stderr, /fix: \S/);
    assert.is(answer.exitCode, exitCode, `${words.join(' ')}: ${answer.stderr}`);
  }));
});

test('--stale takes in what no table has measured, at all points', async () => {
  const { stdout, exitCode } = await gen(['tune', '--stale', '--only', 'antkv_unpack_d96_kf16_vf16_f16,antkv_select', '--arch', 'sm90', '--dry-run', '--json'], { ...SHARED, ...WITHOUT_NVCC });
  assert.is(exitCode, 0);
  const { tasks } = JSON.parse(stdout) as { tasks: { contract: string; kernels: number }[] };
  assert.equal(tasks.map(({ contract }) => contract), ['antkv_unpack_d96_kf16_vf16_f16'], 'antkv_select is in the table as it is');
  assert.ok(tasks[0]!.kernels > 1);
});

test('--dry-run prints the tasks', async () => {
  const { stdout, exitCode } = await gen(['tune', '--only', 'antkv_select', '--arch', 'sm80', '--dry-run', '--json'], { ...SHARED, ...WITHOUT_NVCC });
  assert.is(exitCode, 0);
  const { tasks } = JSON.parse(stdout) as { tasks: { contract: string; points: number; kernels: number }[] };
  assert.is(tasks.length, 1);
  assert.ok(tasks[0]!.kernels > 1);
});

test('a sweep leaves a journal and a table; again it measures nothing', async () => {
  const first = await gen([...SWEEP, '--json'], SHARED);
  assert.is(first.exitCode, 0, first.stderr);
  const told = JSON.parse(first.stdout) as { settled: number; tables: { file: string }[]; tasks: { state: string }[] };
  assert.equal([told.settled, told.tasks.map(({ state }) => state), told.tables.length], [2, ['done'], 1]);
  const events = eventsOf(readJournal(journal).lines);
  assert.is(events[0]!.event, 'header');
  for (const name of ['environment', 'ceilings', 'task', 'compiled', 'started', 'verified', 'raced', 'probe', 'settled']) assert.ok(events.some(({ event }) => event === name), name);
  assert.is((JSON.parse(readFileSync(join(dir, 'out/sm80/table.antkv-emulator.json'), 'utf8')) as { arch: string }).arch, 'sm80');
  const again = await gen(SWEEP, SHARED);
  assert.is(again.exitCode, 0, again.stderr);
  assert.match(again.stderr, /0 compiled, 0 measured in 0 rounds/);
  assert.is(readJournal(journal).lines.length, events.length);
});

test('a file that is no journal is refused', async () => {
  const { exitCode, stderr } = await gen([...SWEEP.filter((word) => word !== journal), shapes], SHARED);
  assert.is(exitCode, 2, stderr);
  assert.match(stderr, /fix: \S/);
});

test.run();
