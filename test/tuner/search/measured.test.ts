// Plays every search on what an H200 measured, journal by journal: evaluations to come within 2 % of the best of each problem, beside random order. No GPU.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { RecordedSpace } from '../../../tuner/search/recorded.ts';
import { armsIn, JOURNALS, spacesOf, standingsOver } from './measured.ts';

const SEEDS = 10;
const recorded = new Map<string, RecordedSpace[]>(JOURNALS.map((journal) => [journal, spacesOf(journal)]));
const all = [...recorded.values()].flat();

test('thousands of tiles with their launches, measured on a device', () => {
  assert.ok(all.reduce((sum, space) => sum + armsIn(space), 0) > 5000);
  assert.ok(all.every(({ header }) => header.origin === 'measured' && header.rows === 'arms'));
});

test('launches of a kernel stand in the order in which a sweep tries them, not in that of their times', () => {
  const sorted = all.map(({ rows }) => {
    const own = rows.filter(({ fields }) => JSON.stringify({ ...fields, launch: '' }) === JSON.stringify({ ...rows[0]!.fields, launch: '' })).map(({ us }) => us[0] ?? Infinity);
    return own.every((us, i) => i === 0 || us >= own[i - 1]!);
  });
  assert.ok(sorted.filter((so) => so).length < sorted.length / 2, `${sorted.filter((so) => so).length} of ${sorted.length}`);
});

for (const [journal, spaces] of recorded) {
  test(`${journal}: local search needs at most nine tenths of random's evaluations, the model's order a fifth more at most`, () => {
    const standings = standingsOver(spaces, SEEDS);
    const [exhaustive, ils, random] = ['exhaustive', 'ils', 'random'].map((name) => standings.get(name)!);
    const words = JSON.stringify([...standings]);
    assert.ok(ils!.median <= 0.9 * random!.median, words);
    assert.ok(ils!.p90 <= 0.8 * random!.p90, words);
    // Quick sweeps measured the model's eight likeliest kernels alone: within those its order has little left to say, and ten random orders differ by some per cent.
    assert.ok(exhaustive!.median <= 1.21 * random!.median, words);
    assert.ok(ils!.ended <= 1.01, words);
  });
}

test.run();
