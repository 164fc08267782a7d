// Tests generator/ship.ts.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { reject } from '../../generator/contract.ts';
import { lookupMisfit } from '../../generator/lookup.ts';
import { contractName, kernelName, parseKernelName } from '../../generator/name.ts';
import { SHIPPED_ARCHS, shippedContracts, shippedKernels } from '../../generator/ship.ts';
import { defaultTile, misfit } from '../../generator/tile.ts';

test('what is committed is offered, fits, and is few', () => {
  const kernels = shippedKernels();
  for (const { contract, tile, arch } of kernels) assert.equal([...reject(contract), ...misfit(contract, tile, arch)], []);
  assert.ok(kernels.length <= 40 * SHIPPED_ARCHS.length, `${kernels.length} kernels`);
  assert.is(new Set(kernels.map(kernelName)).size, kernels.length);
  for (const kernel of kernels) assert.equal(parseKernelName(kernelName(kernel)), kernel);
});

test('of a later architecture only what is other than on an older one', () => {
  const words = (name: string): string => name.replace(/__sm\d+/, '__');
  const names = shippedKernels().map(kernelName);
  assert.is(new Set(names.map(words)).size, names.length);
  for (const contract of shippedContracts().keys()) assert.ok(names.some((name) => name.startsWith(`${contract}__sm80_`)), contract);
  for (const { contract, tile, arch } of shippedKernels()) assert.equal(tile, defaultTile(contract, arch));
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
  assert.equal([...new Set(shippedKernels().map(({ contract }) => contract.op))].sort(), ['combine', 'decode', 'encode', 'score', 'select', 'unpack']);
});

test.run();
