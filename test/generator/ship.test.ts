// Tests generator/ship.ts.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { ARCHS, findArch } from '../../generator/arch.ts';
import { contractOf, reject } from '../../generator/contract.ts';
import { lookupMisfit } from '../../generator/lookup.ts';
import { contractName, kernelName, parseKernelName } from '../../generator/name.ts';
import { kernelsToShip, servedBy, SHIPPED_ARCHS, shippedContracts, shippedKernels } from '../../generator/ship.ts';
import { algorithmOf, defaultTile, misfit } from '../../generator/tile.ts';

test('what is committed is offered, fits, and is few', () => {
  const kernels = shippedKernels();
  for (const { contract, tile, arch } of kernels) assert.equal([...reject(contract), ...misfit(contract, tile, arch)], []);
  // Two per contract, and up to four where a measured table wants them: no point of its grid is more than 3 % behind the best that was found there.
  for (const name of SHIPPED_ARCHS) assert.ok(kernels.filter(({ arch }) => arch.name === name).length <= 90, name);
  assert.is(new Set(kernels.map(kernelName)).size, kernels.length);
  for (const kernel of kernels) assert.equal(parseKernelName(kernelName(kernel)), kernel);
});

test('every device is served, those of shipped architectures with their own tiles, and without tables no kernel is there twice', () => {
  const kernels = kernelsToShip([...shippedContracts().values()].map(({ contract }) => contract), []);
  for (const { contract } of shippedContracts().values()) {
    for (const arch of ARCHS) {
      const kernel = servedBy(kernels, contract, arch);
      assert.ok(kernel, `${contractName(contract)} on ${arch.name}`);
      assert.equal(misfit(contract, kernel.tile, arch), [], `${kernelName(kernel)} on ${arch.name}`);
      if (SHIPPED_ARCHS.includes(arch.name)) assert.equal(kernel.tile, defaultTile(contract, arch), `${contractName(contract)} on ${arch.name}`);
      const without = servedBy(kernels.filter((other) => other !== kernel), contract, arch);
      if (kernel.arch === arch && without) assert.not.equal(without.tile, kernel.tile, `${kernelName(kernel)} need not be there`);
    }
  }
});

test('blocks of little shared memory get another kernel than those of A100 and H100', () => {
  const contract = contractOf('decode', { headDim: 128, k: '8c8b', v: '8c8bq8', dtype: 'f16', key: 'pre', gain: 'k', columns: 4 });
  const tiles = ['sm80', 'sm86', 'sm87', 'sm89', 'sm90', 'sm100', 'sm120'].map((name) => {
    const { arch, tile } = servedBy(shippedKernels(), contract, findArch(name)!)!;
    return `${name}: ${arch.name} ${algorithmOf(tile)} c${tile.copies}`;
  });
  assert.equal(tiles, [
    'sm80: sm80 lookup c2', 'sm86: sm86 rows cundefined', 'sm87: sm86 rows cundefined', 'sm89: sm86 rows cundefined', 'sm90: sm90 lookup c4', 'sm100: sm90 lookup c4', 'sm120: sm86 rows cundefined',
  ]);
});

test('score by groups of sm90 is for that architecture alone: what is newer takes those of older ones', () => {
  const kernels = kernelsToShip([...shippedContracts().values()].map(({ contract }) => contract), []);
  for (const form of ['column', 'exact'] as const) {
    const served = ['sm80', 'sm89', 'sm90', 'sm100', 'sm120'].map((name) => servedBy(kernels, contractOf('score', { headDim: 128, dtype: 'f16', form }), findArch(name)!)!);
    const small = form === 'exact' ? 'sm86 rows s2' : 'sm80 rows s3';
    assert.equal(served.map(({ arch, tile }) => `${arch.name} ${algorithmOf(tile)} s${tile.stages}`), ['sm80 rows s3', small, 'sm90 group s4', ...Array<string>(2).fill(small)]);
  }
});

test('where look-ups serve, there are kernels of 4 columns beside those of 8', () => {
  const decodes = [...shippedContracts().values()].map(({ contract }) => contract).filter(({ op }) => op === 'decode');
  for (const contract of decodes.filter(({ columns }) => columns === 8)) {
    const narrow = { ...contract, columns: 4 } as const;
    assert.is(shippedContracts().has(contractName(narrow)), lookupMisfit(narrow).length === 0, contractName(narrow));
  }
  assert.ok(decodes.filter(({ columns }) => columns === 4).length >= 5);
});

test('each has a reason', () => {
  for (const [name, { why }] of shippedContracts()) assert.ok(why.length > 0 && why.every((reason) => reason.length > 10), name);
});

test('every built op is there', () => {
  assert.equal([...new Set(shippedKernels().map(({ contract }) => contract.op))].sort(), ['append', 'combine', 'decode', 'encode', 'kmeans', 'score', 'select', 'unpack']);
});

test.run();
