// The few marks that the report's drawings are made of, as SVG text. Widths follow the page, heights the drawing; colours are the page's.
import { COLOURS, escape } from '../report-plot.ts';

export { COLOURS, escape };

const near = (value: number): string => String(Number(value.toFixed(1)));

/** A drawing of `width` x `height` units; `label` says what it shows. */
export const svg = (width: number, height: number, label: string, body: readonly string[]): string =>
  `<svg viewBox="0 0 ${near(width)} ${near(height)}" role="img" aria-label="${escape(label)}">${body.join('')}</svg>`;

export const text = (x: number, y: number, words: string, more = ''): string => `<text x="${near(x)}" y="${near(y)}"${more}>${escape(words)}</text>`;
export const END = ' text-anchor="end"';
export const MIDDLE = ' text-anchor="middle"';

export const rect = (x: number, y: number, width: number, height: number, more: string, title?: string): string =>
  `<rect x="${near(x)}" y="${near(y)}" width="${near(width)}" height="${near(height)}"${more}${title === undefined ? '/>' : `><title>${escape(title)}</title></rect>`}`;

export interface Line {
  readonly name: string;
  readonly points: readonly (readonly [x: number, y: number])[];
}

const [WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM] = [400, 180, 48, 8, 10, 24];

/** About four round numbers from `from` to `to`. */
function ticks(from: number, to: number): number[] {
  const raw = (to - from) / 4 || Math.abs(to) || 1;
  const ten = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((n) => n * ten).find((n) => n >= raw) ?? 10 * ten;
  return Array.from({ length: 8 }, (_, i) => (Math.ceil(from / step) + i) * step).filter((value) => value <= to + step * 1e-6);
}

/** At most `most` of the points, the first and the last among them. */
const thinned = <T>(points: readonly T[], most: number): readonly T[] => (points.length <= most ? points : Array.from({ length: most }, (_, i) => points[Math.round((i * (points.length - 1)) / (most - 1))]!));

/** Lines over two linear axes, with a legend where there are several. `xWord` and `yWord` make words of numbers of ticks. */
export function linePlot(label: string, lines: readonly Line[], xWord: (x: number) => string, yWord: (y: number) => string, stepped = false): string {
  const drawn = lines.filter(({ points }) => points.length > 0);
  const all = drawn.flatMap(({ points }) => points);
  if (all.length < 2) return '';
  const span = (values: readonly number[]): [number, number] => {
    const [low, high] = values.reduce<[number, number]>(([a, b], value) => [Math.min(a, value), Math.max(b, value)], [Infinity, -Infinity]);
    return high > low ? [low, high] : [low - (Math.abs(low) || 1) * 0.05, high + (Math.abs(high) || 1) * 0.05];
  };
  const [[x0, x1], [y0, y1]] = [span(all.map(([x]) => x)), span(all.map(([, y]) => y))];
  const x = (value: number): number => LEFT + ((value - x0) / (x1 - x0)) * (WIDTH - LEFT - RIGHT);
  const y = (value: number): number => HEIGHT - BOTTOM - ((value - y0) / (y1 - y0)) * (HEIGHT - TOP - BOTTOM);
  const legend = drawn.length > 1 ? 16 * Math.ceil(drawn.length / 2) + 4 : 0;
  return svg(WIDTH, HEIGHT + legend, label, [
    ...ticks(y0, y1).map((value) => `<line x1="${LEFT}" x2="${WIDTH - RIGHT}" y1="${near(y(value))}" y2="${near(y(value))}" stroke="var(--line)"/>${text(LEFT - 5, y(value) + 4, yWord(value), `${END} class="dim"`)}`),
    ...ticks(x0, x1).map((value) => text(x(value), HEIGHT - BOTTOM + 16, xWord(value), `${MIDDLE} class="dim"`)),
    ...drawn.flatMap(({ name, points }, i) => {
      const colour = COLOURS[i % COLOURS.length]!;
      const at = thinned(points, 300).map(([px, py]) => [near(x(px)), near(y(py))] as const);
      const path = at.map(([px, py], j) => (j === 0 ? `M${px} ${py}` : stepped ? `H${px}V${py}` : `L${px} ${py}`)).join('');
      const [lx, ly] = [LEFT + (i % 2) * 175, HEIGHT + 12 + 16 * Math.floor(i / 2)];
      return [`<path d="${path}" fill="none" stroke="${colour}" stroke-width="1.5"/>`, ...(legend > 0 ? [rect(lx, ly - 9, 10, 10, ` fill="${colour}"`), text(lx + 15, ly, name)] : [])];
    }),
  ]);
}
