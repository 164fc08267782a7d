// Counters of a generated kernel, line by line, as the runner hands them on.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { parseKernelName } from '../../../generator/name.ts';
import { renderKernel } from '../../../generator/source.ts';
import { countersSchema, sitesAt, wasted } from '../../../tuner/counters.ts';
import { emulated, emulatedRunner, mustPass } from './lab.ts';

const test = suite('ops/counters');

test('combine reads its partial outputs once, in whole sectors', async () => {
  const [runner, kernel] = await Promise.all([emulatedRunner(), emulated('combine', { headDim: 128, dtype: 'f16' })]);
  try {
    const [rows, qHeads, splits] = [2, 4, 3];
    const record = await mustPass(runner, 'combine', kernel, { rows, q_heads: qHeads, splits }, { emulator: { order: 0, race: 2, counters: 1 } });
    const counters = countersSchema.parse(record.counters);
    const source = renderKernel(parseKernelName(kernel.name));
    const reads = sitesAt(counters, source, 'load_global(p.partial_o');
    // Rows of 128 floats are 16 sectors, 4 in each of 4 instructions.
    assert.equal(reads.map(({ space, access, bytes, count }) => [space, access, bytes, count]), [
      ['global', 'load', 4, { instructions: rows * qHeads * splits * 4, sectors: rows * qHeads * splits * 16, ideal: rows * qHeads * splits * 16 }],
    ]);
    assert.is(wasted(reads), 0);
    const write = sitesAt(counters, source, 'store_global(out + i * 32 + lane');
    assert.equal(write.map(({ access, bytes, count }) => [access, bytes, count.sectors]), [['store', 2, rows * qHeads * 8]]);
    assert.throws(() => sitesAt(counters, source, 'no such line'), /no line of antkv_combine_.* contains "no such line"/);
  } finally {
    await runner.close();
  }
});

test('waste is what exceeds the ideal', () => {
  const site = { file: 'kernel.cu', line: 2, space: 'shared', access: 'load', bytes: 4 } as const;
  const counters = countersSchema.parse({
    kernel: 'k', blocks: 1, threads: 32, shared: {}, global: {}, collectives: {},
    sites: [
      { ...site, count: { instructions: 2, wavefronts: 7, ideal: 2 } },
      { ...site, line: 3, space: 'global', count: { instructions: 1, sectors: 4, ideal: 4 } },
      { ...site, file: 'antkv_device.cuh', count: { instructions: 1, wavefronts: 9, ideal: 1 } },
    ],
  });
  assert.equal([wasted(sitesAt(counters, 'a\nlook up\nread', 'look')), wasted(sitesAt(counters, 'a\nlook up\nread', 'read')), sitesAt(counters, 'a', 'a').length], [5, 0, 0]);
});

test.run();
