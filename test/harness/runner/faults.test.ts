// The runner catches kernels that misbehave: a hand-written combine, right at first, with one planted fault at a time.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { buildEmulatedKernel } from '../../../tuner/host.ts';
import { kernelRef, type CheckRecord } from '../../../tuner/problem.ts';
import { RunnerError, type Runner } from '../../../tuner/runner.ts';
import { emulatedRunner } from '../ops/lab.ts';

const test = suite('runner/faults');
let runner: Runner;
// A test, not a hook: uvu swallows what a before hook throws, and the suite would pass without having run.
test('runner and kernels build', async () => void (runner = await emulatedRunner()));
test.after(() => runner?.close());

const NAME = 'antkv_combine_d64_f16__sm80_w1';

/** combine with one thread doing all of a row and head; `fault` is a statement at its end. */
const source = (fault: string): string => `
#include <cmath>
#include <cstdlib>
#include "antkv.h"
#include "antkv_device.cuh"
using namespace antkv;
static int launches = 0;
extern "C" __global__ void ${NAME}(const __grid_constant__ antkv_combine_params p) {
  if (thread_index() != 0) return;
  const int row = block_index().x, head = block_index().y;
  const int64_t column = int64_t(row) * p.q_heads + head, columns = int64_t(p.rows) * p.q_heads;
  unsigned char* out = static_cast<unsigned char*>(p.out) + row * p.out_row_stride + head * p.out_head_stride;
  const auto store = [&](int channel, float x) { store_global(reinterpret_cast<f16*>(out) + channel, to_f16(x)); };
  float total = 0;
  for (int s = 0; s < p.splits; ++s) total += std::exp(load_global(p.partial_lse + s * columns + column));
  const float lse = std::log(total);
  for (int channel = 0; channel < 64; ++channel) {
    float sum = 0;
    for (int s = 0; s < p.splits && total > 0; ++s) {
      const float weight = std::exp(load_global(p.partial_lse + s * columns + column) - lse);
      if (weight > 0) sum += weight * load_global(p.partial_o + (s * columns + column) * 64 + channel);
    }
    store(channel, sum);
  }
  store_global(p.lse + column, lse);
  ${fault}
}`;

async function record(fault: string, empty_permille = 0): Promise<CheckRecord> {
  const kernel = kernelRef(NAME, await buildEmulatedKernel(NAME, source(fault)));
  return runner.check({ cmd: 'check', op: 'combine', kernel, shape: { rows: 3, q_heads: 2, splits: 3, pad: 16, empty_permille } });
}

test('without a fault it passes', async () => {
  assert.equal((await record('')).faults, []);
  assert.equal((await record('', 500)).faults, []);
});

const PLANTED: readonly (readonly [what: string, fault: string, report: RegExp])[] = [
  ['a store before the output', 'store_global(static_cast<unsigned char*>(p.out) - 1, (unsigned char)0);', /wrote outside out, before it/],
  ['a store behind the output', 'store_global(static_cast<unsigned char*>(p.out) + p.rows * p.out_row_stride + 64, (unsigned char)0);', /wrote outside out, behind it/],
  ['a store between two rows', 'store_global(out + 128, (unsigned char)0);', /byte \d+ of out, which is not its to write/],
  ['a store to an input', 'store_global(const_cast<float*>(p.partial_lse), 0.5f);', /wrote to the input partial_lse/],
  ['NaN', 'store(7, std::nanf(""));', /values are NaN/],
  ['a channel that is never written', 'store_global(reinterpret_cast<uint16_t*>(out) + 5, uint16_t(0xffff));', /values are NaN/],
  ['an output that is 2 % too large', 'for (int c = 0; c < 64; ++c) store(c, 1.02f * to_float(load_global(reinterpret_cast<const f16*>(out) + c)));', /L2 error above/],
  ['one channel that is off', 'store(3, 0.1f + to_float(load_global(reinterpret_cast<const f16*>(out) + 3)));', /L2 error above/],
  ['a wrong LSE', 'store_global(p.lse + column, lse + 0.01f);', /LSE error above/],
  ['answers that change from run to run', 'if (row + head == 0 && launches++) store(0, 1.001f * to_float(load_global(reinterpret_cast<const f16*>(out))));', /two runs wrote different bits to out/],
];
for (const [what, fault, report] of PLANTED) {
  test(`caught: ${what}`, async () => {
    const { ok, faults } = await record(fault);
    assert.is(ok, false);
    assert.match(faults.join('; '), report);
  });
}

test('caught: something in a row that sees nothing', async () => {
  assert.match((await record('if (!(total > 0)) store(0, 1e-3f);', 1000)).faults.join('; '), /not 0 or -inf/);
  assert.match((await record('if (!(total > 0)) store_global(p.lse + column, -1e30f);', 1000)).faults.join('; '), /not 0 or -inf/);
});

const failure = (fault: string): Promise<Error> => record(fault).then(() => assert.unreachable('no error'), (error: Error) => error) as Promise<Error>;

test('a driver error names call, error and kernel, and the runner goes on', async () => {
  const error = await failure('store_global(static_cast<float*>(nullptr), 1.0f);');
  assert.instance(error, RunnerError);
  assert.match(error.message, new RegExp(`cuLaunchKernel\\(${NAME}\\): CUDA_ERROR_ILLEGAL_ADDRESS.*null-pointer`, 's'));
  assert.is((await record('')).ok, true);
});

test('a kernel that kills the process, or never ends, costs one request', async () => {
  assert.match((await failure('std::abort();')).message, /the runner ended \(SIGABRT\)/);
  assert.is((await record('')).ok, true);
  const kernel = kernelRef(NAME, await buildEmulatedKernel(NAME, source('for (volatile int i = 0;; i = 1 - i) {}')));
  const hang = runner.request({ cmd: 'check', op: 'combine', kernel, shape: { rows: 1 } }, 1000).then(() => assert.unreachable('no error'), (error: Error) => error);
  assert.match(((await hang) as Error).message, /no answer within 1 s/);
  assert.is((await record('')).ok, true);
});

test.run();
