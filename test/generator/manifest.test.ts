// Tests generator/manifest.ts.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { z } from 'zod';
import { buildManifest, Manifest, manifestSchema, printJson } from '../../generator/manifest.ts';
import { contractName, kernelName } from '../../generator/name.ts';
import { shippedKernels } from '../../generator/ship.ts';
import { renderKernel } from '../../generator/source.ts';
import { VERSIONS } from '../../generator/versions.ts';

const kernels = shippedKernels();
const manifest = buildManifest(kernels.map((kernel) => ({ kernel, text: renderKernel(kernel) })));

test('the manifest is what its schema says, also after JSON', () => {
  assert.equal(Manifest.parse(JSON.parse(printJson(manifest))), JSON.parse(printJson(manifest)));
  // Nor does the manifest have a member that the schema does not know.
  z.strictObject(Manifest.shape).parse(manifest);
});

test('every reference in it resolves', () => {
  for (const [name, kernel] of Object.entries(manifest.kernels)) {
    assert.ok(kernel.contract in manifest.contracts, name);
    assert.equal([kernel.symbol, kernel.source, kernel.fatbin], [name, `${kernel.arch}/${name}.cu`, `${kernel.arch}/${name}.fatbin`]);
    assert.match(kernel.inputs, /^[0-9a-f]{16}$/);
    assert.is(kernel.threads, kernel.tile['warps']! * 32);
  }
  for (const [name, contract] of Object.entries(manifest.contracts)) {
    assert.ok(contract.params in manifest.params, name);
    assert.ok(manifest.defaults['sm80']![name]! in manifest.kernels, name);
  }
  for (const [name, recipe] of Object.entries(manifest.recipes)) for (const contract of Object.values(recipe.contracts).flat()) assert.ok(contract in manifest.contracts, `${name}: ${contract}`);
});

test('all kernels and the built presets are there', () => {
  assert.equal(Object.keys(manifest.kernels).sort(), kernels.map(kernelName).sort());
  assert.equal(Object.keys(manifest.contracts).sort(), [...new Set(kernels.map(({ contract }) => contractName(contract)))].sort());
  assert.equal(Object.keys(manifest.recipes), ['antkv-4', 'antkv-2', 'antkv-1', 'antkv-1-fast', 'antkv-0.5', 'f16']);
  assert.equal(Object.keys(manifest.recipes['antkv-1']!.contracts), ['64', '128']);
});

test('versions are those of the one list', () => {
  assert.equal([manifest.schema, manifest.abi, manifest.layout], [VERSIONS.manifest, VERSIONS.abi, VERSIONS.layout]);
});

test('the bytes of a 1-bit cache, by hand', () => {
  const { layout } = manifest.contracts['antkv_decode_d128_k8c8b_v8c8bq8_f16_pre_gain']!;
  assert.is(layout!.unit.bytes, 16 * (16 + 16 + 2));
  assert.is(layout!.pageFormat, 'd128_k8c8b_v8c8bq8_pre_gaink');
  assert.equal(layout!.order, {
    k: { byLane: true, chunks: 16, piece: 8, turnHigh: 2, turnShift: 1, turnMask: 0, rowSpan: 0 },
    v: { byLane: true, chunks: 16, piece: 8, turnHigh: 0, turnShift: 0, turnMask: 0, rowSpan: 4 },
  });
  assert.equal(manifest.contracts['antkv_decode_d128_kf16_vf16_f16']!.layout!.order, {});
  assert.is(layout!.pageBytes['64'], 4 * 544 + 16);
  assert.is(layout!.anchorPageBytes, 16 * (512 + 4));
  assert.is(layout!.ringRowBytes, 512);
  assert.is(manifest.contracts['antkv_decode_d128_kf16_vf16_f16']!.layout!.pageBytes['64'], 64 * 512);
});

test('it is the same on every machine: sorted, no date, no path', () => {
  const text = printJson(manifest);
  assert.is(text, printJson(JSON.parse(text)));
  assert.not.match(text, /nvcc|\/(home|work|tmp|root|usr)\/|\d{4}-\d\d-\d\dT/);
  assert.ok(text.endsWith('}\n'));
});

test('the JSON Schema covers its members', () => {
  const schema = manifestSchema() as { properties: object };
  assert.equal(Object.keys(schema.properties).sort(), Object.keys(manifest).sort());
});

test.run();
