// Tests generator/lookup.ts.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Contract } from '../../generator/contract.ts';
import { keyMethod, lookupMisfit, tallyMisfit } from '../../generator/lookup.ts';
import { parseContractName } from '../../generator/name.ts';

const decode = (words: string): Contract => parseContractName(`antkv_decode_${words}`);

test('the key method follows from codebook and key position', () => {
  const methods: [words: string, method: string | undefined][] = [
    ['d128_k8c8b_v8c8bq8_f16', 'sum'],
    ['d128_k16c8b_v16c8bq8_f16_n4', 'sum'],
    ['d128_k8c8b_v8c8bq8_f16_pre_gain', 'turn'],
    ['d128_k4c8b_v4c8bq8_f16_pre', 'turn'],
    ['d128_k16c8b_v4c8bq8_f16_pre', 'turn'],
    ['d128_k32c12b_v4c8bq8_f16_pre', undefined],
    ['d128_k2c8b_v4c8bq8_f16_pre', undefined],
    ['d128_k2c8bq8_v2c8bq8_f16', 'dot'],
    ['d128_k8c8bq8_v8c8bq8_f16', undefined],
    ['d128_k2c8bq8_v2c8bq8_f16_pre', undefined],
    ['d128_kf16_vf16_f16', undefined],
  ];
  for (const [words, method] of methods) assert.is(keyMethod(decode(words)), method, words);
  assert.is(keyMethod(parseContractName('antkv_select')), undefined);
});

const REASONS: [contract: string, want: RegExp][] = [
  ['antkv_combine_d128_f16', /one of decode, not of combine/],
  ['antkv_decode_d128_kf16_v8c8bq8_f16', /needs codes, k is f16/],
  ['antkv_decode_d128_k8c8b_v8c8b_f16', /the v codec must be a q8 one, not 8c8b/],
  ['antkv_decode_d128_k8c8bq8_v8c8bq8_f16_pre', /no way to score 8c8bq8 keys coded before RoPE; it takes/],
  ['antkv_decode_d128_k8c8bq8_v8c8bq8_f16', /no way to score 8c8bq8 keys coded after RoPE/],
  ['antkv_decode_d64_k16c8b_v8c8bq8_f16', /k has 4 of 8 bits/],
  ['antkv_decode_d96_k16c8b_v8c8bq8_f16', /k has 6 of 8 bits/],
  ['antkv_decode_d96_k8c8b_v16c8bq8_f16', /v has 6 of 8 bits$/],
  ['antkv_decode_d64_k16c8b_v8c8bq8_f16_pre', /k has 4 of 8 bits, coded before RoPE/],
  ['antkv_decode_d96_k8c8b_v8c8bq8_f16_pre', /k has 12 of 8 bits, coded before RoPE/],
  ['antkv_decode_d96_k2c8bq8_v8c8bq8_f16', /int8 keys in rows of 64 channels; head dim 96/],
  ['antkv_decode_d128_k8c10b_v8c8bq8_f16', /k has 16 of 10 bits/],
  ['antkv_decode_d128_k8c8b_v8c8bq8_f16_softcap', /does not cap scores/],
  ['antkv_decode_d256_k8c8b_v8c8bq8_f16_pre', /queries of up to 128 channels in registers .*, not 256/],
  ['antkv_decode_d256_k2c8bq8_v8c8bq8_f16', /queries of up to 128 channels in registers .*, not 256/],
  ['antkv_decode_d128_k8c8b_v8c8bq8_f16_gainkv', /no gain on values/],
  ['antkv_decode_d128_k8c8b_v8c8bq8_f16_n16', /4 or 8 columns, not 16/],
];
for (const [name, want] of REASONS) test(`${name} has no look-up kernel, and why`, () => assert.match(lookupMisfit(parseContractName(name)).join('\n'), want));

test('the contracts that are to be fast have one', () => {
  for (const words of ['k8c8b_v8c8bq8_f16_n4', 'k8c8b_v8c8bq8_f16_pre_gain_n4', 'k4c8b_v4c8bq8_f16_n4', 'k4c8b_v4c8bq8_f16_pre_n4', 'k2c8bq8_v2c8bq8_f16_n4', 'k16c8b_v16c8bq8_f16_n4', 'k16c8b_v8c8bq8_f16_pre_gain_n4', 'k8c8b_v8c8bq8_bf16_pre_gain_n4'])
    assert.equal(lookupMisfit(decode(`d128_${words}`)), [], words);
  for (const headDim of [64, 96, 256]) for (const words of ['k8c8b_v8c8bq8_f16_gain_n4', 'k4c8b_v4c8bq8_f16_n4', 'k8c8b_v4c8bq8_bf16']) assert.equal(lookupMisfit(decode(`d${headDim}_${words}`)), [], `d${headDim} ${words}`);
});

const TALLY_REASONS: [contract: string, want: RegExp][] = [
  ['antkv_combine_d128_f16', /one of decode, not of combine/],
  ['antkv_decode_d128_kf16_v32c12b_f16', /needs codes, k is f16/],
  ['antkv_decode_d128_k32c12b_v32c12b_f16_pre', /keys coded before RoPE have none/],
  ['antkv_decode_d128_k32c12b_v32c12b_bf16', /is f16, not bf16/],
  ['antkv_decode_d128_k32c12b_v32c12b_f16_gainv', /no gain on values/],
  ['antkv_decode_d128_k32c12b_v32c12b_f16_n32', /4 or 8 columns, not 32/],
];
for (const [name, want] of TALLY_REASONS) test(`${name} has no tally kernel, and why`, () => assert.match(tallyMisfit(parseContractName(name)).join('\n'), want));

test('every codec has tallies, whatever the other side has', () => {
  for (const words of ['k32c12b_v32c12b_f16_gain_n4', 'k8c10bq8_v16c12b_f16', 'k8c8b_v32c12bq8_f16_n4']) assert.equal(tallyMisfit(decode(`d128_${words}`)), [], words);
});

test.run();
