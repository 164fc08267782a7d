// Tests generator/contract.ts.
import fc from 'fast-check';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { CODECS } from '../../generator/codec.ts';
import { AXES_OF, contractOf, isUndertrained, OPS, reject, type Contract } from '../../generator/contract.ts';
import { anyContract } from './products.ts';

const good = contractOf('decode', { headDim: 128, k: '8c8b', v: '8c8bq8', dtype: 'f16', key: 'pre', gain: 'k' });

const REJECTED: [what: string, change: Partial<Contract>, want: RegExp][] = [
  ['an unknown value', { headDim: 100 as never }, /^headDim 100 is not one of 64, 96, 128, 256$/],
  ['bytes that are not full', { headDim: 96, v: '32c12b' }, /v: 3 codes of 12 bits do not fill whole bytes/],
  ['pre without a code', { k: 'f16', gain: 'none' }, /"pre" needs a coded key/],
  ['a gain on exact keys', { k: 'f16', key: 'post' }, /a gain on k needs a coded k/],
  ['a gain on exact values', { v: 'f16', gain: 'v' }, /a gain on v needs a coded v/],
  ['exact rows of another type', { v: 'bf16' }, /exact rows are bf16 but the dtype is f16/],
  ['look-up sums before RoPE', { numerics: 'adc8' }, /after RoPE/],
  ['a cap where no score is', { op: 'score', form: 'norm', softcap: true }, /form norm asks no score that could be capped/],
  ['a gain to come', { gain: 'kv' }, /gain kv: not built yet/],
  ['clustering to int8', { op: 'kmeans', k: '8c8bq8' }, /rounded from 8c8b's/],
  ['clustering codes in stages', { op: 'kmeans', k: '16c6b6b' }, /centroids of one stage; 16c6b6b has 2/],
  ['clustering exact rows', { op: 'kmeans', k: 'f16' }, /f16 has no codebook/],
];
for (const [what, change, want] of REJECTED) test(`rejects ${what}`, () => assert.match(reject({ ...good, ...change }).join('\n'), want));

test('offers what is built', () => {
  assert.equal(reject(good), []);
  for (const change of [{ headDim: 96 }, { headDim: 256 }, { dtype: 'bf16' }, { softcap: true }, { sink: true }, { columns: 16 }, { columns: 32 }] as const) assert.equal(reject({ ...good, ...change }), [], JSON.stringify(change));
  for (const op of ['encode', 'append', 'decode', 'unpack'] as const) assert.equal(reject(contractOf(op, { headDim: 256, k: 'bf16', v: '4c8b', dtype: 'bf16' })), []);
  const codecs = CODECS.filter(({ kind }) => kind === 'vq').map(({ name }) => name as NonNullable<Contract['k']>);
  for (const headDim of [64, 128] as const) for (const k of codecs) for (const v of [...codecs, 'f16'] as const) assert.equal(reject({ ...good, headDim, k, v }), [], `${k} ${v}`);
});

test('reject never throws, and says nothing twice', () => {
  fc.assert(fc.property(anyContract, (contract) => assert.is(new Set(reject(contract)).size, reject(contract).length)), { numRuns: 2000 });
});

test('contracts have the axes of their op, and no others', () => {
  const axes = { headDim: 64, k: '8c8b', v: '8c8b', dtype: 'f16', form: 'exact', columns: 32 } as const;
  for (const op of OPS) assert.equal(Object.keys(contractOf(op, axes)).sort(), ['op', ...AXES_OF[op]].sort());
  assert.throws(() => contractOf('decode', { headDim: 64 }), /needs the axis "k"/);
});

test('a codebook is undertrained below 16 vectors per entry', () => {
  assert.ok(isUndertrained('8c8b', 4095) && !isUndertrained('8c8b', 4096) && !isUndertrained('f16', 0));
});

test.run();
