// Tests tuner/report/: what the page says, that it is well formed and stands alone, that it is small, and in Chromium, where that is on PATH, that nothing is wider than the page.
import { execa } from 'execa';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { printTable } from '../../../generator/table/words.ts';
import { parseJournal, eventsOf } from '../../../tuner/journal/read.ts';
import { kindOf, readData } from '../../../tuner/report/data.ts';
import { tunePage } from '../../../tuner/report/page.ts';
import { buildTables } from '../../../tuner/table/build.ts';
import { temporaryFolder } from '../../folder.ts';
import { sweepText } from './sweep.ts';

const journal = sweepText();
const other = buildTables(eventsOf(parseJournal(sweepText({ device: 'Other <GPU>', sms: 108 }), 'other').lines))[0]!;
const page = tunePage([{ file: 'tune.jsonl', text: journal }, { file: other.file, text: printTable(other.table) }]);
const SECTIONS = ['environment', 'headline', 'winners', 'surface', 'heat', 'sensitivity', 'convergence', 'ship', 'compile', 'failures', 'noise', 'portability'];

/** Asserts that every tag that opens closes, in order. */
function wellFormed(text: string): void {
  const open: string[] = [];
  for (const [, close, name, self] of text.replace(/<!doctype html>|<style>[\s\S]*?<\/style>/g, '').matchAll(/<(\/?)([a-z0-9]+)[^>]*?(\/?)>/gi)) {
    if (self) continue;
    if (!close) open.push(name!);
    else assert.is(open.pop(), name, `</${name}>`);
  }
  assert.equal(open, []);
}

test('it is well formed, needs no other file and no script, and has light and dark colours', () => {
  wellFormed(page);
  assert.not.match(page, /<script|<link|<img|url\(|https?:/);
  assert.match(page, /prefers-color-scheme:dark/);
});

test('all sections are there, each with a link to it', () => {
  assert.equal([...page.matchAll(/<section id="(\w+)"/g)].map(([, id]) => id), SECTIONS);
  assert.equal([...page.matchAll(/<a href="#(\w+)"/g)].map(([, id]) => id), SECTIONS);
});

test('nothing is wider than a narrow page: drawings shrink, tables scroll by themselves', () => {
  assert.match(page, /svg\{[^}]*width:100%/);
  for (const [before] of page.matchAll(/.{0,30}<table>/g)) assert.match(before, /<div class="scroll"><table>/);
  assert.not.match(page, /<svg[^>]* width=/);
});

test('words of files are escaped, and no number is missing', () => {
  assert.match(page, /Other &lt;GPU&gt;/);
  assert.not.match(page, /<GPU>|<of>/);
  assert.not.match(page, /NaN|Infinity|undefined|null/);
});

test('winners: percent of the floor, over FP16, over the default', () => {
  const row = /<td>B16 x 64K<\/td>(.*?)<\/tr>/.exec(page)![1]!.split('</td><td>').map((cell) => cell.replace(/<[^>]*>/g, ''));
  const us = Number(row[2]);
  // 3000 bytes a token at 4000 GB/s; FP16: 10 us and a sixtieth per token.
  assert.is(row[4], ((100 * 3000 * 16 * 65_536 * 1e-3) / 4000 / us).toFixed(0));
  assert.ok(Math.abs(Number(row[5]) - (10 + (16 * 65_536) / 60) / us) < 0.02, row.join());
  assert.ok(Number(row[6]) >= 1);
});

test('commands, failures with commands, and what shows noise', () => {
  assert.match(page, /gen tune --only &#39;|gen tune --only 'antkv_decode_\*'/);
  assert.match(page, /gen verify --only antkv_decode_\w+ --quick/);
  assert.match(page, /1024 bytes of spills/);
  assert.match(page, /SM clock, MHz/);
});

test('marks stay inside their drawing', () => {
  for (const [, width, height, body] of page.matchAll(/<svg viewBox="0 0 ([\d.]+) ([\d.]+)"[^>]*>(.*?)<\/svg>/g)) {
    for (const [, x, y] of body!.matchAll(/<(?:text|rect) x="([-\d.]+)" y="([-\d.]+)"/g)) assert.ok(Number(x) >= 0 && Number(x) <= Number(width) && Number(y) >= 0 && Number(y) <= Number(height), `${x},${y} in ${width}x${height}`);
  }
});

test('emulated times and modelled tables say so; a table alone is drawn too', () => {
  assert.match(tunePage([{ file: 'a', text: sweepText({ clock: 'emulated', contracts: 1, kernels: 4 }) }]), /Emulated: the times mean nothing/);
  const modelled = sweepText({ clock: 'model', contracts: 1, kernels: 4 });
  assert.match(tunePage([{ file: 'a', text: modelled }]), /is modelled: computed, never measured/);
  const alone = tunePage([{ file: 'table.json', text: printTable(other.table) }]);
  wellFormed(alone);
  assert.match(alone, /<section id="surface"/);
  assert.not.match(alone, /<section id="noise"|NaN|undefined/);
});

test('files are told apart; a given table stands for the one of its journals', () => {
  assert.equal([journal, printTable(other.table), '{"record":"bench"}\n', '', '[]', 'null'].map(kindOf), ['journal', 'table', 'other', 'other', 'other', 'other']);
  const own = buildTables(eventsOf(parseJournal(journal, 'a').lines))[0]!;
  const data = readData([{ file: 'a', text: journal }, { file: 'mine.json', text: printTable(own.table) }]);
  assert.equal(data.tables.map(({ file }) => file), ['mine.json']);
  assert.ok(Object.keys(data.tables[0]!.curves).length > 0);
  assert.throws(() => readData([{ file: 'b', text: '{}' }]), /b is neither a tuning journal nor a table/);
});

test('a full sweep stays under 2 MB', () => {
  const text = tunePage([{ file: 'a', text: sweepText({ contracts: 4, kernels: 24, tokens: [1024, 4096, 16_384, 32_768, 65_536, 131_072], batches: [1, 2, 4, 16, 64] }) }]);
  const bytes = Buffer.byteLength(text);
  console.log(`# 4 contracts, 24 kernels each, 60 points each: ${Math.ceil(bytes / 1024)} KB`);
  // What is shipped has some forty contracts and architectures.
  assert.ok(12 * bytes < 2e6, String(bytes));
});

async function chromium(): Promise<string | undefined> {
  for (const name of ['chromium', 'chromium-browser', 'google-chrome', 'chrome', 'headless_shell']) {
    if ((await execa(name, ['--version'], { reject: false, timeout: 20_000 })).exitCode === 0) return name;
  }
  return undefined;
}

test('in Chromium nothing overflows at 1200 and 400 pixels', async () => {
  const browser = await chromium();
  if (!browser) return console.log('skipped: no Chromium on PATH; the structure was tested');
  const dir = temporaryFolder();
  writeFileSync(join(dir, 'page.html'), page.replaceAll('<details>', '<details open="">'));
  for (const width of [1200, 400]) {
    // A window of headless Chromium may be no narrower than 500 pixels: a frame may.
    writeFileSync(join(dir, 'frame.html'), `<body style="margin:0"><iframe src="page.html" style="width:${width}px;height:800px;border:0"></iframe><script>onload=()=>{const d=document.querySelector('iframe').contentDocument.documentElement;document.title=d.scrollWidth+' of '+d.clientWidth;document.body.dataset.said=document.title}</script></body>`);
    const { stdout } = await execa(browser, ['--headless', '--no-sandbox', '--disable-gpu', '--allow-file-access-from-files', '--virtual-time-budget=5000', '--dump-dom', pathToFileURL(join(dir, 'frame.html')).href], { reject: false, timeout: 60_000 });
    const [, wide, room] = /data-said="(\d+) of (\d+)"/.exec(stdout) ?? [];
    assert.ok(wide !== undefined && Number(wide) <= Number(room), `at ${width}: ${wide} of ${room}`);
  }
});

test.run();
