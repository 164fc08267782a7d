// select on the emulated driver: exactly the reference's choice.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { Runner } from '../../../tuner/runner.ts';
import type { KernelRef } from '../../../tuner/problem.ts';
import { emulated, emulatedRunner, mustPass } from './lab.ts';

const test = suite('ops/select');
let runner: Runner;
let kernels: KernelRef[];

// A test, not a hook: uvu swallows what a before hook throws, and the suite would pass without having run.
test('runner and kernels build', async () => {
  [runner, ...kernels] = await Promise.all([emulatedRunner(), emulated('select', {}), emulated('select', {}, { warps: 1 })]);
});
test.after(() => runner?.close());

const PATTERNS = ['random', 'ties', 'constant', 'special', 'ascending'] as const;
const COUNTS = [0, 1, 31, 32, 33, 255, 256, 257, 700];

test('budgets from nothing to everything, over scores with ties, NaN and infinities', async () => {
  for (const kernel of kernels) {
    for (const pattern of PATTERNS) {
      for (const budget_permille of [0, 10, 333, 1000]) await mustPass(runner, 'select', kernel, { token_count: COUNTS, kv_heads: 2, pattern, budget_permille, pad: 3 });
    }
  }
});

test('a budget in tokens, larger than the candidates too', async () => {
  for (const budget_tokens of [0, 1, 40, 5000]) {
    for (const pattern of PATTERNS) await mustPass(runner, 'select', kernels[0]!, { token_count: COUNTS, pattern, budget_tokens, max_anchors: 800 });
  }
});

test('first tokens beside the budget, more of them than tokens too', async () => {
  for (const first_tokens of [1, 4, 33, 1000]) {
    for (const pattern of PATTERNS) await mustPass(runner, 'select', kernels[0]!, { token_count: COUNTS, kv_heads: 3, pattern, budget_permille: 50, first_tokens });
  }
});

test('no more than max_anchors are kept, first tokens first', async () => {
  for (const [max_anchors, first_tokens] of [[1, 0], [5, 3], [5, 9], [0, 0], [0, 2]] as const) {
    for (const pattern of PATTERNS) await mustPass(runner, 'select', kernels[0]!, { token_count: COUNTS, pattern, budget_permille: 200, first_tokens, max_anchors, count: pattern !== 'ties' });
  }
});

test('the budget is rounded down: 999 tokens of 1 permille keep none, 1000 keep one', async () => {
  assert.is((await mustPass(runner, 'select', kernels[0]!, { token_count: [999], budget_permille: 1 }))['kept'], 0);
  assert.is((await mustPass(runner, 'select', kernels[0]!, { token_count: [1000], budget_permille: 1 }))['kept'], 1);
});

test.run();
