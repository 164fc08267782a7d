// Tests generator/format.ts: what dumps may look like, and how RoPE is described.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { InputError } from '../../generator/errors.ts';
import { parseDump, type Dump } from '../../generator/format.ts';
import { parseHeader, writeSafetensors } from '../../generator/safetensors.ts';

/** A dump of zeros with the given shapes. */
function dump(shapes: Record<string, number[]>, metadata: Record<string, string> = {}): Dump {
  const tensors = Object.entries(shapes).map(([name, shape]) => ({ name, dtype: 'F16' as const, shape, data: new Uint8Array(2 * shape.reduce((a, b) => a * b, 1)) }));
  return parseDump(parseHeader(writeSafetensors(tensors, metadata), 'd'));
}
const KV = { k_pre_rope: [2, 3, 8], v: [2, 3, 8] };

test('a dump of one layer, as plain names', () => {
  const { layers, headDim, window, rope, metadata } = dump({ ...KV, q: [4, 3, 8] }, { layer: '3', unknown: 'kept' });
  assert.is(layers.length, 1);
  assert.equal([layers[0]!.layer, layers[0]!.kvHeads, layers[0]!.tokens, headDim, window], [3, 2, 3, 8, Infinity]);
  assert.is(layers[0]!.q?.shape[0], 4);
  assert.is(layers[0]!.k, undefined);
  assert.is(rope, undefined);
  assert.is(metadata['unknown'], 'kept');
});

test('layers with prefix come in order; windows and RoPE are read', () => {
  const d = dump(
    { 'layers.11.k': [1, 2, 8], 'layers.11.v': [1, 2, 8], 'layers.2.k': [1, 2, 8], 'layers.2.v': [1, 2, 8] },
    { positions: 'token index modulo 2048', rope_theta: '10000', rope_dim: '4', rope_pairing: 'interleaved', attention_factor: '1.5' },
  );
  assert.equal(d.layers.map(({ layer }) => layer), [2, 11]);
  assert.is(d.window, 2048);
  assert.equal(d.rope, { invFreq: Float32Array.of(1, 0.01), dim: 4, interleaved: true, attentionFactor: 1.5 });
});

test('given frequencies override theta', () => assert.equal(dump(KV, { rope_theta: '10000', rope_inv_freq: '[1,0.5,0.25,0.125]' }).rope?.invFreq, Float32Array.of(1, 0.5, 0.25, 0.125)));

const REFUSED: [what: string, make: () => Dump, message: RegExp][] = [
  ['no dump', () => dump({ weight: [2, 2] }), /not a K\/V dump: no tensor/],
  ['no values', () => dump({ k: [2, 3, 8] }), /no tensor "v"/],
  ['no keys', () => dump({ v: [2, 3, 8] }), /layer 0 has no keys/],
  ['no tokens', () => dump({ k: [2, 0, 8], v: [2, 0, 8] }), /is empty/],
  ['keys and values of different length', () => dump({ k: [2, 4, 8], v: [2, 3, 8] }), /wrong shape: tensor "k"/],
  ['three query heads for two KV heads', () => dump({ ...KV, q: [3, 3, 8] }), /3 query heads are no multiple/],
  ['two head dims', () => dump({ 'layers.0.k': [1, 2, 8], 'layers.0.v': [1, 2, 8], 'layers.1.k': [1, 2, 4], 'layers.1.v': [1, 2, 4] }), /another head dim/],
  ['a position rule in other words', () => dump(KV, { positions: 'backwards' }), /metadata "positions"/],
  ['theta that is no number', () => dump(KV, { rope_theta: 'big' }), /metadata "rope_theta"/],
  ['too few frequencies', () => dump(KV, { rope_inv_freq: '[1]' }), /with 1 frequencies does not fit head dim 8/],
  ['frequencies that are no JSON', () => dump(KV, { rope_inv_freq: '[1' }), /metadata "rope_inv_freq": is not JSON/],
  ['rotating more channels than there are', () => dump(KV, { rope_theta: '1e4', rope_dim: '16' }), /RoPE of 16 channels/],
];
for (const [what, make, message] of REFUSED) test(`refuses ${what}`, () => assert.throws(make, (error: unknown) => error instanceof InputError && message.test(error.message) && !!error.fix));

test.run();
