// Tests harness/antkv_load.h against a driver that does nothing: what it loads, launches and refuses, and in which words.
import { execa } from 'execa';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { findArch } from '../../../generator/arch.ts';
import { printHeader } from '../../../generator/bindings/c.ts';
import { printKernels } from '../../../generator/bindings/kernels.ts';
import { printTables } from '../../../generator/bindings/table.ts';
import { contractName, kernelName, parseContractName, type Kernel } from '../../../generator/name.ts';
import { shippedKernels } from '../../../generator/ship.ts';
import { entriesOf } from '../../../generator/table/entries.ts';
import { find } from '../../../generator/table/find.ts';
import { flatten, MERGES } from '../../../generator/table/flat.ts';
import { MODES } from '../../../generator/table/schema.ts';
import { defaultTile } from '../../../generator/tile.ts';
import { VERSIONS } from '../../../generator/versions.ts';
import { SYNTHETIC_CONTRACTS, SYNTHETIC_DEVICES, syntheticInputs, syntheticKernels, syntheticTables } from '../../fixtures/tables.ts';
import { temporaryFolder } from '../../folder.ts';
import { compile, generatedFolder, GOOD, paramsHex, ROOT } from './build.ts';

const DECODE = 'antkv_decode_d128_k8c8b_v8c8bq8_f16_pre_gain';
const F16 = 'antkv_decode_d128_kf16_vf16_f16';
const LOADER = join(ROOT, 'harness');
const CLIENT = join(ROOT, 'test/harness/load/client.c');

const folder = generatedFolder();
const [client, driver, oldDriver] = await Promise.all([
  compile([CLIENT], ['-I', folder, '-I', LOADER, '-g', '-fsanitize=undefined', '-fno-sanitize-recover=all']),
  compile([join(ROOT, 'test/harness/load/fake_driver.c')], ['-shared', '-fPIC']),
  compile([join(ROOT, 'test/harness/load/fake_driver.c')], ['-shared', '-fPIC', '-DFAKE_OLD']),
]);

/** The lines that the client and the driver write for these commands. */
async function run(commands: readonly string[], env: Record<string, string> = {}, program = client): Promise<string[]> {
  const { stdout } = await execa(program, [], { input: commands.join('\n'), env: { ANTKV_LIBCUDA: driver, ...env }, timeout: 20_000 });
  return stdout.split('\n');
}
const answers = async (...args: Parameters<typeof run>): Promise<string[]> => (await run(...args)).filter((line) => /^(open|get|grid|launch|close) -?\d/.test(line));
const last = async (...args: Parameters<typeof run>): Promise<string> => (await answers(...args)).at(-1) ?? '';
const open = (dir = folder): string => `open ${dir} 0`;

for (const language of ['c', 'c++'] as const) {
  test(`two files of ${language} use it without a warning`, async () => {
    const user = join(generatedFolder(), 'user.c');
    writeFileSync(user, '#include "antkv_load.h"\n#include "antkv_format.h"\nvoid close_it(antkv_library* lib);\nvoid close_it(antkv_library* lib) { antkv_close(lib); }\n');
    for (const level of ['-O0', '-O2']) assert.ok(existsSync(await compile([CLIENT, user], ['-Wpedantic', '-Wshadow', '-Wconversion', level, '-I', folder, '-I', LOADER], language)));
  });
}

test('what README shows compiles as it stands, as C11 and as C++20, and says what failed', async () => {
  const snippet = /^## Use it from C$[\s\S]*?^```c\n([\s\S]*?)^```$/m.exec(readFileSync(join(ROOT, 'README.md'), 'utf8'))![1]!;
  const source = join(generatedFolder(), 'snippet.c');
  writeFileSync(source, `${snippet}\nint main(void) { return attend(NULL); }\n`);
  for (const language of ['c', 'c++20'] as const) {
    const program = await compile([source], ['-I', folder, '-I', LOADER], language);
    const { exitCode, stderr } = await execa(program, [], { cwd: temporaryFolder(), env: { ANTKV_LIBCUDA: driver }, reject: false, timeout: 20_000 });
    assert.equal([exitCode, stderr], [3, 'antkv: not a generated folder: generated/antkv_kernels.h: No such file or directory; give antkv_open the folder that `gen` wrote, or that of an unpacked release'], language);
  }
});

test('headers of different releases do not compile together', async () => {
  const mixed = generatedFolder();
  writeFileSync(join(mixed, 'antkv.h'), printHeader([]).replace(/ABI_VERSION \d+/, 'ABI_VERSION 99'));
  const error = await compile([CLIENT], ['-I', mixed, '-I', LOADER]).then(() => '', (thrown: Error) => thrown.message);
  assert.match(error, /antkv.h and antkv_kernels.h are of different releases/);
});

test('open says what is wrong with a folder', async () => {
  assert.match(await last([open('/no/such/folder')]), /^open 3 \/no\/such\/folder\/antkv_kernels.h: No such file or directory; give antkv_open the folder/);
  const other = generatedFolder();
  writeFileSync(join(other, 'antkv_kernels.h'), '#define ANTKV_KERNELS_ABI_VERSION 7\n#define ANTKV_KERNELS_LAYOUT_VERSION 9\n');
  assert.match(await last([open(other)]), new RegExp(`^open 4 .*is of ABI version 7 and layout version 9, this program was compiled for ${VERSIONS.abi} and ${VERSIONS.layout}: compile it with`));
  writeFileSync(join(other, 'antkv_kernels.h'), `#define ANTKV_KERNELS_ABI_VERSION ${VERSIONS.abi}\n#define ANTKV_KERNELS_LAYOUT_VERSION 9\n`);
  assert.match(await last([open(other)]), /^open 4 .*layout version 9/);
  assert.match(await last([open(`/${'x'.repeat(2000)}`)]), /^open 3 the folder's path has more than 1023 characters/);
});

test('open refuses a folder of other kernels, whose launches may need more shared memory than the headers say', async () => {
  const kernels = shippedKernels();
  const at = kernels.findIndex((kernel) => kernelName(kernel).startsWith(`${F16}__`));
  const other = generatedFolder(kernels.map((kernel, i) => (i === at ? { ...kernel, tile: { ...kernel.tile, stages: 3 } } : kernel)));
  const [mine, theirs] = [folder, other].map((dir) => /ANTKV_KERNELS_DIGEST 0x([0-9a-f]{16})ull/.exec(readFileSync(join(dir, 'antkv_kernels.h'), 'utf8'))![1]!);
  assert.is(await last([open(other)]), `open 4 ${other} holds kernels ${theirs}, this program was compiled for kernels ${mine}: compile it with that folder's headers (antkv_kernels.h and those beside it, copied anew), or open the folder that yours came from`);
  writeFileSync(join(other, 'antkv_kernels.h'), printKernels(kernels).replace(/.*ANTKV_KERNELS_DIGEST.*\n/, '')); // of before there was one
  assert.match(await last([open(other)]), /^open 4 .*holds kernels 0000000000000000/);
});

test('tables of other kernels do not compile', async () => {
  const mixed = generatedFolder();
  writeFileSync(join(mixed, 'antkv_tables.h'), printTables(flatten([], []), []));
  const error = await compile([CLIENT], ['-I', mixed, '-I', LOADER]).then(() => '', (thrown: Error) => thrown.message);
  assert.match(error, /antkv_kernels.h and antkv_tables.h are of different folders/);
});

test('tables of another release do not compile', async () => {
  const mixed = generatedFolder();
  const path = join(mixed, 'antkv_tables.h');
  const text = readFileSync(path, 'utf8');
  assert.match(text, new RegExp(`^#define ANTKV_TABLES_VERSION ${VERSIONS.tableArrays}$`, 'm'));
  writeFileSync(path, text.replace(/(?<=ANTKV_TABLES_VERSION )\d+/, String(VERSIONS.tableArrays - 1)));
  const error = await compile([CLIENT], ['-I', mixed, '-I', LOADER]).then(() => '', (thrown: Error) => thrown.message);
  assert.match(error, /antkv_tables.h and antkv_table.h are of different releases/);
});

test('open says what is wrong with the driver and the device', async () => {
  assert.match(await last([open()], { ANTKV_LIBCUDA: '/no/libcuda.so.1' }), /^open 1 no CUDA driver: .*install one, or point ANTKV_LIBCUDA/);
  assert.match(await last([open()], { ANTKV_LIBCUDA: oldDriver }), /^open 1 .*has no cuOccupancyMaxActiveBlocksPerMultiprocessor: not a CUDA driver of version 11 or newer/);
  assert.match(await last([open()], { FAKE_FAIL: 'cuInit:100' }), /^open 2 cuInit\(.*100.*no GPU is visible: nvidia-smi lists them; CUDA_VISIBLE_DEVICES may hide all/);
  assert.match(await last([open()], { FAKE_FAIL: 'cuInit:803' }), /^open 1 cuInit\(.*803.*of different versions: restart after an update/);
  assert.match(await last([open()], { FAKE_FAIL: 'cuInit:999' }), /^open 1 cuInit\(.*999.*is the kernel's driver loaded/);
  assert.match(await last([`open ${folder} 2`]), /^open 2 no CUDA device 2: nvidia-smi lists them/);
});

test('a thread without a context gets the primary one; one of the device is kept; a foreign one stays current', async () => {
  assert.equal((await run([open(), 'close'])).slice(0, 3), ['retain', 'set primary', 'open 0 ']);
  assert.equal((await run([open(), 'close'], { FAKE_CURRENT: '1' })).slice(0, 2), ['open 0 ', 'close 1 1']);
  const lines = await run([open(), `get ${DECODE} 1 32 8 4096`, `launch ${paramsHex('decode', GOOD.decode)}`, 'close'], { FAKE_CURRENT: '2' });
  assert.equal(lines.filter((line) => /^(retain|set|push|pop|release)/.test(line)), ['retain', 'push primary', 'pop', 'push primary', 'pop', 'push primary', 'pop', 'release']);
  assert.match(lines.find((line) => line.startsWith('launch ('))!, /in primary$/);
});

test('an unknown contract is answered with those near it', async () => {
  assert.match(await last([open(), `get ${DECODE.replace('d128', 'd182')} 1 32 8 4096`]), new RegExp(`^get 5 no contract "antkv_decode_d182.*near it: ${DECODE} `));
  assert.match(await last([open(), 'get antkv_selct']), /near it: antkv_select /);
});

test('a kernel is loaded once, opts in to shared memory beyond 48 KB, and is unloaded at the end', async () => {
  const lines = await run([open(), `get ${F16} 1 32 8 4096`, `get ${F16} 8 32 8 65536`, 'get antkv_select', 'close']);
  assert.equal(lines.filter((line) => /^(load|function|attribute|unload)/.test(line)), [
    `load ${F16}__sm80_w4_t64_s2.fatbin`, `function ${F16}__sm80_w4_t64_s2`, 'attribute 8 = 69696', 'load antkv_select__sm80_w32.fatbin', 'function antkv_select__sm80_w32', 'attribute 8 = 66960', 'unload', 'unload',
  ]);
});

test('a kernel that cannot be loaded is named, with the reason', async () => {
  const without = generatedFolder(undefined, false);
  assert.match(await last([open(without), 'get antkv_select']), /^get 6 .*sm80\/antkv_select__sm80_w32.fatbin: No such file or directory; `npx gen --arch sm80` builds it/);
  assert.match(await last([open(), 'get antkv_select'], { FAKE_FAIL: 'cuModuleLoad:222' }), /^get 6 cuModuleLoad\(.*CUDA_ERROR_UNSUPPORTED_PTX_VERSION.*the driver is older than the nvcc/);
  assert.match(await last([open(), 'get antkv_select'], { FAKE_FAIL: 'cuModuleLoad:209' }), /^get 6 .*no code for this device/);
  assert.match(await last([open(), 'get antkv_select'], { FAKE_FAIL: 'cuModuleLoad:200' }), /^get 6 cuModuleLoad\(.*200.*no image of a kernel, or cut off: build it again \(npx gen\), or copy it anew/);
  assert.match(await last([open(), 'get antkv_select'], { FAKE_FAIL: 'cuModuleLoad:301' }), /^get 6 .*301.*the driver cannot read the file/);
  assert.match(await last([open(), 'get antkv_select'], { FAKE_PARAMS: '96' }), /^get 6 .*takes 96 bytes of parameters, antkv_kernels.h says 80: the file is of another release/);
  assert.match(await last([open(), 'get antkv_select'], { FAKE_THREADS: '128' }), /^get 6 .*at most 128 threads per block here, not 1024/);
  assert.match(await last([open(), `get ${F16} 1 8 8 64`], { FAKE_FAIL: 'cuFuncSetAttribute:1' }), /^get 12 cuFuncSetAttribute: dynamic shared memory/);
  const failed = await run([open(), 'get antkv_select', 'get antkv_select', 'close'], { FAKE_FAIL: 'cuModuleGetFunction:500' });
  assert.equal(failed.filter((line) => /^(load|unload)/.test(line)).length, 4, 'a failure is not cached, and leaves no module behind');
});

test('the newest architecture that the device can run is taken', async () => {
  const contract = parseContractName(DECODE);
  const kernels: Kernel[] = ['sm80', 'sm86', 'sm90'].map((name) => ({ contract, arch: findArch(name)!, tile: defaultTile(contract, findArch(name)!) }));
  const many = generatedFolder(kernels);
  const program = await compile([CLIENT], ['-I', many, '-I', LOADER]);
  for (const [cc, want] of [['80', 'sm80'], ['87', 'sm86'], ['89', 'sm86'], ['90', 'sm90'], ['120', 'sm90']] as const) {
    assert.match(await last([open(many), `get ${DECODE} 1 32 8 4096`], { FAKE_CC: cc }, program), new RegExp(`^get 0 ${DECODE}__${want}_`), cc);
  }
  assert.match(await last([open(many), `get ${DECODE} 1 32 8 4096`], { FAKE_CC: '75' }, program), /^get 2 no kernel of .* for sm_75: antkv needs sm_80/);
});

test('a kernel whose tables the device has no room for is passed over', async () => {
  const contract = parseContractName('antkv_decode_d128_k8c8b_v8c8bq8_f16_n4');
  const kernels: Kernel[] = ['sm80', 'sm86', 'sm90'].map((name) => ({ contract, arch: findArch(name)!, tile: defaultTile(contract, findArch(name)!) }));
  const get = `get ${contractName(contract)} 1 32 8 4096`;
  const [few, many] = [generatedFolder(kernels.slice(2)), generatedFolder(kernels)];
  const [small, program] = await Promise.all([few, many].map((folder) => compile([CLIENT], ['-I', folder, '-I', LOADER])));
  const devices = [['80', 'sm80_lookup'], ['86', 'sm86_lookup'], ['87', 'sm86_lookup'], ['89', 'sm86_lookup'], ['90', 'sm90_lookup'], ['103', 'sm90_lookup'], ['120', 'sm86_lookup']] as const;
  for (const [cc, want] of devices) {
    const env = { FAKE_CC: cc, FAKE_SHARED: String(findArch(`sm${cc}`)!.sharedPerBlock) };
    assert.match(await last([open(many), get], env, program), new RegExp(`^get 0 ${contractName(contract)}__${want}_`), cc);
  }
  const refused = await last([open(few), get], { FAKE_CC: '120', FAKE_SHARED: '101376' }, small);
  assert.match(refused, /^get 2 antkv_decode_d128_k8c8b_v8c8bq8_f16_n4 needs \d+ bytes of shared memory, blocks of this device have 101376; `npx gen --arch sm120 --out DIR`/);
});

test('a kernel for one architecture alone is passed over on newer ones, and refused there in words where nothing else is', async () => {
  const contract = parseContractName('antkv_score_d128_f16_exact');
  const kernels: Kernel[] = ['sm80', 'sm90'].map((name) => ({ contract, arch: findArch(name)!, tile: defaultTile(contract, findArch(name)!) }));
  const get = `get ${contractName(contract)}`;
  const [few, many] = [generatedFolder(kernels.slice(1)), generatedFolder(kernels)];
  const [alone, program] = await Promise.all([few, many].map((folder) => compile([CLIENT], ['-I', folder, '-I', LOADER])));
  for (const [cc, want] of [['80', 'sm80_w8'], ['90', 'sm90_group'], ['100', 'sm80_w8'], ['103', 'sm80_w8']] as const) {
    const env = { FAKE_CC: cc, FAKE_SHARED: String(findArch(`sm${cc}`)!.sharedPerBlock) };
    assert.match(await last([open(many), get], env, program), new RegExp(`^get 0 ${contractName(contract)}__${want}_`), cc);
  }
  assert.match(await last([open(few), get], { FAKE_CC: '100', FAKE_SHARED: '232448' }, alone), /^get 2 no kernel of antkv_score_d128_f16_exact in this folder runs on sm_100; `npx gen --arch sm100 --out DIR` writes one/);
});

test('shapes that are none are refused', async () => {
  const get = (shape: string): Promise<string> => last([open(), `get ${DECODE} ${shape}`]);
  assert.match(await get(''), /^get 7 .*decode needs a shape/);
  assert.match(await get('1 32 0 4096'), /^get 7 .*kv_heads 0/);
  assert.match(await get('1 30 8 4096'), /^get 7 antkv_shape: q_heads 30 is not 1 to 16 times kv_heads 8/);
  assert.match(await get('1 34 2 4096'), /^get 7 .*q_heads 34/);
  assert.match(await get('1 32 8 4096 17'), /^get 7 .*max_q_len 17 is not 1 to 16; longer queries go through unpack/);
  assert.match(await get('1 32 8 4096 1 0 -1'), /^get 7 .*splits -1 is not 0 to 65535; 0 lets antkv_get choose/);
  assert.match(await get('1 32 8 4096 1 0 0 7'), /^get 7 .*spread is 7, not 0, 1 or 2; clear the struct/);
  const most = 2 ** 31 - 1;
  assert.match(await get('65536 32 8 4096'), /^get 7 antkv_shape: batch 65536, kv_heads 8, max_tokens 4096: each is at least 1, batch and kv_heads at most 65535, max_tokens at most 2\^30/);
  for (const shape of [`${most} 32 8 4096 16`, `1 ${most} ${most} 4096`, '1 32 8 1073741825', `${most} ${most} ${most} ${most} 16 ${most} ${most} 2`]) assert.match(await get(shape), /^get 7 antkv_shape: batch .*at most 65535/);
  assert.match(await get('3 32 8 4096 2 7'), /^get 7 .*rows 7 is not 1 to batch \* max_q_len, 6; 0 means all of these/);
  assert.match(await get('3 32 8 4096 2 -1'), /^get 7 .*rows -1 is not 1 to/);
  assert.match(await get(`1 32 8 4096 1 0 ${most}`), /^get 7 .*splits 2147483647 is not 0 to 65535/);
  assert.match(await get('1 640000 40000 4096'), /^get 7 antkv_shape: kv_heads 40000 times groups of 8 of max_q_len \* q_heads \/ kv_heads query columns are 80000, more than grid.y takes, 65535/);
});

test('the largest shapes that are none of these have splits and a workspace: nothing overflows', async () => {
  const get = (shape: string): Promise<string> => last([open(), `get ${DECODE} ${shape}`], { FAKE_SMS: '1', FAKE_RESIDENT: '1' });
  for (const spread of [0, 1, 2]) assert.match(await get(`65535 524280 65535 1073741824 1 0 0 ${spread}`), / splits \d+ workspace \d+ /);
  const columns = 65_535n * 65_535n * 524_280n; // splits, rows, heads
  const whole = (bytes: bigint): bigint => ((bytes + 255n) / 256n) * 256n;
  assert.match(await get('65535 524280 65535 1073741824 1 0 65535'), new RegExp(` splits 65535 workspace ${whole(columns * 512n)} ${whole(columns * 4n)} ${whole(4n * 65_535n * 65_535n)} `));
});

test('ops that need no shape take any', async () => {
  const most = 2 ** 31 - 1;
  for (const shape of [`${most} ${most} ${most} ${most} ${most} ${most} 77 99`, `1 ${-most} 1 1 ${-most}`]) assert.match(await last([open(), `get antkv_encode_d128_k8c8b_v8c8bq8_f16_pre_gain ${shape}`]), /^get 0 \S+ splits 1 .* merge 0$/);
});

test('splits fill the device evenly, and no further', async () => {
  const splits = async (shape: string, env = {}): Promise<number> => Number(/splits (\d+)/.exec(await last([open(), `get ${F16} ${shape}`], env))![1]);
  assert.is(await splits('1 32 8 100'), 1, 'two steps are not worth a merge');
  assert.is(await splits('1 32 8 131072'), 27, '8 blocks of 27 splits are one wave over 108 SMs of 2');
  const wide = await splits('1 32 8 131072', { FAKE_SMS: '132', FAKE_RESIDENT: '4' });
  assert.ok(wide > 56 && wide <= 66, `${wide} splits for 528 places`);
  assert.is(await splits('27 32 8 131072'), 1, '216 blocks fill it');
  assert.is(await splits('1 32 8 1024'), 8, 'measured: 4 splits take half as long again');
  assert.is(await splits('16 32 8 65536', { FAKE_SMS: '132', FAKE_RESIDENT: '3' }), 3, 'measured: 4 splits, a third of a wave too many, take half as long again');
  assert.is(await splits('1 8 1 2048'), 16, '32 steps of one block');
  assert.is(await splits('1 32 8 131072 1 0 5'), 5, 'the caller knows better');
  assert.ok((await splits('1 1 1 1073741824')) <= 256);
  const spread = (shape: string, places: number): Promise<number> => splits(`${shape} 0 0 1`, { FAKE_SMS: String(places), FAKE_RESIDENT: '1' });
  assert.is(await spread('16 32 8 131072 1', 132), 16, 'one wave: 128 of 132 places');
  assert.is(await spread('1 32 8 1024 1', 132), 4, 'no share below 256 tokens');
  assert.is(await spread('16 32 8 131072 1', 4), 1, 'more KV heads than places');
});

test('the workspace is that of the splits', async () => {
  assert.match(await last([open(), `get ${DECODE} 3 32 8 4096 2 5 7`]), new RegExp(`workspace ${7 * 5 * 32 * 128 * 4} ${Math.ceil((7 * 5 * 32 * 4) / 256) * 256} 256 `));
  assert.match(await last([open(), `get ${DECODE} 100 32 8 4096 3 300 2`]), new RegExp(`workspace \\d+ \\d+ ${Math.ceil((100 * 8 * 2 * 4) / 256) * 256} `), '12 columns are two groups of 8');
  assert.match(await last([open(), `get ${DECODE} 3 32 8 4096 1 0 1`]), /workspace 0 0 0 /);
});

test('a launch passes threads, shared memory, stream and struct', async () => {
  const lines = await run([open(), `get ${DECODE} 3 32 8 4096`, `launch ${paramsHex('decode', GOOD.decode)} 77`]);
  assert.is(lines.at(-2), 'launch (1, 8, 3) (256, 1, 1) shared 138336 stream 77 abi 3 in primary');
  assert.match(await last([open(), `get ${DECODE} 3 32 8 4096`, `launch ${paramsHex('decode', GOOD.decode)}`], { FAKE_FAIL: 'cuLaunchKernel:719' }), /^launch 12 cuLaunchKernel\(.*719.*start a new process/);
  assert.match(await last([open(), 'get antkv_selct', `launch ${paramsHex('decode', GOOD.decode)}`]), /^launch 13 the kernel is empty: antkv_get did not succeed for it; look at its status/);
  const launch = (code: number): Promise<string> => last([open(), `get ${DECODE} 3 32 8 4096`, `launch ${paramsHex('decode', GOOD.decode)}`], { FAKE_FAIL: `cuLaunchKernel:${code}` });
  assert.match(await launch(701), /^launch 12 .*701.*a block of this device has not the registers or shared memory that the kernel takes/);
  assert.match(await launch(709), /^launch 12 .*709.*antkv_close comes before cuCtxDestroy and cudaDeviceReset/);
  assert.match(await launch(720), /^launch 12 [^;]*720[^;]*$/, 'nothing is known of it, and nothing is said');
});

test('a kernel that did not load is empty: it has no workspace and no grid', async () => {
  const decode = [open(), `get ${DECODE} 3 32 8 131072 1 0 4`, 'workspace', `launch ${paramsHex('decode', GOOD.decode)}`];
  assert.equal((await run(decode)).filter((line) => line.startsWith('workspace')), [`workspace 0 ${4 * 3 * 32 * 128 * 4} ${4 * 3 * 32 * 4} 256 `]);
  for (const fail of ['cuModuleLoad:200', 'cuModuleGetFunction:500', 'cuFuncSetAttribute:1']) {
    const lines = await run(decode, { FAKE_FAIL: fail });
    assert.is(lines.find((line) => line.startsWith('workspace')), 'workspace 13 0 0 0 antkv_workspace: not a decode kernel from antkv_get', fail);
    assert.match(lines.at(-1)!, /^launch 13 the kernel is empty/, fail);
  }
});

test('merge hands everything on to combine', async () => {
  const values = { out: 16, lse: 32, partial_o: 48, partial_lse: 64, ring_scores: 80, out_row_stride: 4096, out_head_stride: 256, rows: 3, q_heads: 32, splits: 5, ring_rows: 272 };
  assert.equal(await run([`merge ${paramsHex('decode', { ...GOOD.decode, ...values })}`]), [`merge ${paramsHex('combine', values)}`]);
  // With counters decode has merged: nothing is left but the ring scores.
  assert.equal(await run([`merge ${paramsHex('decode', { ...GOOD.decode, ...values, counters: 96 })}`]), [`merge ${paramsHex('combine', { ...values, partial_o: 0, partial_lse: 0 })}`]);
});

test('a table of the device chooses kernel, splits and spread; elsewhere its quality says so; without a shape the default stays', async () => {
  const kernels = syntheticKernels();
  const tables = flatten(syntheticTables(), kernels, (kernel) => syntheticInputs(kernelName(kernel)));
  const dir = generatedFolder(kernels, true, tables);
  const program = await compile([CLIENT], ['-I', dir, '-I', LOADER]);
  const facts = SYNTHETIC_DEVICES.ninety;
  const env = { FAKE_CC: String(facts.cc), FAKE_SMS: String(facts.sms), FAKE_SHARED: String(facts.sharedPerBlock), FAKE_L2: String(facts.l2Bytes), FAKE_BUS: String(facts.busBits), FAKE_KHZ: String(facts.memoryMhz * 1000) };
  const entries = entriesOf(syntheticTables(), kernels, (kernel) => syntheticInputs(kernelName(kernel)));
  for (const contract of SYNTHETIC_CONTRACTS) {
    for (const [batch, tokens, mode] of [[1, 2048, 0], [16, 4096, 1], [4, 100_000, 2], [64, 640, 2]] as const) {
      const want = find(entries, kernels, { contract, mode: MODES[mode], device: facts, batch, qHeads: 32, kvHeads: 8, qLen: 1, tokens });
      const got = await last([open(dir), `get ${contract} ${batch} 32 8 ${tokens} 1 0 0 ${mode}`], env, program);
      const [, symbol, splits] = /^get 0 (\S+) splits (\d+)/.exec(got)!;
      assert.is(symbol, want.kernel);
      if (want.splits > 0) assert.is(Number(splits), want.splits, got);
      assert.ok(got.endsWith(` ${want.quality} ${want.regret ?? -1} spread ${want.spread ? 1 : 0} merge ${want.splits > 0 ? MERGES.indexOf(want.merge) : Number(splits) > 1 ? 1 : 0}`), `${got}: ${JSON.stringify(want)}`);
    }
  }
  const [contract] = SYNTHETIC_CONTRACTS as [string];
  const ask = [open(dir), `get ${contract} 1 32 8 2048`];
  assert.match(await last(ask, { ...env, FAKE_KHZ: '2619000' }, program), / (sibling|modelled|default) \d+ spread/);
  assert.match(await last([open(dir), `get ${contract} 1 32 8 2048 1 0 7`], env, program), / splits 7 /, 'the caller knows better');
  assert.match(await last([open(dir), `get ${SYNTHETIC_CONTRACTS.at(-1)}`], env, program), / default -1 spread 0 merge 0$/);
});

test('every status has its own text', async () => {
  const texts = await run(['texts']);
  assert.is(new Set(texts).size, 15);
  assert.equal([texts[0], texts.at(-1)], ['success', 'unknown status']);
});


test.run();
