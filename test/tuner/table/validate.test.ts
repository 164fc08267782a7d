// Tests tuner/table/{validate,join,diff,surface}.ts on SYNTHETIC tables; mending with a compiler that is made up, and with nvcc where it is there.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { parseKernelName } from '../../../generator/name.ts';
import type { Table } from '../../../generator/table/schema.ts';
import { printTable } from '../../../generator/table/words.ts';
import { findNvcc } from '../../../tuner/nvcc.ts';
import { isLost, ptxHash, shorterHashes, toPtx } from '../../../tuner/space/ptx.ts';
import { buildTables } from '../../../tuner/table/build.ts';
import { diffTables, isSame } from '../../../tuner/table/diff.ts';
import { joinTables } from '../../../tuner/table/join.ts';
import { surfaceOf } from '../../../tuner/table/surface.ts';
import { findingsOf, mend, staleKernels } from '../../../tuner/table/validate.ts';
import { CONTRACT, ENCODE, ENCODERS, KERNELS, problemAt, ptxOf, sweepEvents } from '../../fixtures/sweep.ts';

const decode = buildTables(sweepEvents())[0]!.table;
const encode = buildTables(sweepEvents({ problems: [problemAt(1, 1024, 'sequence', {}, ENCODE), problemAt(8, 8192, 'sequence', {}, ENCODE)], kernels: ENCODERS, begin: 0 }))[0]!.table;
const modelled = buildTables(sweepEvents({ clock: 'model' }))[0]!.table;
const aged = (table: Table, kernel: string, ptx = table.kernels[kernel]!.ptx): Table => ({ ...table, kernels: { ...table.kernels, [kernel]: { ...table.kernels[kernel]!, inputs: '0'.repeat(16), ptx } } });

test('a table in order has no finding but notes', () => assert.equal(findingsOf(decode, printTable(decode), 'generated/sm80/table.synthetic-board.json').filter(({ kind }) => kind !== 'note'), []));

test('changed code is stale; mending enters the new digest where the PTX is the same, and nowhere else', async () => {
  const both = aged(aged(decode, KERNELS[0]), KERNELS[1]);
  assert.equal(staleKernels(both), [KERNELS[0], KERNELS[1]]);
  const done = await mend(both, (name) => Promise.resolve(name === KERNELS[0] ? { ptx: ptxOf(name), inputs: decode.kernels[name]!.inputs } : { ptx: ptxOf(name, 2), inputs: 'f'.repeat(16) }));
  assert.equal([done.mended, done.left.map(({ kernel }) => kernel), staleKernels(done.table)], [[KERNELS[0]], [KERNELS[1]], [KERNELS[1]]]);
  assert.equal((await mend(both, () => Promise.resolve({ why: 'no' }))).left.map(({ why }) => why), ['no', 'no']);
});

test('a table of other versions is stale; mending enters today\'s where every kernel is what it was', async () => {
  const old = { ...aged(decode, KERNELS[0]), layout: decode.layout - 1 };
  const versions = (table: Table): string[] => findingsOf(table, printTable(table)).filter(({ what }) => what.includes('layout')).map(({ kind }) => kind);
  assert.equal(versions(old), ['stale']);
  const done = await mend(old, (name) => Promise.resolve({ ptx: ptxOf(name), inputs: decode.kernels[name]!.inputs }));
  assert.equal([done.left, versions(done.table), done.table.layout], [[], [], decode.layout]);
  assert.equal(versions((await mend(old, () => Promise.resolve({ why: 'no' }))).table), ['stale']);
});

test('mending with nvcc', async () => {
  const nvcc = await findNvcc();
  if (!nvcc) return void process.stdout.write('skipped: nvcc was not found\n');
  const compile = async (name: string) => {
    const made = await toPtx(parseKernelName(name), { nvcc });
    return isLost(made) ? { why: made.why } : { ptx: made.ptx, inputs: made.inputs };
  };
  const now = await compile(ENCODERS[0]);
  assert.ok('ptx' in now, JSON.stringify(now));
  const { mended, left, table } = await mend(aged(encode, ENCODERS[0], now.ptx), compile);
  assert.equal([mended, left, staleKernels(table)], [[ENCODERS[0]], [], []]);
});

test('fields that were appended to a parameter struct change no machine code: mending knows PTX by its shorter struct', async () => {
  const text = (bytes: number, body = 'ret;') => `.visible .entry one(\n  .param .align 8 .b8 one_param_0[${bytes}]\n)\n{ ${body} }`;
  const hash = (bytes: number) => ptxHash(text(bytes), 'one');
  const now = { ptx: hash(216), shorter: shorterHashes(text(216), 'one'), inputs: decode.kernels[KERNELS[0]]!.inputs };
  const mended = await mend(aged(decode, KERNELS[0], hash(208)), () => Promise.resolve(now));
  assert.equal([mended.mended, mended.table.kernels[KERNELS[0]]!.ptx], [[KERNELS[0]], hash(216)]);
  for (const before of [hash(224), hash(144), ptxHash(text(208, 'bra 1;'), 'one')]) {
    assert.equal((await mend(aged(decode, KERNELS[0], before), () => Promise.resolve(now))).mended, [], 'longer, much shorter, or other code');
  }
  assert.equal(shorterHashes('.visible .entry none()', 'none'), []);
});

test('joining keeps what only the old table knows, lets measured replace modelled, and says what it drops', () => {
  const { table, notes } = joinTables(decode, encode);
  assert.equal([Object.keys(table.contracts).sort(), notes], [[CONTRACT, ENCODE].sort(), []]);
  assert.is(table.journals.length, 2);
  assert.is(joinTables(decode, modelled).table.contracts[CONTRACT]!.origin, 'measured');
  assert.is(joinTables(modelled, decode).table.contracts[CONTRACT]!.origin, 'measured');
  assert.equal(printTable(joinTables(table, encode).table), printTable(table), 'again changes nothing');
  const wide = { ...encode, setting: { ...encode.setting, window: 0 } };
  const apart = joinTables(decode, wide);
  assert.equal([Object.keys(apart.table.contracts), apart.notes], [[CONTRACT], [`${ENCODE} of the old table is dropped: the old table has other setting`]]);
});

test('a difference is one of choices: a table differs from itself in nothing, from a joined one in a contract', () => {
  assert.ok(isSame(diffTables(decode, decode)));
  const { added, removed, members } = diffTables(decode, joinTables(decode, encode).table);
  assert.equal([added, removed, members], [[ENCODE], [], []]);
  const slow = buildTables(sweepEvents({ us: (_, { kernel }) => (kernel === KERNELS[1] ? 5 : 10) }))[0]!.table;
  const { changes, cells, times } = diffTables(decode, slow);
  assert.ok(changes.length > 0 && cells.changed > 0 && cells.all === 3 * 41 * 41 && times.length > 0);
});

test('a surface goes through its samples, between them, and level beyond', () => {
  const samples = [1, 4, 16].flatMap((streams) => [64, 256].map((tokens) => ({ streams, tokens, value: Math.log2(streams) + 10 * Math.log2(tokens) })));
  const grid = surfaceOf(samples);
  for (const sample of samples) assert.is(grid(sample), sample.value);
  assert.ok(Math.abs(grid({ streams: 2, tokens: 128 }) - 71) < 1e-9);
  assert.is(grid({ streams: 1000, tokens: 1 }), grid({ streams: 16, tokens: 64 }));
  const holed = surfaceOf(samples.filter(({ streams, tokens }) => streams !== 16 || tokens !== 256));
  assert.is(holed({ streams: 2, tokens: 128 }), grid({ streams: 2, tokens: 128 }), 'a corner that is missing elsewhere does not matter');
  const guess = holed({ streams: 16, tokens: 256 });
  assert.ok(guess > 60 && guess < 84, String(guess));
  assert.is(surfaceOf([{ streams: 3, tokens: 5, value: 7 }])({ streams: 1, tokens: 1 }), 7);
});

test.run();
