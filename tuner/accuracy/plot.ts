// Perplexity over effective bits as SVG text, the Pareto front joined and numbered. Pure.
import { COLOURS, END, MIDDLE, escape, svg, text } from '../report/svg.ts';
import type { Question } from './record.ts';

const [WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM] = [640, 360, 56, 16, 16, 40];
const MANY = [0.25, 0.375, 0.5, 0.75, 1, 1.25, 1.5, 2, 3, 4, 6, 8, 16];

const at = (value: number): string => String(Number(value.toFixed(1)));

/** About five round shares, from `low` to `high`, of a logarithmic axis: 1, 2, 5 of each decade. */
function shares(low: number, high: number): number[] {
  const all = Array.from({ length: 9 }, (_, i) => 10 ** (i - 5)).flatMap((ten) => [ten, 2 * ten, 5 * ten]).filter((value) => value >= low && value <= high);
  return all.length > 0 ? all : [low];
}

const percent = (share: number): string => `+${Number((100 * share).toPrecision(2))} %`;

/** Both axes logarithmic: bits per element, and perplexity over that of the exact cache, less 1. Points at or below the exact perplexity stand on the floor of the drawing. */
export function frontPlot({ title, exact, records, front }: Question): string {
  const over = ({ perplexity }: { perplexity: number }): number => perplexity / exact - 1;
  const least = Math.min(...records.map(over).filter((share) => share > 0), 1);
  const [x0, x1] = [Math.min(...records.map((r) => r.held_bits)) / 1.1, Math.max(...records.map((r) => r.held_bits)) * 1.1].map(Math.log) as [number, number];
  const [y0, y1] = [least / 1.3, Math.max(...records.map(over), least * 1.1) * 1.3].map(Math.log) as [number, number];
  const x = (bits: number): number => LEFT + ((Math.log(bits) - x0) / (x1 - x0)) * (WIDTH - LEFT - RIGHT);
  const y = (share: number): number => HEIGHT - BOTTOM - ((Math.log(Math.max(share, least / 1.3)) - y0) / (y1 - y0)) * (HEIGHT - TOP - BOTTOM);
  const rows = shares(Math.exp(y0), Math.exp(y1)).map((share) => `<line x1="${LEFT}" x2="${WIDTH - RIGHT}" y1="${at(y(share))}" y2="${at(y(share))}" stroke="var(--line)"/>${text(LEFT - 6, y(share) + 4, percent(share), `${END} class="dim"`)}`);
  const columns = MANY.filter((bits) => Math.log(bits) >= x0 && Math.log(bits) <= x1).map((bits) => text(x(bits), HEIGHT - BOTTOM + 16, String(bits), `${MIDDLE} class="dim"`));
  const numbers = new Map(front.map((record, i) => [record, i + 1]));
  const points = records.map((record) => {
    const says = `${record.run.name}: ${record.held_bits.toFixed(3)} bits, perplexity ${record.perplexity.toFixed(3)} (${percent(over(record))})`;
    const colour = COLOURS[record.run.plan.every(({ key }) => key === 'pre') ? 0 : 5]!;
    const fill = numbers.has(record) ? ` fill="${colour}"` : ' fill="none"';
    return `<circle cx="${at(x(record.held_bits))}" cy="${at(y(over(record)))}" r="${numbers.has(record) ? 4 : 3}" stroke="${colour}"${fill}><title>${escape(says)}</title></circle>`;
  });
  const path = front.map((record, i) => `${i === 0 ? 'M' : 'L'}${at(x(record.held_bits))} ${at(y(over(record)))}`).join('');
  const labels = front.map((record) => text(x(record.held_bits) - 5, y(over(record)) - 7, String(numbers.get(record)), MIDDLE));
  const legend = [[COLOURS[0]!, 'keys before RoPE'], [COLOURS[5]!, 'after']].map(([colour, words], i) => `<circle cx="${WIDTH - 190 + 120 * i}" cy="${TOP}" r="4" fill="${colour}"/>${text(WIDTH - 182 + 120 * i, TOP + 4, words!, ' class="dim"')}`);
  return svg(WIDTH, HEIGHT, `perplexity over effective bits: ${title}`, [
    ...rows, ...columns, text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 6, 'effective bits per element, as held', `${MIDDLE} class="dim"`), ...legend,
    `<path d="${path}" fill="none" stroke="var(--dim)" stroke-width="1"/>`, ...points, ...labels,
  ]);
}

/** A drawing as a file of its own. Its greys are legible on white and on black, as who shows it chooses the ground. */
export const standalone = (drawing: string): string =>
  `${drawing.replace('<svg ', '<svg xmlns="http://www.w3.org/2000/svg" style="--dim:#7d8590;--line:#7d859055" ').replace('>', '><style>text{font:12px system-ui,sans-serif;fill:#7d8590}</style>')}\n`;
