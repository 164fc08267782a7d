// Tests generator/codec.ts.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { bitsPerChannel, chunksOf, CODECS, codecOf, entriesOf, findCodec, rowBytes, stageEntries, storedOf } from '../../generator/codec.ts';
import { AXES } from '../../generator/contract.ts';

test('the rates are bits over channels', () => {
  const rates = { '2c8b': 4, '4c8b': 2, '8c10b': 1.25, '8c8b': 1, '16c12b': 0.75, '16c6b6b': 0.75, '16c8b': 0.5, '32c12b': 0.375, f16: 16, bf16: 16 };
  for (const [name, rate] of Object.entries(rates)) assert.is(bitsPerChannel(codecOf(name)), rate, name);
});

test('q8 changes the codebook, not the codes', () => {
  for (const codec of CODECS) {
    if (codec.kind === 'exact' || codec.codebook !== 'q8') continue;
    const plain = codecOf(codec.name.replace('q8', ''));
    for (const d of [64, 128]) assert.equal([chunksOf(codec, d), entriesOf(codec), rowBytes(codec, d)], [chunksOf(plain, d), entriesOf(plain), rowBytes(plain, d)]);
  }
});

test('rows and entries', () => {
  assert.equal(['8c8b', '4c8b', '2c8b', '16c12b', 'f16'].map((name) => rowBytes(codecOf(name), 128)), [16, 32, 64, 12, 256]);
  assert.equal(['8c8b', '16c12b', 'f16'].map((name) => entriesOf(codecOf(name))), [256, 4096, 0]);
});

test('stages share the bits of a code, and store so many entries fewer', () => {
  for (const codec of CODECS) {
    if (codec.kind === 'exact') continue;
    assert.is(stageEntries(codec) ** codec.stages, entriesOf(codec), codec.name);
    assert.is(storedOf(codec), codec.stages * stageEntries(codec), codec.name);
    assert.is(codec.name.split('b').length - 1, codec.stages, codec.name);
  }
  assert.equal(['16c12b', '16c6b6b'].map((name) => [rowBytes(codecOf(name), 128), entriesOf(codecOf(name)), storedOf(codecOf(name))]), [[12, 4096, 4096], [12, 4096, 128]]);
});

test('the axes name every codec, and only codecs', () => {
  const names = CODECS.map(({ name }) => name).sort();
  assert.equal([...AXES.k].sort(), names);
  assert.equal([...AXES.v].sort(), names);
  assert.is(findCodec('9c9b'), undefined);
  assert.throws(() => codecOf('9c9b'), /no codec is called "9c9b"; known: 2c8b/);
});

test.run();
