// Lives that must leave equal bits: ranks that share the heads, a sequence alone and in company, drafts that were rejected and drafts that never were.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { NO_EVENTS } from '../../../tuner/life-schema.ts';
import type { Runner } from '../../../tuner/runner.ts';
import { emulatedRunner } from '../ops/lab.ts';
import { digestsOf, lifeKernels, mustLive } from './lab.ts';

const test = suite('life, equal bits');
const CODED = 'd64 4c8b/4c8bq8 pre gain';
let runner: Runner;

test('runner and kernels build', async () => {
  runner = await emulatedRunner();
  await lifeKernels(CODED);
});
test.after(() => runner?.close());

test('two tensor-parallel ranks, each with its slice of heads and codebooks, equal one that has all of them', async () => {
  const kernels = await lifeKernels(CODED);
  const life = { seed: 21, steps: 60 };
  const shape = { splits: 2, budget_permille: 60, rows: 6 };
  const whole = await mustLive(runner, kernels, { ...life, shape: { ...shape, kv_heads: 4, q_heads: 8 } });
  const ranks = [];
  for (const rank of [0, 1]) ranks.push(await mustLive(runner, kernels, { ...life, shape: { ...shape, kv_heads: 2, q_heads: 4, rank, ranks: 2 } }));
  assert.ok(whole.events['forks']! > 0 && whole.events['flushes']! > 0 && whole.digests.length > 4);
  const [first, second] = ranks.map(digestsOf);
  for (const { sequence, state, outputs } of whole.digests) {
    assert.equal([...first!.get(sequence)!.state, ...second!.get(sequence)!.state], state, `state of sequence ${sequence}`);
    assert.equal([...first!.get(sequence)!.outputs, ...second!.get(sequence)!.outputs], outputs, `outputs of sequence ${sequence}`);
  }
});

test('a sequence alone has the bits that it has in company, with the same splits', async () => {
  const kernels = await lifeKernels(CODED);
  const life = { seed: 22, steps: 60, prompt: 90, events: { ...NO_EVENTS, draft: 300, pause: 100 } };
  const shape = { splits: 3, sequences: 3, budget_permille: 60 };
  const company = digestsOf(await mustLive(runner, kernels, { ...life, shape }));
  for (const sequence of [0, 2]) {
    const alone = await mustLive(runner, kernels, { ...life, shape, only: [sequence] });
    assert.equal(alone.digests, [company.get(sequence)]);
  }
});

test('two sequences share a prefix: that one hands anchors of its own back, or does nothing, is nothing to the other', async () => {
  const kernels = await lifeKernels(CODED);
  // The first begins alone, the second is found to begin like it; both then go their ways, and the pages and anchor pages of the prefix stay in both lists.
  const life = { seed: 27, steps: 50, shape: { sequences: 2, budget_permille: 40, max_tokens: 900, splits: 2 }, events: { ...NO_EVENTS, prefix: 300, turn: 150, draft: 300 } };
  const active = await mustLive(runner, kernels, life), still = await mustLive(runner, kernels, { ...life, still: [0] });
  assert.equal([active.events['prefixes'], still.events['prefixes']], [1, 1]);
  assert.ok(active.events['handed_back_shared']! > 0 && active.events['flushes']! > still.events['flushes']!, JSON.stringify(active.events));
  assert.equal(digestsOf(active).get(1), digestsOf(still).get(1));
  assert.is.not(digestsOf(active).get(0)!.state[0], digestsOf(still).get(0)!.state[0], 'the first one did live on');
});

test('given equal masses, drafts that are rejected leave no trace', async () => {
  const kernels = await lifeKernels(CODED);
  const life = { seed: 23, steps: 120, prompt: 50, drawn_masses: true, shape: { rows: 8, sequences: 3, budget_permille: 60 } };
  const events = { ...NO_EVENTS, start: 200, end: 30, draft: 600, turn: 20 };
  const drafted = await mustLive(runner, kernels, { ...life, events });
  const never = await mustLive(runner, kernels, { ...life, events: { ...events, rejects: false } });
  assert.ok(drafted.events['rejected']! > 100 && drafted.events['handed_back']! > 0, JSON.stringify(drafted.events));
  assert.is(never.events['rejected'], 0);
  assert.equal(drafted.digests.map(({ sequence, state }) => [sequence, state]), never.digests.map(({ sequence, state }) => [sequence, state]));
});

test('a digest sees what it should: another seed, another digest', async () => {
  const kernels = await lifeKernels(CODED);
  const life = { steps: 30, prompt: 50, shape: { sequences: 2 }, events: NO_EVENTS };
  const [one, other] = [await mustLive(runner, kernels, { ...life, seed: 1 }), await mustLive(runner, kernels, { ...life, seed: 2 })];
  for (const [i, { state, outputs }] of one.digests.entries()) {
    assert.is.not(state[0], other.digests[i]!.state[0]);
    assert.is.not(outputs[0], other.digests[i]!.outputs[0]);
  }
});

test.run();
