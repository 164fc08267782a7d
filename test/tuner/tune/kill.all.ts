// gen tune on the emulated driver, killed at random moments until it is done: the journal stays whole, no measurement that was written is made again, nothing is lost.
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { drawOf } from '../../../tuner/search/chance.ts';
import { eventsOf, readJournal } from '../../../tuner/journal/read.ts';
import { of } from '../../../tuner/tune/events.ts';
import { stableDigest } from '../../../generator/stable.ts';
import { temporaryFolder } from '../../folder.ts';
import { startGen } from '../../generator/cli/run.ts';

const test = suite('tune/kill');
const KILLS = 6;
const sizeOf = (path: string): number => statSync(path, { throwIfNoEntry: false })?.size ?? 0;


test('killed again and again, a sweep comes to its end', async () => {
  const dir = temporaryFolder();
  const shapes = join(dir, 'shapes.jsonl');
  writeFileSync(shapes, [100, 200, 300, 400].map((tokens) => `${JSON.stringify({ contract: 'antkv_select', shape: { batch: 1, tokens, q_heads: 2, kv_heads: 2 } })}\n`).join(''));
  const journal = join(dir, 'tune.jsonl');
  const words = ['tune', '--only', 'antkv_select', '--arch', 'sm80', '--shapes', shapes, '--device', 'emulated', '--effort', 'quick', '--journal', journal, '--out', join(dir, 'out')];
  const start = () => startGen(words, { ANTKV_CACHE: process.env['ANTKV_CACHE'] ?? '' });
  const draw = drawOf(5);
  let kills = 0;
  let before = '';
  for (;;) {
    const child = start();
    // Counted in bytes that it writes, not in time, which is another one on every machine: before the first there is nothing to lose.
    const enough = sizeOf(journal) + 1 + draw(6000);
    const watch = kills < KILLS && setInterval(() => void (sizeOf(journal) >= enough && child.kill('SIGKILL')), 2);
    const { exitCode, signal, stderr } = await child;
    if (watch) clearInterval(watch);
    const text = readFileSync(journal, 'utf8');
    // What was written stays as it was, but for the last line of a writer that was killed.
    const kept = before.slice(0, before.lastIndexOf('\n') + 1);
    assert.ok(text.startsWith(kept));
    before = text;
    if (exitCode === 0) break;
    assert.is(signal, 'SIGKILL', String(stderr));
    kills++;
  }
  assert.ok(kills >= 2, `only ${kills} kills`);
  const events = eventsOf(readJournal(journal).lines);
  assert.is(of(events, 'settled').length, 4);
  assert.is(of(events, 'failed').filter(({ stage }) => stage !== 'confirm').length, 0);
  // Each kernel is compiled into the journal once, checked once, screened at each problem once.
  const names = of(events, 'verified').map(({ kernel }) => kernel);
  assert.is(new Set(names).size, names.length);
  const screens = of(events, 'raced').filter(({ phase }) => phase === 'screen').flatMap(({ problem, arms }) => arms.slice(1).map((arm) => stableDigest([problem, arm])));
  assert.is(new Set(screens).size, screens.length);
  // A candidate that was begun and not ended was the one at work when the process ended.
  const open = of(events, 'started').length - of(events, 'verified').length - of(events, 'raced').reduce((sum, { arms }) => sum + new Set(arms.map(({ kernel }) => kernel)).size - 1, 0);
  assert.ok(open <= kills * 8, `${open} without an end, ${kills} kills`);
  assert.ok(existsSync(join(dir, 'out/sm80/table.antkv-emulator.json')));
});

test.run();
