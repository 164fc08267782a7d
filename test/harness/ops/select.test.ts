// select on the emulated driver: exactly the reference's choice.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { parseKernelName } from '../../../generator/name.ts';
import { renderKernel } from '../../../generator/source.ts';
import { countersSchema, sitesAt, wasted } from '../../../tuner/counters.ts';
import type { Runner } from '../../../tuner/runner.ts';
import type { KernelRef, Shape } from '../../../tuner/problem.ts';
import { SELECT } from '../../../tuner/shapes.ts';
import { emulated, emulatedRunner, mustPass } from './lab.ts';

const test = suite('ops/select');
let runner: Runner;
let kernels: KernelRef[];

// A test, not a hook: uvu swallows what a before hook throws, and the suite would pass without having run.
test('runner and kernels build', async () => {
  [runner, ...kernels] = await Promise.all([emulatedRunner(), emulated('select', {}), emulated('select', {}, { warps: 1 })]);
});
test.after(() => runner?.close());

for (const [group, shapes] of Object.entries<readonly Shape<'select'>[]>(SELECT)) {
  test(group, async () => {
    for (const kernel of group === 'budgets' ? kernels : kernels.slice(0, 1)) for (const shape of shapes) await mustPass(runner, 'select', kernel, shape);
  });
}

test('the budget is rounded down: 999 tokens of 1 permille keep none, 1000 keep one', async () => {
  assert.is((await mustPass(runner, 'select', kernels[0]!, { token_count: [999], budget_permille: 1 }))['kept'], 0);
  assert.is((await mustPass(runner, 'select', kernels[0]!, { token_count: [1000], budget_permille: 1 }))['kept'], 1);
});

test('whole turns of the block, which are read unchecked, and the part of one behind them', async () => {
  for (const budget_permille of [10, 300])
    for (const pattern of ['random', 'constant'] as const)
      await mustPass(runner, 'select', kernels[0]!, { token_count: [32_768, 70_007], first_tokens: 3, pattern, budget_permille }, { emulator: { order: 1, race: 1 } });
});

test('lanes count digits in banks of their own, whatever the scores are', async () => {
  for (const pattern of ['random', 'constant'] as const) {
    const record = await mustPass(runner, 'select', kernels[0]!, { token_count: [20_000], pattern, budget_permille: 10 }, { emulator: { order: 0, race: 1, counters: 1 } });
    const counters = countersSchema.parse(record.counters);
    const source = renderKernel(parseKernelName(kernels[0]!.name));
    for (const line of ['atomic_add_shared(mem.histogram', 'atomic_add_shared(column', 'sum += load_shared(at)', 'store_shared(at, 0u)']) {
      const sites = sitesAt(counters, source, line);
      assert.ok(sites.length > 0 && sites.every(({ count }) => count.instructions > 0), line);
      assert.is(wasted(sites), 0, `${pattern}: ${line}`);
    }
  }
});

test.run();
