// Runs test_cache.py: harness/python/antkv's cache, forks and kmeans, unchanged, on emulated kernels, where torch is not (standin/ has what it takes of torch, by numpy).
import { execa } from 'execa';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { findArch } from '../../../generator/arch.ts';
import { contractOf } from '../../../generator/contract.ts';
import { presetOf } from '../../../generator/presets.ts';
import { contractsOf } from '../../../generator/recipe.ts';
import { kernelsOf } from '../../../generator/ship.ts';
import { buildEmulator } from '../../../tuner/host.ts';
import { ROOT } from '../load/build.ts';
import { emulatedPythonFolder } from './folder.ts';

const here = join(ROOT, 'test/harness/python');
/** Of attention that is capped, and has sinks. */
const CAPPED = [contractOf('decode', { headDim: 64, k: 'f16', v: 'f16', dtype: 'f16', softcap: true, sink: true }), contractOf('score', { headDim: 64, dtype: 'f16', softcap: true })];
/** What a cache of antkv-1 takes that holds bf16, in one folder with f16. */
const BF16 = contractsOf(presetOf('antkv-1'), 64, 'bf16').filter(({ op }) => op !== 'combine' && op !== 'select');
const numpy = (await execa('python3', ['-c', 'import numpy'], { reject: false })).exitCode === 0;
if (!numpy) console.log('# skipped: python3 has no numpy');

(numpy ? test : test.skip)('forks share what is coded and copy what they write; recipes by layer; k-means in one call', async () => {
  const other = { ...presetOf('antkv-1'), k: '16c8b', v: '4c8b', key: 'post', gain: 'none' } as const; // OTHER of test_cache.py
  const contracts = [...contractsOf(presetOf('antkv-1'), 64), ...contractsOf(other, 64).filter(({ op }) => op !== 'score' && op !== 'select' && op !== 'combine'), ...contractsOf(presetOf('f16'), 64), contractOf('kmeans', { k: '4c8b', dtype: 'f16' }),
    ...(['mass', 'saliency', 'norm'] as const).map((form) => contractOf('score', { headDim: 64, dtype: 'f16', form })), ...CAPPED, ...BF16];
  const folder = await emulatedPythonFolder(kernelsOf(contracts, [findArch('sm80')!]));
  const env = { ANTKV_LIBCUDA: await buildEmulator(), PYTHONPATH: [join(here, 'standin'), join(ROOT, 'harness/python')].join(':') };
  const { exitCode, stderr } = await execa('python3', ['-B', join(here, 'test_cache.py'), folder], { env, reject: false, timeout: 300_000 });
  assert.is(exitCode, 0, stderr);
  assert.match(stderr, /Ran 20 tests/);
});

test.run();
