// Tests gen report on journals and tables: files are told apart, and what is drawn is written whole.
import { existsSync, linkSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { printTable } from '../../../generator/table/words.ts';
import { eventsOf, parseJournal } from '../../../tuner/journal/read.ts';
import { buildTables } from '../../../tuner/table/build.ts';
import { temporaryFolder } from '../../folder.ts';
import { parallel } from '../../parallel.ts';
import { accuracy } from '../../tuner/accuracy/given.ts';
import { sweepText } from '../../tuner/report/sweep.ts';
import { ONE_BIT, row } from '../../tuner/rows.ts';
import { gen } from './run.ts';

const report = suite('gen report');
const test = parallel(report);
const dir = temporaryFolder();
const file = (name: string, text: string): string => {
  writeFileSync(join(dir, name), text);
  return join(dir, name);
};
const text = sweepText({ contracts: 1, kernels: 5, tokens: [1024, 8192] });
const journal = file('tune.jsonl', text);
const table = file('table.json', printTable(buildTables(eventsOf(parseJournal(text, 'tune.jsonl').lines))[0]!.table));
const records = file('records.jsonl', `${JSON.stringify(row(ONE_BIT, 10))}\n`);

test('a journal and a table', async () => {
  const out = join(dir, 'sweep.html');
  const { exitCode, stdout, stderr } = await gen(['report', journal, table, '--out', out, '--json']);
  assert.is(exitCode, 0, stderr);
  assert.equal(JSON.parse(stdout), { out, bytes: readFileSync(out).length, files: 2 });
  assert.match(readFileSync(out, 'utf8'), /antkv: tuning report[\s\S]*id="winners"/);
});

test('gzipped files are read as they are, and damaged ones refused', async () => {
  const packed = gzipSync(text);
  writeFileSync(join(dir, 'tune.jsonl.gz'), packed);
  writeFileSync(join(dir, 'cut.jsonl.gz'), packed.subarray(0, packed.length / 2));
  const [plain, same, cut] = await Promise.all(['tune.jsonl', 'tune.jsonl.gz', 'cut.jsonl.gz'].map((name) => gen(['table', 'show', join(dir, name), '--json'])));
  assert.is(plain!.exitCode, 0, plain!.stderr);
  assert.is(same!.stdout, plain!.stdout);
  assert.is(cut!.exitCode, 2);
  assert.match(cut!.stderr, /cut\.jsonl\.gz is gzipped, and damaged[\s\S]*fix: \S/);
  const out = join(dir, 'packed.html');
  assert.is((await gen(['report', join(dir, 'tune.jsonl.gz'), '--out', out])).exitCode, 0);
  assert.match(readFileSync(out, 'utf8'), /id="winners"/);
});

test('a torn last line of a journal is passed over', async () => {
  const out = join(dir, 'torn.html');
  assert.is((await gen(['report', file('torn.jsonl', text.slice(0, -30)), '--out', out])).exitCode, 0);
});

test('records are drawn as before', async () => {
  const out = join(dir, 'records.html');
  assert.is((await gen(['report', records, '--out', out])).exitCode, 0);
  assert.match(readFileSync(out, 'utf8'), /antkv: measurements/);
});

test('both at once, Markdown of a sweep, an altered journal, no file: usage', async () => {
  const out = join(dir, 'never.html');
  const lines = text.split('\n');
  const altered = file('altered.jsonl', [lines[0], lines[1]!.replace('Test GPU', 'Best GPU'), ...lines.slice(2)].join('\n'));
  const runs = await Promise.all([[journal, records], [journal, '--markdown'], [altered], [join(dir, 'none.jsonl')], [], [records, '--markdown', '--json']].map((words) => gen(['report', ...words, '--out', out])));
  assert.equal(runs.map(({ exitCode }) => exitCode), [2, 2, 2, 2, 2, 2]);
  assert.match(runs[0]!.stderr, /tune\.jsonl is of a sweep, \S+records\.jsonl holds records of times/);
  assert.match(runs[2]!.stderr, /altered\.jsonl:2 was altered/);
});

test('nothing is written over what is read, under whatever name', async () => {
  symlinkSync(records, join(dir, 'link.jsonl'));
  linkSync(records, join(dir, 'hard.jsonl'));
  const before = readFileSync(records, 'utf8');
  const runs = await Promise.all([['report', records, '--out', records], ['report', records, '--out', join(dir, 'link.jsonl')], ['report', journal, records, '--out', join(dir, 'hard.jsonl')], ['bench', '--records', join(dir, 'link.jsonl'), '--out', records]].map((words) => gen(words)));
  for (const { exitCode, stderr } of runs) {
    assert.is(exitCode, 2, stderr);
    assert.match(stderr, /would overwrite \S+, which is read\n {2}fix: name another file/);
  }
  assert.is(readFileSync(records, 'utf8'), before);
  const torn = await gen(['report', file('torn-records.jsonl', `${before}{"record":"ben`), '--out', join(dir, 'torn-records.html')]);
  assert.equal([torn.exitCode, /its last line is not finished and was not read/.test(torn.stderr)], [0, true]);
  const none = await gen(['report', records, '--out', '']);
  assert.equal([none.exitCode, /--out is empty/.test(none.stderr)], [2, true]);
});

test('perplexities: a page, the drawing alone, tables; --front and other kinds beside them are refused', async () => {
  const points = file('ppl.jsonl', [accuracy({ bits: 1, perplexity: 6 }), accuracy({ bits: 2, perplexity: 4 }), accuracy({ bits: 1.5, perplexity: 7 })].map((one) => `${JSON.stringify(one)}\n`).join(''));
  const torn = file('torn-points.jsonl', JSON.stringify(accuracy({ bits: 1, perplexity: 6 })).slice(0, -9));
  const nothing = await gen(['report', torn, '--out', join(dir, 'nothing.html')]);
  assert.is(nothing.exitCode, 2);
  assert.match(nothing.stderr, /hold no perplexities\s+fix: /);
  assert.not.ok(existsSync(join(dir, 'nothing.html')));
  const [page, drawing] = [join(dir, 'ppl.html'), join(dir, 'ppl.svg')];
  const runs = await Promise.all([['--out', page, '--json'], ['--out', drawing], ['--markdown'], ['--markdown', '--front'], ['--front', '--out', page], [records, '--out', page]].map((words) => gen(['report', points, ...words])));
  assert.equal(runs.map(({ exitCode }) => exitCode), [0, 0, 0, 0, 2, 2], runs.map(({ stderr }) => stderr).join(''));
  assert.equal(JSON.parse(runs[0]!.stdout), { out: page, bytes: readFileSync(page).length, records: 3 });
  assert.match(readFileSync(page, 'utf8'), /antkv: accuracy[\s\S]*<svg[\s\S]*8c8b \/ 8c8b/);
  assert.match(readFileSync(drawing, 'utf8'), /^<svg xmlns="http:\/\/www\.w3\.org\/2000\/svg"/);
  assert.match(runs[2]!.stdout, /\| +\| at 1\.5 \|/);
  assert.not.match(runs[3]!.stdout, /at 1\.5/);
  assert.match(runs[5]!.stderr, /ppl\.jsonl holds perplexities, \S+records\.jsonl holds records of times/);
});

report.run();
