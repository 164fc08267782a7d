// Tests generator/abi.ts and generator/bindings/: one field list, the same offsets in every language.
import { execFileSync, spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { Project, ts } from 'ts-morph';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { FIELD_BYTES, PARAM_STRUCTS, paramStruct, structLayout } from '../../generator/abi.ts';
import { emitAll } from '../../generator/emit.ts';
import { shippedKernels } from '../../generator/ship.ts';
import { VERSIONS } from '../../generator/versions.ts';
import { temporaryFolder } from '../folder.ts';

const dir = temporaryFolder();
const files = emitAll(shippedKernels());
for (const name of ['antkv.h', 'antkv_params.py', 'antkv_params.rs', 'antkv_params.ts']) writeFileSync(join(dir, name), files.get(name)!);

/** `op.field offset` for every field and `op size`, as structLayout has them. */
const WANT = PARAM_STRUCTS.flatMap((s) => {
  const { offsets, bytes } = structLayout(s);
  return [`${s.op} ${bytes}`, ...s.fields.map(({ name }, i) => `${s.op}.${name} ${offsets[i]}`)];
});
const has = (program: string): boolean => spawnSync(program, ['--version']).status === 0;
const when = (program: string) => (has(program) ? test : test.skip);

test('a struct is read by every language: size and version first, wide fields before narrow ones, no padding', () => {
  for (const s of PARAM_STRUCTS) {
    assert.equal(s.fields.slice(0, 2).map(({ name }) => name), ['struct_size', 'abi_version']);
    const { offsets, bytes } = structLayout(s);
    s.fields.forEach(({ type, name }, i) => {
      assert.is(offsets[i]! % FIELD_BYTES[type], 0, `${s.name}.${name}`);
      if (i > 0) assert.is(offsets[i], offsets[i - 1]! + FIELD_BYTES[s.fields[i - 1]!.type], `padding before ${s.name}.${name}`);
    });
    const used = offsets.at(-1)! + FIELD_BYTES[s.fields.at(-1)!.type];
    assert.ok(bytes - used < 8, s.name);
    // Kernel parameters are limited to 4 KB before CUDA 12.1.
    assert.ok(bytes <= 4096 && new Set(s.fields.map(({ name }) => name)).size === s.fields.length, s.name);
    for (const { type, to, name } of s.fields) assert.is(type === 'ptr', to !== undefined, `${s.name}.${name}`);
  }
  assert.throws(() => paramStruct('nonsense'), /no parameter struct/);
});

for (const [compiler, standard, file] of [['gcc', 'c11', 'main.c'], ['g++', 'c++17', 'main.cc']] as const) {
  when(compiler)(`sizes and offsets in ${standard}`, () => {
    const print = PARAM_STRUCTS.flatMap((s) => [
      `printf("${s.op} %zu\\n", sizeof(${s.name}));`,
      ...s.fields.map(({ name }) => `printf("${s.op}.${name} %zu\\n", offsetof(${s.name}, ${name}));`),
    ]);
    const rows = 'static const antkv_contract contracts[] = { ANTKV_CONTRACTS };\nstatic const int sizes[] = { ANTKV_PAGE_SIZES };\n';
    const tail = 'for (size_t i = 0; i < sizeof(contracts) / sizeof(contracts[0]); ++i) printf("%s %d %d\\n", contracts[i].name, contracts[i].unit_bytes, contracts[i].page_bytes[sizeof(sizes) / sizeof(sizes[0]) - 1]);\n';
    writeFileSync(join(dir, file), `#include "antkv.h"\n#include <stdio.h>\n${rows}int main(void) {\n${print.join('\n')}\n${tail}return ANTKV_ABI_VERSION;\n}\n`);
    execFileSync(compiler, [`-std=${standard}`, '-Wall', '-Wextra', '-Wpedantic', '-Werror', '-o', join(dir, file.replace('.', '_')), join(dir, file)]);
    const { stdout, status } = spawnSync(join(dir, file.replace('.', '_')), { encoding: 'utf8' });
    assert.is(status, VERSIONS.abi);
    assert.equal(stdout.split('\n').slice(0, WANT.length), WANT);
    assert.match(stdout, /^antkv_decode_d128_k8c8b_v8c8bq8_f16_pre_gain 544 8736$/m);
  });
}

when('python3')('sizes and offsets in Python, and the constructor', () => {
  const script = `
import sys; sys.path.insert(0, ${JSON.stringify(dir)})
import ctypes, antkv_params as a
for op, cls in a.PARAMS.items():
    print(op, ctypes.sizeof(cls))
    for name, _ in cls._fields_: print(f"{op}.{name}", getattr(cls, name).offset)
p = a.DecodeParams(batch=3, scale=0.5)
assert (p.struct_size, p.abi_version, p.batch, p.scale, p.out) == (ctypes.sizeof(p), a.ABI_VERSION, 3, 0.5, None)
try: a.DecodeParams(bacth=3)
except TypeError as e: assert "bacth" in str(e)
else: raise SystemExit("a misspelt field was taken")
`;
  assert.equal(execFileSync('python3', ['-c', script], { encoding: 'utf8' }).trim().split('\n'), WANT);
});

test('sizes and offsets in TypeScript', async () => {
  const { PARAMS, ABI_VERSION, CONTRACTS } = (await import(pathToFileURL(join(dir, 'antkv_params.ts')).href)) as {
    PARAMS: Record<string, { bytes: number; fields: Record<string, { offset: number }> }>;
    ABI_VERSION: number;
    CONTRACTS: Record<string, string>;
  };
  assert.equal(Object.entries(PARAMS).flatMap(([op, { bytes, fields }]) => [`${op} ${bytes}`, ...Object.entries(fields).map(([name, { offset }]) => `${op}.${name} ${offset}`)]), WANT);
  assert.is(ABI_VERSION, VERSIONS.abi);
  assert.is(CONTRACTS['antkv_select'], 'select');
});

test('the TypeScript registry knows its contracts by type', () => {
  const project = new Project({ compilerOptions: { strict: true, noEmit: true, target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.NodeNext, types: [] }, useInMemoryFileSystem: true });
  project.createSourceFile('antkv_params.ts', files.get('antkv_params.ts')!);
  const use = (body: string) => project.createSourceFile('use.ts', `import type { Contract, FieldOf, OpOf } from './antkv_params.ts';\n${body}`, { overwrite: true });
  const faults = (): string[] => project.getPreEmitDiagnostics().map((d) => String(d.getMessageText())).filter((text) => !/allowImportingTsExtensions/.test(text));
  use("export const c: Contract = 'antkv_select'; export const op: OpOf<'antkv_select'> = 'select'; export const f: FieldOf<'decode'> = 'kv_len';");
  assert.equal(faults(), []);
  use("export const c: Contract = 'antkv_selekt';");
  assert.match(faults().join(), /antkv_selekt/);
});

when('rustc')('the Rust module compiles, with its own assertions', () => {
  execFileSync('rustc', ['--crate-type', 'lib', '--edition', '2021', '-o', join(dir, 'antkv.rlib'), join(dir, 'antkv_params.rs')], { stdio: 'pipe' });
});

test('the Rust module has every field in order', () => {
  const text = files.get('antkv_params.rs')!;
  const types = { u32: 'u32', i32: 'i32', i64: 'i64', f32: 'f32', ptr: 'u64' };
  const found = [...text.matchAll(/^pub struct (\w+)Params \{\n([\s\S]*?)^\}/gm)].map(([, name, body]) => [name!.toLowerCase(), [...body!.matchAll(/^ {4}pub (\w+): (\w+),$/gm)].map(([, field, type]) => `${field} ${type}`)]);
  assert.equal(found, PARAM_STRUCTS.map((s) => [s.op, s.fields.map(({ name, type }) => `${name} ${types[type]}`)]));
});

test.run();
