// Tests the torch-free core of harness/python/antkv on a driver that does nothing: it chooses, refuses and computes grids as antkv_load.h does, and binds arrays by their shapes.
import { execa } from 'execa';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { paramStruct } from '../../../generator/abi.ts';
import { kernelName } from '../../../generator/name.ts';
import { shippedKernels } from '../../../generator/ship.ts';
import { flatten } from '../../../generator/table/flat.ts';
import { VERSIONS } from '../../../generator/versions.ts';
import { SYNTHETIC_CONTRACTS, SYNTHETIC_DEVICES, syntheticInputs, syntheticKernels, syntheticTables } from '../../fixtures/tables.ts';
import { compile, GOOD, paramsHex, POINTER, ROOT } from '../load/build.ts';
import { pythonFolder } from './folder.ts';

type Op = keyof typeof GOOD;
type Answer = Record<string, unknown> & { error?: string; text?: string };
const AXES = '_d128_k8c8b_v8c8bq8_f16_pre_gain';
const DECODE = `antkv_decode${AXES}`;
const CONTRACT: Readonly<Record<Op, string>> = {
  encode: `antkv_encode${AXES}`, append: `antkv_append${AXES}`, decode: DECODE, unpack: `antkv_unpack${AXES}`, combine: 'antkv_combine_d128_f16', score: 'antkv_score_d128_f16', select: 'antkv_select', kmeans: 'antkv_kmeans_k8c8b_f16',
};

const folder = pythonFolder(shippedKernels());
const C = (dir: string) => compile([join(ROOT, 'test/harness/load/client.c')], ['-I', dir, '-I', join(ROOT, 'harness')]);
const [driver, oldDriver, client] = await Promise.all([
  compile([join(ROOT, 'test/harness/load/fake_driver.c')], ['-shared', '-fPIC']),
  compile([join(ROOT, 'test/harness/load/fake_driver.c')], ['-shared', '-fPIC', '-DFAKE_OLD']),
  C(folder),
]);

/** The answers of client.py, and the lines that the driver writes. */
async function ask(requests: readonly unknown[], env: Record<string, string> = {}): Promise<{ answers: Answer[]; lines: string[] }> {
  const { stdout } = await execa('python3', ['-B', join(ROOT, 'test/harness/python/client.py')], {
    input: requests.map((request) => JSON.stringify(request)).join('\n'), env: { ANTKV_LIBCUDA: driver, PYTHONPATH: join(ROOT, 'harness/python'), ...env }, timeout: 60_000,
  });
  const lines = stdout.split('\n');
  return { answers: lines.filter((line) => line.startsWith('{')).map((line) => JSON.parse(line) as Answer), lines: lines.filter((line) => !line.startsWith('{')) };
}
const open = { open: folder };
const last = async (requests: readonly unknown[], env?: Record<string, string>): Promise<Answer> => (await ask([open, ...requests], env)).answers.at(-1)!;
const words = ({ error, text }: Answer): string => `${error}: ${text}`;
const SHAPE = { batch: 1, q_heads: 32, kv_heads: 8, max_tokens: 4096 };

test('what is wrong with a folder, a driver or a device is named', async () => {
  const refused = async (request: unknown, env?: Record<string, string>): Promise<string> => words((await ask([request], env)).answers[0]!);
  assert.match(await refused({ open: '/no/such' }), /^FolderError: \/no\/such: .*manifest.json.*give the folder that `gen` wrote/);
  const other = pythonFolder([]);
  writeFileSync(join(other, 'antkv_params.py'), readFileSync(join(other, 'antkv_params.py'), 'utf8').replace(/ABI_VERSION = \d+/, 'ABI_VERSION = 99'));
  assert.match(await refused({ open: other }), /^FolderError: .*antkv_params.py is of ABI and layout versions \(99, \d+\), manifest.json of/);
  const manifest = JSON.parse(readFileSync(join(other, 'manifest.json'), 'utf8')) as Record<string, unknown>;
  for (const [name, version] of [['abi', VERSIONS.abi + 1], ['layout', VERSIONS.layout - 1]] as const) {
    writeFileSync(join(other, 'manifest.json'), JSON.stringify({ ...manifest, [name]: version }));
    assert.match(await refused({ open: other }), /^FolderError: .* is of ABI and layout versions \(\d+, \d+\), this package is for \(\d+, \d+\): take both from one release/);
  }
  assert.match(await refused({ open: null }, { ANTKV_FOLDER: '/no/such' }), /^FolderError: ANTKV_FOLDER is \/no\/such, where no manifest.json lies; give the folder that `gen` wrote, .* or unset it/);
  assert.not.match(await refused({ open: null }, { ANTKV_FOLDER: folder }), /Folder/);
  writeFileSync(join(other, 'manifest.json'), '{"schema": 7}');
  assert.match(await refused({ open: other }), /^FolderError: .*manifest of schema 7, this package reads 1/);
  assert.match(await refused(open, { ANTKV_LIBCUDA: '/no/libcuda.so.1' }), /^DeviceError: no CUDA driver: .*install one, or point ANTKV_LIBCUDA/);
  assert.match(await refused({ ...open, device: 2 }), /^DeviceError: no CUDA device 2: nvidia-smi lists them/);
  assert.match(await refused(open, { FAKE_FAIL: 'cuInit:100' }), /^DeviceError: .*cuInit\(\): .*100.*; no GPU is visible: nvidia-smi lists them/);
});

test('a folder or a codebook file that is broken is refused in words', async () => {
  const { exitCode, stderr } = await execa('python3', ['-B', join(ROOT, 'test/harness/python/test_files.py'), folder], { env: { PYTHONPATH: join(ROOT, 'harness/python') }, reject: false, timeout: 60_000 });
  assert.is(exitCode, 0, stderr);
  assert.match(stderr, /Ran 4 tests/);
});

test('versions are those of the generator', async () => {
  const { stdout } = await execa('python3', ['-B', '-c', 'from antkv import folder, pack; print([folder.ABI_VERSION, folder.LAYOUT_VERSION, folder.MANIFEST_SCHEMA, pack.CODEBOOK_VERSION, folder.TABLES_VERSION])'], { env: { PYTHONPATH: join(ROOT, 'harness/python') } });
  assert.equal(JSON.parse(stdout), [VERSIONS.abi, VERSIONS.layout, VERSIONS.manifest, VERSIONS.codebook, VERSIONS.tableArrays]);
});

test('a kernel that cannot be had is named, with the reason', async () => {
  const get = (contract: string, env?: Record<string, string>, shape: unknown = SHAPE): Promise<string> => last([{ get: contract, shape }], env).then(words);
  assert.match(await get(DECODE.replace('d128', 'd182')), new RegExp(`^ContractError: no contract "antkv_decode_d182.*near it: ${DECODE} `));
  assert.match(await get(DECODE, {}, null), /^ArgumentError: .*decode needs a Shape/);
  assert.match(await get(DECODE, { FAKE_CC: '75' }), /^DeviceError: .*has no kernel for sm_75; .*antkv needs sm_80/);
  assert.match(await get(DECODE, { FAKE_SHARED: '4000' }), /^DeviceError: .*needs \d+ bytes of shared memory, blocks of this device have 4000; `npx gen --arch sm80 --out DIR`/);
  assert.match(await get('antkv_select', { FAKE_FAIL: 'cuModuleLoad:222' }), /^DriverError: cuModuleLoad\(.*CUDA_ERROR_UNSUPPORTED_PTX_VERSION.*the driver is older than the nvcc/);
  assert.match(await get('antkv_select', { FAKE_FAIL: 'cuModuleLoad:209' }), /no code for this device/);
  const hints: [number, RegExp | null][] = [[200, /cut off: build it again/], [301, /the driver cannot read the file/], [700, /the context is lost: start a new process$/], [719, /the context is lost/], [701, /a block of this device has not the registers/], [709, /the context was destroyed/], [720, null], [704, null]];
  for (const [code, want] of hints) assert.match(await get('antkv_select', { FAKE_FAIL: `cuModuleLoad:${code}` }), want ?? new RegExp(`\\(${code}, [^;]*$`));
  assert.match(await get('antkv_select', { FAKE_PARAMS: '96' }), /^FolderError: .*takes 96 bytes of parameters, antkv_params.py says 80/);
  assert.match(await get('antkv_select', { FAKE_THREADS: '128' }), /at most 128 threads per block here, not 1024/);
  assert.match(await get(DECODE, { ANTKV_LIBCUDA: oldDriver }), /^DeviceError: .*has no cuOccupancyMaxActiveBlocksPerMultiprocessor: not a CUDA driver of version 11 or newer/);
  const shapes: [Record<string, unknown>, RegExp][] = [
    [{ kv_heads: 0 }, /kv_heads is 0, not 1 to 65535/], [{ q_heads: 30 }, /q_heads 30 is not 1 to 16 times kv_heads 8/], [{ max_q_len: 17 }, /max_q_len 17 is not 1 to 16/], [{ splits: -1 }, /splits is -1, not 0 to 65535/], [{ rows: 17, max_q_len: 16 }, /rows is 17, not 0 to 16/], [{ spread: 'wide' }, /spread is "wide"/],
    [{ max_tokens: 2 ** 30 + 1 }, /max_tokens is 1073741825, not 1 to 1073741824/], [{ batch: 1.5 }, /batch is 1.5; give a whole number/],
  ];
  for (const [change, want] of shapes) assert.match(await get(DECODE, {}, { ...SHAPE, ...change }), want);
});

test('a kernel is loaded once; without a fatbin its PTX is; a failure leaves no module behind', async () => {
  const other = pythonFolder(shippedKernels());
  const requests = [{ open: other }, { get: 'antkv_select' }, { get: 'antkv_select', shape: SHAPE }];
  const loads = (lines: string[]): string[] => lines.filter((line) => /^(load|attribute|unload)/.test(line));
  assert.equal(loads((await ask(requests)).lines), ['load antkv_select__sm80_w32.fatbin', 'attribute 8 = 66960']);
  const fatbin = join(other, 'sm80/antkv_select__sm80_w32.fatbin');
  rmSync(fatbin);
  assert.match(words((await ask(requests)).answers[1]!), /^FolderError: .*fatbin is missing; `npx gen --arch sm80` builds it/);
  writeFileSync(fatbin.replace('fatbin', 'ptx'), '');
  assert.equal(loads((await ask(requests)).lines)[0], 'load antkv_select__sm80_w32.ptx');
  assert.equal(loads((await ask(requests.slice(0, 2), { FAKE_FAIL: 'cuModuleGetFunction:500' })).lines), ['load antkv_select__sm80_w32.ptx', 'unload']);
});

test('kernel, splits, spread, merge and workspace are those of antkv_load.h, with tables and without', async () => {
  const tables = flatten(syntheticTables(), syntheticKernels(), (kernel) => syntheticInputs(kernelName(kernel)));
  const tuned = pythonFolder(syntheticKernels(), tables);
  const shapes = [[1, 32, 8, 4096], [16, 32, 8, 131072], [3, 24, 8, 700], [1, 8, 8, 1], [64, 128, 8, 20000, 4, 200], [7, 32, 2, 65536, 16], []]; // the last one is null
  const names = ['batch', 'q_heads', 'kv_heads', 'max_tokens', 'max_q_len', 'rows'];
  for (const [dir, contracts, env] of [[folder, [DECODE, `${DECODE}_n4`, 'antkv_decode_d128_kf16_vf16_f16'], { FAKE_CC: '90', FAKE_SMS: '132' }], [tuned, SYNTHETIC_CONTRACTS, {}]] as const) {
    const devices = dir === tuned ? Object.values(SYNTHETIC_DEVICES).map((d) => ({ FAKE_CC: String(d.cc), FAKE_SMS: String(d.sms), FAKE_SHARED: String(d.sharedPerBlock), FAKE_L2: String(d.l2Bytes), FAKE_BUS: String(d.busBits), FAKE_KHZ: String(1000 * d.memoryMhz) })) : [env];
    const program = dir === tuned ? await C(dir) : client;
    const cases = contracts.flatMap((contract) => shapes.flatMap((shape) => ['sequence', 'spread', 'fastest'].map((spread, mode) => ({ contract, shape, spread, mode }))));
    for (const device of devices) {
      const input = [`open ${dir} 0`, ...cases.map(({ contract, shape, mode }) => `get ${contract} ${[...shape, 0, 0].slice(0, 6).join(' ')} 0 ${mode}`)].join('\n');
      const { stdout } = await execa(program, [], { input, env: { ANTKV_LIBCUDA: driver, ...device }, timeout: 20_000 });
      const want = stdout.split('\n').filter((line) => line.startsWith('get '));
      const { answers } = await ask([{ open: dir }, ...cases.map(({ contract, shape, spread }) => ({ get: contract, shape: shape.length > 0 ? { ...Object.fromEntries(shape.map((x, i) => [names[i], x])), spread } : null }))], device);
      const merges = ['none', 'last', 'combine'];
      const got = answers.slice(1).map((a) => (a.error ? `get ${a.error}` : `get 0 ${a['kernel']} splits ${a['splits']} workspace ${(a['workspace'] as number[]).join(' ')} ${a['quality']} ${a['regret']} spread ${a['spread']} merge ${merges.indexOf(a['merge'] as string)}`));
      assert.is(got.length, want.length);
      const plain = (line: string, i: number): string => (!line.startsWith('get 0') ? 'refused' : cases[i]!.contract.includes('_decode_') ? line : line.replace(/workspace .* (?=\w+ -?\d+ spread)/, '')); // other ops have none
      want.forEach((line, i) => assert.is(plain(got[i]!, i), plain(line, i), JSON.stringify(cases[i])));
    }
  }
});

/** Rows of halves [rows, heads, 128]. */
const ROWS = { ...Object.fromEntries(['k', 'v'].flatMap((name) => [[`${name}_row_stride`, 2048], [`${name}_head_stride`, 256]])), ...Object.fromEntries(['q', 'o'].flatMap((name) => [[`${name}_row_stride`, 8192], [`${name}_head_stride`, 256]])) };
const known = (op: Op, values: Record<string, number>) => Object.fromEntries(Object.entries(values).filter(([name]) => paramStruct(op).fields.some((field) => field.name === name)));
const valuesOf = (op: Op, change: Record<string, number>): Record<string, number> => known(op, { ...ROWS, ...GOOD[op], ...change });

test('a launch asks the tables for the problem that its struct describes', async () => {
  const shape = (batch: number, heads: number, max_tokens: number) => ({ batch, q_heads: heads, kv_heads: heads, max_tokens });
  const cases: [op: Op, change: Record<string, number>, want: unknown][] = [
    ['encode', {}, shape(3, 8, 2500)], ['unpack', {}, shape(3, 8, 2500)], ['score', {}, shape(3, 8, 1000)], ['select', {}, shape(3, 8, 1024)], ['select', { keep_words: 3 }, shape(3, 8, 96)], ['append', {}, shape(3, 8, 2560)],
    ['append', { block_table: 0, max_pages: 0 }, null], ['encode', { batch: 0 }, null], ['combine', {}, null], ['kmeans', {}, null],
  ];
  const { answers } = await ask([open, ...cases.map(([op, change]) => ({ shape: CONTRACT[op], params: valuesOf(op, change) }))]);
  cases.forEach(([op, , want], i) => assert.equal(answers[i + 1], { shape: want }, op));
});

/** Numbers that a user may get wrong, by op. */
const MISTAKES: readonly (readonly [op: Op, change: Record<string, number>])[] = [
  ...(['encode', 'append', 'decode', 'unpack'] as const).flatMap((op) => [{ batch: 0 }, { batch: 65536 }, { kv_heads: 0 }, { page_size: 48 }, { max_pages: 0 }, { block_table: 0 }, { page_indptr: POINTER }, { rotary_dim: 0 }, { rotary_dim: 130 }, { rotary_dim: 7 },
    { rope_interleaved: 2 }, { attention_factor: 0 }, { anchor_table: POINTER }, { k_codebook: 0 }, { inv_freq: 0 }, { pages: POINTER + 8 }, { page_stride: 8 * 2192 + 8 }].map((change) => [op, change] as const)),
  ...[{ q_heads: 30 }, { q_heads: 200 }, { max_q_len: 0 }, { max_q_len: 17 }, { rows: 4 }, { rows: 2 }, { segments: 8 }, { splits: 0 }, { splits: 2 }, { out: 0 }, { ring_k: 0 }, { ring_rows: 0 }, { scale: 0 }, { softcap: 1 }, { sink_logits: POINTER }, { spread: 2 }, { kv_len: 0 }, { q: 0 }].map((change) => ['decode', change] as const),
  ...[{ max_tokens: 0 }, { keys_unrotated: 2 }, { keep_indices: POINTER }, { anchor_score: POINTER }, { score_rows: POINTER }, { keep_bitmap: POINTER }, { keep_bitmap: POINTER, keep_words: 78 }, { cu_tokens: 0 }].map((change) => ['encode', change] as const),
  ...[{ ring_v: 0 }, { window: -1 }, { flush_block: 0 }, { flush_block: 100 }, { ring_rows: 271 }, { budget_permille: 1001 }, { first_tokens: -1 }, { policy: 4 }, { ring_count: 0 }, { ring_scores: POINTER, ring_score: 0, ring_count: 0 }, { seq_len: 0 }].map((change) => ['append', change] as const),
  ...[{ rows: 0 }, { q_heads: 0 }, { splits: 0 }, { partial_lse: 0 }, { partial_o: 0 }, { ring_scores: POINTER }].map((change) => ['combine', change] as const),
  ...[{ q_heads: 33 }, { max_tokens: 0 }, { score_stride: 999 }, { accumulate: 2 }, { cu_sampled: POINTER }, { newest_rows: 3 }, { scale: -1 }, { lse: 0 }].map((change) => ['score', change] as const),
  ...[{ keep_words: 0 }, { max_anchors: -1 }, { score_stride: 0 }, { budget_tokens: -2 }, { budget_permille: 1001 }, { first_tokens: -1 }, { token_count: 0 }].map((change) => ['select', change] as const),
  ...[{ max_tokens: 0 }, { max_anchor_pages: -1 }].map((change) => ['unpack', change] as const),
  ...[{ tokens: 0 }, { step: 3 }, { max_steps: 0 }, { tolerance: -1 }, { weight_scale: 0 }, { splits: 0 }, { x_row_stride: 8 }, { row_loss: 0 }].map((change) => ['kmeans', change] as const),
];
const FINE: readonly (readonly [op: Op, change: Record<string, number>])[] = [
  ...(Object.keys(GOOD) as Op[]).map((op) => [op, {}] as const), ['decode', { q_heads: 128, max_q_len: 16, rows: 20, cu_q: POINTER, q_row_stride: 32768, out_row_stride: 32768 }], ['decode', { splits: 9, partial_o: POINTER, partial_lse: POINTER, out: 0 }], ['decode', { spread: 1 }], ['encode', { max_tokens: 33 }], ['combine', { q_heads: 5 }],
];

/** What is refused here, whether antkv_load.h does so or not: arrays that overlap, numbers beyond what kernels count in. */
const STRICT: readonly (readonly [op: Op, change: Record<string, number>, want: RegExp])[] = [
  ['append', { budget_tokens: -5 }, /budget_tokens is -5; it is tokens, or 0/], ['append', { extra_tokens: -5 }, /extra_tokens is -5; it is 0 or more/], ['encode', { max_anchor_pages: -1 }, /max_anchor_pages is -1/],
  ...(['encode', 'unpack', 'score'] as const).map((op) => [op, { max_tokens: 2 ** 30 + 1, score_stride: 2 ** 31 - 1 }, /max_tokens is 1073741825; .*1 to 2\^30/] as const),
  ['decode', { scale: 1e39 }, /scale is inf; it is finite/], ['score', { scale: -1e39 }, /scale is -inf/], ['decode', { attention_factor: 1e39 }, /attention_factor is inf/],
  ['decode', { splits: 65536, partial_o: POINTER, partial_lse: POINTER }, /splits is 65536; it is 1 to 65535/], ['combine', { splits: 65536 }, /splits is 65536/],
  ['decode', { q_head_stride: 0 }, /q_head_stride is 0 bytes, but what it steps over has 256/], ['decode', { q_row_stride: 240 }, /q_row_stride is 240 bytes/], ['decode', { q_row_stride: 4096 }, /q_row_stride is 4096 bytes, but what it steps over has 8192/],
  ['decode', { out_row_stride: -8192 }, /out_row_stride is -8192/], ['decode', { out_row_stride: 0, out_head_stride: 0 }, /out_row_stride is 0/], ['decode', { ring_row_stride: 0 }, /ring_row_stride is 0/], ['append', { ring_head_stride: 256 }, /ring_\w+_stride is 256/],
  ['append', { ring_slot_stride: 272 * 256 }, /ring_\w+_stride is 69632/], ['decode', { page_stride: 2192 }, /page_\w*stride is 2192/], ['encode', { page_head_stride: 2176 }, /page_head_stride is 2176 bytes, but what it steps over has 2192/],
  ['decode', { anchor_table: POINTER, anchors: POINTER, max_anchor_pages: 2, anchor_page_stride: 65536, anchor_head_stride: 8192 }, /anchor_page_stride is 65536 bytes, but what it steps over has 65600/],
  ['encode', { k_row_stride: 1024 }, /k_row_stride is 1024/], ['append', { v_head_stride: 128 }, /v_head_stride is 128/], ['unpack', { v_row_stride: 0 }, /v_row_stride is 0/], ['score', { q_head_stride: 16 }, /q_head_stride is 16/],
  ['combine', { out_head_stride: 0 }, /out_head_stride is 0/], ['kmeans', { x_row_stride: 240 }, /x_row_stride is 240 bytes, but what it steps over has 256/],
];
/** Any order of axes will do, and any stride along an axis of one. */
const STRIDES: readonly (readonly [op: Op, change: Record<string, number>])[] = [
  ['decode', { q_row_stride: 256, q_head_stride: 768 }], ['decode', { batch: 1, rows: 1, q_row_stride: 0 }], ['decode', { page_stride: 2192, page_head_stride: 50 * 2192 }], ['append', { batch: 1, k_row_stride: 0, ring_slot_stride: 0 }],
  ['kmeans', { heads: 1, x_head_stride: 0 }], ['encode', { batch: 1, max_tokens: 1, k_row_stride: 16 }],
];

test('grids are those of antkv_load.h, and what it refuses is refused, with the same field', async () => {
  const cases = [...FINE, ...STRIDES, ...MISTAKES].map(([op, change]) => ({ op, change }));
  const { stdout } = await execa(client, [], { input: cases.flatMap(({ op, change }) => [`row ${CONTRACT[op]}`, `grid ${paramsHex(op, valuesOf(op, change))}`]).join('\n'), timeout: 20_000 });
  const want = stdout.split('\n');
  const { answers } = await ask([open, ...[...cases, ...STRICT.map(([op, change]) => ({ op, change }))].map(({ op, change }) => ({ grid: CONTRACT[op], params: valuesOf(op, change) }))]);
  STRICT.forEach(([op, change, refused], i) => assert.match(words(answers[1 + cases.length + i]!), new RegExp(`^ArgumentError: ${op}: ${refused.source}`), JSON.stringify(change)));
  cases.forEach(({ op, change }, i) => {
    const got = answers[i + 1]!;
    const what = `${op} ${JSON.stringify(change)}: ${want[i]} | ${JSON.stringify(got)}`;
    if (i < FINE.length + STRIDES.length) return assert.is(`grid 0 ${(got['grid'] as number[] | undefined)?.join(' ')}`, want[i], what);
    assert.not.match(want[i]!, /^grid 0/, what);
    assert.is(got.error, 'ArgumentError', what);
    assert.match(got.text!, new RegExp(`^${op}: `), what);
  });
});

const HALF = (...shape: number[]) => ['f16', shape] as const;
const INTS = (...shape: number[]) => ['int32_t', shape] as const;
const BYTES = (...shape: number[]) => ['uint8_t', shape] as const;
const ARRAYS: Record<string, unknown> = {
  q: HALF(3, 32, 128), out: HALF(3, 32, 128), pages: BYTES(50, 8, 2192), coded_len: INTS(3), kv_len: INTS(3), block_table: INTS(3, 40), k_codebook: BYTES(8, 81920), v_codebook: BYTES(8, 49664), inv_freq: ['float', [64]],
  anchors: BYTES(9, 8, 8256), anchor_table: INTS(5, 4), state_slot: INTS(3), ring_k: HALF(5, 8, 272, 128), ring_v: HALF(5, 8, 272, 128),
};
const NUMBERS = { page_size: 64, segments: 7, splits: 1, max_q_len: 1, scale: 0.088, attention_factor: 1 };
const binding = (arrays: Record<string, unknown> = {}, numbers: Record<string, unknown> = {}) => ({ bind: DECODE, arrays: Object.fromEntries(Object.entries({ ...ARRAYS, ...arrays }).filter(([, array]) => array)), numbers: { ...NUMBERS, ...numbers } });

test('shapes fill in counts and strides', async () => {
  const got = await last([binding({ q: ['f16', [3, 32, 128], [16384, 512, 2]] })]);
  const want = {
    batch: 3, rows: 3, q_heads: 32, kv_heads: 8, max_pages: 40, max_anchor_pages: 4, ring_rows: 272, rotary_dim: 128, q_row_stride: 16384, q_head_stride: 512, out_row_stride: 8192, out_head_stride: 256,
    page_stride: 8 * 2192, page_head_stride: 2192, anchor_page_stride: 8 * 8256, anchor_head_stride: 8256, ring_slot_stride: 8 * 272 * 256, ring_head_stride: 272 * 256, ring_row_stride: 256, page_size: 64, splits: 1,
  };
  for (const [name, value] of Object.entries(want)) assert.is(got[name], value, `${name}: ${words(got)}`);
});

test('an argument that does not fit is named, with what it should be', async () => {
  const cases: [Record<string, unknown>, Record<string, unknown>, RegExp][] = [
    [{ kv_len: INTS(4) }, {}, /^decode: kv_len is \[4\]; its axes are \[batch\], and batch is 3 \(coded_len\)/],
    [{ q: HALF(3, 32, 64) }, {}, /^decode: q is \[3, 32, 64\]; its axes are \[rows, q_heads, d\], and d is 128 \(the contract\)/],
    [{ q: ['float', [3, 32, 128]] }, {}, /^decode: q has elements of float, not f16; convert it/],
    [{ kv_len: ['int64_t', [3]] }, {}, /^decode: kv_len has elements of int64_t, not int32_t/],
    [{ q: HALF(3, 32 * 128) }, {}, /^decode: q is \[3, 4096\]; its axes are \[rows, q_heads, d\]/],
    [{ q: ['f16', [3, 32, 128], [8192, 2, 64]] }, {}, /^decode: q \[3, 32, 128\] has strides of \[8192, 2, 64\] bytes; its last axis is contiguous in memory: call contiguous\(\)/],
    [{ block_table: ['int32_t', [3, 40], [400, 4]] }, {}, /^decode: block_table .*it is contiguous/],
    [{ pages: BYTES(50, 8, 2176) }, {}, /^decode: pages is \[50, 8, 2176\]; its last axis has 2192 bytes/],
    [{ pages: BYTES(50, 4, 2192) }, {}, /kv_heads is 4 \(pages\)|kv_heads is 8/],
    [{ k_codebook: BYTES(8, 49664) }, {}, /^decode: k_codebook is .*its last axis has 81920 bytes/],
    [{ k_codebook: null }, {}, /^decode: k_codebook is missing; give an array \[kv_heads, bytes\]/],
    [{ pages: null }, {}, /^decode: pages is missing; give an array \[pages, kv_heads, bytes\]/], [{ q: null }, {}, /^decode: q is missing; give an array \[rows, q_heads, d\]/],
    [{ ring_v: ['f16', [5, 8, 272, 128], [557056, 256, 2048, 2]] }, {}, /^decode: ring_v has strides of .*, ring_k of .*; give both the same layout/],
    [{ ring_k: HALF(5, 8, 256, 128) }, {}, /ring_v is .*ring_rows is 256 \(ring_k\)/],
    [{ inv_freq: null }, {}, /inv_freq is missing/],
    [{ keys: INTS(3) }, {}, /^decode: there is no argument keys; antkv.h lists them/],
    [{}, { page_size: 31 }, /^decode: page_size is 31; it is one of 16, 32, 64, 128, 256/],
    [{}, { scale: 0 }, /^decode: scale is 0; it is finite and above 0/],
    [{}, { batch: 4 }, /batch is 4 \(given\)/],
  ];
  const { answers } = await ask([open, ...cases.map(([arrays, numbers]) => binding(arrays, numbers))]);
  cases.forEach(([arrays, numbers, want], i) => assert.match(answers[i + 1]!.text ?? 'taken', want, JSON.stringify([arrays, numbers])));
});

const CLUSTERS = {
  x: HALF(8, 5000, 128), weights: ['float', [8, 5000]], centroids: ['float', [8, 16, 256, 8]], codebook: BYTES(8, 16, 256 * 20), row_loss: ['int64_t', [8, 16, 5000]],
  sums: ['int64_t', [8, 16, 256, 9]], loss: ['int64_t', [8, 16, 26]], energy: ['int64_t', [8, 16]], status: INTS(8, 16, 4),
};
const clustering = (arrays: Record<string, unknown> = {}) => ({ bind: CONTRACT.kmeans, arrays: { ...CLUSTERS, ...arrays }, numbers: { splits: 3, step: 1, tolerance: 5e-4, value_scale: 1024, weight_scale: 1024, loss_scale: 64 } });

test('rows to cluster: chunks by the codec of the contract, workspaces by both', async () => {
  const got = await last([clustering({ x: ['f16', [8, 5000, 128], [5000 * 512, 512, 2]] })]);
  const want = { heads: 8, chunks: 16, tokens: 5000, max_steps: 25, x_row_stride: 512, x_head_stride: 5000 * 512 };
  for (const [name, value] of Object.entries(want)) assert.is(got[name], value, `${name}: ${words(got)}`);
  const cases: [Record<string, unknown>, RegExp][] = [
    [{ centroids: ['float', [8, 16, 128, 8]] }, /^kmeans: centroids is .*entries is 256 \(the contract\)/],
    [{ x: HALF(8, 5000, 120) }, /^kmeans: .*chunks is 15 \(x\)/],
    [{ x: HALF(8, 5000, 124) }, /^kmeans: x is .*124 is not chunks \* channels/],
    [{ codebook: BYTES(8, 16, 256 * 16) }, /^kmeans: codebook is .*its last axis has 5120 bytes/],
    [{ status: INTS(8, 16, 3) }, /^kmeans: status is \[8, 16, 3\]/],
    [{ sums: ['int64_t', [8, 16, 256, 8]] }, /^kmeans: sums is .*channels is 8 \(the contract\)/],
  ];
  const { answers } = await ask([open, ...cases.map(([arrays]) => clustering(arrays))]);
  cases.forEach(([, want], i) => assert.match(answers[i + 1]!.text ?? 'taken', want));
});

test('a bound launch takes the same arrays elsewhere, and says which of them is misaligned', async () => {
  const { bind: contract, ...rest } = binding();
  const at = Object.keys(rest.arrays).map((_, i) => 2 ** (20 + i));
  const off = at.map((pointer, i) => (i === 3 ? pointer + 8 : pointer));
  const { answers: [, before, after, refused], lines } = await ask([open, { bind: contract, ...rest }, { bound: contract, ...rest, at }, { bound: contract, ...rest, at: off }]);
  assert.equal(after, { ...before, ...Object.fromEntries(Object.keys(rest.arrays).map((name, i) => [name, at[i]])) });
  assert.match(words(refused!), new RegExp(`^ArgumentError: decode: ${Object.keys(rest.arrays)[3]} is at 0x800008; start the array at a multiple of 16 bytes`));
  assert.is(lines.filter((line) => line.startsWith('launch')).length, 1);
});

test('numbers that a struct would cut off are refused', async () => {
  const grid = (change: Record<string, unknown>) => ({ grid: DECODE, params: { ...GOOD.decode, ...change } });
  const cases: [unknown, RegExp][] = [
    [grid({ max_q_len: 2 ** 32 + 1 }), /max_q_len is 4294967297, more than its 32 bits hold/], [grid({ rows: -(2 ** 31) - 1 }), /rows is -2147483649, more/], [grid({ page_size: '64' }), /page_size is '64'; give a whole number/],
    [grid({ scale: 'one' }), /scale is 'one'; give a number/], [grid({ page_sise: 64 }), /there is no argument page_sise/], [grid({ struct_size: 4 }), /make it with Kernel.params/], [grid({ abi_version: 99 }), /another ABI version/],
    [binding({}, { max_q_len: 2 ** 32 + 1 }), /max_q_len is 4294967297, more/], [binding({}, { page_size: '64' }), /page_size is '64'; give a whole number/], [binding({}, { page_size: 64.5 }), /page_size is 64.5; give/],
  ];
  const { answers } = await ask([open, ...cases.map(([request]) => request)]);
  cases.forEach(([request, want], i) => assert.match(words(answers[i + 1]!), new RegExp(`^ArgumentError: decode: .*${want.source}`), JSON.stringify(request)));
});

test('a launch is one call, in the right context, with the struct', async () => {
  mkdirSync(join(folder, 'sm80'), { recursive: true });
  const launcher = `from antkv import ArgumentError, Library
library = Library(${JSON.stringify(folder)})
kernel = library.get("antkv_select")
kernel.launch(kernel.params(**${JSON.stringify(GOOD.select)}), 7)
for wrong in ({"kv_heads": 0}, {"batch": 0}, {"budget_permille": 1001}, {"scores": 8}, {"keep_words": 0}):
    try:
        kernel.launch(kernel.params(**{**${JSON.stringify(GOOD.select)}, **wrong}), 7)
    except ArgumentError:
        print("refused")`;
  const { stdout } = await execa('python3', ['-B', '-c', launcher], { env: { ANTKV_LIBCUDA: driver, PYTHONPATH: join(ROOT, 'harness/python'), FAKE_CURRENT: '2' }, timeout: 20_000 });
  assert.match(stdout, /(refused\n?){5}$/);
  assert.match(stdout, /push primary\nlaunch \(8, 3, 1\) \(1024, 1, 1\) shared 66960 stream 7 abi \d+ in primary\npop/);
});

test.run();
