// Tests generator/emit.ts and source.ts: kernels as text.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { emitAll } from '../../generator/emit.ts';
import { kernelName, parseKernelName, sourcePath } from '../../generator/name.ts';
import { shippedKernels } from '../../generator/ship.ts';
import { renderKernel } from '../../generator/source.ts';
import { stampedInputs } from '../../generator/stamp.ts';

const kernels = shippedKernels();

test('a kernel\'s text is a function of its name', () => {
  for (const kernel of kernels) assert.is(renderKernel(parseKernelName(kernelName(kernel))), renderKernel(kernel));
});

test('a source is stamped, whole, and named after its kernel throughout', () => {
  for (const kernel of kernels) {
    const name = kernelName(kernel);
    const text = renderKernel(kernel);
    assert.match(text, /^\/\/ Generated file\. Do not edit\.\n\/\/   template  templates\/\w+\.cu\.hbs\n/);
    assert.ok(text.includes(`//   kernel    ${name}\n`) && text.includes(`--only ${name}\n`));
    assert.match(text, new RegExp(`namespace ${name}_ \\{`));
    assert.match(text, new RegExp(`extern "C" __global__ void __launch_bounds__\\(${kernel.tile.warps * 32}(, [^)]+)?\\)\\n${name}\\(const __grid_constant__ antkv_${kernel.contract.op}_params p\\)`));
    // Behind its constants stand the bodies, whose C++ may double braces.
    assert.not.match(text.split('\n};\n')[0]!, /\{\{|undefined|NaN/);
    assert.not.match(text, /\/(home|work|tmp|root)\//);
    assert.ok(text.split('\n').length <= 2550, `${name} has ${text.split('\n').length} lines`);
  }
});

test('two kernels that differ have different inputs', () => {
  assert.is(new Set(kernels.map((kernel) => stampedInputs(renderKernel(kernel)))).size, kernels.length);
});

test('the tree has a source per kernel and what surrounds them, under 16 MB', () => {
  const files = emitAll(kernels);
  const around = ['antkv.h', 'antkv_device.cuh', 'antkv_format.h', 'antkv_kernels.h', 'antkv_launch.h', 'antkv_params.py', 'antkv_params.rs', 'antkv_params.ts', 'antkv_tables.h', 'antkv_tables.py', 'manifest.json', 'manifest.schema.json', 'recipe.schema.json', 'table.schema.json'];
  assert.equal([...files.keys()].sort(), [...kernels.map(sourcePath), ...around].sort());
  for (const [path, text] of files) assert.ok(text.endsWith('\n') && !text.includes('\r'), path);
  assert.ok([...files.values()].reduce((sum, text) => sum + Buffer.byteLength(text), 0) < 16 * 2 ** 20);
});

test('emitting twice gives the same text', () => assert.equal([...emitAll(kernels.slice(0, 3))], [...emitAll(kernels.slice(0, 3))]));

test.run();
