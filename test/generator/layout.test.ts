// Tests generator/layout.ts: properties that every layout has. The bytes themselves are compared with the C twin by the tests of pack.ts.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { chunksOf, codecOf, CODECS, entriesOf, storedOf } from '../../generator/codec.ts';
import { contractOf, isCacheContract, isCoded, reject } from '../../generator/contract.ts';
import { anchorPageBytes, bitmapOffset, codebookLayout, PAGE_SIZES, pageBytes, ringBytes, ringRows, unitLayout } from '../../generator/layout.ts';
import { everyContract } from './products.ts';

const mathematical = (why: readonly string[]): boolean => why.every((reason) => reason.includes('not built yet'));
const formats = [...everyContract('encode')].filter(isCacheContract).filter((c) => mathematical(reject(c)));

test('units are 16-byte aligned, their parts do not overlap, gains are aligned', () => {
  assert.ok(formats.length > 1000);
  for (const c of formats) {
    const { kRow, vRow, v, kGain, vGain, bytes } = unitLayout(c);
    assert.ok(v === 16 * kRow && kGain === v + 16 * vRow && vGain >= kGain && bytes >= vGain && bytes % 16 === 0);
    assert.is(v % 16, 0);
    assert.is(kGain % 2, 0);
    const gains = c.gain === 'none' ? 0 : c.gain.length;
    assert.ok(bytes - (kGain + 32 * gains) < 16);
  }
});

test('a page holds its units and a bit per token, in whole words, and is 16-byte aligned', () => {
  for (const c of formats) for (const size of PAGE_SIZES) {
    const words = isCoded(c) ? Math.ceil(size / 32) * 4 : 0;
    assert.is(bitmapOffset(c, size), (size / 16) * unitLayout(c).bytes);
    assert.ok(pageBytes(c, size) >= bitmapOffset(c, size) + words && pageBytes(c, size) % 16 === 0 && pageBytes(c, size) - bitmapOffset(c, size) - words < 16);
  }
});

test('anchor pages and rings', () => {
  assert.is(anchorPageBytes(128), 16 * (2 * 256 + 4));
  assert.is(anchorPageBytes(64) % 16, 0);
  assert.is(ringRows(128, 128), 272);
  assert.is(ringBytes(128, 8, 128, 128), 272 * 8 * 512);
});

test('packed codebooks: entries, scales, half norms, each aligned for its type', () => {
  for (const codec of CODECS) {
    const { entries, scale, halfNorm, bytes } = codebookLayout(codec, 128);
    if (codec.kind === 'exact') {
      assert.is(bytes, 0);
      continue;
    }
    const size = codec.codebook === 'q8' ? 1 : 2;
    assert.equal([entries, scale, bytes - halfNorm], [0, 128 * storedOf(codec) * size, chunksOf(codec, 128) * entriesOf(codec) * 4], codec.name);
    assert.is(halfNorm - scale, size === 1 ? 512 : 0);
    assert.ok(scale % 16 === 0 && halfNorm % 4 === 0);
  }
  assert.is(codebookLayout(codecOf('8c8b'), 128).bytes, 81920);
});

test('a layout has no gain where the contract has none', () => {
  const c = contractOf('encode', { headDim: 128, k: '8c8b', v: '8c8b', dtype: 'f16' });
  assert.is(unitLayout(c as never).bytes, 512);
});

test.run();
