// Tests tuner/report.ts and tuner/report-plot.ts: what the file says, and that it is well formed and stands alone.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { linesOf } from '../../tuner/bench-table.ts';
import { headline, html, markdown, sectionsOf } from '../../tuner/report.ts';
import { seriesOf, timePlot } from '../../tuner/report-plot.ts';
import { ENVIRONMENT, EXACT, ONE_BIT, row } from './rows.ts';

const rows = [1, 16].flatMap((batch) =>
  [4096, 32768, 131072].flatMap((tokens) => {
    const shape = { batch, tokens, q_heads: 32, kv_heads: 8 };
    const us = (batch * tokens) / 1000;
    return [row(ONE_BIT, us, { shape }), row(ONE_BIT.replace('sm80', 'sm90'), 0.9 * us, { shape, code: 'sm_90' }), row(EXACT, 3 * us, { shape }), row('torch_sdpa_cudnn', 2 * us, { shape, source: 'peer', code: 'PyTorch', environment: { ...ENVIRONMENT, software: 'PyTorch <2>' } })];
  }),
);
const text = html(rows);

test('every tag that opens closes, in order', () => {
  const open: string[] = [];
  for (const [, close, name, self] of text.replace(/<!doctype html>|<style>[\s\S]*?<\/style>/g, '').matchAll(/<(\/?)([a-z0-9]+)[^>]*?(\/?)>/gi)) {
    if (self) continue;
    if (!close) open.push(name!);
    else assert.is(open.pop(), name, `</${name}>`);
  }
  assert.equal(open, []);
});

test('it needs no other file and no script, is small, and has light and dark colours', () => {
  assert.not.match(text, /<script|<link|<img|url\(|https?:/);
  assert.match(text, /prefers-color-scheme:dark/);
  assert.ok(Buffer.byteLength(text) < 200_000);
});

test('nothing is wider than a narrow page: drawings shrink, tables scroll by themselves', () => {
  assert.match(text, /svg\{[^}]*width:100%/);
  for (const [before] of text.matchAll(/.{0,30}<table>/g)) assert.match(before, /<div class="scroll"><table>/);
  assert.not.match(text, /<svg[^>]* width=/);
});

test('words of records are escaped', () => {
  assert.match(text, /PyTorch &lt;2&gt;/);
  assert.not.match(text, /PyTorch <2>/);
});

test('no number is missing, infinite or not a number', () => assert.not.match(text, /NaN|Infinity|undefined|null/));

test('it holds environment, headline, a section for each shape, and how it was measured', () => {
  assert.match(text, /Test GPU, 132 SMs/);
  assert.is(text.match(/<section>/g)?.length, 6);
  assert.match(text, /How it was measured/);
  assert.match(headline(linesOf(rows))!, /^Best: 2\.22x FP16 with antkv-1 at batch /);
  assert.is(headline(linesOf([row(EXACT, 1), row('torch_sdpa_cudnn', 1, { source: 'peer' })])), undefined);
});

test('one plot for each batch, one series for each kernel, points by tokens', () => {
  const plots = seriesOf(linesOf(rows));
  assert.is(plots.length, 2);
  assert.equal(plots[0]!.series.map(({ points }) => points.map(({ tokens }) => tokens)), Array(4).fill([4096, 32768, 131072]));
  assert.equal(seriesOf(linesOf(rows.slice(0, 4))), []);
});

test('a plot stays inside its box, also with a single time', () => {
  for (const series of [seriesOf(linesOf(rows))[0]!.series, [{ name: 'a', points: [{ tokens: 64, us: 5 }, { tokens: 128, us: 5 }] }]]) {
    const drawn = timePlot('t', series);
    const [, width, height] = /viewBox="0 0 (\d+) (\d+)"/.exec(drawn)!.map(Number);
    const dots = [...drawn.matchAll(/cx="([\d.-]+)" cy="([\d.-]+)"/g)];
    assert.is(dots.length, series.flatMap(({ points }) => points).length);
    for (const [, x, y] of dots) assert.ok(Number(x) >= 0 && Number(x) <= width! && Number(y) >= 0 && Number(y) <= height!);
  }
});

test('the table in Markdown has one row per race and equal columns', () => {
  const table = markdown(rows).split('\n### ')[0]!.split('\n').filter((line) => line.startsWith('|'));
  assert.is(table.length, 2 + 6 * 4);
  assert.is(new Set(table.map((line) => line.split('|').length)).size, 1);
  assert.match(markdown(rows), /Test GPU, 132 SMs[\s\S]*The floor is/);
});

test('the goals are the last page', () => {
  assert.match(text, /<section class="view"><h2>Speed over the best FP16 kernel(?![\s\S]*<section)[\s\S]*2\.22 -56 % \(5 \/ 7\)/);
  const [title, ...lines] = markdown(rows).split('\n### ').at(-1)!.split('\n');
  assert.match(title!, /^Speed over the best FP16 kernel of the same run, Test GPU$/);
  assert.is(new Set(lines.filter((line) => line.startsWith('|')).map((line) => line.split('|').length)).size, 1);
});

test('sections follow the shapes', () => assert.match(sectionsOf(linesOf(rows))[0]!.title, /^decode, batch 1, 4K tokens, head dim 128, 32 query and 8 KV heads, Test GPU$/));

test.run();
