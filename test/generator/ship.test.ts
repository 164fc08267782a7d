// Tests generator/ship.ts.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { reject } from '../../generator/contract.ts';
import { kernelName, parseKernelName } from '../../generator/name.ts';
import { SHIPPED_ARCHS, shippedContracts, shippedKernels } from '../../generator/ship.ts';
import { misfit } from '../../generator/tile.ts';

test('what is committed is offered, fits, and is few', () => {
  const kernels = shippedKernels();
  for (const { contract, tile, arch } of kernels) assert.equal([...reject(contract), ...misfit(contract, tile, arch)], []);
  assert.ok(kernels.length <= 40 * SHIPPED_ARCHS.length, `${kernels.length} kernels`);
  assert.is(new Set(kernels.map(kernelName)).size, kernels.length);
  for (const kernel of kernels) assert.equal(parseKernelName(kernelName(kernel)), kernel);
});

test('each has a reason', () => {
  for (const [name, { why }] of shippedContracts()) assert.ok(why.length > 0 && why.every((reason) => reason.length > 10), name);
});

test('every built op is there', () => {
  assert.equal([...new Set(shippedKernels().map(({ contract }) => contract.op))].sort(), ['combine', 'decode', 'encode', 'score', 'select', 'unpack']);
});

test.run();
