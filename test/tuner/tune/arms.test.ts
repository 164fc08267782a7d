// Tests tuner/tune/arms.ts: the launch that a sweep calls default is the one that antkv_get chooses without a table.
import { execa } from 'execa';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { contractName, kernelName } from '../../../generator/name.ts';
import { shippedKernels } from '../../../generator/ship.ts';
import { ctasPerSm, parseLaunch } from '../../../tuner/bench-launch.ts';
import { drawOf } from '../../../tuner/search/chance.ts';
import { defaultLaunch } from '../../../tuner/tune/arms.ts';
import type { Problem } from '../../../tuner/tune/problem.ts';
import { compile, generatedFolder, ROOT } from '../../harness/load/build.ts';

test('the default launch is the loader\'s', async () => {
  const kernels = shippedKernels().filter(({ contract }) => contract.op === 'decode');
  const draw = drawOf(7);
  const one = <T>(items: readonly T[]): T => items[draw(items.length)]!;
  for (const kernel of [kernels[0]!, ...Array.from({ length: 9 }, () => one(kernels))]) {
    // A folder with this kernel alone, and a device that holds as many of its CTAs as its tile lets expect.
    const folder = generatedFolder([kernel]);
    const [client, driver] = await Promise.all([
      compile([join(ROOT, 'test/harness/load/client.c')], ['-I', folder, '-I', join(ROOT, 'harness')]),
      compile([join(ROOT, 'test/harness/load/fake_driver.c')], ['-shared', '-fPIC']),
    ]);
    const sms = one([84, 108, 132]);
    const problems = Array.from({ length: 60 }, (): Problem => {
      const kv_heads = one([1, 2, 8, 32]);
      const shape = { batch: 1 + draw(one([2, 17, 300])), tokens: 1 + draw(one([100, 5000, 300_000])), q_heads: kv_heads * one([1, 4, 7]), kv_heads, q_len: one([1, 1, 4]) };
      return { contract: contractName(kernel.contract), mode: one(['sequence', 'spread'] as const), shape };
    });
    const gets = problems.map(({ contract, mode, shape: s }) => `get ${contract} ${s.batch} ${s.q_heads} ${s.kv_heads} ${s.tokens} ${s.q_len} 0 0 ${mode === 'spread' ? 1 : 0}`);
    const env = { ANTKV_LIBCUDA: driver, FAKE_CC: kernel.arch.name.slice(2), FAKE_SMS: String(sms), FAKE_SHARED: String(kernel.arch.sharedPerBlock), FAKE_RESIDENT: String(ctasPerSm(kernel)) };
    const { stdout } = await execa(client, [], { input: [`open ${folder} 0`, ...gets].join('\n'), env, timeout: 20_000 });
    const chosen = stdout.split('\n').filter((line) => line.startsWith('get ')).map((line) => Number(/^get 0 \S+ splits (\d+)/.exec(line)?.[1]));
    assert.equal(chosen, problems.map((problem) => parseLaunch(defaultLaunch(problem, kernelName(kernel), sms)).splits), `${kernelName(kernel)} on ${sms} SMs`);
  }
});

test.run();
