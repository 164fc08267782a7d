// The emulator's antkv_device.cuh declares exactly what templates/antkv_device.cuh declares.
import { readFileSync } from 'node:fs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';

const read = (path: string): string => readFileSync(new URL(`../../../${path}`, import.meta.url), 'utf8');

/** Signatures of the functions and shapes of the structs inside namespace antkv, one string each, sorted. */
function declarations(source: string): string[] {
  const body = source.slice(source.indexOf('\nnamespace antkv {')).replace(/\/\/[^\n]*/g, '');
  const functions = [...body.matchAll(/(template\s*<([^>]*)>\s*)?__device__ __forceinline__\s+([\w: ]+?[\s*&]+)(\w+)\(([^{;]*?)\)\s*\{/g)].map(([, , template, result, name, parameters]) => {
    const mine = parameters!.replace(/(,\s*)?ANTKV_HERE/, '');
    return `${template ? `<${template}> ` : ''}${result!.trim()} ${name}(${mine})`.replace(/\s+/g, ' ').trim();
  });
  const structs = [...body.matchAll(/struct\s+(alignas\(\d+\)\s+)?(\w+)\s*\{([^}]*)\}/g)].map(([all]) => all.replace(/\s+/g, ' '));
  return [...functions, ...structs].sort();
}

const device = read('templates/antkv_device.cuh');
const twin = read('harness/emulator/antkv_device.cuh');

test('the same functions and structs', () => {
  assert.equal(declarations(twin), declarations(device));
});

test('nothing escapes the comparison', () => {
  for (const source of [device, twin]) {
    const body = source.slice(source.indexOf('\nnamespace antkv {'));
    assert.is(declarations(source).filter((d) => !d.startsWith('struct')).length, body.match(/__device__/g)?.length);
  }
  assert.ok(declarations(device).includes('<class T> T shuffle_up(T value, int delta)'));
  assert.ok(declarations(device).includes('struct alignas(16) bytes16 { uint32_t w[4]; }'));
});

test('a renamed or changed function is seen', () => {
  assert.not.equal(declarations(twin.replace('shuffle_xor', 'shuffle_or')), declarations(device));
  assert.not.equal(declarations(twin.replace('shuffle_up(T value, int delta', 'shuffle_up(T value, uint32_t delta')), declarations(device));
});

test.run();
