// The demo as a newcomer runs it, emulated: every built preset, from an empty cache, on the fixtures that ship.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { gen } from './run.ts';

test('gen demo: every preset agrees with the reference; gain, basis and anchors lower the error', async () => {
  const { exitCode, stdout, stderr } = await gen(['demo', '--device', 'emulated', '--json'], {}, { timeout: 600_000 });
  assert.is(exitCode, 0, stderr);
  const lines = stdout.trim().split('\n').map((line) => JSON.parse(line) as { record?: string; recipe: string; window: number; error: number; errorWithAnchors: number | null; undertrained: boolean; faults: string[] });
  const rows = lines.filter(({ record }) => record === undefined);
  assert.is(lines.filter(({ record, recipe }) => record === 'simulate' && recipe === 'antkv-1').length, 8, 'the life of a cache beside the table');
  assert.equal([...new Set(rows.map(({ recipe }) => recipe))], ['antkv-4', 'antkv-2', 'antkv-1', 'antkv-1 gain=none', 'antkv-1 transform=none', 'antkv-1-fast', 'antkv-0.75', 'antkv-0.75-fast', 'antkv-0.5', 'antkv-0.375', 'f16']);
  assert.ok(rows.every(({ faults }) => faults.length === 0));
  // 4096 entries take more vectors than the fixtures hold: the demo runs them and says so.
  assert.equal([...new Set(rows.filter(({ undertrained }) => undertrained).map(({ recipe }) => recipe))], ['antkv-0.75', 'antkv-0.375']);
  for (const window of [0, 128]) {
    const at = (name: string) => rows.find((row) => row.recipe === name && row.window === window)!;
    const gain = at('antkv-1');
    for (const set of ['gain=none', 'transform=none']) assert.ok(gain.error < at(`antkv-1 ${set}`).error && gain.errorWithAnchors! < at(`antkv-1 ${set}`).errorWithAnchors!, `${set}, window ${window}`);
    assert.ok(gain.errorWithAnchors! < gain.error, `anchors, window ${window}`);
  }
  assert.ok(rows.find(({ recipe }) => recipe === 'f16')!.error < 1e-3);
  assert.match(stderr, /gain on keys: \S+ -> \S+ %/);
  assert.match(stderr, /values in a basis of their own: \S+ -> \S+ %/);
});

test.run();
