// Tests tuner/calibrate/file.ts: dumps on disk, and asking before the work whether a result can be written.
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { AntkvError, EXIT } from '../../../generator/errors.ts';
import { toF16Array } from '../../../generator/f16.ts';
import { writeSafetensors } from '../../../generator/safetensors.ts';
import { checkWritable, openDump } from '../../../tuner/calibrate/file.ts';
import { temporaryFolder } from '../../folder.ts';

const folder = temporaryFolder();
const at = (name: string): string => join(folder, name);
const values = toF16Array(Float64Array.from({ length: 2 * 5 * 4 }, (_, i) => i)); // [2 heads, 5 tokens, 4 channels]
const good = writeSafetensors(['k', 'v'].map((name) => ({ name, dtype: 'F16' as const, shape: [2, 5, 4], data: new Uint8Array(values.buffer) })), { layer: '1' });
writeFileSync(at('good'), good);
mkdirSync(at('folder'));

test('reads the first tokens of every head, into memory that threads share', () => {
  const file = openDump(at('good'));
  const { data, stride, tokens, headDim } = file.rows(file.dump.layers[0]!.v, 3);
  file.close();
  assert.equal([stride, tokens, headDim], [3, 3, 4]);
  assert.instance(data.buffer, SharedArrayBuffer);
  assert.equal([...data], [...values.subarray(0, 12), ...values.subarray(20, 32)]);
});

const REFUSED: [what: string, bytes: Uint8Array | undefined, message: RegExp][] = [
  ['a file that is not there', undefined, /cannot read .*: ENOENT/],
  ['an empty file', new Uint8Array(0), /truncated header: 0 bytes/],
  ['half a header', good.subarray(0, 60), /truncated header/],
  ['half the data', good.subarray(0, good.length - 1), /truncated data/],
  ['text', new TextEncoder().encode('tokens, channels\n1, 2\n'), /not a safetensors file/],
];
for (const [what, bytes, message] of REFUSED) {
  test(`refuses ${what}`, () => {
    if (bytes) writeFileSync(at('bad'), bytes);
    assert.throws(() => openDump(bytes ? at('bad') : at('none')), (error: unknown) => error instanceof AntkvError && error.exitCode === EXIT.usage && message.test(error.message) && !!error.fix);
  });
}
test('refuses a folder', () => assert.throws(() => openDump(at('folder')), /is a folder/));

test('a NaN is found where it is, and only in the tokens that are asked for', () => {
  const broken = values.slice();
  broken[20 + 3 * 4 + 2] = 0x7e00; // head 1, token 3, channel 2
  writeFileSync(at('nan'), writeSafetensors(['k', 'v'].map((name) => ({ name, dtype: 'F16' as const, shape: [2, 5, 4], data: new Uint8Array(broken.buffer) }))));
  const file = openDump(at('nan'));
  assert.throws(() => file.rows(file.dump.layers[0]!.v, 5), /first at \[1, 3, 2\]/);
  assert.is(file.rows(file.dump.layers[0]!.v, 3).tokens, 3);
  file.close();
});

const UNWRITABLE: [what: string, path: string, code: string][] = [
  ['in a folder that is not there', at('no/x'), 'ENOENT'],
  ['that is a folder', at('folder'), 'EISDIR'],
  ['below a file', at('good/x'), 'ENOTDIR'],
];
for (const [what, path, code] of UNWRITABLE) {
  test(`an output ${what} is refused before the work`, () => {
    assert.throws(() => checkWritable(path), (error: unknown) => error instanceof AntkvError && error.exitCode === EXIT.environment && error.message.includes(code) && !!error.fix);
  });
}

test('asking leaves nothing behind and an old file as it is', () => {
  const before = readdirSync(folder);
  checkWritable(at('new'));
  checkWritable(at('good'));
  assert.equal(readdirSync(folder), before);
  assert.equal(new Uint8Array(readFileSync(at('good'))), good);
});

test.run();
