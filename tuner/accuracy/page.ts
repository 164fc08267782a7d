// gen report on records of perplexity: tables in Markdown, one HTML file, or the drawing alone. Pure.
import { InputError } from '../../generator/errors.ts';
import { escape } from '../report/svg.ts';
import { paragraph, tableHtml } from '../report/html.ts';
import { pageHtml } from '../report-style.ts';
import { frontPlot, standalone } from './plot.ts';
import { questionsOf, type Accuracy, type Question } from './record.ts';
import { cellsOf, HEAD } from './words.ts';

const HOW =
  'Bits: what the run held per element after its last token, gains, bitmaps, anchors with their index and exact rows included; bits at 32K: the same recipe at 32,768 tokens, as CACHE.md counts. Codebooks, which all sequences share, have their own column. ' +
  'A number marks the Pareto front: no other recipe has a lower perplexity with as many bits or fewer. Codebooks are made from calibration text; no figure is of tokens that they were trained or chosen on, but those that say "search".';

const marked = ({ records, front }: Question): { cells: string[]; onFront: boolean }[] => {
  const numbers = new Map(front.map((record, i) => [record, i + 1]));
  return records.map((record) => ({ cells: cellsOf(record, String(numbers.get(record) ?? '')), onFront: numbers.has(record) }));
};

const markdownTable = (rows: readonly (readonly string[])[]): string[] => {
  const line = (words: readonly string[]): string => `| ${words.join(' | ')} |`;
  return [line(HEAD), line(HEAD.map((_, i) => (i < 6 ? '---' : '---:'))), ...rows.map(line)];
};

/** A section for each question; with `frontOnly` the recipes that nothing beats. */
export function accuracyMarkdown(records: readonly Accuracy[], frontOnly: boolean): string {
  const sections = questionsOf(records).flatMap((question) => {
    const rows = marked(question).filter(({ onFront }) => onFront || !frontOnly);
    return [`### ${question.title}`, '', `Exact: ${question.exact.toFixed(4)}.`, '', ...markdownTable(rows.map(({ cells }) => cells)), ''];
  });
  return [...sections, HOW].join('\n');
}

/** One HTML file that needs nothing else. */
export function accuracyHtml(records: readonly Accuracy[]): string {
  const sections = questionsOf(records).map((question) => {
    const rows = marked(question).map(({ cells }) => cells);
    return `<section><h2>${escape(question.title)}</h2>${paragraph(`Exact cache: ${question.exact.toFixed(4)}`, true)}${frontPlot(question)}${tableHtml(HEAD, rows)}</section>`;
  });
  return pageHtml('antkv: accuracy', [...sections, `<h2>How it was measured</h2>${paragraph(HOW)}`, paragraph([...new Set(records.map(({ device, source }) => `${source}, on ${device}`))].join('; '), true)]);
}

/** The drawing of the first question, the strictest there is, as an SVG file. Throws InputError where nothing is coded. */
export function accuracySvg(records: readonly Accuracy[]): string {
  const [question] = questionsOf(records);
  if (!question) throw new InputError('the records are of exact caches only: there is nothing to draw', 'measure a recipe: python3 -m eval --preset antkv-1');
  return standalone(frontPlot(question));
}
