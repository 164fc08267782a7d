// Reads harness/python/antkv/ops.py and eager.py without torch: ops take what their structs have, and say truly what they write; and packs codebooks as TypeScript does.
import { execa } from 'execa';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { PARAM_STRUCTS } from '../../../generator/abi.ts';
import { axesOf } from '../../../generator/bindings/python.ts';
import { writeCodebook } from '../../../generator/codebook.ts';
import { codecOf, chunksOf, stageEntries, storedOf, type VqCodec } from '../../../generator/codec.ts';
import { toF16 } from '../../../generator/f16.ts';
import { packCodebook } from '../../../generator/pack.ts';
import { parseHeader, readTensor, writeSafetensors } from '../../../generator/safetensors.ts';
import { temporaryFolder } from '../../folder.ts';
import { ROOT } from '../load/build.ts';

const PARSER = `import ast, json, sys
out, writes = {}, {}
for node in ast.parse(open(sys.argv[1] + "/ops.py").read()).body:  # name = custom_op("antkv::name", mutates_args=(...))(eager.name)
    made = getattr(node, "value", None)
    if isinstance(node, ast.Assign) and isinstance(made, ast.Call) and getattr(getattr(made.func, "func", None), "id", "") == "custom_op":
        names = {node.targets[0].id, made.func.args[0].value.split("::")[1], made.args[0].attr}
        assert len(names) == 1, names
        writes[names.pop()] = [e.value for k in made.func.keywords if k.arg == "mutates_args" for e in k.value.elts]
for node in ast.parse(open(sys.argv[1] + "/eager.py").read()).body:
    if getattr(node, "name", "") in writes:
        a = node.args
        out[node.name] = {"args": [x.arg for x in a.args + a.kwonlyargs], "required": [x.arg for x in a.args[:len(a.args) - len(a.defaults)]], "keyword": len(a.kwonlyargs), "types": [ast.unparse(x.annotation) for x in a.args + a.kwonlyargs],
              "writes": writes[node.name], "doc": ast.get_docstring(node) or ""}
print(json.dumps(out))`;
interface Parsed { args: string[]; required: string[]; keyword: number; types: string[]; writes: string[]; doc: string }
const { stdout } = await execa('python3', ['-c', PARSER, join(ROOT, 'harness/python/antkv')]);
const ops = JSON.parse(stdout) as Record<string, Parsed>;
/** What eager.py makes itself instead of taking it. Its kmeans does all steps, and finds units from bounds. */
const MADE: Readonly<Record<string, readonly string[]>> = { decode: ['out', 'partial_o', 'partial_lse', 'counters', 'segments'], combine: ['out'], kmeans: ['codebook', 'row_loss', 'sums', 'loss', 'energy', 'status', 'step', 'value_scale', 'weight_scale', 'loss_scale'] };
/** What no field says: the contract, and what chooses kernel and splits. */
const BESIDE = ['contract', 'max_tokens', 'splits', 'spread', 'q_heads', 'largest', 'heaviest'];

test('every built op is there, documented', () => {
  assert.equal(Object.keys(ops).sort(), PARAM_STRUCTS.map(({ op }) => op).sort());
  for (const [op, { doc }] of Object.entries(ops)) assert.ok(doc.length > 100, op);
});

for (const { op, fields } of PARAM_STRUCTS) {
  test(`arguments of ${op} are the fields of its struct, as they are written and read`, () => {
    const { args, types, writes, required, keyword } = ops[op]!;
    // custom_op takes no keyword-only tensors, and indexes what is written in a call from which trailing defaults were dropped.
    assert.is(keyword, 0);
    for (const name of writes) assert.ok(required.includes(name), name);
    const pointers = fields.filter(({ type, name }) => type === 'ptr' && !MADE[op]?.includes(name));
    assert.equal(args.filter((_, i) => types[i]!.includes('Tensor')).sort(), pointers.map(({ name }) => name).sort());
    assert.equal([...writes].sort(), pointers.filter(({ to }) => !to!.startsWith('const ')).map(({ name }) => name).sort());
    // A number is an argument unless some shape says it.
    const shaped = new Set(fields.filter(({ name }) => !MADE[op]?.includes(name)).flatMap(axesOf).flatMap((axis) => axis.match(/[a-z_]+/g) ?? []));
    const numbers = fields.filter(({ type, name }) => ['i32', 'f32'].includes(type) && !shaped.has(name) && !['kv_heads', 'splits', 'spread'].includes(name) && !MADE[op]?.includes(name)).map(({ name }) => name);
    const given = args.filter((name, i) => !types[i]!.includes('Tensor') && !BESIDE.includes(name));
    assert.equal(given.sort(), numbers.filter((name) => !BESIDE.includes(name)).sort());
  });
}

test('the Python package has the version of the repository, and takes all of its modules along', () => {
  const toml = readFileSync(join(ROOT, 'harness/python/pyproject.toml'), 'utf8');
  const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { version: string };
  assert.is(/^version = "(.*)"$/m.exec(toml)?.[1], version);
  const beside = readdirSync(join(ROOT, 'harness/python')).filter((name) => name.endsWith('.py')).map((name) => name.slice(0, -3));
  const sources = readdirSync(join(ROOT, 'harness/python/antkv')).filter((name) => name.endsWith('.py')).map((name) => readFileSync(join(ROOT, 'harness/python/antkv', name), 'utf8'));
  const imported = beside.filter((name) => sources.some((text) => new RegExp(`^(from|import) ${name}\\b`, 'm').test(text)));
  assert.equal(JSON.parse(/^py-modules = (.*)$/m.exec(toml)![1]!), imported);
});

test('codebooks pack to the bytes of packCodebook', async () => {
  let seed = 1;
  const random = (): number => (seed = (seed * 48271) % 2147483647) / 2147483647 - 0.5;
  const cases = ['2c8bq8', '8c8b', '16c8bq8', '4c8b', '16c6b6b', '16c6b6bq8'].map((name) => {
    const codec = codecOf(name as '8c8b') as VqCodec;
    const [kvHeads, d] = [2, 64];
    const count = kvHeads * d * storedOf(codec);
    const tensor = codec.codebook === 'q8'
      ? { kvHeads, values: Int8Array.from({ length: count }, () => Math.round(250 * random())), scale: Float32Array.from({ length: kvHeads * d }, () => 0.01 + 0.001 * random()) }
      : { kvHeads, values: Uint16Array.from({ length: count }, () => toF16(codec.stages > 1 ? Math.round(900 * random()) / 256 : 3 * random())) };
    const hex = (a: Uint16Array | Int8Array | Float32Array): string => Buffer.from(a.buffer, a.byteOffset, a.byteLength).toString('hex');
    const shape = [kvHeads, chunksOf(codec, d), ...(codec.stages > 1 ? [codec.stages] : []), stageEntries(codec), codec.channels];
    return { request: { pack: shape, entries: hex(tensor.values), ...(tensor.scale ? { scale: hex(tensor.scale) } : {}) }, want: Buffer.from(packCodebook(codec, d, tensor)).toString('hex') };
  });
  const ran = await execa('python3', ['-B', join(ROOT, 'test/harness/python/client.py')], { input: cases.map(({ request }) => JSON.stringify(request)).join('\n'), env: { PYTHONPATH: join(ROOT, 'harness/python') }, timeout: 60_000 });
  const got = ran.stdout.split('\n').map((line) => JSON.parse(line) as { hex: string });
  cases.forEach(({ want }, i) => assert.ok(got[i]!.hex === want, `case ${i}`));
});

test('codebook files: a basis of values is read, and what does not fit it is refused', async () => {
  const [heads, d] = [2, 16];
  const to = Float32Array.from({ length: heads * d * d }, (_, n) => (n % d === (Math.floor(n / d) + 1) % d ? 2 : 0)); // channels turned around, and doubled
  const basis = { kvHeads: heads, headDim: d, to, back: to.map((_, n) => (Math.floor(n / d) % d === ((n % d) + 1) % d ? 0.5 : 0)) };
  const v = { codec: codecOf('8c8b') as VqCodec, tensor: { kvHeads: heads, values: new Uint16Array(heads * d * 256) } };
  const about = { model: 'm', headDim: d, recipeHash: 'h', calibration: { seed: 0, iterations: 1, weights: 'none' as const, power: 1, tensors: {} }, dump: {} };
  const file = (transform: 'none' | 'basis'): Uint8Array => writeCodebook(new Map([[7, { v, ...(transform === 'basis' && { basis }) }]]), { ...about, recipe: { k: 'f16', v: '8c8b', key: 'post', transform } });
  const altered = (from: string, to: string): Uint8Array => Buffer.from(Buffer.from(file('basis')).toString('latin1').replace(from, to), 'latin1');
  const files = [file('none'), file('basis'), altered('v.basis"', 'v.other"'), altered('"version":"2"', '"version":"4"'), altered(`[${heads},${d},${d}]`, `[${d},${d},${heads}]`), altered('\\"basis\\"', '\\"bases\\"'), altered('\x00\x00\x00?', '\x00\x00\x80?')];
  const folder = temporaryFolder();
  const paths = files.map((bytes, i) => join(folder, `${i}.safetensors`));
  files.forEach((bytes, i) => writeFileSync(paths[i]!, bytes));
  const ran = await execa('python3', ['-B', join(ROOT, 'test/harness/python/read_basis.py'), ...paths], { env: { PYTHONPATH: join(ROOT, 'harness/python') }, timeout: 60_000 });
  const [none, found, ...refused] = ran.stdout.split('\n').map((line) => JSON.parse(line) as { codec?: string; basis?: string[] | null; refused?: string });
  assert.equal(none, { codec: '8c8b', basis: null });
  const hex = (a: Float32Array): string => Buffer.from(a.buffer).toString('hex');
  assert.equal(found!.basis, [hex(basis.to), hex(basis.back)]);
  [/no tensor "layers\.7\.v\.basis"/, /of version 4, this package reads 1 to 3; take the package/, /a basis is F32 \[kv_heads, head_dim, head_dim\], \(2, 16, 16\) here/, /transform "bases" is not known/, /"layers\.7\.v\.basis_inverse", KV head 0, does not undo the basis/].forEach((want, i) => assert.match(refused[i]!.refused!, want));
});

test('codebook files: of a plan each layer is read by its own recipe', async () => {
  const v = { codec: codecOf('8c8b') as VqCodec, tensor: { kvHeads: 1, values: new Uint16Array(16 * 256) } };
  const one = { k: 'f16', v: '8c8b', key: 'post', transform: 'none' };
  const bytes = writeCodebook(new Map([[7, { v }]]), { model: 'm', headDim: 16, recipe: one, recipeHash: 'h', calibration: { seed: 0, iterations: 1, weights: 'none', power: 1, tensors: {} }, dump: {} });
  const header = parseHeader(bytes, 'f');
  const tensors = [...header.tensors.values()].map(({ name, dtype, shape }) => readTensor(bytes, header, name, { dtype, shape, axes: '' }));
  const { recipe: _, ...metadata } = header.metadata;
  const other = { ...one, transform: 'basis' };
  const plans = [[...Array<object>(7).fill(other), one], [...Array<object>(7).fill(one), other], [one], [{ ...one, transform: 'bases' }]];
  const folder = temporaryFolder();
  const paths = plans.map((recipes, i) => (writeFileSync(join(folder, `${i}`), writeSafetensors(tensors, { ...metadata, version: '3', recipes: JSON.stringify(recipes) })), join(folder, `${i}`)));
  const ran = await execa('python3', ['-B', join(ROOT, 'test/harness/python/read_basis.py'), ...paths], { env: { PYTHONPATH: join(ROOT, 'harness/python') }, timeout: 60_000 });
  const [read, ...refused] = ran.stdout.split('\n').map((line) => JSON.parse(line) as { codec?: string; basis?: null; refused?: string });
  assert.equal(read, { codec: '8c8b', basis: null });
  [/no tensor "layers\.7\.v\.basis"/, /a codebook of layer 7, and recipes for 1 layers/, /transform "bases" is not known/].forEach((want, i) => assert.match(refused[i]!.refused!, want));
});

test('the check for a GPU says what it needs without one', async () => {
  const ran = await execa('python3', ['-B', join(ROOT, 'harness/python/check.py')], { env: { PYTHONPATH: join(ROOT, 'harness/python'), CUDA_VISIBLE_DEVICES: '' }, reject: false, timeout: 60_000 });
  assert.is(ran.exitCode, 3, ran.stderr);
  assert.match(ran.stderr, /^check: \S.*$/);
});

test('modules are short', () => {
  for (const folder of ['', 'antkv', 'eval']) {
    for (const name of readdirSync(join(ROOT, 'harness/python', folder)).filter((name) => name.endsWith('.py'))) {
      const length = readFileSync(join(ROOT, 'harness/python', folder, name), 'utf8').split('\n').length;
      assert.ok(length <= 250, `${name}: ${length} lines`);
    }
  }
});

test.run();
