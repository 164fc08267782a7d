// The parameter structs as nvcc sees them: bytes of each kernel's parameters, read from cubins. Skipped without nvcc.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { PARAM_STRUCTS, structLayout } from '../../generator/abi.ts';
import { emitAll } from '../../generator/emit.ts';
import { kernelName, sourcePath } from '../../generator/name.ts';
import { shippedKernels } from '../../generator/ship.ts';
import { findNvcc, runNvcc } from '../../tuner/nvcc.ts';
import { temporaryFolder } from '../folder.ts';
import { parameterBytes } from './cubin.ts';

const nvcc = await findNvcc();
const when = nvcc ? test : test.skip;
// One kernel of each op, and one empty kernel per struct for the ops without kernels.
const kernels = shippedKernels().filter(({ contract }, i, all) => all.findIndex((other) => other.contract.op === contract.op) === i);
const files = emitAll(kernels);
const dir = temporaryFolder();
for (const [path, text] of files) {
  mkdirSync(dirname(join(dir, path)), { recursive: true });
  writeFileSync(join(dir, path), text);
}

async function cubinOf(source: string): Promise<Map<string, number>> {
  const { code, log } = await runNvcc(nvcc!.path, ['-cubin', '-std=c++17', '-arch=sm_80', '-I', '.', '-o', `${source}bin`, source], dir, 120_000);
  assert.is(code, 0, log);
  return parameterBytes(readFileSync(join(dir, `${source}bin`)));
}

when('every struct has the size that abi.ts says, in device code', async () => {
  const text = PARAM_STRUCTS.map((s) => `extern "C" __global__ void of_${s.op}(const __grid_constant__ ${s.name} p, int* out) { *out = int(sizeof(p)); }`).join('\n');
  writeFileSync(join(dir, 'structs.cu'), `#include "antkv.h"\n${text}\n`);
  const found = await cubinOf('structs.cu');
  for (const s of PARAM_STRUCTS) assert.is(found.get(`of_${s.op}`), Math.ceil(structLayout(s).bytes / 8) * 8 + 8, s.name);
});

for (const kernel of kernels) {
  when(`the parameters of a ${kernel.contract.op} kernel are its struct`, async () => {
    const found = await cubinOf(sourcePath(kernel));
    assert.equal([...found], [[kernelName(kernel), structLayout(PARAM_STRUCTS.find(({ op }) => op === kernel.contract.op)!).bytes]]);
  });
}

test('what is not a cubin is refused', () => assert.throws(() => parameterBytes(Buffer.alloc(64)), /not a little-endian ELF64/));

test.run();
