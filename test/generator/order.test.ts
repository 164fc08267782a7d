// Tests codeOffset and gainOffset (generator/layout.ts) by their properties, against golden vectors, and against the C twin and the device's version.
import { createHash } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { execaSync } from 'execa';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { chunksOf, codecOf, rowBytes, type VqCodec } from '../../generator/codec.ts';
import { contractOf, isCacheContract, reject, type CacheContract } from '../../generator/contract.ts';
import { codeOffset, codeOrder, gainOffset, unitLayout, type PageFormat, type Side } from '../../generator/layout.ts';
import { VERSIONS } from '../../generator/versions.ts';
import { temporaryFolder } from '../folder.ts';
import { everyContract } from './products.ts';

const SIDES: readonly Side[] = ['k', 'v'];
const nameOf = (f: PageFormat, side: Side): string => `${side} ${f[side]} d${f.headDim}${side === 'k' ? ` ${f.key}` : ''}`;
/** Every order of codes that a built contract has, once. */
const ORDERS = new Map(
  [...everyContract('encode')]
    .filter((c): c is CacheContract => isCacheContract(c) && reject(c).length === 0)
    .flatMap((f) => SIDES.filter((side) => codecOf(f[side]).kind === 'vq').map((side) => [nameOf(f, side), { f, side }] as const)),
);
/** `[16 tokens][chunks]`. */
const offsets = (f: PageFormat, side: Side): number[] =>
  Array.from({ length: 16 }, (_, token) => Array.from({ length: chunksOf(codecOf(f[side]), f.headDim) }, (_, chunk) => codeOffset(side, f, token, chunk))).flat();
const digest = (numbers: readonly number[]): string => createHash('sha256').update(numbers.join(' ')).digest('hex').slice(0, 16);
const format = (k: string, v: string, key: 'pre' | 'post', headDim: 64 | 128 = 128): PageFormat => contractOf('encode', { k: k as never, v: v as never, key, headDim, dtype: 'f16', gain: 'k' }) as PageFormat;

test('a side holds its codes without gaps: every byte one of 8 bits; wider ones in rows, from the lowest bit on', () => {
  assert.ok(ORDERS.size >= 64, `${ORDERS.size} orders`);
  for (const [name, { f, side }] of ORDERS) {
    const all = offsets(f, side);
    const codec = codecOf(f[side]) as VqCodec;
    const bits = codec.bits === 8 ? all.toSorted((a, b) => a - b) : all;
    assert.equal(bits, all.map((_, i) => Math.floor((i * codec.bits) / 8)), name);
  }
});

test('a lane holds what its fragments need: chunks of its column t for keys, tokens t, 4 + t, 8 + t and 12 + t for values', () => {
  for (const [name, { f, side }] of ORDERS) {
    const { byLane, piece, chunks } = codeOrder(side, f);
    if (!byLane) continue;
    for (let token = 0; token < 16; token++) for (let chunk = 0; chunk < chunks; chunk++) {
      const lane = Math.floor((codeOffset(side, f, token, chunk) % (32 * piece)) / piece);
      if (side === 'k') assert.is(lane, (token % 8) * 4 + (chunk % 4), name);
      else assert.is(lane % 4, token % 4, name);
    }
  }
});

test('keys: what a warp looks up at once comes from as many groups of chunks as rows take turns', () => {
  // Post: rows r of one position have groups r & 3 apart. Pre: a chunk and the one that RoPE pairs it with lie in places of their own.
  const post = format('8c8b', '8c8b', 'post');
  const groups = (f: PageFormat, chunks: number, position: number): number[] =>
    Array.from({ length: 8 }, (_, row) => Array.from({ length: chunks / 4 }, (_, g) => g).find((g) => codeOffset('k', f, row, 4 * g) % (chunks / 2) === position)!);
  assert.equal(groups(post, 16, 0), [0, 1, 2, 3, 0, 1, 2, 3]);
  assert.equal(groups(post, 16, 1), [1, 0, 3, 2, 1, 0, 3, 2]);
  assert.equal(groups(format('8c8b', '8c8b', 'pre'), 16, 0), [0, 2, 0, 2, 0, 2, 0, 2]);
  assert.equal(groups(format('4c8b', '8c8b', 'pre'), 32, 0), [0, 4, 1, 5, 0, 4, 1, 5]);
});

test('some offsets, worked out by hand', () => {
  const f = format('8c8b', '2c8bq8', 'post');
  // Token 13 = 8 + 5, chunk 6 = 4 + 2: lane 22, position 4 + (1 ^ (5 & 3)) = 4, 8 bytes per lane.
  assert.is(codeOffset('k', f, 13, 6), 22 * 8 + 4);
  // Token 13: t 1, tau 3. Chunk 21 = 2 * 8 + 5: row 5, s 2. Position 3 * 8 + 2 = 26 of 32, two pieces of 16.
  assert.is(codeOffset('v', f, 13, 21), 512 + (5 * 4 + 1) * 16 + 10);
  // 16-channel codes at head dim 64 are 4 per token: rows. So are wider codes: 16 of 10 bits are 20 bytes, the sixth begins at bit 50.
  assert.is(codeOffset('k', format('8c10b', '8c8b', 'post'), 3, 5), 66);
  assert.is(codeOffset('k', format('16c8b', '8c8b', 'post', 64), 3, 2), 14);
  assert.is(gainOffset('k', f, 3), unitLayout(f).kGain + 12);
  assert.is(gainOffset('k', f, 11), unitLayout(f).kGain + 14);
  assert.throws(() => codeOffset('v', format('8c8b', 'f16', 'post'), 0, 0), /side v is exact/);
  assert.throws(() => gainOffset('v', f, 0), /side v has none/);
});

const GOLDEN = new URL('../golden/order.json', import.meta.url);
if (process.argv.includes('--update')) writeFileSync(GOLDEN, `${JSON.stringify(Object.fromEntries([...ORDERS].map(([name, { f, side }]) => [name, digest(offsets(f, side))])), null, 2)}\n`);
const golden = JSON.parse(readFileSync(GOLDEN, 'utf8')) as Record<string, string>;

test('the orders of all built codecs are golden: a change is a new layout version', () => {
  assert.equal(Object.fromEntries([...ORDERS].map(([name, { f, side }]) => [name, digest(offsets(f, side))])), golden);
});

const template = (name: string): string => fileURLToPath(new URL(`../../templates/${name}`, import.meta.url));
/** Both functions for every order, as lines of numbers: the C twin's, then the device's, whose constants are those that kernels get. */
const program = (): string => {
  const traits = [...ORDERS.values()].map(({ f, side }, i) => {
    const o = codeOrder(side, f);
    const codec = codecOf(f[side]);
    if (codec.kind !== 'vq') throw new Error('an exact side has no order');
    return `struct C${i} { enum { kBits = ${codec.bits}, kByLane = ${Number(o.byLane)}, kKeys = ${Number(side === 'k')}, kRowBytes = ${rowBytes(codec, f.headDim)}, kChunks = ${o.chunks}, kPiece = ${o.piece},
      kTurnHigh = ${o.turnHigh}, kTurnShift = ${o.turnShift}, kTurnMask = ${o.turnMask}, kRowSpan = ${o.rowSpan} }; };`;
  });
  const calls = [...ORDERS.values()].map(({ f, side }, i) => `  each<C${i}>("${f.k}", "${f.v}", ${f.headDim}, ${Number(f.key === 'pre')}, ${side === 'k' ? 'ANTKV_KEYS' : 'ANTKV_VALUES'});`);
  return `#include <cstdio>
#include <vector>
#include "${template('antkv_format.h')}"
#define __device__
#define __forceinline__ inline
#include "${template('order.cuh')}"
${traits.join('\n')}
template <class C> void each(const char* k, const char* v, int d, int pre, int side) {
  antkv_format f{};
  antkv_parse_codec(k, &f.k), antkv_parse_codec(v, &f.v);
  f.head_dim = d, f.pre = pre;
  std::vector<uint8_t> unit(size_t(antkv_unit_layout(f).bytes));
  for (const bool device : {false, true}) {
    for (int token = 0; token < 16; token++) for (int chunk = 0; chunk < int(C::kChunks); chunk++) {
      // Where antkv_write_code puts a code says where it lies, by lane or not.
      antkv_write_code(f, side, unit.data(), token, chunk, 171);
      if (antkv_read_code(f, side, unit.data(), token, chunk) != 171) return;
      long at = 0;
      while (unit[size_t(at)] == 0) at++;
      antkv_write_code(f, side, unit.data(), token, chunk, 0);
      std::printf("%ld ", device ? long(code_offset<C>(uint32_t(token), uint32_t(chunk))) : at - long(antkv_side_offset(f, side)));
    }
    std::printf("\\n");
  }
}
static_assert(ANTKV_LAYOUT_VERSION == ${VERSIONS.layout}, "generator/versions.ts");
int main() {
${calls.join('\n')}
  antkv_format f{};
  antkv_parse_codec("8c8b", &f.k), antkv_parse_codec("8c8bq8", &f.v);
  f.head_dim = 128, f.k_gain = f.v_gain = 1;
  for (int side = 0; side < 2; side++) {
    for (int token = 0; token < 16; token++) std::printf("%ld ", long(antkv_gain_offset(f, side, token)));
    std::printf("\\n");
    for (int token = 0; token < 16; token++) std::printf("%ld ", long(side ? antkv_unit_layout(f).v_gain : antkv_unit_layout(f).k_gain) + 2 * gain_index(token));
    std::printf("\\n");
  }
}
`;
};
const compiler = process.env['CXX'] ?? 'g++';
const compiles = execaSync(compiler, ['--version'], { reject: false }).exitCode === 0;
if (!compiles) console.log(`# the C twin of codeOffset and the device's version are not tested: no ${compiler}`);
(compiles ? test : test.skip)('C twin and device agree with it', () => {
  const file = join(temporaryFolder(), 'order.cc');
  writeFileSync(file, program());
  execaSync(compiler, ['-std=c++17', '-Wall', '-Werror', '-o', `${file}.out`, file]);
  const lines = execaSync(`${file}.out`).stdout.split('\n').map((line) => line.trim());
  const want = [...ORDERS.values()].flatMap(({ f, side }) => Array<string>(2).fill(offsets(f, side).join(' ')));
  const gains = { ...format('8c8b', '8c8bq8', 'post'), gain: 'kv' } as const;
  want.push(...SIDES.flatMap((side) => Array<string>(2).fill(Array.from({ length: 16 }, (_, token) => gainOffset(side, gains, token)).join(' '))));
  assert.equal(lines, want);
});

test.run();
