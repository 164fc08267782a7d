// Tests tuner/accuracy: what records are read, which are compared, what the front is, and that drawings show them.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { accuracyHtml, accuracyMarkdown, accuracySvg } from '../../../tuner/accuracy/page.ts';
import { frontOf, questionsOf, readAccuracy } from '../../../tuner/accuracy/record.ts';
import { bytesWord, cellsOf } from '../../../tuner/accuracy/words.ts';
import { accuracy } from './given.ts';

const names = (records: readonly { run: { name: string } }[]): string[] => records.map(({ run }) => run.name);

test('the front: fewer bits or less perplexity, ties count once, order does not matter', () => {
  const points = [[1, 6], [1, 5.5], [2, 4], [1.5, 5.5], [3, 4.2], [0.5, 9], [2.5, 3.9]].map(([bits, perplexity]) => accuracy({ bits: bits!, perplexity: perplexity!, name: `${bits} ${perplexity}` }));
  const want = ['0.5 9', '1 5.5', '2 4', '2.5 3.9'];
  assert.equal(names(frontOf(points)), want);
  assert.equal(names(frontOf(points.toReversed())), want);
  assert.equal(frontOf([]), []);
});

test('only what answers the same question is compared; exact caches are no points; the last of two runs counts', () => {
  const window = accuracy({ name: 'window', recipe: { window: 128 }, perplexity: 3.9 });
  const flush = accuracy({ name: 'flush', rule: 'flush', recipe: { window: 128 }, perplexity: 3.8 });
  const search = accuracy({ name: 'search', on: 'search', perplexity: 4 });
  const exact = accuracy({ name: 'f16', recipe: { k: 'f16', v: 'f16' }, bits: 16, perplexity: 3.4325 });
  const questions = questionsOf([window, flush, accuracy({ name: 'twice', perplexity: 9 }), accuracy({ name: 'twice', perplexity: 7 }), search, exact]);
  assert.equal(questions.map(({ strict, records }) => [strict, ...names(records)]), [[true, 'twice'], [true, 'search'], [false, 'flush', 'window']]);
  assert.is(questions[0]!.records[0]!.perplexity, 7);
});

test('lines that are no records are named; a torn last line is passed over', () => {
  const line = JSON.stringify(accuracy());
  assert.is(readAccuracy(`${line}\n\n${line}\n{"record": "perp`, 'a.jsonl').length, 2);
  assert.throws(() => readAccuracy(`${line}\n{"record": "perp\n${line}`, 'a.jsonl'), /a\.jsonl, line 2: not JSON/);
  assert.throws(() => readAccuracy(`${line}\n{"record":"bench"}`, 'a.jsonl'), /line 2: no record of perplexity[\s\S]*record/);
  assert.throws(() => readAccuracy(line.replace('"schema":1', '"schema":2'), 'a.jsonl'), /schema/);
});

test('what a row says', () => {
  const cells = cellsOf(accuracy({ bits: 1.23, perplexity: 5.187, recipe: { gain: 'k', policy: 'exact', budget_permille: 10, window: 32, first_tokens: 4 } }), '3');
  assert.equal(cells, ['3', 'at 1.23', '8c8b / 8c8b', 'pre', 'k', '1 % by exact, first 4, window 32', '1.230', '1.240', '1.57 MB', '5.187', '+51.1 %']);
  assert.equal([0, 999, 1000, 131_072, 80e9].map(bytesWord), ['0 B', '999 B', '1 KB', '131 KB', '80 GB']);
});

test('every record is in the page, the front is numbered, points lie inside the drawing', () => {
  const records = [[0.4, 8.8], [1, 5.9], [1.2, 6.2], [4, 3.44], [2, 3.4325], [2.1, 3.43]].map(([bits, perplexity]) => accuracy({ bits: bits!, perplexity: perplexity!, recipe: { key: bits === 1.2 ? 'post' : 'pre' } }));
  const html = accuracyHtml(records);
  for (const { run: { name } } of records) assert.ok(html.includes(`<td>${name}</td>`), name);
  const drawing = accuracySvg(records);
  assert.equal([...drawing.matchAll(/text-anchor="middle">(\d)</g)].map(([, number]) => Number(number)).slice(-4), [1, 2, 3, 4]); // behind the words of the axis
  const points = [...drawing.matchAll(/<circle cx="([\d.]+)" cy="([\d.]+)" r="[34]" stroke/g)].map(([, x, y]) => [Number(x), Number(y)] as const);
  assert.is(points.length, records.length);
  for (const [x, y] of points) assert.ok(x >= 56 && x <= 624 && y >= 16 && y <= 320, `${x} ${y}`);
  const rows = accuracyMarkdown(records, false).split('\n').filter((line) => line.includes('| at '));
  assert.equal([rows.length, accuracyMarkdown(records, true).split('\n').filter((line) => line.includes('| at ')).length], [6, 4]);
  assert.throws(() => accuracySvg([accuracy({ recipe: { k: 'bf16', v: 'bf16' } })]), /exact caches only/);
  assert.match(accuracyHtml([accuracy()]), /<circle/); // one point alone has no span
});

test.run();
