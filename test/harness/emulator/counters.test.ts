// Wavefronts and sectors against numbers worked out by hand.
import { readFileSync } from 'node:fs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Counters } from '../../../tuner/counters.ts';
import { build, run } from './build.ts';

interface Line {
  readonly code: number;
  readonly report: string;
  readonly counters: Counters;
}

// Text of a line of kernels/counted.cu -> space, [instructions, wavefronts or sectors, ideal], and the access where a line has two.
const EXPECTED: readonly (readonly [text: string, space: string, count: readonly [number, number, number], access?: string])[] = [
  ['store_shared(reinterpret_cast<bytes16*>(s) + i * 32 + lane', 'shared', [64, 256, 256]],
  ['load_shared(words + 5)', 'shared', [1, 1, 1]],                                // one word for all
  ['load_shared(words + lane * 2)', 'shared', [1, 2, 1]],
  ['load_shared(words + lane * 33)', 'shared', [1, 1, 1]],                        // padded column
  ['load_shared(s + lane * 4)', 'shared', [1, 1, 1]],                             // bytes
  ['bytes8*>(s) + lane * 2)', 'shared', [1, 4, 2]],                               // by half warp
  ['bytes16*>(s) + lane)', 'shared', [1, 4, 4]],                                  // by quarter warp
  ['bytes16*>(s) + lane * 8)', 'shared', [1, 32, 4]],
  ['lane % 16).w[0]', 'shared', [1, 2, 2]],
  ['lane % 4 * 16)', 'shared', [1, 8, 2]],                                        // four rows of 128 bytes in each half
  ['lane / 16 * 17', 'shared', [1, 2, 2]],                                        // pairs share
  ['bytes16*>(s) + 3)', 'shared', [1, 4, 4]],                                     // one for each quarter, though all want the same
  ['lane % 8 / 4 * 8)', 'shared', [1, 8, 4]],
  ['lane * 7 % 5 * 32 + lane', 'shared', [1, 1, 1]],                              // each lane its own bank, whatever the row
  ['if (lane % 2)', 'shared', [1, 16, 2]],                                        // eight lanes of each half, 128 bytes apart
  ['64 + lane * 4, bytes8', 'shared', [1, 8, 2]],
  ['words + 1024 + lane, load', 'shared', [1, 1, 1], 'store'],
  ['words + 1024 + lane, load', 'shared', [1, 2, 1], 'load'],
  ['if (lane < 8)', 'shared', [1, 8, 1]],
  ['load_table_u16', 'shared', [1, 1, 1]],                                        // two lanes to a word
  ['load_table_u32', 'shared', [1, 32, 1]],
  ['load_table_8', 'shared', [1, 16, 2]],                                         // eight lanes of each half in each of two pairs of banks
  ['load_table_16', 'shared', [1, 4, 4]],
  ['load_matrix_x4(r, s + lane * 16)', 'shared', [1, 4, 4]],
  ['load_matrix_x4(r, s + lane * 128)', 'shared', [1, 32, 4]],
  ['load_matrix_x4_transposed(r, s + lane * 144)', 'shared', [1, 4, 4]],          // padded rows
  ['atomic_add_shared(words + lane % 2', 'shared', [1, 16, 1]],
  ['atomic_add_shared(words + 64 + lane', 'shared', [1, 1, 1]],
  ['load_global(p.in + lane)', 'global', [1, 4, 4]],
  ['load_global(p.in + lane * 2)', 'global', [1, 8, 4]],
  ['load_global(p.in + lane * 8)', 'global', [1, 32, 4]],
  ['load_global(p.in)', 'global', [1, 1, 1]],
  ['bytes16*>(p.in) + lane)', 'global', [1, 16, 16]],
  ['bytes16*>(p.in) + lane * 2)', 'global', [1, 32, 16], 'load'],
  ['load_global_once(p.in + 1 + lane)', 'global', [1, 5, 4], 'load'],             // one word late: a sector more
  ['load_global_coherent', 'global', [1, 2, 1], 'load'],
  ['atomic_add_global', 'global', [1, 4, 1], 'atomic'],
  ['store_global(reinterpret_cast<unsigned char*>', 'global', [1, 1, 1]],
  ['copy_async(s + lane * 32', 'shared', [1, 8, 4]],
  ['copy_async(s + lane * 32', 'global', [1, 16, 16]],
  ['i <= lane % 3', 'global', [3, 12, 4 + 3 + 2]],                                // 32, 21 and 10 lanes, in every sector of their rows
  ['store_global(p.out + lane', 'global', [1, 4, 4]],
];

const lines = readFileSync(new URL('./kernels/counted.cu', import.meta.url), 'utf8').split('\n');
const built = await build();

if (built) {
  const count = async (kernel: 'counted' | 'planted', which: number, order: number): Promise<Counters> => {
    const [line] = await run<Line>(built, 'launch', [await built.kernel(kernel), `emu_${kernel}`, which, 1, 32, 32768, 1024, `order=${order}`, 'counters=1']);
    assert.is(line!.code, 0, line!.report);
    return line!.counters;
  };

  test('sites have the counts worked out by hand, under every order', async () => {
    for (const order of [0, 1, 2]) {
      const { sites } = await count('counted', 0, order);
      for (const [text, space, [instructions, actual, ideal], access] of EXPECTED) {
        const number = lines.findIndex((line) => line.includes(text)) + 1;
        const site = sites.find((s) => s.line === number && s.space === space && (!access || s.access === access));
        assert.ok(site, `no count for "${text}"`);
        const got = site.count;
        assert.equal([got.instructions, got.wavefronts ?? got.sectors, got.ideal], [instructions, actual, ideal], `${text} (${space}), order ${order}`);
      }
      assert.is(sites.length, EXPECTED.length);
    }
  });

  test('totals are the sums of the sites', async () => {
    const { shared, global, sites, collectives, threads, blocks, kernel } = await count('counted', 0, 0);
    for (const [space, by] of [['shared', shared], ['global', global]] as const) {
      const sum = sites.filter((s) => s.space === space).reduce((n, s) => n + (s.count.wavefronts ?? s.count.sectors ?? NaN), 0);
      assert.is(by['all']!.wavefronts ?? by['all']!.sectors, sum);
      const { all, ...parts } = by;
      assert.is(Object.values(parts).reduce((n, c) => n + c.instructions, 0), all!.instructions);
    }
    assert.equal([kernel, blocks, threads, collectives['warp_barrier'], collectives['load_matrix_x4'], collectives['load_matrix_x4_transposed']], ['emu_counted', 1, 32, 3, 2, 1]);
  });

  test('a bank conflict shows where none was promised', async () => {
    const { shared } = await count('planted', 26, 0);
    assert.equal(shared['load'], { instructions: 1, wavefronts: 32, ideal: 1 });
    assert.equal(shared['store'], { instructions: 32, wavefronts: 32, ideal: 32 });
  });
}

test.run();
