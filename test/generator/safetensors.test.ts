// Tests generator/safetensors.ts: round trip, and every way in which a file can be broken.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { InputError } from '../../generator/errors.ts';
import { parseHeader, readTensor, writeSafetensors, type Expected, type Tensor } from '../../generator/safetensors.ts';

const halves = (...bits: number[]): Uint8Array => new Uint8Array(Uint16Array.from(bits).buffer);
const X: Tensor = { name: 'x', dtype: 'F16', shape: [2, 3], data: halves(0, 1, 2, 3, 4, 5) };
const S: Tensor = { name: 's', dtype: 'F32', shape: [2], data: new Uint8Array(Float32Array.of(1.5, -2).buffer) };
const B: Tensor = { name: 'b', dtype: 'I8', shape: [3], data: Uint8Array.of(1, 255, 3) };
const want: Expected = { dtype: 'F16', shape: [null, 3], axes: '[rows, columns]' };
const good = writeSafetensors([X, S, B], { note: 'hello' });

/** A file with the given header text and data. */
function file(header: unknown, data: Uint8Array = new Uint8Array(0)): Uint8Array {
  const text = new TextEncoder().encode(typeof header === 'string' ? header : JSON.stringify(header));
  const out = new Uint8Array(8 + text.length + data.length);
  new DataView(out.buffer).setBigUint64(0, BigInt(text.length), true);
  out.set(text, 8);
  out.set(data, 8 + text.length);
  return out;
}

test('what is written is read back, from any alignment', () => {
  const shifted = new Uint8Array(good.length + 1).subarray(1);
  shifted.set(good);
  for (const bytes of [good, Buffer.from(good), shifted]) {
    const header = parseHeader(bytes, 'f');
    assert.equal(header.metadata, { note: 'hello' });
    for (const tensor of [X, S, B]) assert.equal(readTensor(bytes, header, tensor.name, { dtype: tensor.dtype, shape: tensor.shape, axes: '' }), tensor);
  }
});

test('data is aligned, equal input gives equal bytes in any order, and reading copies', () => {
  const header = parseHeader(good, 'f');
  for (const { offset, dtype } of header.tensors.values()) assert.is(offset % { F16: 2, F32: 4, I8: 1 }[dtype as 'F16' | 'F32' | 'I8'], 0);
  assert.equal(writeSafetensors([B, S, X], { note: 'hello' }), good);
  const before = good.slice();
  readTensor(Buffer.from(good.buffer), header, 'x', want).data.fill(7);
  assert.equal(good, before);
});

test('the writer refuses data that does not fit its shape, and a name twice', () => {
  assert.throws(() => writeSafetensors([{ ...X, shape: [2, 2] }]), /x: 12 bytes/);
  assert.throws(() => writeSafetensors([X, X]), /two tensors/);
});

const entry = { dtype: 'F16', shape: [2], data_offsets: [0, 4] };
const four = new Uint8Array(4);
const BROKEN: [what: string, bytes: Uint8Array, message: RegExp][] = [
  ['an empty file', new Uint8Array(0), /truncated header: 0 bytes/],
  ['7 bytes', good.subarray(0, 7), /truncated header: 7 bytes/],
  ['half a header', good.subarray(0, 40), /truncated header: \d+ bytes announced, 32 there/],
  ['half the data', good.subarray(0, good.length - 5), /truncated data: the header asks for \d+ bytes/],
  ['bytes behind the end', new Uint8Array([...good, 0]), /1 bytes behind the last tensor/],
  ['another format', new TextEncoder().encode('\x89HDF\r\n\x1a\n and so on'), /not a safetensors file/],
  ['no JSON', file('{"x": '), /not JSON/],
  ['a list', file('[1]'), /not a JSON object/],
  ['bytes that are no UTF-8', file('x').map((byte, i) => (i === 8 ? 0xff : byte)), /not JSON/],
  ['an entry without shape', file({ x: { dtype: 'F16', data_offsets: [0, 4] } }, four), /"x" needs dtype, shape and data_offsets/],
  ['a negative size', file({ x: { ...entry, shape: [-2] } }, four), /"x" needs/],
  ['a null entry', file({ x: null }, four), /"x" needs/],
  ['an unknown dtype', file({ x: { ...entry, dtype: 'F12' } }, four), /unknown dtype F12/],
  ['offsets that do not match the shape', file({ x: { ...entry, shape: [3] } }, four), /takes 6 bytes, its offsets span 4/],
  ['overlapping offsets', file({ x: entry, y: { ...entry, data_offsets: [2, 6] } }, new Uint8Array(6)), /"y" overlaps/],
  ['the same offsets twice', file({ x: entry, y: entry }, four), /overlaps/],
  ['a hole', file({ x: entry, y: { ...entry, data_offsets: [6, 10] } }, new Uint8Array(10)), /2 bytes before tensor "y"/],
  ['metadata that are no strings', file({ __metadata__: { a: 1 }, x: entry }, four), /__metadata__ must map strings/],
];
for (const [what, bytes, message] of BROKEN) {
  test(`refuses ${what} and says what to do`, () => {
    try {
      parseHeader(bytes, 'broken.safetensors');
    } catch (error) {
      assert.instance(error, InputError);
      assert.match((error as InputError).message, message);
      assert.match((error as InputError).message, /^broken\.safetensors: /);
      assert.ok((error as InputError).fix);
      return;
    }
    assert.unreachable('it was read');
  });
}

const UNEXPECTED: [what: string, tensor: Tensor, expected: Expected, message: RegExp][] = [
  ['a missing tensor', { ...X, name: 'z' }, want, /no tensor "x"/],
  ['a wrong dtype', { ...X, dtype: 'BF16' }, want, /wrong dtype: tensor "x" is BF16, not F16/],
  ['a wrong size', { ...X, shape: [3, 2] }, want, /wrong shape: tensor "x" is \[3, 2\], not \[\*, 3\]/],
  ['a wrong rank', { ...X, shape: [6] }, want, /wrong shape/],
  ['a NaN', { ...X, data: halves(0, 1, 2, 3, 0x7e01, 5) }, want, /NaN or infinity, first at \[1, 1\]/],
  ['an infinity', { ...X, data: halves(0, 1, 0xfc00, 3, 4, 5) }, want, /NaN or infinity, first at \[0, 2\]/],
  ['a NaN scale', { ...S, name: 'x', data: new Uint8Array(Float32Array.of(1, NaN).buffer) }, { dtype: 'F32', shape: [2], axes: '' }, /first at \[1\]/],
];
for (const [what, tensor, expected, message] of UNEXPECTED) {
  test(`refuses ${what}`, () => {
    const bytes = writeSafetensors([tensor]);
    assert.throws(() => readTensor(bytes, parseHeader(bytes, 'f'), 'x', expected), (error: unknown) => error instanceof InputError && message.test(error.message) && !!error.fix);
  });
}

test.run();
