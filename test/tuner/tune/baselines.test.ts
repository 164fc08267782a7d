// FP16 times for a sweep's report, from a stand-in for PyTorch: which shapes are asked for, and that the best kernel's time is written once.
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { measureBaselines } from '../../../tuner/tune/baselines.ts';
import { of, type TuneEvent } from '../../../tuner/tune/events.ts';
import type { Problem, Task } from '../../../tuner/tune/problem.ts';
import { complete } from '../../../tuner/journal/write.ts';
import { DIGEST } from './fake.ts';

const test = suite('tune/baselines');
const folder = mkdtempSync(join(tmpdir(), 'antkv-baselines-'));
const before = process.env['PYTHON'];
test.after(() => {
  rmSync(folder, { recursive: true });
  if (before === undefined) delete process.env['PYTHON'];
  else process.env['PYTHON'] = before;
});

/** A program in the place of Python: two kernels for every shape asked, 30 and 20 us per token; it keeps its arguments. */
function standIn(exitCode = 0): string {
  const path = join(folder, 'python');
  writeFileSync(path, `#!/usr/bin/env node
const shapes = JSON.parse(process.argv[process.argv.indexOf('--shapes') + 1]);
require('node:fs').writeFileSync(${JSON.stringify(join(folder, 'asked'))}, JSON.stringify(process.argv));
for (const { head_dim, ...shape } of shapes) for (const [kernel, us] of [['torch_sdpa_cudnn', 30], ['torch_sdpa_flash', 20]]) {
  const time = us * shape.tokens;
  console.log(JSON.stringify({ record: 'bench', source: 'peer', op: 'decode', kernel, code: 'PyTorch', head_dim, shape, ok: true, faults: [], us: { median: time, p10: time, p90: time, min: time }, b2b_us: time, b2b_steps: 1,
    samples: 15, bytes: 1, gbps: 1, copies: 1, l2_bytes: 1, launch: 'cuGraphLaunch', clock_mhz: { begin: null, end: null }, check: { kind: 'one head', rel_l2: 0 },
    environment: { device: 'Test GPU', cc: 90, multiprocessors: 132, l2_bytes: 1, memory_bytes: 1, driver: null, emulated: false, software: 'PyTorch 2' } }));
}
console.error('baseline: something lacks');
process.exitCode = ${exitCode};
`);
  chmodSync(path, 0o755);
  process.env['PYTHON'] = path;
  return path;
}

const CONTRACT = 'antkv_decode_d128_kf16_vf16_f16';
const point = (contract: string, batch: number, tokens: number, mode: 'sequence' | 'spread' = 'sequence'): Problem => ({ contract, mode, shape: { batch, tokens, q_heads: 32, kv_heads: 8 } });
const TASKS: Task[] = [
  { arch: 'sm90', contract: CONTRACT, kernels: [`${CONTRACT}__sm90_w4_t64_s2`], problems: [point(CONTRACT, 16, 4096), point(CONTRACT, 16, 4096, 'spread'), point(CONTRACT, 1, 1024)] },
  { arch: 'sm90', contract: 'antkv_select', kernels: ['antkv_select__sm90_w8'], problems: [point('antkv_select', 1, 64)] },
];
async function run(past: readonly TuneEvent[] = [], left = Infinity): Promise<{ events: TuneEvent[]; missing: string | undefined }> {
  const events: TuneEvent[] = [];
  const write = (draft: Parameters<typeof complete>[0]) => Promise.resolve(void events.push(complete(draft, 'local', 0)));
  const missing = await measureBaselines({ tasks: TASKS, past, environment: DIGEST, device: '0', write, signal: new AbortController().signal, left });
  return { events, missing };
}

test('each shape of decode once, small ones first, with the time of the best kernel', async () => {
  standIn();
  const { events, missing } = await run();
  assert.is(missing, undefined);
  assert.equal(of(events, 'baseline').map(({ problem: { shape }, us, software }) => [shape.batch, shape.tokens, us, software]), [
    [1, 1024, 20 * 1024, 'PyTorch 2, torch_sdpa_flash'],
    [16, 4096, 20 * 4096, 'PyTorch 2, torch_sdpa_flash'],
  ]);
});

test('what the journal knows is not timed again, and without time nothing is', async () => {
  standIn();
  const { events } = await run();
  assert.equal((await run(events)).events, []);
  assert.equal((await run([], 0)).events, []);
});

test('a program that fails is told in its own words; what it timed counts', async () => {
  standIn(3);
  const { events, missing } = await run();
  assert.is(missing, 'baseline: something lacks');
  assert.is(events.length, 2);
});

test.run();
