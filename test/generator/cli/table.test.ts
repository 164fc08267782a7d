// Tests generator/cli/table.ts on SYNTHETIC journals and tables: every verb, its faults, its exit codes.
import { existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { askedDevice, parseAskedShape } from '../../../generator/cli/table-words.ts';
import { UsageError } from '../../../generator/errors.ts';
import { printTable } from '../../../generator/table/words.ts';
import { buildTables } from '../../../tuner/table/build.ts';
import { stableText } from '../../../generator/stable.ts';
import { temporaryFolder } from '../../folder.ts';
import { CONTRACT, DEVICE, KERNELS, modelUs, sweepEvents } from '../../fixtures/sweep.ts';
import { parallel } from '../../parallel.ts';
import { gen } from './run.ts';

const together = parallel(test);
const dir = temporaryFolder();
const text = (events: ReturnType<typeof sweepEvents>): string => events.map((event) => `${stableText(event)}\n`).join('');
const events = sweepEvents();
writeFileSync(join(dir, 'a.jsonl'), text([events[0]!, ...events.slice(1, 20)]));
writeFileSync(join(dir, 'b.jsonl'), `${text([events[0]!, ...events.slice(15)])}{"torn`);
const { table } = buildTables(events)[0]!;
writeFileSync(join(dir, 'before.json'), printTable(table));
const { table: other } = buildTables(sweepEvents({ us: (problem, arm) => modelUs(problem, arm) * (arm.kernel === KERNELS[1] ? 2 : 1) }))[0]!;
writeFileSync(join(dir, 'after.json'), printTable(other));

together('why: a contract that is offered and written on demand alone, a kernel, one that is refused, a device of nothing', async () => {
  const file = join(dir, 'null.json');
  writeFileSync(file, 'null');
  const said: [contract: string, device: string, words: RegExp, fix: RegExp][] = [
    ['antkv_decode_d64_k4c8b_v8c8b_f16_pre', 'sm80', /is offered, but neither shipped nor in a table: look-ups answer with its default tile, antkv_decode_d64_k4c8b_v8c8b_f16_pre__sm80_/, /gen tune --only antkv_decode_d64_k4c8b_v8c8b_f16_pre measures it; gen --only .* --out DIR/],
    [KERNELS[0]!, 'sm80', /is a kernel/, /give its contract/],
    ['antkv_decode_d256_k8c8b_v8c8b_f16_gainv', 'sm80', /is not offered/, /gen list/],
    ['antkv_decod', 'sm80', /unknown contract/, /antkv_|known/],
    ['antkv_select', file, /holds no device/, /it needs/],
  ];
  const runs = await Promise.all(said.map(([contract, device]) => gen(['table', 'why', contract, 'B1x1K', '--device', device])));
  runs.forEach(({ exitCode, stderr }, i) => {
    assert.is(exitCode, 2, stderr);
    assert.match(stderr, said[i]![2]);
    assert.match(stderr.split('fix:')[1]!, said[i]![3]);
  });
});

together('show: how many kernels ship is judged, and asked of journals alone', async () => {
  const runs = await Promise.all([['--max-kernels', '0'], ['--max-kernels', '3'], [join(dir, 'a.jsonl'), '--max-slowdown', '0.5']].map((words) => gen(['table', 'show', ...words])));
  assert.equal(runs.map(({ exitCode }) => exitCode), [2, 2, 2], runs.map(({ stderr }) => stderr).join(''));
});

test('shapes beyond what kernels take, and words that come twice, are refused', () => {
  for (const [shape, words] of [['B1x999999999K', /tokens Too big/], ['B9999999x1K,heads=512/8', /2\^31 query heads/], ['B1x1K,q=1,q=2', /q is given twice/], ['B1x1K,spread,fastest', /mode is given twice/], ['{"batch":1e15,"tokens":1}', /batch Too big/]] as const) {
    assert.throws(() => parseAskedShape(shape), (error: unknown) => error instanceof UsageError && words.test(error.message), shape);
  }
});

together('merge: any order of journals gives the table of their events; twice changes nothing; a torn line is told', async () => {
  const [first, second] = [temporaryFolder(), temporaryFolder()];
  const one = await gen(['table', 'merge', join(dir, 'a.jsonl'), join(dir, 'b.jsonl'), '--out', first]);
  assert.is(one.exitCode, 0, one.stderr);
  assert.match(one.stderr, /b\.jsonl: its last line is not finished/);
  assert.is((await gen(['table', 'merge', join(dir, 'b.jsonl'), join(dir, 'a.jsonl'), join(dir, 'a.jsonl'), '--out', second])).exitCode, 0);
  const file = 'sm80/table.synthetic-board.json';
  assert.is(readFileSync(join(first, file), 'utf8'), printTable(table));
  assert.is(readFileSync(join(second, file), 'utf8'), printTable(table));
  await gen(['table', 'merge', join(dir, 'a.jsonl'), join(dir, 'b.jsonl'), '--out', first]);
  assert.is(readFileSync(join(first, file), 'utf8'), printTable(table));
  assert.equal(readdirSync(join(first, 'sm80')), ['table.synthetic-board.json']);
});

together('merge: what an old table knows besides is kept; --dry-run writes nothing; emulated times are none', async () => {
  const out = temporaryFolder();
  mkdirSync(join(out, 'sm80'));
  const old = { ...table, contracts: { ...table.contracts, [`${CONTRACT.replace('_n4', '')}`]: { ...table.contracts[CONTRACT]!, default: `${CONTRACT.replace('_n4', '')}__sm80_w4_t64_s2`, modes: {}, points: [] } }, kernels: { ...table.kernels, [`${CONTRACT.replace('_n4', '')}__sm80_w4_t64_s2`]: table.kernels[KERNELS[0]]! } };
  writeFileSync(join(out, 'sm80/table.my-board.json'), printTable(old));
  const dry = await gen(['table', 'merge', join(dir, 'a.jsonl'), join(dir, 'b.jsonl'), '--out', out, '--dry-run', '--json']);
  assert.equal([(JSON.parse(dry.stdout) as { written: boolean; contracts: number }).written, (JSON.parse(dry.stdout) as { contracts: number }).contracts], [false, 2]);
  await gen(['table', 'merge', join(dir, 'a.jsonl'), join(dir, 'b.jsonl'), '--out', out]);
  assert.equal(readdirSync(join(out, 'sm80')), ['table.my-board.json'], 'a table that is there keeps its name');
  assert.is(Object.keys((JSON.parse(readFileSync(join(out, 'sm80/table.my-board.json'), 'utf8')) as typeof table).contracts).length, 2);
  writeFileSync(join(dir, 'emulated.jsonl'), text(sweepEvents({ clock: 'emulated' })));
  const none = await gen(['table', 'merge', join(dir, 'emulated.jsonl'), '--out', join(out, 'none')]);
  assert.is(none.exitCode, 2);
  assert.match(none.stderr, /hold no times of a GPU[\s\S]*fix: "gen tune" measures/);
  assert.not(existsSync(join(out, 'none')));
});

together('show: a table, a journal with its curve, and no table at all', async () => {
  const shown = await gen(['table', 'show', join(dir, 'before.json')]);
  assert.is(shown.exitCode, 0, shown.stderr);
  assert.match(shown.stdout, /kernels of sm80 on SYNTHETIC board \(100 SMs, capability 8\), tuned for the default grid/);
  assert.match(shown.stdout, new RegExp(`${CONTRACT} +measured +32 `));
  const curve = await gen(['table', 'show', '--curve', join(dir, 'a.jsonl'), join(dir, 'b.jsonl')]);
  assert.match(curve.stdout, /kernels +source KB +worst +mean[\s\S]*1 +\d+ +\d\.\d{3}x +\d\.\d{3}x +shipped +antkv_decode/);
  const usage = await gen(['table', 'show', '--curve', join(dir, 'before.json')]);
  assert.equal([usage.exitCode, /made from journals/.test(usage.stderr)], [2, true]);
  assert.is((await gen(['table', 'show'])).exitCode, 0);
});

together('why: the ladder, what differs, and what would be better', async () => {
  const ask = (...more: string[]) => gen(['table', 'why', CONTRACT, 'B16x4096', '--table', join(dir, 'before.json'), ...more]);
  const sibling = join(dir, 'sibling.json');
  writeFileSync(sibling, JSON.stringify({ ...DEVICE, memoryMhz: 999 }));
  const found = await ask('--device', sibling);
  assert.is(found.exitCode, 0, found.stderr);
  assert.match(found.stdout, /128 streams \(8 lines a sequence\) of 4096 tokens, mode sequence/);
  assert.match(found.stdout, /quality sibling, expected regret \d+\.\d %/);
  assert.match(found.stdout, /1\. .*before\.json: measured on SYNTHETIC board, a sibling {3}<- answers\n {5}differs: memoryMhz 1500, here 999\n {5}cell streams 128, tokens 4K: antkv_decode/);
  assert.match(found.stdout, /better: gen tune --only antkv_decode\S+ {3}on that device/);
  const same = await ask('--device', 'SYNTHETIC board', '--json');
  assert.is((JSON.parse(same.stdout) as { answer: { quality: string } }).answer.quality, 'measured');
  const small = await ask('--device', 'sm86');
  assert.match(small.stdout, /quality (default|arch)/);
  const foreign = await gen(['table', 'why', CONTRACT, 'B16x4096', '--device', 'sm90', '--table', 'generated/sm80/table.nvidia-a100-sxm4-80gb.json']);
  assert.match(foreign.stdout, /quality default[\s\S]*it was modelled for NVIDIA A100-SXM4-80GB, which says nothing of another device/);
  const none = await gen(['table', 'why', `${CONTRACT}x`, 'B1x1K', '--device', 'sm80']);
  assert.equal([none.exitCode, /did you mean antkv_decode/.test(none.stderr)], [2, true]);
});

together('diff: equal tables, and what changed; --check exits 1', async () => {
  const same = await gen(['table', 'diff', join(dir, 'before.json'), join(dir, 'before.json'), '--check']);
  assert.equal([same.exitCode, same.stdout], [0, '0 of 5043 cells choose otherwise']);
  const changed = await gen(['table', 'diff', join(dir, 'before.json'), join(dir, 'after.json'), '--check']);
  assert.is(changed.exitCode, 1);
  assert.match(changed.stdout, new RegExp(`${CONTRACT} sequence: streams \\d+, tokens \\d+K?.*\\n  - \\S+ \\d+ \\w+\\n  \\+ `));
  assert.match(changed.stdout, /[1-9]\d* of 5043 cells choose otherwise$/);
});

together('validate: in order; edited by hand; measured with other code; emulated', async () => {
  const check = async (name: string, content: string) => {
    writeFileSync(join(dir, name), content);
    return gen(['table', 'validate', join(dir, name)]);
  };
  assert.is((await check('v1.json', printTable(table))).exitCode, 0);
  const hand = await check('v2.json', JSON.stringify(table));
  assert.equal([hand.exitCode, /not canonical/.test(hand.stdout)], [1, true]);
  const stale = await check('v3.json', printTable({ ...table, kernels: { ...table.kernels, [KERNELS[0]]: { ...table.kernels[KERNELS[0]]!, inputs: '0'.repeat(16) } } }));
  assert.equal([stale.exitCode, /lookup_w8_s2_c2 has changed since it was measured\n {9}fix: gen table validate --mend/.test(stale.stdout)], [1, true]);
  const emulated = await check('v4.json', printTable(buildTables(sweepEvents({ clock: 'emulated' }), { emulated: true })[0]!.table));
  assert.match(emulated.stdout, /taken on the emulated driver and mean nothing/);
  const broken = await check('v5.json', '{"schema": 9}');
  assert.equal([broken.exitCode, /schema 9, this antkv reads 1/.test(broken.stderr)], [2, true]);
});

together('a slip is told, and writes nothing', async () => {
  const slip = await gen(['table', 'shwo']);
  assert.equal([slip.exitCode, /unknown command of gen table "shwo"[\s\S]*did you mean show\?/.test(slip.stderr)], [2, true], slip.stderr);
  const nothing = await gen(['table']);
  assert.equal([nothing.exitCode, /needs to know what to do/.test(nothing.stderr)], [2, true], nothing.stderr);
  assert.is((await gen(['table', 'merge', join(dir, 'a.jsonl')])).exitCode, 2);
  assert.is((await gen(['table', 'show', join(dir, 'a.jsonl'), '--max-kernels', '0'])).exitCode, 2);
  assert.is((await gen(['table', 'show', join(dir, 'no such file')])).exitCode, 2);
});

test('shapes and devices as users write them', () => {
  assert.equal(parseAskedShape('B16x32K'), { batch: 16, tokens: 32_768, qHeads: 32, kvHeads: 8, qLen: 1, mode: 'sequence' });
  assert.equal(parseAskedShape('2x100,heads=16/2,q=4,fastest'), { batch: 2, tokens: 100, qHeads: 16, kvHeads: 2, qLen: 4, mode: 'fastest' });
  assert.equal(parseAskedShape('{"batch": 1, "tokens": 7, "mode": "spread"}').mode, 'spread');
  for (const bad of ['B16', 'B1x0', 'B1x2,q=99', 'B1x2,heads=3/2', 'B1x2,quick', '{', '{"batch": 1}', '{"batch": 1, "tokens": 1, "x": 1}']) assert.throws(() => parseAskedShape(bad), (error: Error) => error instanceof UsageError, bad);
  assert.is(askedDevice('h200', []).identity.sms, 132);
  assert.is(askedDevice('sm80', []).identity.sms, 108);
  assert.throws(() => askedDevice('A100-SXM4-80G', []), /no device/);
});

test.run();
