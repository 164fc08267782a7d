// Sections of the report: how time depends on the fields of a tile, in pairs as heat maps and one by one as what a wrong value costs.
import { candidateOf } from '../space/space.ts';
import { contractWord, costsOf, groupsOf, type Group, type ReportData } from './data.ts';
import { detailsHtml, gridHtml, paragraph, percent, sectionHtml, tableHtml } from './html.ts';
import { END, MIDDLE, rect, svg, text } from './svg.ts';

interface Known {
  readonly cost: number;
  readonly fields: Readonly<Record<string, number | string>>;
}
type Value = number | string;

const ascending = (a: Value, b: Value): number => (typeof a === 'number' && typeof b === 'number' ? a - b : String(a) < String(b) ? -1 : 1);
const valuesOf = (known: readonly Known[], field: string): Value[] => [...new Set(known.flatMap(({ fields }) => (fields[field] === undefined ? [] : [fields[field]])))].sort(ascending);
const leastOf = (known: readonly Known[]): number => Math.min(...known.map(({ cost }) => cost));

export interface Sensitivity {
  readonly field: string;
  /** Values with the least time of any kernel that has them, over the least of all. */
  readonly values: readonly { readonly value: Value; readonly times: number }[];
  /** The most that a value costs when all other fields are at their best for it. */
  readonly worst: number;
}

/** Fields that have several values, the one that matters most first. */
export function sensitivitiesOf(known: readonly Known[]): Sensitivity[] {
  const least = leastOf(known);
  return [...new Set(known.flatMap(({ fields }) => Object.keys(fields)))]
    .map((field) => {
      const values = valuesOf(known, field).map((value) => ({ value, times: leastOf(known.filter(({ fields }) => fields[field] === value)) / least }));
      return { field, values, worst: Math.max(...values.map(({ times }) => times)) };
    })
    .filter(({ values }) => values.length > 1)
    .sort((a, b) => b.worst - a.worst || (a.field < b.field ? -1 : 1));
}

// Steps of loss at which the colour changes, up to what nobody would ship.
const STEPS = [0.005, 0.02, 0.05, 0.1, 0.2, 0.5];
const shade = (loss: number): number => STEPS.filter((step) => loss > step).length;

/** The least time of any kernel with both values, over the least of all. */
function heatMap(all: readonly Known[], [a, b]: readonly [string, string]): string {
  const known = all.filter(({ fields }) => fields[a] !== undefined && fields[b] !== undefined);
  const [across, down] = [valuesOf(known, a), valuesOf(known, b)];
  const [width, height, left] = [Math.min(44, 330 / across.length), 22, 62];
  const least = leastOf(all);
  const cells = down.flatMap((y, j) =>
    across.flatMap((x, i) => {
      const both = known.filter(({ fields }) => fields[a] === x && fields[b] === y);
      if (both.length === 0) return [];
      const loss = leastOf(both) / least - 1;
      const words = width > 30 ? [text(left + (i + 0.5) * width, 6 + j * height + 15, `${(100 * loss).toFixed(loss < 0.1 ? 1 : 0)}`, `${MIDDLE} class="h${shade(loss) > 3 ? 'l' : 'd'}"`)] : [];
      return [rect(left + i * width, 6 + j * height, width - 1, height - 1, ` class="h${shade(loss)}"`, `${a} ${x}, ${b} ${y}: ${percent(loss)} slower, ${both.length} kernels`), ...words];
    }),
  );
  const bottom = 6 + down.length * height;
  return svg(left + across.length * width + 4, bottom + 36, `time over ${a} and ${b}`, [
    ...cells,
    ...down.map((y, j) => text(left - 6, 6 + j * height + 15, String(y), `${END} class="dim"`)),
    ...across.map((x, i) => text(left + (i + 0.5) * width, bottom + 14, String(x), `${MIDDLE} class="dim"`)),
    text(left, bottom + 31, `${a} → , ${b} ↓`, ' class="dim"'),
  ]);
}

const knownOf = (group: Group): Known[] => [...costsOf(group)].map(([kernel, cost]) => ({ cost, fields: candidateOf(kernel).fields }));
const titleOf = ({ contract, device, arch }: Group, known: readonly Known[]): string => `${contractWord(contract)} on ${device}, ${arch}: ${known.length} kernels`;

/** Pairs of fields by what they matter together, three at most. */
function pairsOf(found: readonly Sensitivity[], known: readonly Known[]): [string, string][] {
  const all = found.flatMap(({ field }, i) => found.slice(i + 1).map((other): [string, string] => [field, other.field]));
  return all.filter((pair) => pair.every((name) => valuesOf(known.filter(({ fields }) => pair.every((field) => fields[field] !== undefined)), name).length > 1)).slice(0, 3);
}

export function fieldSections(data: ReportData): string[] {
  const all = groupsOf(data.pools).map((group) => ({ group, known: knownOf(group) })).filter(({ known }) => known.length > 2);
  const maps = all.flatMap(({ group, known }, i) => {
    const figures = pairsOf(sensitivitiesOf(known), known).map((pair) => ({ title: pair.join(' and '), body: heatMap(known, pair) }));
    return figures.length > 0 ? [detailsHtml(titleOf(group, known), gridHtml(figures), i === 0)] : [];
  });
  const rows = all.flatMap(({ group, known }) =>
    sensitivitiesOf(known).map(({ field, values, worst }) => [contractWord(group.contract), `${group.device}, ${group.arch}`, field, percent(worst - 1), values.map(({ value, times }) => `${value}: ${times === 1 ? 'best' : `+${percent(times - 1)}`}`).join('; ')]),
  );
  const how = 'Time over the default, geometric mean over the points where a kernel ran (half of them at least; the best launch at each), of the best kernel with the value, compared with the best of all.';
  return [
    sectionHtml('heat', 'Pairs of fields', maps.length === 0 ? [] : [paragraph(`Percent slower than the best, for every pair of values that ran. ${how}`, true), ...maps]),
    sectionHtml('sensitivity', 'Sensitivity', rows.length === 0 ? [] : [paragraph(`What a value of one field costs when the others are at their best for it. ${how}`, true), tableHtml(['contract', 'device', 'field', 'worst value', 'values'], rows)]),
  ];
}
