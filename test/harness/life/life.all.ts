// Thousands of steps of random lives: seeds, recipes, shapes; each at least once forks, rejects, hands anchors back and uses pages again.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { Runner } from '../../../tuner/runner.ts';
import { emulatedRunner } from '../ops/lab.ts';
import { lifeKernels, mustLive, type Life } from './lab.ts';

const test = suite('life, thousands of steps');
let runner: Runner;
test('the runner builds', async () => void (runner = await emulatedRunner()));
test.after(() => runner?.close());

// A request has two minutes: thousands of steps are several lives.
const LONG: Life = { steps: 400, shape: { budget_permille: 50, first_tokens: 2, sequences: 5, rows: 8, splits: 2, max_tokens: 600 }, events: { prefix: 100, fork: 60, end: 15, turn: 60 } };
/** Look-up kernels take a fifth of a second a step here. */
const SHORT: Life = { ...LONG, steps: 150, events: { prefix: 200, fork: 100, end: 25, turn: 200, truncate: 100 } };
const LIVES: readonly (readonly [words: string, seeds: readonly number[], life: Life])[] = [
  ['d64 4c8b/4c8bq8 pre gain', [101, 102, 103], LONG],
  ['d64 4c8b/4c8bq8 pre gain', [111, 112, 113], { ...LONG, shape: { ...LONG.shape, merge: 'combine', page_size: 32, flush_block: 64, window: 40, index: 'csr' } }],
  ['d128 8c8b/8c8bq8 pre gain n4', [121, 122], { ...SHORT, shape: { ...LONG.shape, page_size: 64, flush_block: 64, window: 64, q_heads: 8, rows: 4 } }],
  ['d64 8c8b/f16 post', [131, 132], LONG],
  ['d64 f16/4c8b post', [141], LONG],
  ['d128 16c8b/16c8bq8 post gain', [151, 152], { ...SHORT, shape: { ...LONG.shape, kv_heads: 1, q_heads: 16, rows: 2 } }],
];
for (const [words, seeds, life] of LIVES) {
  test(`${words}, ${life.shape.page_size ?? 16}-token pages, seeds ${seeds.join(', ')}`, async () => {
    const total: Record<string, number> = {};
    for (const seed of seeds) {
      const { events } = await mustLive(runner, await lifeKernels(words), { ...life, seed });
      for (const [event, count] of Object.entries(events)) total[event] = (total[event] ?? 0) + count;
    }
    const said = JSON.stringify(total);
    for (const event of ['ends', 'forks', 'prefixes', 'truncations', 'turns', 'rejected', 'flushes', 'handed_back']) assert.ok(total[event]! > 0, `${event}: ${said}`);
    assert.is(total['copied_pages'], 0);
    assert.ok(total['code_ties']! <= total['codes']! / 1000 && total['anchor_ties']! <= total['found']! / 100, said);
  });
}

test('exact rows, 2000 steps', async () => {
  for (const seed of [161, 162]) {
    const { events: e } = await mustLive(runner, await lifeKernels('d64 f16/f16 post'), { seed, steps: 1000, shape: { splits: 2, page_size: 32, sequences: 6 }, events: { fork: 150, truncate: 100 } });
    assert.ok(e['copied_pages']! > 0 && e['truncations']! > 0);
  }
});

test.run();
