// Random lives against the simulation, a few hundred steps of each kind of recipe: every policy, both ends of the budget, both page indices, all ways to merge.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { Contract } from '../../../generator/contract.ts';
import { NO_EVENTS, type LifeRecord } from '../../../tuner/life-schema.ts';
import type { Runner } from '../../../tuner/runner.ts';
import { emulatedRunner } from '../ops/lab.ts';
import { lifeKernels, mustLive, type Life } from './lab.ts';

const test = suite('life');
const CODED = 'd64 4c8b/4c8bq8 pre gain';
const EXACT = 'd64 f16/f16 post';
let runner: Runner;

// A test, not a hook: uvu swallows what a before hook throws.
test('runner and kernels build', async () => {
  runner = await emulatedRunner();
  await Promise.all([lifeKernels(CODED), lifeKernels(CODED, 'norm'), lifeKernels(EXACT)]);
});
test.after(() => runner?.close());

/** What happened at least once, so that no life passes because nothing came to pass. */
const happened = (record: LifeRecord, ...events: (keyof LifeRecord['events'])[]): void => {
  for (const event of events) assert.ok(record.events[event]! > 0, `${event}: ${JSON.stringify(record.events)}`);
};

test('prompts, drafts, long runs, forks, prefixes, truncation, ends and new starts', async () => {
  const record = await mustLive(runner, await lifeKernels(CODED), { seed: 1, steps: 250, shape: { rows: 8, splits: 2, first_tokens: 2, budget_permille: 60 } });
  happened(record, 'starts', 'ends', 'forks', 'prefixes', 'truncations', 'turns', 'rejected', 'flushes', 'found', 'handed_back');
  assert.is(record.events['copied_pages'], 0, 'frozen_len is a multiple of the flush block: no page of codes is ever shared and written');
  assert.ok(record.events['code_ties']! <= record.events['codes']! / 1000 && record.events['anchor_ties']! <= record.events['found']! / 100, JSON.stringify(record.events));
});

const VARIANTS: readonly (readonly [what: string, life: Life, events: readonly (keyof LifeRecord['events'])[], rank?: Contract['form']])[] = [
  ['no budget', { seed: 2, steps: 60, shape: { budget_permille: 0 } }, ['flushes']],
  ['everything kept', { seed: 3, steps: 60, shape: { budget_permille: 1000 } }, ['flushes', 'found']],
  ['the smallest keys', { seed: 5, steps: 80, shape: { budget_permille: 50, policy: 1, first_tokens: 3 } }, ['found', 'handed_back'], 'norm'],
  ['OTT: a pool of 3 of the smallest keys, and the 6 that they push out', { seed: 14, steps: 80, shape: { budget_permille: 0, budget_tokens: 3, extra_tokens: 6, policy: 1, max_tokens: 400 } }, ['flushes', 'found'], 'norm'],
  ['ZipCache: prompts ranked by means', { seed: 15, steps: 60, shape: { budget_permille: 50 }, events: { turn: 150, end: 10 } }, ['found', 'handed_back'], 'saliency'],
  ['prompts ranked by what a change of a key does', { seed: 16, steps: 60, shape: { budget_permille: 50 }, events: { turn: 150, end: 10 } }, ['found', 'handed_back'], 'exact'],
  ['no anchor is handed back until there are twice as many', { seed: 17, steps: 80, shape: { budget_permille: 30, extra_tokens: 4, first_tokens: 2 } }, ['flushes', 'found']],
  ['everything kept, of a budget in tokens', { seed: 18, steps: 40, shape: { budget_tokens: 400 } }, ['flushes', 'found']],
  ['the largest keys, CSR, padding, interleaved RoPE of half the channels', { seed: 6, steps: 80, shape: { budget_permille: 50, policy: 2, index: 'csr', pad: 32, rope: { interleaved: true, rotary_dim: 32 } } }, ['found'], 'norm'],
  ['first tokens only', { seed: 7, steps: 60, shape: { budget_permille: 0, policy: 3, first_tokens: 5 } }, ['flushes', 'found']],
  ['masses by combine, pages of 32', { seed: 8, steps: 80, shape: { splits: 3, merge: 'combine', page_size: 32, flush_block: 64, window: 48 } }, ['flushes', 'found']],
  ['one line of work, 16 rows', { seed: 9, steps: 60, shape: { splits: 3, spread: true, sequences: 6, rows: 16 } }, ['rejected', 'flushes']],
  ['7 query heads per KV head, many shared prefixes', { seed: 11, steps: 80, shape: { budget_permille: 30, sequences: 6, kv_heads: 1, q_heads: 7 }, events: { prefix: 500, fork: 400, end: 100 } }, ['prefixes', 'forks']],
  ['fewer anchor pages than the budget wants', { seed: 12, steps: 80, shape: { budget_permille: 200, anchor_pages: 1, max_tokens: 400 }, events: { fork: 0, prefix: 0 } }, ['flushes', 'handed_back']],
];
for (const [what, life, events, rank] of VARIANTS) test(what, async () => happened(await mustLive(runner, await lifeKernels(CODED, rank), life), ...events));

test('a rank that does not fit its policy is refused', async () => {
  const refused = async (policy: number, rank?: Contract['form']): Promise<string> => runner.life({ cmd: 'life', kernels: await lifeKernels(CODED, rank), steps: 1, shape: { policy } }).then(() => '', (error: Error) => error.message);
  assert.match(await refused(1), /take a "rank" of form norm/);
  assert.match(await refused(0, 'norm'), /take a "rank" of form norm/);
});

test('OTT hands nothing back, and stops at pool and extra pool', async () => {
  const [pool, extra] = [3, 6];
  const shape = { budget_permille: 0, budget_tokens: pool, extra_tokens: extra, policy: 1, max_tokens: 500, sequences: 2, kv_heads: 1, q_heads: 2 };
  const record = await mustLive(runner, await lifeKernels(CODED, 'norm'), { seed: 19, steps: 330, prompt: 100, sample_every: 15, shape, events: NO_EVENTS });
  assert.is(record.events['handed_back'], 0);
  const anchors = record.samples.map((sample) => sample.anchors);
  assert.ok(anchors[0]! >= 2 * pool && anchors.every((n, i) => n <= 2 * (pool + extra) && n >= (anchors[i - 1] ?? 0)), anchors.join());
  assert.ok(anchors.at(-1)! > 2 * pool, 'some were pushed out of the pool and stayed');
});

test('trees of drafts', async () => happened(await mustLive(runner, await lifeKernels(CODED), { seed: 20, steps: 60, shape: { rows: 16, splits: 2 }, events: { draft: 700, tree: 1000 } }), 'trees', 'rejected', 'flushes'));

test('steps as CUDA graphs: captured a few times, replayed by all other steps', async () => {
  for (const shape of [{ rows: 4, splits: 2, max_tokens: 400 }, { rows: 2, splits: 3, merge: 'combine', index: 'csr', spread: true } as const]) {
    const record = await mustLive(runner, await lifeKernels(CODED), { seed: 24, steps: 100, shape: { ...shape, graph: true, first_tokens: 2 } });
    happened(record, 'flushes', 'rejected', 'forks', 'trees', 'graphs');
    assert.ok(record.events['replays']! > 4 * record.events['graphs']!, JSON.stringify(record.events));
  }
});

test('a graph leaves the bits that launches leave', async () => {
  const life = { seed: 25, steps: 50, shape: { rows: 3, splits: 2, budget_permille: 50 } };
  const [graph, launches] = [await mustLive(runner, await lifeKernels(CODED), { ...life, shape: { ...life.shape, graph: true } }), await mustLive(runner, await lifeKernels(CODED), life)];
  assert.equal(graph.digests, launches.digests);
});

test('a donor hands anchors back while others hold its anchor pages: their bits stay', async () => {
  // append may write only what is not below frozen_len: every other byte of pages and anchor rows is compared after each launch.
  const events = { ...NO_EVENTS, prefix: 200, turn: 150, start: 100, draft: 300 };
  happened(await mustLive(runner, await lifeKernels(CODED), { seed: 32, steps: 120, shape: { budget_permille: 40, max_tokens: 600 }, events }), 'prefixes', 'handed_back_shared');
});

test('long queries over a coded prefix: unpack, any attention over its rows, and combine', async () => {
  happened(await mustLive(runner, await lifeKernels(CODED), { seed: 33, steps: 40, shape: { max_tokens: 600 }, events: { ...NO_EVENTS, turn: 700, start: 300 } }), 'turns', 'flushes', 'handed_back');
});

test('exact recipes: rows go straight to pages, and a page that others hold too is copied before it is written', async () => {
  const record = await mustLive(runner, await lifeKernels(EXACT), { seed: 4, steps: 150, shape: { splits: 2, page_size: 32 }, events: { fork: 300, truncate: 100 } });
  happened(record, 'forks', 'truncations', 'rejected', 'copied_pages');
});

test('orders of CTAs and warps, and races between CTAs, are of no effect', async () => {
  const kernels = await lifeKernels(CODED);
  for (const emulator of [{ order: 3, warp_order: 1, race: 1 }, { order: 1, race: 2 }]) await mustLive(runner, kernels, { seed: 13, steps: 25, shape: { splits: 2 }, emulator });
  await runner.life({ cmd: 'life', kernels, steps: 1, shape: {}, emulator: { order: 0, warp_order: 0, race: 0 } });
});

test.run();
