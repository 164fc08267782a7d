// The drawings of gen report, as SVG text: times over tokens on logarithmic axes, and bars of the speed over FP16.
import { figures, shapeWords, tokensWord, type Line } from './bench-table.ts';

/** Text for HTML and SVG. */
export const escape = (text: string): string => text.replace(/&/g, '&amp;').replace(/</g, '&lt;').replace(/>/g, '&gt;').replace(/"/g, '&quot;');

// Okabe and Ito: told apart by colour-blind readers, on white and on black.
export const COLOURS = ['#0072b2', '#e69f00', '#009e73', '#cc79a7', '#56b4e9', '#d55e00', '#8a8a8a', '#b8a800'];

export interface Series {
  readonly name: string;
  readonly points: readonly { readonly tokens: number; readonly us: number }[];
}

const labelOf = ({ title, row }: Line): string => (row.source === 'peer' ? title.split(' ').slice(0, 2).join(' ') : `${title}, ${row.code}`);

/** Times over tokens: one plot for each op, batch and head dim that has two lengths or more; one series per kernel. */
export function seriesOf(lines: readonly Line[]): { title: string; series: Series[] }[] {
  const plots = new Map<string, Map<string, { tokens: number; us: number }[]>>();
  for (const line of lines) {
    const { op, head_dim: d, shape, us, ok, environment } = line.row;
    // Unusual shapes are in tables; a plot is of the usual ones.
    if (!ok || shape.tokens == null || shape.lens || shapeWords(line.row) !== '') continue;
    const title = `${op}, batch ${shape.batch}${d === undefined ? '' : `, head dim ${d}`}, ${environment.device}: µs over tokens`;
    const plot = plots.get(title) ?? new Map<string, { tokens: number; us: number }[]>();
    plots.set(title, plot);
    plot.set(labelOf(line), [...(plot.get(labelOf(line)) ?? []), { tokens: shape.tokens, us: us.median }]);
  }
  return [...plots]
    .map(([title, plot]) => ({ title, series: [...plot].map(([name, points]) => ({ name, points: points.toSorted((a, b) => a.tokens - b.tokens) })) }))
    .filter(({ series }) => series.some(({ points }) => points.length > 1));
}

const at = (value: number): string => value.toFixed(1);

/** Both axes logarithmic. */
export function timePlot(title: string, series: readonly Series[]): string {
  const [width, height, left, top, bottom] = [640, 300, 56, 12, 36];
  const legend = 18 * Math.ceil(series.length / 2);
  const all = series.flatMap(({ points }) => points);
  const span = (values: number[]): [number, number] => [Math.log(Math.min(...values)), Math.log(Math.max(...values))];
  const [[x0, x1], [y0, y1]] = [span(all.map(({ tokens }) => tokens)), span(all.map(({ us }) => us))];
  const x = (tokens: number): number => left + ((Math.log(tokens) - x0) / (x1 - x0 || 1)) * (width - left - 16);
  const y = (us: number): number => height - bottom - ((Math.log(us) - y0) / (y1 - y0 || 1)) * (height - top - bottom);
  const decades = Array.from({ length: 12 }, (_, i) => 10 ** (i - 2)).flatMap((ten) => [ten, 2 * ten, 5 * ten]).filter((us) => Math.log(us) >= y0 && Math.log(us) <= y1);
  const rows = decades.map((us) => `<line x1="${left}" x2="${width - 16}" y1="${at(y(us))}" y2="${at(y(us))}" stroke="var(--line)"/><text x="${left - 8}" y="${at(y(us) + 4)}" text-anchor="end" class="dim">${us}</text>`);
  const columns = [...new Set(all.map(({ tokens }) => tokens))].map((tokens) => `<text x="${at(x(tokens))}" y="${height - bottom + 20}" text-anchor="middle" class="dim">${tokensWord(tokens)}</text>`);
  const drawn = series.map(({ name, points }, i) => {
    const colour = COLOURS[i % COLOURS.length]!;
    const dashes = i >= COLOURS.length ? ' stroke-dasharray="5 3"' : '';
    const dots = points.map(({ tokens, us }) => `<circle cx="${at(x(tokens))}" cy="${at(y(us))}" r="3.5" fill="${colour}"><title>${escape(`${name}, ${tokensWord(tokens)}: ${figures(us)} µs`)}</title></circle>`);
    const [lx, ly] = [left + (i % 2) * 290, height + 12 + 18 * Math.floor(i / 2)];
    return `<polyline points="${points.map(({ tokens, us }) => `${at(x(tokens))},${at(y(us))}`).join(' ')}" fill="none" stroke="${colour}" stroke-width="2"${dashes}/>${dots.join('')}<rect x="${lx}" y="${ly - 10}" width="12" height="12" fill="${colour}"/><text x="${lx + 18}" y="${ly}">${escape(name)}</text>`;
  });
  return `<svg viewBox="0 0 ${width} ${height + legend + 8}" role="img" aria-label="${escape(title)}">${[...rows, ...columns, ...drawn].join('')}</svg>`;
}

/** One bar per kernel: its speed over FP16 of the same shape; empty if nothing was compared. */
export function barsOf(lines: readonly Line[]): string {
  const compared = lines.filter((line): line is Line & { overFp16: number } => line.overFp16 !== undefined && line.row.ok);
  if (compared.length < 2) return '';
  const [width, left, step] = [640, 290, 22];
  const most = Math.max(...compared.map(({ overFp16 }) => overFp16));
  const scale = (width - left - 60) / most;
  const one = left + scale;
  const bars = compared.map((line, i) => {
    const y = 6 + i * step;
    const colour = line.row.source === 'peer' ? COLOURS[6]! : COLOURS[0]!;
    return `<text x="${left - 8}" y="${y + 13}" text-anchor="end">${escape(labelOf(line))}</text><rect x="${left}" y="${y}" width="${at(line.overFp16 * scale)}" height="16" fill="${colour}"/><text x="${at(left + line.overFp16 * scale + 6)}" y="${y + 13}">${line.overFp16.toFixed(2)}x</text>`;
  });
  const end = 6 + compared.length * step;
  return `<svg viewBox="0 0 ${width} ${end + 4}" role="img" aria-label="speed over FP16">${bars.join('')}<line x1="${at(one)}" x2="${at(one)}" y1="2" y2="${end}" stroke="var(--dim)" stroke-dasharray="3 3"/></svg>`;
}
