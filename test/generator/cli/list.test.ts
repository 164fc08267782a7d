// Tests generator/cli/list.ts, show.ts and doctor.ts.
import { dirname, join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { offeredContracts } from '../../../generator/cli/list.ts';
import { OPS, reject } from '../../../generator/contract.ts';
import { contractName, parseContractName, parseKernelName } from '../../../generator/name.ts';
import { shippedContracts } from '../../../generator/ship.ts';
import { renderKernel } from '../../../generator/source.ts';
import { temporaryFolder } from '../../folder.ts';
import { parallel } from '../../parallel.ts';
import { fakeNvcc } from '../../tuner/fake.ts';
import { everyContract } from '../products.ts';
import { gen } from './run.ts';

const together = parallel(test);

test('the short way to the offered contracts finds them all', () => {
  for (const op of OPS) {
    let long = 0;
    for (const contract of everyContract(op)) if (reject(contract).length === 0) long++;
    assert.is(offeredContracts(op).length, long, op);
  }
});

together('list --json: one object a line; what is offered parses and is not rejected', async () => {
  const { exitCode, stdout } = await gen(['list', '--json']);
  assert.is(exitCode, 0);
  const rows = stdout.split('\n').map((line) => JSON.parse(line) as { kind: string; name: string; offered: boolean; shipped: boolean });
  const contracts = rows.filter(({ kind }) => kind === 'contract');
  for (const { name, offered } of contracts) assert.ok(offered && reject(parseContractName(name)).length === 0, name);
  assert.equal(contracts.filter(({ shipped }) => shipped).map(({ name }) => name).sort(), [...shippedContracts().keys()]);
  assert.equal(rows.filter(({ kind, offered }) => kind === 'preset' && offered).map(({ name }) => name), ['antkv-4', 'antkv-2', 'antkv-1', 'antkv-1-fast', 'antkv-0.75', 'antkv-0.75-fast', 'antkv-0.5', 'antkv-0.375', 'f16', 'bf16']);
});

together('list --why gives a reason for all that is refused, and the list without it refuses nothing', async () => {
  const { stdout } = await gen(['list', '--why', '--json']);
  const refused = stdout.split('\n').map((line) => JSON.parse(line) as { kind: string; name: string; offered: boolean; why: string[] }).filter(({ offered }) => !offered);
  assert.ok(refused.length > 100);
  for (const { kind, name, why } of refused) assert.ok(why.length > 0 && (kind === 'preset' || reject(parseContractName(name)).length > 0), name);
  const words = await gen(['list', '--why']);
  assert.match(words.stdout, /refused {2}antkv_append_d128_k2c8bq8_v2c8bq8_f16_gainkv\n {11}gain kv: not built yet/);
  assert.not.match((await gen(['list'])).stdout, /^refused/m);
});

together('show prints one kernel, by its name or its contract\'s', async () => {
  const name = 'antkv_decode_d128_k8c8b_v8c8bq8_f16_pre_gain';
  const kernel = `${name}__sm80_lookup_w8_s1_c1`;
  const { exitCode, stdout } = await gen(['show', name, '--json']);
  assert.is(exitCode, 0);
  const facts = JSON.parse(stdout) as Record<string, unknown> & { params: { bytes: number; fields: unknown[] }; layout: { unit: { bytes: number } } };
  assert.equal([facts['kernel'], facts['threads'], facts['shipped'], facts.layout.unit.bytes], [kernel, 256, true, 544]);
  assert.equal(facts['grid'], ['splits', 'kv_heads * ceil(max_q_len * (q_heads / kv_heads) / 8)', 'spread ? 1 : batch']);
  assert.equal((JSON.parse((await gen(['show', kernel, '--json'])).stdout) as Record<string, unknown>)['kernel'], kernel);
  const words = (await gen(['show', kernel])).stdout;
  assert.match(words, /^kernel +antkv_decode/);
  assert.match(words, /^layout +unit 544 B/m);
  assert.match(words, new RegExp(`antkv_decode_params, ${facts.params.bytes} B`));
});

together('show --source prints exactly the file, also of a kernel that is not committed', async () => {
  const name = 'antkv_encode_d64_k4c8b_v8c8b_f16__sm90_w8_t64';
  const { exitCode, stdout } = await gen(['show', name, '--source']);
  assert.is(exitCode, 0);
  assert.is(`${stdout}\n`, renderKernel(parseKernelName(name)));
  assert.is(contractName(parseKernelName(name).contract), 'antkv_encode_d64_k4c8b_v8c8b_f16');
});

together('show refuses a tile that does not fit, with the reason', async () => {
  const { exitCode, stderr } = await gen(['show', 'antkv_decode_d128_kf16_vf16_f16__sm86_w8_t256_s4']);
  assert.is(exitCode, 2);
  assert.match(stderr, /B of shared memory, sm86 has 101376 per block/);
});

together('doctor: each line is ok, warn or fail; all but ok name a fix', async () => {
  const { exitCode, stdout } = await gen(['doctor', '--json']);
  const found = stdout.split('\n').map((line) => JSON.parse(line) as { what: string; state: string; says: string; fix?: string });
  assert.equal(found.map(({ what }) => what).filter((what) => ['Node', 'nvcc', 'host compiler', 'output', 'build cache'].includes(what)), ['Node', 'nvcc', 'host compiler', 'output', 'build cache']);
  for (const { state, fix } of found) assert.ok(state === 'ok' ? fix === undefined : ['warn', 'fail'].includes(state) && fix !== undefined);
  assert.is(exitCode, found.some(({ state }) => state === 'fail') ? 3 : 0);
});

together('doctor: a cache that cannot be written fails with the fix', async () => {
  const { exitCode, stdout } = await gen(['doctor'], { ANTKV_CACHE: '/dev/null/cache' });
  assert.is(exitCode, 3);
  assert.match(stdout, /fail {2}build cache +cannot write .*\n +fix: set ANTKV_CACHE/);
});

together('doctor: an nvcc without a host compiler fails, and compiling with it is the machine\'s fault', async () => {
  const env = { CUDACXX: join(fakeNvcc('echo "gcc: No such file or directory" >&2; echo "nvcc fatal   : Failed to preprocess host compiler properties." >&2; exit 1'), 'nvcc'), ANTKV_CACHE: join(temporaryFolder(), 'cache') };
  const runs = await Promise.all([['doctor'], ['--out', temporaryFolder(), '--only', 'antkv_select'], ['tune', 'plan', '--only', 'antkv_combine*', '--sample', '1'], ['support', '--check', '--compile', '1', '--arch', 'sm86']].map((words) => gen(words, env)));
  assert.match(runs[0]!.stdout, /^fail {2}nvcc .*no C\+\+ compiler: gcc: No such file.*\n +fix: install g\+\+/m);
  for (const { exitCode, stderr } of [runs[1]!, runs[3]!]) assert.equal([exitCode, /no C\+\+ compiler.*\n {2}fix: install g\+\+/.test(stderr)], [3, true], stderr);
  assert.is(runs[0]!.exitCode, 3);
});

together('kernels that do not compile: gen support ends with 4', async () => {
  const { exitCode, stderr } = await gen(['support', '--check', '--compile', '1', '--arch', 'sm86'], { CUDACXX: join(fakeNvcc('echo "x.cu(1): error: boom" >&2; exit 1'), 'nvcc'), ANTKV_CACHE: join(temporaryFolder(), 'cache') });
  assert.equal([exitCode, /error: boom/.test(stderr)], [4, true], stderr);
});

together('show: one architecture, its source in JSON, one thing at a time', async () => {
  const name = 'antkv_select';
  const [two, native, both, source] = await Promise.all([['--arch', 'sm80,sm90'], ['--arch', 'native'], ['--source', '--cost'], ['--source', '--json']].map((words) => gen(['show', name, ...words], { PATH: dirname(process.execPath) })));
  assert.equal([two!.exitCode, native!.exitCode, both!.exitCode], [2, 3, 2]);
  assert.match(two!.stderr, /of one architecture, .* names 2\n {2}fix: name one: sm80 or sm90/);
  assert.match(native!.stderr, /nvidia-smi finds no GPU/);
  assert.match((JSON.parse(source!.stdout) as { source: string }).source, /antkv_select__sm80/);
});

together('doctor: an nvcc too old for the architecture fails', async () => {
  const { exitCode, stdout } = await gen(['doctor', '--arch', 'sm100'], { CUDACXX: join(fakeNvcc('exit 1'), 'nvcc') });
  assert.is(exitCode, 3);
  assert.match(stdout, /fail {2}nvcc +12\.4\.131 cannot compile for sm100\n +fix: install CUDA 12\.8/);
});

test.run();
