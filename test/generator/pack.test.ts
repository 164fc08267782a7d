// Tests generator/pack.ts against golden digests, by definition, and against the C twin.
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { execaSync } from 'execa';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { chunksOf, codecOf, CODECS, entriesOf, stageBits, stageEntries, storedOf, type VqCodec } from '../../generator/codec.ts';
import { contractOf, reject } from '../../generator/contract.ts';
import { fromF16, toF16 } from '../../generator/f16.ts';
import { codebookLayout } from '../../generator/layout.ts';
import { centroidsOf, packCodebook, type CodebookTensor } from '../../generator/pack.ts';
import { temporaryFolder } from '../folder.ts';

const HEADS = 2;
/** The codecs that are built, at both head dims. */
const CASES = CODECS.filter((codec): codec is VqCodec => codec.kind === 'vq' && reject(contractOf('encode', { headDim: 128, k: codec.name as never, v: 'f16', dtype: 'f16' })).length === 0)
  .flatMap((codec) => [64, 128].map((headDim) => ({ key: `${codec.name} d${headDim}`, codec, headDim })));

/** A codebook of any bits: a 32-bit linear congruential generator (Numerical Recipes, 1664525 and 1013904223), its top 16 bits each. */
function sample(codec: VqCodec, headDim: number): CodebookTensor {
  let state = 1;
  const next = (): number => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) >>> 16;
  const size = HEADS * headDim * storedOf(codec);
  if (codec.codebook === 'q8') {
    const values = Int8Array.from({ length: size }, () => (next() % 255) - 127);
    return { kvHeads: HEADS, values, scale: Float32Array.from({ length: HEADS * headDim }, () => (next() + 1) / 3e6) };
  }
  // Whole multiples of 2^-5 below 2^5: every sum of two is a half.
  if (codec.stages > 1) return { kvHeads: HEADS, values: Uint16Array.from({ length: size }, () => toF16(((next() % 2047) - 1023) / 32)) };
  // Finite halves of every exponent and sign.
  return { kvHeads: HEADS, values: Uint16Array.from({ length: size }, () => { const bits = next(); return (bits & 0x7c00) === 0x7c00 ? bits & 0x83ff : bits; }) };
}
const digest = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

/** Codec and head dim to SHA-256 of the packed bytes; the inputs are those of {@link sample}. Made by this test with --update, checked here and in C. */
const FILE = new URL('../golden/pack.json', import.meta.url);
if (process.argv.includes('--update')) writeFileSync(FILE, `${JSON.stringify(Object.fromEntries(CASES.map(({ key, codec, headDim }) => [key, digest(packCodebook(codec, headDim, sample(codec, headDim)))])), null, 2)}\n`);
const GOLDEN = JSON.parse(readFileSync(FILE, 'utf8')) as Record<string, string>;

test('the golden file names the codecs that are built, at both head dims', () => {
  assert.ok(CASES.length >= 16);
  assert.equal(Object.keys(GOLDEN), CASES.map(({ key }) => key));
});

for (const { key, codec, headDim } of CASES) {
  test(`${key}: packed bytes are golden`, () => assert.is(digest(packCodebook(codec, headDim, sample(codec, headDim))), GOLDEN[key]));

  test(`${key}: entries, scales and half norms lie where the layout says`, () => {
    const tensor = sample(codec, headDim);
    const packed = packCodebook(codec, headDim, tensor);
    const layout = codebookLayout(codec, headDim);
    assert.is(packed.length, HEADS * layout.bytes);
    const view = new DataView(packed.buffer);
    const [head, chunk, code] = [1, chunksOf(codec, headDim) - 2, Math.floor(entriesOf(codec) * 0.7)];
    let sum = 0;
    for (let c = 0; c < codec.channels; c++) {
      const channel = chunk * codec.channels + c;
      const scale = tensor.scale?.[head * headDim + channel];
      let centroid = 0;
      for (let stage = 0; stage < codec.stages; stage++) {
        const entry = (chunk * codec.stages + stage) * stageEntries(codec) + ((code >> (stage * stageBits(codec))) % stageEntries(codec)); // of the head
        const value = tensor.values[(head * chunksOf(codec, headDim) * storedOf(codec) + entry) * codec.channels + c]!;
        const at = entry * codec.channels + c;
        if (codec.codebook === 'q8') assert.is(view.getInt8(head * layout.bytes + at), value);
        else assert.is(view.getUint16(head * layout.bytes + at * 2, true), value);
        centroid += codec.codebook === 'q8' ? value : fromF16(value);
      }
      if (scale !== undefined) {
        assert.is(view.getFloat32(head * layout.bytes + layout.scale + channel * 4, true), scale);
        centroid = Math.fround(centroid * scale);
      }
      assert.is(centroidsOf(codec, headDim, tensor)[((head * chunksOf(codec, headDim) + chunk) * entriesOf(codec) + code) * codec.channels + c], centroid);
      sum += centroid * centroid;
    }
    const inHead = chunk * entriesOf(codec) + code;
    assert.is(view.getFloat32(head * layout.bytes + layout.halfNorm + inHead * 4, true), Math.fround(0.5 * sum));
  });
}

test('refuses tensors that do not fit', () => {
  const codec = codecOf('8c8bq8') as VqCodec;
  const { values, scale } = sample(codec, 64);
  assert.throws(() => packCodebook(codec, 128, { kvHeads: HEADS, values, scale: scale! }), /has 65536 elements, not 32768/);
  assert.throws(() => packCodebook(codec, 64, { kvHeads: HEADS, values }), /needs 128 scales/);
  const halves = sample(codecOf('16c6b6b') as VqCodec, 64).values;
  halves[3] = toF16(2 ** -10);
  assert.throws(() => packCodebook(codecOf('16c6b6b') as VqCodec, 64, { kvHeads: HEADS, values: halves }), /stages that add up to .*, which is no half/);
  assert.throws(() => packCodebook(codecOf('8c8b') as VqCodec, 64, { kvHeads: HEADS, values }), /stored as F16/);
});

const TWIN = fileURLToPath(new URL('../../templates/antkv_format.h', import.meta.url));
/** Reads codec, head dim and files on the command line, packs, writes the bytes to stdout. */
const PROGRAM = `#include "${TWIN}"
#include <stdio.h>
static void* file(const char* path) {
  FILE* f = fopen(path, "rb");
  fseek(f, 0, SEEK_END);
  long n = ftell(f);
  rewind(f);
  void* bytes = malloc(n ? n : 1);
  if (fread(bytes, 1, n, f) != (size_t)n) exit(2);
  fclose(f);
  return bytes;
}
int main(int count, char** words) {
  antkv_codec codec;
  if (count != 5 || !antkv_parse_codec(words[1], &codec)) return 2;
  int d = atoi(words[2]);
  size_t bytes = ${HEADS} * antkv_codebook_layout(codec, d).bytes;
  void* packed = malloc(bytes);
  antkv_pack_codebook(codec, d, ${HEADS}, file(words[3]), (const float*)file(words[4]), packed);
  return fwrite(packed, 1, bytes, stdout) != bytes;
}
`;
const compiler = process.env['CXX'] ?? 'g++';
const compiles = existsSync(TWIN) && execaSync(compiler, ['--version'], { reject: false }).exitCode === 0;
if (!compiles) console.log(`# the C twin of packCodebook is not tested: ${existsSync(TWIN) ? `no ${compiler}` : 'templates/antkv_format.h is missing'}`);
(compiles ? test : test.skip)('the C twin gives the same bytes, as C++ with -O3 and fused multiply-add', () => {
  const folder = temporaryFolder();
  const program = join(folder, 'pack');
  writeFileSync(`${program}.cc`, PROGRAM);
  execaSync(compiler, ['-O3', '-march=native', '-ffp-contract=fast', '-Wall', '-Werror', '-o', program, `${program}.cc`]);
  for (const { key, codec, headDim } of CASES) {
    const { values, scale } = sample(codec, headDim);
    writeFileSync(join(folder, 'entries'), values);
    writeFileSync(join(folder, 'scale'), scale ?? new Float32Array(0));
    const { stdout } = execaSync(program, [codec.name, String(headDim), join(folder, 'entries'), join(folder, 'scale')], { encoding: 'buffer' });
    assert.is(digest(stdout), GOLDEN[key], key);
  }
});

test.run();
