// A whole task on the emulated driver: runner, verification, faults and processes are real, times are not. One kernel each hangs, traps, kills the process, answers
// wrongly and breaks the compiler; each costs itself.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { parseKernelName } from '../../../generator/name.ts';
import { renderKernel } from '../../../generator/source.ts';
import { buildEmulatedKernel, buildEmulator, buildRunner } from '../../../tuner/host.ts';
import { exhaustive } from '../../../tuner/search/exhaustive.ts';
import { candidateOf } from '../../../tuner/space/space.ts';
import { CompilePool, emulatedCompiler, type Compiler } from '../../../tuner/tune/compile-pool.ts';
import { environmentOf } from '../../../tuner/tune/devices.ts';
import { of } from '../../../tuner/tune/events.ts';
import { openGpu } from '../../../tuner/tune/gpu.ts';
import { runTask } from '../../../tuner/tune/pipeline.ts';
import type { Problem, Task } from '../../../tuner/tune/problem.ts';
import { fakeClock, FakeJournal, warpsOf, withTimes } from './fake.ts';

const test = suite('tune/emulated');
const kernel = (warps: number): string => `antkv_select__sm80_w${warps}`;
const problems = [200, 300].map((tokens): Problem => ({ contract: 'antkv_select', mode: 'sequence', shape: { batch: 1, tokens, q_heads: 2, kv_heads: 2 } }));
const TASK: Task = { arch: 'sm80', contract: 'antkv_select', problems, kernels: [8, 16, 4, 2, 1].map(kernel) };
const FAULTS: Readonly<Record<string, string>> = {
  [kernel(4)]: 'return;',
  [kernel(2)]: 'store_global(static_cast<float*>(nullptr), 1.0f);',
  [kernel(1)]: 'for (volatile int i = 0;; i = 1 - i) {}',
};

/** Kernels with a planted fault; one does not compile. */
function plantedCompiler(ice: string): Compiler {
  const real = emulatedCompiler();
  return {
    nvcc: 'emulated',
    async compile(name) {
      if (name === ice) return { lost: { kernel: name, stage: 'ptxas', kind: 'ice', why: 'ptxas died due to signal 11', repro: 'nvcc -cubin' } };
      const outcome = await real.compile(name);
      if (!('built' in outcome) || !FAULTS[name]) return outcome;
      const source = renderKernel(parseKernelName(name)).replace(/(extern "C" __global__[^{]*\{)/, `$1 ${FAULTS[name]}`);
      return { built: { ...outcome.built, path: await buildEmulatedKernel(name, source) } };
    },
  };
}


test('a hang, a trap, a wrong result and a broken compiler cost one candidate each', async () => {
  const [binary, driver] = await Promise.all([buildRunner(), buildEmulator()]);
  const clock = fakeClock();
  const gpu = await openGpu({ binary, driver, clock, label: 'emulated', setupMs: 5000, timeoutMs: 5000 });
  const journal = new FakeJournal(clock);
  const measurer = withTimes(gpu, (_problem, arm, round) => (arm.kernel === kernel(16) ? 90 : 100) + round / 100);
  const { digest } = environmentOf(gpu, 'emulated');
  try {
    const ice = `antkv_select__sm80_w32`;
    const task = { ...TASK, kernels: [...TASK.kernels, ice] };
    const strategy = exhaustive({ candidates: task.kernels.map(candidateOf), seeds: [kernel(8)] }, 1);
    const run = { task, strategy, measurer, environment: digest, pool: new CompilePool(plantedCompiler(ice), 2), write: journal.write, clock, signal: new AbortController().signal, seed: 1, rounds: 10, label: 'emulated' };
    const end = await runTask({ ...run, past: [] });
    assert.equal(end, { done: true });
    const failed = of(journal.events, 'failed').map((event) => [event.kernel, event.stage, event.kind]).sort();
    assert.equal(failed, [[kernel(1), 'verify', 'timeout'], [kernel(2), 'verify', 'trap'], [ice, 'ptxas', 'ice'], [kernel(4), 'verify', 'wrong']]);
    assert.ok(of(journal.events, 'failed').every(({ repro, why }) => repro !== '' && why !== ''));
    assert.equal(of(journal.events, 'settled').map(({ arm }) => arm.kernel), [kernel(16), kernel(16)]);
    // Again: nothing is left to do, and nothing of what was lost is touched.
    const again = new FakeJournal(clock);
    await runTask({ ...run, strategy: exhaustive({ candidates: task.kernels.map(candidateOf), seeds: [kernel(8)] }, 1), write: again.write, past: journal.events });
    assert.equal(again.events, []);
  } finally {
    await gpu.close();
  }
});

test.run();
