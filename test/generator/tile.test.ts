// Tests generator/tile.ts.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { ARCHS, findArch } from '../../generator/arch.ts';
import { contractOf, type Op } from '../../generator/contract.ts';
import { parseContractName } from '../../generator/name.ts';
import { sharedBytes } from '../../generator/shared.ts';
import { shippedKernels } from '../../generator/ship.ts';
import { algorithmOf, defaultTile, lookupTile, misfit, runsOn, tallyTile, threadsOf, type Tile } from '../../generator/tile.ts';

const sm80 = findArch('sm80')!;
const contract = (op: Op, headDim: 64 | 128 = 128) => contractOf(op, { headDim, k: '8c8b', v: '8c8bq8', dtype: 'f16', key: 'pre', gain: 'k' });

const MISFITS: [op: Op, tile: Tile, want: RegExp][] = [
  ['decode', { warps: 3, tokens: 96, stages: 2 }, /3 warps is not a power of two/],
  ['decode', { warps: 0, tokens: 64, stages: 2 }, /0 warps/],
  ['decode', { warps: 32, tokens: 512, stages: 1 }, /32 warps/],
  ['decode', { warps: 4, tokens: 32, stages: 2 }, /do not split into 16 rows for each of 4 warps/],
  ['decode', { warps: 4, tokens: 60, stages: 2 }, /60 tokens is not a multiple of 16/],
  ['decode', { warps: 4, tokens: 64, stages: 5 }, /5 stages/],
  ['decode', { warps: 4, tokens: 64, stages: 0 }, /0 stages/],
  ['decode', { warps: 4, tokens: 64 }, /a tile of decode has warps, tokens, stages/],
  ['decode', { warps: 16, tokens: 1024, stages: 4 }, /B of shared memory, sm80 has 166912/],
  ['encode', { warps: 4, tokens: 256 }, /at most 128/],
  ['encode', { warps: 4, tokens: 8 }, /multiple of 16/],
  ['encode', { warps: 4, tokens: 32, stages: 2 }, /a tile of encode has warps, tokens/],
  ['score', { warps: 4, tokens: 48, stages: 2 }, /do not split/],
  ['score', { warps: 1, tokens: 16, stages: 2 }, /1 warp; /],
  ['score', { warps: 4, tokens: 64, stages: 1 }, /1 stage; /],
  ['score', { warps: 4, tokens: 512, stages: 2 }, /256 registers of a thread for its keys; 4 warps have 128 for them/],
  ['score', { warps: 16, tokens: 512, stages: 2 }, /64 registers of a thread for its keys; 16 warps have 48 for them/],
  ['decode', { algorithm: 'group', warps: 12, tokens: 192, stages: 3 }, /group is one of score, not of decode/],
  ['select', { warps: 4, tokens: 16 }, /a tile of select has warps/],
  ['encode', { algorithm: 'lookup', warps: 4, stages: 2, copies: 4 }, /lookup is one of decode, not of encode/],
  ['decode', { algorithm: 'lookup', warps: 4, tokens: 64, stages: 2 }, /a tile of decode has warps, stages, copies/],
  ['decode', { algorithm: 'lookup', warps: 12, stages: 2, copies: 4 }, /^\d+ B of shared memory/],
  ['decode', { algorithm: 'lookup', warps: 20, stages: 2, copies: 2 }, /20 warps is not 4, 8, 12 or 16/],
  ['decode', { algorithm: 'lookup', warps: 6, stages: 2, copies: 2 }, /6 warps is not 4, 8, 12 or 16/],
  ['decode', { algorithm: 'lookup', warps: 8, stages: 3, copies: 2 }, /3 stages is not 1 or 2/],
  ['decode', { algorithm: 'lookup', warps: 8, stages: 2, copies: 3 }, /3 copies is not 1, 2 or 4/],
  ['decode', { algorithm: 'lookup', warps: 8, stages: 2, copies: 4 }, /\d+ B of shared memory, sm80 has 166912/],
];
for (const [op, tile, want] of MISFITS) test(`${op} ${JSON.stringify(tile)} does not fit`, () => assert.match(misfit(contract(op), tile, sm80).join('\n'), want));

const GROUPS: [tile: Partial<Tile>, form: string, arch: string, want: RegExp][] = [
  [{}, '', 'sm90', /^$/],
  [{ tokens: 384 }, '_massq', 'sm90', /^$/],
  [{}, '_exact', 'sm90', /^$/],
  [{}, '', 'sm80', /sm80 has no wgmma/],
  [{ warps: 8 }, '', 'sm90', /8 warps; groups are three of four warps/],
  [{ stages: 1 }, '', 'sm90', /1 stages is not 2 to 4/],
  [{ tokens: 256 }, '', 'sm90', /256 tokens; three groups take 192 or 384/],
  [{ tokens: 384 }, '_exact', 'sm90', /384 tokens; three groups take 192$/],
];
for (const [more, form, arch, want] of GROUPS) {
  const tile: Tile = { algorithm: 'group', warps: 12, tokens: 192, stages: 3, ...more };
  test(`score${form} by groups ${JSON.stringify(more)} on ${arch}`, () => assert.match(misfit(parseContractName(`antkv_score_d128_f16${form}`), tile, findArch(arch)!).join('\n'), want));
}

test('default tiles fit every shipped contract on every architecture', () => {
  for (const { contract: shipped } of shippedKernels()) for (const arch of ARCHS) assert.equal(misfit(shipped, defaultTile(shipped, arch), arch), [], arch.name);
});

// sm90, sm80, sm86 and sm100 of each.
const SCORES: [contract: string, tiles: readonly string[]][] = [
  ['d128_f16', ['group w12 t384 s4', 'rows w8 t512 s3', 'rows w8 t512 s3', 'rows w8 t512 s3']],
  ['d128_f16_mass', ['group w12 t384 s4', 'rows w8 t512 s3', 'rows w8 t512 s3', 'rows w8 t512 s3']],
  ['d128_f16_massq', ['group w12 t384 s4', 'rows w8 t512 s3', 'rows w8 t512 s3', 'rows w8 t512 s3']],
  ['d128_f16_exact', ['group w12 t192 s4', 'rows w8 t256 s3', 'rows w8 t256 s2', 'rows w8 t256 s3']],
  ['d64_f16', ['group w12 t384 s4', 'rows w8 t512 s3', 'rows w8 t512 s3', 'rows w8 t512 s3']],
  ['d64_f16_exact', ['group w12 t192 s4', 'rows w8 t512 s3', 'rows w8 t512 s3', 'rows w8 t512 s3']],
];
for (const [words, want] of SCORES) {
  test(`the first tile of score ${words}`, () => {
    const score = parseContractName(`antkv_score_${words}`);
    const tiles = ['sm90', 'sm80', 'sm86', 'sm100'].map((arch) => defaultTile(score, findArch(arch)!));
    assert.equal(tiles.map((tile) => ({ ...tile, algorithm: algorithmOf(tile) })).map(({ algorithm, warps, tokens, stages }) => `${algorithm} w${warps} t${tokens} s${stages}`), want);
  });
}

const MANY: [contract: string, tile: Tile, want: RegExp | undefined][] = [
  ['d128_k8c8b_v8c8bq8_f16_pre_n32', { warps: 4, tokens: 64, stages: 2 }, undefined],
  ['d128_k8c8b_v8c8bq8_f16_pre_n32', { warps: 4, tokens: 256, stages: 2 }, /192 registers of a thread for sums and scores of 32 columns; 4 warps have 159 for them/],
  ['d256_kf16_vf16_f16_n32', { warps: 2, tokens: 32, stages: 2 }, /272 registers of a thread/],
  ['d256_kf16_vf16_f16_n16', { warps: 2, tokens: 32, stages: 2 }, undefined],
  ['d64_kf16_vf16_f16_n32', { warps: 16, tokens: 256, stages: 1 }, /80 registers .* 16 warps have 32/],
  ['d128_k8c8b_v8c8bq8_f16_n16', { algorithm: 'lookup', warps: 8, stages: 1, copies: 1 }, /lookup takes 4 or 8 columns, not 16/],
  ['d128_k32c12b_v32c12b_f16_n32', { algorithm: 'tally', warps: 8, tokens: 512, pass: 1 }, /tally takes 4 or 8 columns, not 32/],
];
for (const [words, tile, want] of MANY) {
  test(`many columns: ${words} ${JSON.stringify(tile)}`, () => {
    const why = misfit(parseContractName(`antkv_decode_${words}`), tile, findArch('sm90')!).join();
    if (want) assert.match(why, want);
    else assert.is(why, '');
  });
}

test('shared memory of many columns holds their queries, of bf16 twice, and what each sees', () => {
  const bytes = (words: string): number => sharedBytes(parseContractName(`antkv_decode_${words}`), { warps: 1, tokens: 16, stages: 1 });
  assert.is(bytes('d64_kf16_vf16_f16_n16') - 64, Math.max(2 * 16 * 72 * 2 + 16 * 72 * 2 + 16 + 16 * 12, (16 * 68 + 32) * 4));
  assert.is(bytes('d64_k8c8b_vbf16_bf16_n32') - bytes('d64_k8c8b_vf16_f16_n32'), 32 * 72 * 2 - 16);
});

test('kernels of groups run on their architecture alone, all others on newer ones too', () => {
  const on = (tile: Tile): number[] => ARCHS.map(({ name }) => Number(name.slice(2))).filter((cc) => runsOn({ arch: findArch('sm90')!, tile }, cc));
  assert.equal(on({ algorithm: 'group', warps: 12, tokens: 384, stages: 4 }), [90]);
  assert.equal(on({ warps: 8, tokens: 512, stages: 3 }), [90, 100, 103, 120]);
});

test('shared memory decides by architecture', () => {
  const tile = { warps: 8, tokens: 256, stages: 4 };
  assert.equal(misfit(contract('decode'), tile, findArch('sm90')!), []);
  assert.match(misfit(contract('decode'), tile, findArch('sm86')!).join(), /sm86 has 101376/);
});

// sm90, sm80 and sm86 of each; rows of the decode contracts that the project promises speed for, then what does not fit everywhere.
const LOOKUPS: [contract: string, tiles: readonly (string | undefined)[]][] = [
  ['d128_k8c8b_v8c8bq8_f16_n4', ['w16 s2 c4', 'w16 s2 c2', 'w16 s2 c1']],
  ['d128_k8c8b_v8c8bq8_f16_pre_gain_n4', ['w8 s2 c4', 'w8 s2 c2', undefined]],
  ['d128_k8c8b_v8c8bq8_f16_pre_gain', ['w8 s1 c2', 'w8 s1 c1', undefined]],
  ['d128_k4c8b_v4c8bq8_f16_n4', ['w12 s2 c4', 'w12 s2 c2', undefined]],
  ['d128_k4c8b_v4c8bq8_f16_pre_n4', ['w8 s2 c4', 'w8 s2 c2', undefined]],
  ['d128_k2c8bq8_v2c8bq8_f16_n4', ['w8 s2 c4', 'w8 s2 c2', undefined]],
  ['d128_k16c8b_v16c8bq8_f16_n4', ['w16 s2 c4', 'w16 s2 c2', 'w16 s2 c1']],
  ['d128_k4c8b_v4c8bq8_f16', ['w8 s2 c2', undefined, undefined]],
  ['d64_k8c8b_v8c8bq8_f16_pre_gain_n4', ['w12 s2 c4', 'w12 s2 c4', 'w12 s2 c2']],
  ['d128_k8c8b_v8c8b_f16_n4', [undefined, undefined, undefined]],
  ['d128_kf16_vf16_f16', [undefined, undefined, undefined]],
];
for (const [words, want] of LOOKUPS) {
  test(`the look-up tile of ${words}`, () => {
    const decode = parseContractName(`antkv_decode_${words}`);
    const tiles = ['sm90', 'sm80', 'sm86'].map((name) => lookupTile(decode, findArch(name)!));
    assert.equal(tiles.map((tile) => tile && `w${tile.warps} s${tile.stages} c${tile.copies}`), want);
    for (const tile of tiles) if (tile) assert.is(algorithmOf(tile), 'lookup');
  });
}

// sm90, sm80 and sm86 of each.
const TALLIES: [contract: string, tiles: readonly (string | undefined)[]][] = [
  ['d128_k32c12b_v32c12b_f16_gain_n4', ['w16 t3072 p2', 'w16 t3072 p1', 'w16 t3072 p1']],
  ['d128_k16c12b_v16c12b_f16', ['w16 t2048 p1', undefined, undefined]],
  ['d128_k16c6b6b_v16c6b6b_f16', ['w16 t2048 p4', 'w16 t2048 p4', 'w16 t2048 p4']],
  ['d128_k8c10b_v8c10b_f16_n4', ['w16 t1024 p2', 'w16 t1024 p1', 'w16 t1024 p1']],
  ['d64_k32c12b_v32c12b_f16_n4', ['w16 t3072 p4', 'w16 t3072 p2', 'w16 t3072 p2']],
  ['d128_k32c12b_v32c12b_f16_pre_n4', [undefined, undefined, undefined]],
  ['d128_k32c12b_vf16_f16_n4', [undefined, undefined, undefined]],
];
for (const [words, want] of TALLIES) {
  test(`the tally tile of ${words}`, () => {
    const decode = parseContractName(`antkv_decode_${words}`);
    const tiles = ['sm90', 'sm80', 'sm86'].map((name) => tallyTile(decode, findArch(name)!));
    assert.equal(tiles.map((tile) => tile && `w${tile.warps} t${tile.tokens} p${tile.pass}`), want);
    assert.is(algorithmOf(defaultTile(decode, findArch('sm90')!)), want[0] === undefined ? 'rows' : 'tally');
  });
}

test('shared memory of tally kernels is scores, tallies, a result, what describes a piece, and what warps tell each other', () => {
  const bytes = (words: string, tile: Tile): number => sharedBytes(parseContractName(`antkv_decode_${words}`), tile);
  const tile: Tile = { algorithm: 'tally', warps: 16, tokens: 2048, pass: 2 };
  const rest = (4 * 132 + 8) * 4 + 192 + 4 * 20;
  assert.is(bytes('d128_k32c12b_v32c12b_f16_n4', tile), 4 * 4096 * (2 + 4) * 2 + rest + 16 * (16 * 2 + 4));
  // Products of keys lie in the tallies' place first: the larger side decides.
  assert.is(bytes('d128_k8c10b_v32c12b_f16_n4', tile), 16384 * (2 + 4) * 2 + rest + 16 * (16 * 2 + 4));
  assert.is(bytes('d128_k16c12b_v32c12b_f16_n4', { ...tile, pass: 1 }), 32768 * (2 + 4) + rest + 16 * (16 + 4));
});

test('a tally tile has warps that share its rounds, and columns that it can do at a time', () => {
  const of = (tile: Tile): string => misfit(parseContractName('antkv_decode_d128_k32c12b_v32c12b_f16_n4'), tile, findArch('sm90')!).join();
  const tile: Tile = { algorithm: 'tally', warps: 16, tokens: 2048, pass: 2 };
  assert.is(of(tile), '');
  assert.match(of({ ...tile, warps: 12 }), /12 warps is not 4, 8 or 16/);
  assert.match(of({ ...tile, tokens: 1000 }), /1000 tokens are not 32 for each of 16 warps, or a multiple up to 8192/);
  assert.match(of({ ...tile, pass: 3 }), /3 columns at a time is not 1, 2 or 4 of 4/);
  assert.match(of({ ...tile, tokens: 8192 }), /registers of a thread for codes; 16 warps have 68 for them/);
});

test('the default is look-ups where they fit, tallies for large codebooks, else rows', () => {
  const decode = parseContractName('antkv_decode_d128_k8c8b_v8c8bq8_f16_n4');
  assert.is(algorithmOf(defaultTile(decode, findArch('sm90')!)), 'lookup');
  assert.equal(defaultTile(parseContractName('antkv_decode_d128_kf16_vf16_f16'), findArch('sm90')!), { warps: 4, tokens: 64, stages: 2 });
});

test('shared memory of look-up kernels is tables, results, what the key method keeps, scales of the values, and what describes a piece', () => {
  const bytes = (words: string, tile: Tile): number => sharedBytes(parseContractName(`antkv_decode_${words}`), tile);
  const tile: Tile = { algorithm: 'lookup', warps: 8, stages: 2, copies: 4 };
  const result = (4 * 132 + 8) * 4;
  const rest = 128 * 4 + 192 + 4 * 20; // a column of the context has 20 bytes
  assert.is(bytes('d128_k8c8b_v8c8bq8_f16_n4', tile), 256 * 128 + 4 * 32768 + 8 * (result + 4 * 4) + rest);
  assert.is(bytes('d128_k4c8b_v4c8bq8_f16_n4', { ...tile, copies: 1 }), 256 * 256 + 32768 + 8 * (result + 4 * 4) + rest);
  assert.is(bytes('d128_k8c8b_v8c8bq8_f16_pre_n4', tile), 256 * 256 + 4 * 32768 + 8 * (result + (32 * 16 * 8 + 2 * 256 + (128 / 2 - 32) * 8) / 8) + rest);
  assert.is(bytes('d128_k2c8bq8_v2c8bq8_f16_n4', tile), 2 * 256 * 128 + 4 * 32768 + 8 * result + rest);
  assert.is(bytes('d64_k8c8b_v8c8bq8_f16_n4', tile), 256 * 128 + 4 * 16384 + 8 * ((4 * 68 + 8) * 4 + 4 * 4) + 64 * 4 + 192 + 4 * 20);
  // 12 chunks of keys are rows of 8, twice, and of 4, four times; two of three groups of values lie in one slice.
  assert.is(bytes('d96_k8c8b_v8c8bq8_f16_n4', { ...tile, copies: 2 }), 2 * 32768 + 2 * 32768 + 8 * ((4 * 100 + 8) * 4 + 4 * 4) + 96 * 4 + 192 + 4 * 20);
  // 8 columns: results go over the tables.
  assert.is(bytes('d256_k8c8b_v8c8bq8_f16', { ...tile, copies: 1 }), 4 * 32768 + 2 * 32768 + 8 * (32 * 16 + 8 * 4) + 256 * 4 + 192 + 8 * 20);
  assert.is(bytes('d128_k8c8b_v8c8bq8_f16', tile), 256 * 256 + 4 * 32768 + 8 * ((8 * 132 + 16) * 4 + 8 * 4) + rest + 4 * 20);
});

test('a warp has 32 threads', () => assert.is(threadsOf({ warps: 4 }), 128));

test.run();
