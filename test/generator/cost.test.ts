// Tests generator/counts.ts and generator/cost.ts: counts by hand, floors by hand, order, and the model against what was measured.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { ARCHS, findArch } from '../../generator/arch.ts';
import { offeredContracts } from '../../generator/cli/list.ts';
import type { CacheContract } from '../../generator/contract.ts';
import { COST_SHAPES, floorsOf, PIPES, shapeCost, tileCost } from '../../generator/cost.ts';
import { tileParts, total, type Work } from '../../generator/counts.ts';
import { parseContractName, parseKernelName, type Kernel } from '../../generator/name.ts';
import { defaultTile, lookupTile } from '../../generator/tile.ts';

const H200 = findArch('sm90')!.machine!;
const A100 = findArch('sm80')!.machine!;
const lookup = (words: string, arch = 'sm90'): Kernel => {
  const contract = parseContractName(`antkv_decode_${words}`);
  return { contract, arch: findArch(arch)!, tile: lookupTile(contract, findArch(arch)!)! };
};
const parts = (words: string) => tileParts(lookup(words).contract as CacheContract, lookup(words).tile);
const some = (w: Work, fields: readonly (keyof Work)[]): number[] => fields.map((field) => w[field]);

test('counts of 32 tokens, by hand', () => {
  // 1 bit, 4 columns: 16 look-ups of 8 bytes a side; keys 4 groups x 2 additions x 2 words, 4 scores joined and converted, 4 mma; values 32 words transposed by 64 PRMT for 8 mma.
  const one = parts('d128_k8c8b_v8c8bq8_f16_n4');
  assert.equal(some(one['keys (sum)']!, ['memory', 'dot', 'wavefronts', 'alu', 'matrix']), [16, 20, 32, 20, 4]);
  assert.equal(some(one['values']!, ['memory', 'dot', 'wavefronts', 'alu', 'matrix']), [16, 16, 32, 64, 8]);
  // A score per column, in pairs by 4 shuffles to where values want them; 8 columns need none.
  assert.equal(some(one['weights']!, ['mufu', 'memory', 'wavefronts']), [4, 4, 4]);
  assert.equal(some(parts('d128_k8c8b_v8c8bq8_f16')['weights']!, ['mufu', 'memory', 'wavefronts']), [8, 0, 0]);
  // 2 bits: twice the look-ups, values of 4 bytes.
  const two = parts('d128_k4c8b_v4c8bq8_f16_n4');
  assert.equal(some(two['keys (sum)']!, ['memory', 'wavefronts', 'alu', 'matrix']), [32, 64, 36, 8]);
  assert.equal(some(two['values']!, ['memory', 'wavefronts', 'alu', 'matrix']), [32, 32, 64, 8]);
  // Half a bit: two look-ups per lane and token are added.
  assert.equal(some(parts('d128_k16c8b_v16c8bq8_f16_n4')['keys (sum)']!, ['memory', 'wavefronts', 'alu', 'matrix']), [8, 16, 12, 4]);
  // Keys before RoPE, 4 columns: 16 look-ups of 16 bytes; per tile 4 loads for the queries' way and 8 of places, 4 wavefronts each, 8 shuffles, and a 32nd of 16
  // loads from memory. Halves: 4 words x 2 units x 8 for fast pairs, 8 for powers. 32 mma: 2 units x 8 words, each twice.
  const turn = parts('d128_k8c8b_v8c8bq8_f16_pre_gain_n4');
  assert.equal(some(turn['keys (turn)']!, ['dot', 'memory', 'wavefronts', 'half', 'matrix']), [16, 16 + 4 + 8 + 8 + 0.5, 64 + 16 + 8 + 32 + 0.5, 72, 32]);
  // fp32: 32 to turn the queries, 16 for rests, 20 for scores and 4 for places, 2 for those anew.
  assert.is(turn['keys (turn)']!.float, 32 + 16 + 20 + 4 + 2);
  assert.is(turn['weights']!.mufu, 4);
  // 8 columns: each lane turns all its queries, twice the mma. 8-byte entries trade places by 64 selects.
  const wide = parts('d128_k8c8b_v8c8bq8_f16_pre_gain')['keys (turn)']!;
  assert.equal(some(wide, ['memory', 'half', 'matrix']), [16 + 8 + 8 + 1, 64 + 16, 64]);
  const narrow = parts('d128_k4c8b_v4c8bq8_f16_pre_n4')['keys (turn)']!;
  assert.equal([narrow.alu - turn['keys (turn)']!.alu, narrow.memory - turn['keys (turn)']!.memory], [64, 16]);
  // Head dim 64: all 4 words fast, each multiplied turned and as it is.
  assert.equal(some(parts('d64_k8c8b_v8c8bq8_f16_pre_n4')['keys (turn)']!, ['half', 'matrix', 'wavefronts']), [64, 16, 32 + 16 + 32 + 0.5]);
  // 4 bits: 64 look-ups of 2 bytes a side, joined by a PRMT and put in order by 64 selects.
  const four = parts('d128_k2c8bq8_v2c8bq8_f16_n4');
  assert.equal(some(four['keys (dot)']!, ['memory', 'wavefronts', 'alu', 'matrix']), [64, 64, 100, 8]);
  assert.equal(some(four['values']!, ['memory', 'wavefronts', 'alu', 'matrix']), [64, 64, 96, 8]);
});

test('eight columns cost more than four, fewer copies more than four', () => {
  const keys = (words: string): Work => parts(words)['keys (sum)']!;
  assert.is(keys('d128_k8c8b_v8c8bq8_f16').wavefronts, 2 * keys('d128_k8c8b_v8c8bq8_f16_n4').wavefronts);
  const { contract } = lookup('d128_k8c8b_v8c8bq8_f16_n4');
  const wavefronts = [4, 2, 1].map((copies) => tileParts(contract as CacheContract, { algorithm: 'lookup', warps: 16, stages: 2, copies })['values']!.wavefronts);
  assert.equal(wavefronts, [32, 64, 128]);
});

test('floors of a made-up piece of work, by hand', () => {
  const w = total([[2, { bytes: 4580, wavefronts: 7, alu: 10, dot: 4, half: 6, float: 8, mufu: 3, matrix: 2, memory: 5, control: 1 }]]);
  const floors = floorsOf(w, H200);
  const want = { memory: 2 * 132 * 1.98, shared: 14, issue: (2 * 37 + 4 * 4.2) / 4, alu: 10, fma: 4 + 6 + 4, mufu: 12, matrix: 6.1 };
  for (const pipe of PIPES) assert.ok(Math.abs(floors[pipe] - want[pipe]) < 1e-9, `${pipe}: ${floors[pipe]}, not ${want[pipe]}`);
  assert.is(floorsOf(w, A100).fma, 4 + 3 + 8, 'A100: halves twice as fast, fp32 half as fast');
  assert.ok(floorsOf(w, H200, 66).memory < floors.memory, 'fewer SMs, more memory for each');
  assert.is(floorsOf(w, H200, 8).memory, floorsOf(w, H200, 66).memory, 'but one SM cannot have all of it');
});

test('a cost is finite and at least its floors, for every offered decode contract on every known device', () => {
  const machines = ARCHS.filter(({ machine }) => machine);
  assert.equal(machines.map(({ name }) => name), ['sm80', 'sm90']);
  let lookups = 0;
  for (const contract of offeredContracts('decode')) {
    for (const arch of machines) {
      const fast = lookupTile(contract, arch);
      if (fast) lookups++;
      for (const tile of [defaultTile(contract, arch), ...(fast ? [fast] : [])]) {
        const kernel = { contract, arch, tile };
        const { expected, floors } = tileCost(kernel, arch.machine!);
        assert.ok(PIPES.every((pipe) => floors[pipe] >= 0 && expected >= floors[pipe]));
        const big = shapeCost(kernel, arch.machine!, { batch: 16, tokens: 32768 });
        const small = shapeCost(kernel, arch.machine!, { batch: 16, tokens: 4096 });
        assert.ok(Number.isFinite(big.us) && big.us > small.us && small.us > small.floorUs && big.us > big.floorUs && big.splits * 8 <= arch.machine!.sms);
      }
    }
  }
  assert.ok(lookups > 20, `${lookups} look-up kernels`);
});

test('more bytes, more time: the rates in order at every long shape', () => {
  for (const shape of COST_SHAPES.filter(({ tokens, batch }) => tokens * batch >= 65536)) {
    const times = ['16c8b_v16c8bq8', '8c8b_v8c8bq8', '4c8b_v4c8bq8', '2c8bq8_v2c8bq8'].map((codecs) => shapeCost(lookup(`d128_k${codecs}_f16_n4`), H200, shape).us);
    assert.equal(times, [...times].sort((a, b) => a - b));
  }
});

// harness/bench/NOTES.md, H200, B16 32K, best splits: the model is to be right where it can be checked.
const MEASURED: [kernel: string, us: number][] = [
  ['antkv_decode_d128_kf16_vf16_f16__sm90_w4_t64_s2', 517],
  ['antkv_decode_d128_k8c8b_v8c8bq8_f16_pre_gain__sm90_w16_t256_s2', 981],
  ['antkv_decode_d128_k8c8b_v8c8bq8_f16_gain__sm90_w8_t128_s2', 817],
];
for (const [name, us] of MEASURED) {
  test(`the model of ${name} is within 15 % of ${us} us`, () => {
    const said = shapeCost(parseKernelName(name), H200, { batch: 16, tokens: 32768 }).us;
    assert.ok(said / us > 1 / 1.15 && said / us < 1.15, `${said} us`);
  });
}

test('other ops have no model', () => {
  const combine = parseKernelName('antkv_combine_d128_f16__sm90_w4');
  assert.throws(() => tileCost(combine, H200), /knows decode, not combine/);
});

test.run();
