// The same kernels, driver and host under AddressSanitizer and UndefinedBehaviorSanitizer: the emulator itself is clean, fibres included.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { build, run } from './build.ts';

const built = await build(true);
if (built) {
  test('correct kernels', async () => {
    const lines = await run<{ case: string; code: number; wrong: number; report: string }>(built, 'clean', [await built.kernel('clean'), 0, 1, 2]);
    for (const { case: name, code, wrong, report } of lines) assert.equal([code, wrong], [0, 0], `${name}: ${report}`);
    assert.is(lines.length, 3 * 13);
  });

  test('launches that are abandoned half-way leave nothing behind', async () => {
    for (const [which, kind] of [[0, 'shared-race'], [7, 'global-out-of-bounds'], [14, 'async-early-read'], [21, 'divergent-collective'], [23, 'divergent-barrier'], [51, 'mma_sparse']] as const) {
      const orders = [0, 1, 2, 3].map((order) => `order=${order}`);
      const lines = await run<{ report: string }>(built, 'launch', [await built.kernel('planted'), 'emu_planted', which, 1, 64, 4096, 48, ...orders, ...(which === 7 ? ['in=short'] : [])]);
      assert.is(lines.length, 4);
      for (const { report } of lines) assert.match(report, `antkv emulator: ${kind}: `);
    }
  });

  test('driver calls', async () => {
    const calls = await run<{ call: string; code: number; want: number }>(built, 'api', [await built.kernel('planted'), 'emu_planted']);
    for (const { call, code, want } of calls) assert.is(code, want, call);
  });
}

test.run();
