// gen report: rows as a table in Markdown, and as one HTML file. Drawing is report-plot.ts.
import { cellsOf, environmentWords, figures, HEAD, isExact, lengthWord, linesOf, shapeWords, type Line } from './bench-table.ts';
import type { Row } from './bench-row.ts';
import { viewsOf, type View } from './bench-views.ts';
import { pageHtml } from './report-style.ts';
import { barsOf, escape, seriesOf, timePlot } from './report-plot.ts';

const HOW =
  'One step (decode: with its merge of splits) in a CUDA graph of its own; data in as many copies as exceed 3 times the L2 take turns, so that nothing of a step is in L2 when it begins; median, 10th and 90th percentile of the samples, the start of a graph included. ' +
  'GB/s counts useful bytes: what an ideal kernel reads or writes once. The floor is those bytes at the read bandwidth that the same run measured on the same device. Over FP16: against the fastest FP16 row of the same run and shape. ' +
  'Of several launches the fastest is shown: 16 is CTAs per sequence and group of heads, 16s shares of the whole batch, merged by the CTA that comes last; 16c is merged by a second kernel. Results were checked in the same run.';

/** Lines by shape: one section each. */
export function sectionsOf(lines: readonly Line[]): { title: string; lines: Line[] }[] {
  const sections = new Map<string, Line[]>();
  for (const line of lines) {
    const { op, head_dim: d, shape, environment } = line.row;
    const words = shapeWords(line.row);
    const heads = shape['q_heads'] === undefined ? '' : `, ${String(shape['q_heads'])} query and ${String(shape['kv_heads'])} KV heads`;
    const title = `${op}, batch ${shape.batch}, ${lengthWord(line.row)} tokens${d === undefined ? '' : `, head dim ${d}`}${heads}${words === '' ? '' : `, ${words}`}, ${environment.device}`;
    sections.set(title, [...(sections.get(title) ?? []), line]);
  }
  return [...sections].map(([title, rows]) => ({ title, lines: rows }));
}

/** The best speed over FP16 of a coded kernel, in words; undefined if nothing was compared. */
export function headline(lines: readonly Line[]): string | undefined {
  const compared = lines.filter(({ row, overFp16 }) => row.source === 'antkv' && row.op === 'decode' && row.ok && overFp16 !== undefined && !isExact(row));
  const best = compared.toSorted((a, b) => b.overFp16! - a.overFp16!)[0];
  if (!best) return undefined;
  const worst = compared.toSorted((a, b) => a.overFp16! - b.overFp16!)[0]!;
  const words = ({ title, row, overFp16, ofFloor }: Line): string =>
    `${overFp16!.toFixed(2)}x FP16 with ${title} at batch ${row.shape.batch}, ${lengthWord(row)} tokens (${figures(row.us.median)} µs${ofFloor === undefined ? '' : `, ${ofFloor.toFixed(0)} % of the floor's speed`})`;
  return compared.length === 1 ? words(best) : `Best: ${words(best)}. Worst: ${words(worst)}.`;
}

const markdownTable = (head: readonly string[], rows: readonly (readonly string[])[], left: number): string[] => {
  const line = (words: readonly string[]): string => `| ${words.join(' | ')} |`;
  return [line(head), line(head.map((_, i) => (i < left ? '---' : '---:'))), ...rows.map(line)];
};

/** The table of README, with the environment under it; then what each sheet asked, the goals last. */
export function markdown(rows: readonly Row[]): string {
  const views = viewsOf(rows).flatMap(({ title, head, rows: cells, notes }) => ['', `### ${title}`, '', ...markdownTable(head, cells, 1), ...notes.flatMap((note) => ['', note])]);
  return [...markdownTable(HEAD, linesOf(rows).map(cellsOf), 3), '', ...[...new Set(rows.map(environmentWords))].map((words) => `${words}.`), '', HOW, ...views].join('\n');
}

const COLUMNS = ['kernel', 'code', 'splits', 'µs', 'p10', 'p90', 'GB/s', '% of floor', 'x FP16'] as const;

const tableHtml = (head: readonly string[], rows: readonly string[]): string =>
  `<div class="scroll"><table><thead><tr>${head.map((name) => `<th>${escape(name)}</th>`).join('')}</tr></thead><tbody>${rows.join('')}</tbody></table></div>`;
const rowHtml = (cells: readonly string[], attributes = ''): string => `<tr${attributes}>${cells.map((cell) => `<td>${escape(cell)}</td>`).join('')}</tr>`;

function linesHtml(lines: readonly Line[]): string {
  const body = lines.map((line) => {
    const cells = cellsOf(line);
    const raced = line.row.raced.map(({ what, us }) => `${what}: ${figures(us)} µs`).join('; ');
    return rowHtml(COLUMNS.map((name) => cells[HEAD.indexOf(name)]!), `${line.row.ok ? '' : ' class="wrong"'} title="${escape(raced)}"`);
  });
  return tableHtml(COLUMNS, body);
}

const viewHtml = ({ title, head, rows, notes }: View): string =>
  `<section class="view"><h2>${escape(title)}</h2>${tableHtml(head, rows.map((cells) => rowHtml(cells)))}${notes.map((words) => `<p>${escape(words)}</p>`).join('')}</section>`;

/** One HTML file that needs nothing else. */
export function html(rows: readonly Row[]): string {
  const lines = linesOf(rows);
  const environments = [...new Set(rows.map(environmentWords))];
  const software = [...new Set(rows.flatMap(({ environment: { software } }) => (software === undefined ? [] : [software])))];
  const said = headline(lines);
  const plots = seriesOf(lines).map(({ title, series }) => `<h2>${escape(title)}</h2>${timePlot(title, series)}`);
  const sections = sectionsOf(lines).map(({ title, lines: own }) => `<section><h2>${escape(title)}</h2>${barsOf(own)}${linesHtml(own)}</section>`);
  return pageHtml('antkv: measurements', [
    said === undefined ? '' : `<p><strong>${escape(said)}</strong></p>`,
    ...environments.map((words) => `<p class="dim">${escape(words)}</p>`),
    ...software.map((words) => `<p class="dim">FP16 peers: ${escape(words)}</p>`),
    ...plots,
    ...sections,
    `<h2>How it was measured</h2><p>${escape(HOW)}</p>`,
    ...viewsOf(rows).map(viewHtml),
  ]);
}
