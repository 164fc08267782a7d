// Tests generator/view.ts, and that its lists are what the shells read.
import { readdirSync } from 'node:fs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { findArch } from '../../generator/arch.ts';
import { contractOf, type Op } from '../../generator/contract.ts';
import type { Kernel } from '../../generator/name.ts';
import { holesOf, readTemplate } from '../../generator/render.ts';
import { defaultTile } from '../../generator/tile.ts';
import { HOLES, HOLES_OF, shellOf, viewOf } from '../../generator/view.ts';

const arch = findArch('sm80')!;
const kernel = (op: Op, k = '8c8b', v = '8c8bq8', key = 'pre', gain = 'k'): Kernel => {
  const contract = contractOf(op, { headDim: 128, k, v, dtype: 'f16', key, gain, form: 'exact' } as never);
  // Of decode the first algorithm, whatever is the default.
  return { contract, arch, tile: op === 'decode' ? { warps: 4, tokens: 64, stages: 2 } : defaultTile(contract, arch) };
};

const SHELLS = readdirSync(new URL('../../templates/', import.meta.url)).filter((file) => file.endsWith('.cu.hbs'));
for (const file of SHELLS) {
  test(`the list of ${file} is what it reads`, () => {
    const { names } = holesOf(readTemplate(file), file);
    assert.equal([...(HOLES_OF[file.slice(0, -'.cu.hbs'.length)] ?? [])].sort(), [...names.keys()].sort());
  });
}

test('every list has a shell', () => {
  const without = Object.keys(HOLES_OF).filter((shell) => !SHELLS.includes(`${shell}.cu.hbs`));
  assert.equal(without, []);
});

test('a look-up view, number by number', () => {
  const contract = contractOf('decode', { headDim: 128, k: '8c8b', v: '8c8bq8', dtype: 'f16', columns: 4 });
  const lookup: Kernel = { contract, arch: findArch('sm90')!, tile: { algorithm: 'lookup', warps: 16, stages: 2, copies: 4 } };
  assert.is(shellOf(lookup), 'decode_lookup');
  const want = {
    name: 'antkv_decode_d128_k8c8b_v8c8bq8_f16_n4__sm90_lookup_w16_s2_c4', threads: 512, warps: 16, stages: 2, copies: 4, columns: 4, sharedBytes: 199184,
    keySum: true, keyTurn: false, keyFiles: 'lookup_sum.cuh', kTableBytes: 32768, vTableBytes: 131072, warpBytes: 2144, pre: false, kGain: false, kBits: 8, vQ8: true,
  };
  const view = viewOf(lookup);
  for (const [hole, value] of Object.entries(want)) assert.is(view[hole], value, hole);
  assert.is(viewOf({ ...lookup, contract: { ...contract, key: 'pre' } })['keyTurn'], true);
  assert.is(viewOf({ ...lookup, contract: { ...contract, k: '2c8bq8' } })['keyFiles'], 'lookup_tokens.cuh lookup_dot.cuh');
});

test('a 1-bit view, number by number', () => {
  const view = viewOf(kernel('decode'));
  const want = {
    name: 'antkv_decode_d128_k8c8b_v8c8bq8_f16_pre_gain__sm80_w4_t64_s2', threads: 128, warps: 4, stages: 2, warpUnits: 1, headDim: 128, coded: true,
    kExact: false, kRowBytes: 16, kChannels: 8, kBits: 8, kEntries: 256, kQ8: false, kCodebookBytes: 81920, kHalfNormOffset: 65536,
    vExact: false, vRowBytes: 16, vChannels: 8, vBits: 8, vEntries: 256, vQ8: true, vCodebookBytes: 49664, vScaleOffset: 32768, vHalfNormOffset: 33280,
    unitBytes: 544, vOffset: 256, kGainOffset: 512, pre: true, kGain: true,
  };
  for (const [hole, value] of Object.entries(want)) assert.is(view[hole], value, hole);
});

test('an exact side has no codes', () => {
  const view = viewOf(kernel('encode', 'f16', 'f16', 'post', 'none'));
  const want = { coded: false, kExact: true, kRowBytes: 256, kChannels: 1, kBits: 0, kEntries: 0, kQ8: false, kCodebookBytes: 0, unitBytes: 8192, pre: false, kGain: false, codeBytes: 1 };
  for (const [hole, value] of Object.entries(want)) assert.is(view[hole], value, hole);
});

test('a shell may read any hole of the table without a change here, and nothing else', () => {
  assert.is(viewOf(kernel('decode'), ['tokens', 'kChunks'])['kChunks'], 16);
  assert.is(viewOf(kernel('decode'), ['nonsense'])['nonsense'], undefined);
  assert.throws(() => viewOf(kernel('combine'), ['kBits']), /this op has no codec k/);
  assert.throws(() => viewOf(kernel('select'), ['tokens']), /no tokens/);
});

test('every value of every hole prints as C++', () => {
  for (const op of ['encode', 'decode', 'unpack'] as const) for (const [hole, of] of Object.entries(HOLES)) {
    if (['stages', 'copies', 'pass', 'keyFiles', 'kTableBytes', 'vTableBytes', 'timesRest', 'timesQuery', 'timesDistance', 'columns', 'tokens', 'warpUnits', 'softcap', 'sink', 'mean', 'norm'].includes(hole)) continue;
    assert.match(String(of(kernel(op))), /^(\d+|true|false|b?f16|antkv_\w+)$/, hole);
  }
});

test('an op without a shell says so', () => assert.throws(() => viewOf({ ...kernel('select'), tile: { algorithm: 'lookup', warps: 8 } }), /select has no shell yet/));

test.run();
