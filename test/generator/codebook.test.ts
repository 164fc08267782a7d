// Tests generator/codebook.ts: round trip of a codebook file, and refusals.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { readCodebook, writeCodebook, type CodebookDescription, type CodebookLayer } from '../../generator/codebook.ts';
import { codecOf, type VqCodec } from '../../generator/codec.ts';
import { InputError } from '../../generator/errors.ts';
import { recipeOfLayer } from '../../generator/format.ts';
import { parseHeader, readTensor, writeSafetensors, type Tensor } from '../../generator/safetensors.ts';

const HEADS = 2;
const D = 64;
const F16 = codecOf('8c8b') as VqCodec;
const Q8 = codecOf('8c8bq8') as VqCodec;
const layer: CodebookLayer = {
  k: { codec: F16, tensor: { kvHeads: HEADS, values: Uint16Array.from({ length: HEADS * D * 256 }, (_, i) => i % 0x7000) } },
  v: { codec: Q8, tensor: { kvHeads: HEADS, values: Int8Array.from({ length: HEADS * D * 256 }, (_, i) => (i % 255) - 127), scale: Float32Array.from({ length: HEADS * D }, (_, i) => 0.01 + i) } },
};
const about: CodebookDescription = {
  model: 'm',
  headDim: D,
  recipe: { k: '8c8b', v: '8c8bq8', key: 'pre' },
  recipeHash: 'abc',
  calibration: {
    seed: 1,
    iterations: 25,
    weights: 'none',
    power: 1,
    tensors: { 'layers.7.k': { codec: '8c8b', position: 'pre', vectors: 100, vectors_per_entry: 100 / 256, undertrained: true, iterations: 3, distortion: 0.1 } },
  },
  dump: { rope_theta: '10000', kv_heads: '[0,1]', unrelated: 'x' },
};
const bytes = writeCodebook(new Map([[7, layer]]), about);

test('a codebook file survives a round trip', () => {
  const book = readCodebook(bytes, 'f');
  assert.equal([...book.layers.keys()], [7]);
  assert.equal(book.layers.get(7), layer);
  assert.equal(book.metadata.calibration, about.calibration);
  assert.is(book.metadata.recipe_hash, 'abc');
  assert.equal(book.metadata.kv_heads, [0, 1]);
  assert.is(book.metadata['unrelated'], undefined);
  assert.is(book.rope?.invFreq.length, D / 2);
});

test('an exact side has no tensor', () => {
  const book = readCodebook(writeCodebook(new Map([[0, { v: layer.v! }]]), { ...about, recipe: { ...about.recipe, k: 'f16' } }), 'f');
  assert.is(book.layers.get(0)?.k, undefined);
  assert.is(book.layers.get(0)?.v?.codec.name, '8c8bq8');
});

/** A rotation of pairs by 45 degrees, and back; the same for both heads. */
const rotation = (sign: number): Float32Array => Float32Array.from({ length: HEADS * D * D }, (_, n) => {
  const [i, j] = [Math.floor(n / D) % D, n % D];
  return Math.floor(i / 2) !== Math.floor(j / 2) ? 0 : i === j ? Math.SQRT1_2 : sign * (i < j ? Math.SQRT1_2 : -Math.SQRT1_2);
});
const basis = { kvHeads: HEADS, headDim: D, to: rotation(1), back: rotation(-1) };
const inBasis = { ...about, recipe: { ...about.recipe, transform: 'basis' } };
const withBasis = writeCodebook(new Map([[7, { ...layer, basis }]]), inBasis);

test('a basis of values survives a round trip, beside exact keys too', () => {
  assert.equal(readCodebook(withBasis, 'f').layers.get(7), { ...layer, basis });
  assert.is(readCodebook(withBasis, 'f').metadata.recipe!.transform, 'basis');
  const alone = writeCodebook(new Map([[7, { v: layer.v!, basis }]]), { ...inBasis, recipe: { ...inBasis.recipe, k: 'f16' } });
  assert.equal(readCodebook(alone, 'f').layers.get(7)!.basis, basis);
  assert.is(readCodebook(bytes, 'f').layers.get(7)!.basis, undefined);
});

test('files of version 1, which knew no transform, are read', () => {
  const old = altered((_, m) => ((m['version'] = '1'), (m['recipe'] = JSON.stringify({ k: '8c8b', v: '8c8bq8', key: 'pre' }))));
  assert.equal(readCodebook(old, 'f').layers.get(7), layer);
});

test('a plan says which recipe each layer has, and so which values have a basis', () => {
  const { recipe } = parseHeader(withBasis, 'f').metadata;
  const plan = (...recipes: unknown[]) => altered((_, m) => (delete m['recipe'], Object.assign(m, { version: '3', recipes: JSON.stringify(recipes) })), withBasis);
  const other = { ...about.recipe, k: '16c8b' };
  const book = readCodebook(plan(...Array<unknown>(7).fill(other), JSON.parse(recipe!)), 'f');
  assert.equal(book.layers.get(7), { ...layer, basis });
  assert.equal([recipeOfLayer(book.metadata, 6, 'f').k, recipeOfLayer(book.metadata, 7, 'f').k], ['16c8b', '8c8b']);
  assert.throws(() => readCodebook(plan(...Array<unknown>(8).fill(other)), 'f'), /tensor "layers\.7\.v\.basis" beside a recipe of transform "none"/);
  assert.throws(() => readCodebook(plan(JSON.parse(recipe!)), 'f'), /a codebook of layer 7, and recipes for 1 layers/);
  assert.is(parseHeader(withBasis, 'f').metadata['version'], '2', 'a file of one recipe is one that readers of version 2 take');
});

test('the writer refuses a basis that the recipe does not have, a recipe whose basis is missing, and matrices that are no inverses', () => {
  assert.throws(() => writeCodebook(new Map([[7, { ...layer, basis }]]), about), /layer 7 has a basis, the recipe's transform is "none"/);
  assert.throws(() => writeCodebook(new Map([[7, layer]]), inBasis), /layer 7 has no basis, the recipe's transform is "basis"/);
  assert.throws(() => writeCodebook(new Map([[7, { ...layer, basis: { ...basis, back: basis.to } }]]), inBasis), /layers\.7\.v\.basis: the inverse of KV head 0 does not undo/);
});

test('codes in stages have an axis for them, which names the codec', () => {
  for (const codec of ['16c6b6b', '16c6b6bq8'].map((name) => codecOf(name) as VqCodec)) {
    const size = HEADS * D * 128;
    const tensor = codec.codebook === 'q8'
      ? { kvHeads: HEADS, values: Int8Array.from({ length: size }, (_, i) => (i % 255) - 127), scale: layer.v!.tensor.scale! }
      : { kvHeads: HEADS, values: Uint16Array.from({ length: size }, (_, i) => i % 0x7000) };
    const staged = { v: { codec, tensor } };
    const file = writeCodebook(new Map([[2, staged]]), { ...about, recipe: { ...about.recipe, k: 'f16', v: codec.name } });
    assert.equal(parseHeader(file, 'f').tensors.get('layers.2.v')!.shape, [HEADS, 4, 2, 64, 16]);
    assert.equal(readCodebook(file, 'f').layers.get(2), staged);
  }
});

/** The file with tensors and metadata changed. */
function altered(change: (tensors: Tensor[], metadata: Record<string, string>) => void, file = bytes): Uint8Array {
  const header = parseHeader(file, 'f');
  const tensors = [...header.tensors.values()].map(({ name, dtype, shape }) => readTensor(file, header, name, { dtype, shape, axes: '' }));
  const metadata = { ...header.metadata };
  change(tensors, metadata);
  return writeSafetensors(tensors, metadata);
}
const drop = (name: string) => (tensors: Tensor[]): void => void tensors.splice(tensors.findIndex((t) => t.name === name), 1);
const replace = (name: string, change: Partial<Tensor>) => (tensors: Tensor[]): void => {
  const at = tensors.findIndex((t) => t.name === name);
  tensors[at] = { ...tensors[at]!, ...change };
};

const REFUSED: [what: string, change: Parameters<typeof altered>[0], message: RegExp][] = [
  ['a dump', (_, m) => delete m['format'], /not a codebook file: metadata "format"/],
  ['a later schema', (_, m) => (m['version'] = '99'), /metadata "version": is not 1 to 3/],
  ['no calibration record', (_, m) => delete m['calibration'], /metadata "calibration"/],
  ['no recipe', (_, m) => delete m['recipe'], /metadata "recipe": is missing, or stands beside "recipes"/],
  ['one recipe and a plan', (_, m) => (m['recipes'] = `[${m['recipe']}]`), /metadata "recipe": is missing, or stands beside "recipes"/],
  ['a broken recipe', (_, m) => (m['recipe'] = '{"k":1}'), /metadata "recipe\.k"/],
  ['no tensors', (t) => t.splice(0), /no tensor is called layers\.N\.k/],
  ['missing scales', drop('layers.7.v.scale'), /no tensor "layers\.7\.v\.scale"/],
  ['scales of another length', replace('layers.7.v.scale', { shape: [1, HEADS * D] }), /wrong shape: tensor "layers\.7\.v\.scale"/],
  ['scales of another type', replace('layers.7.v.scale', { dtype: 'I32' }), /wrong dtype: tensor "layers\.7\.v\.scale" is I32/],
  ['a codebook that no codec has', replace('layers.7.k', { shape: [HEADS, D / 8, 8, 256] }), /no codec has codebooks like/],
  ['a codebook of the wrong rank', replace('layers.7.k', { shape: [HEADS * D * 256] }), /no codec has codebooks like/],
  ['a codebook of another type', replace('layers.7.k', { dtype: 'U16' }), /wrong dtype: tensor "layers\.7\.k" is U16/],
  ['a codebook of another head dim', (_, m) => (m['head_dim'] = '128'), /wrong shape/],
  ['a NaN centroid', replace('layers.7.k', { data: new Uint8Array(HEADS * D * 256 * 2).fill(0xff) }), /NaN or infinity/],
];
const REFUSED_BASES: typeof REFUSED = [
  ['a basis that the recipe does not have', (_, m) => (m['recipe'] = JSON.stringify(about.recipe)), /tensor "layers\.7\.v\.basis" beside a recipe of transform "none"/],
  ['a transform of another name', (_, m) => (m['recipe'] = JSON.stringify({ ...about.recipe, transform: 'hadamard' })), /metadata "recipe\.transform"/],
  ['a missing basis', drop('layers.7.v.basis'), /no tensor "layers\.7\.v\.basis"/],
  ['a missing inverse', drop('layers.7.v.basis_inverse'), /no tensor "layers\.7\.v\.basis_inverse"/],
  ['a basis of all heads in one', replace('layers.7.v.basis', { shape: [1, HEADS * D, D] }), /wrong shape: tensor "layers\.7\.v\.basis"/],
  ['a basis of another type', replace('layers.7.v.basis_inverse', { dtype: 'I32' }), /wrong dtype: tensor "layers\.7\.v\.basis_inverse" is I32/],
  ['an inverse that is none', replace('layers.7.v.basis_inverse', { data: new Uint8Array(basis.to.buffer) }), /inverse of KV head 0 does not undo its basis/],
  ['a basis with NaN', replace('layers.7.v.basis', { data: new Uint8Array(HEADS * D * D * 4).fill(0xff) }), /NaN or infinity/],
];
for (const [what, change, message] of REFUSED_BASES) {
  test(`refuses ${what}`, () => assert.throws(() => readCodebook(altered(change, withBasis), 'f'), (error: unknown) => error instanceof InputError && message.test(error.message) && !!error.fix));
}

for (const [what, change, message] of REFUSED) {
  test(`refuses ${what}`, () => assert.throws(() => readCodebook(altered(change), 'f'), (error: unknown) => error instanceof InputError && message.test(error.message) && !!error.fix));
}

test('the writer refuses a tensor that does not fit its codec', () => {
  assert.throws(() => writeCodebook(new Map([[0, { k: { codec: Q8, tensor: layer.k!.tensor } }]]), about), /stored as I8/);
  assert.throws(() => writeCodebook(new Map([[0, { k: { codec: F16, tensor: { kvHeads: 1, values: layer.k!.tensor.values } } }]]), about), /has 16384 elements, not 32768/);
});

test.run();
