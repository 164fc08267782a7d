// Section of the report: over streams and tokens, where each kernel and launch is chosen, how sure that is, and where it was measured.
import { CELL_LETTERS, type ContractTable, type Table } from '../../generator/table/schema.ts';
import { placeOf, wholeMiddleOf } from '../../generator/table/steps.ts';
import { parseCell } from '../../generator/table/words.ts';
import { contractWord, howWord, type ReportData } from './data.ts';
import { detailsHtml, gridHtml, paragraph, sectionHtml, tokensWord } from './html.ts';
import { COLOURS, END, MIDDLE, rect, svg, text } from './svg.ts';

const [CELL, LEFT, TOP] = [16, 44, 6];
type Mode = keyof ContractTable['modes'];

/** One path per colour: runs of equal cells in a row; equal rows are drawn as one. */
function paths(rows: readonly (readonly { readonly kernel: string; readonly sure: boolean }[])[], kernels: readonly string[]): string[] {
  const drawn = new Map<string, string>();
  const words = rows.map((row) => JSON.stringify(row));
  rows.forEach((row, y) => {
    if (words[y - 1] === words[y]) return;
    const other = words.findIndex((word, i) => i > y && word !== words[y]);
    const high = (other < 0 ? words.length : other) - y;
    for (let from = 0; from < row.length; ) {
      let to = from + 1;
      while (to < row.length && row[to]!.kernel === row[from]!.kernel && row[to]!.sure === row[from]!.sure) to++;
      const key = `${COLOURS[kernels.indexOf(row[from]!.kernel) % COLOURS.length]}${row[from]!.sure ? '' : '" fill-opacity="0.55'}`;
      drawn.set(key, `${drawn.get(key) ?? ''}M${LEFT + from * CELL} ${TOP + y * CELL}h${(to - from) * CELL}v${high * CELL}h-${(to - from) * CELL}z`);
      from = to;
    }
  });
  return [...drawn].map(([fill, path]) => `<path fill="${fill}" d="${path}"/>`);
}

/** The cells of one mode; undefined if the table has none. */
function surface({ axes }: Table, { modes, points }: ContractTable, mode: Mode): string | undefined {
  const plane = modes[mode];
  if (!plane) return undefined;
  // Many streams above, as on a map.
  const cells = plane.cells.map((row) => row.split(' ').map((word) => parseCell(word))).toReversed();
  const kernelOf = (key: string | undefined): string => plane.choices[key ?? '']?.kernel ?? '?';
  const kernels = [...new Set(cells.flat().map((cell) => kernelOf(cell?.key)))].sort();
  const [columns, lines] = [axes.tokens.count, axes.streams.count];
  const body = paths(cells.map((row) => row.map((cell) => ({ kernel: kernelOf(cell?.key), sure: cell?.letter === 'M' || cell?.letter === 'I' }))), kernels);
  const dots = points.filter((point) => mode === 'fastest' || point.mode === mode).map(({ streams, tokens }) => {
    const x = LEFT + (placeOf(axes.tokens, tokens) + 0.5) * CELL;
    const y = TOP + (lines - 1 - placeOf(axes.streams, streams) + 0.5) * CELL;
    return `M${x - 3} ${y}a3 3 0 1 0 6 0a3 3 0 1 0 -6 0`;
  });
  const across = Array.from({ length: columns }, (_, i) => i).filter((i) => i % 4 === 0).map((i) => text(LEFT + (i + 0.5) * CELL, TOP + lines * CELL + 14, tokensWord(wholeMiddleOf(axes.tokens, i)), `${MIDDLE} class="dim"`));
  const down = Array.from({ length: lines }, (_, i) => i).filter((i) => i % 4 === 0).map((i) => text(LEFT - 5, TOP + (lines - 1 - i) * CELL + 12, String(wholeMiddleOf(axes.streams, i)), `${END} class="dim"`));
  const legend = kernels.flatMap((kernel, i) => {
    const y = TOP + lines * CELL + 34 + 16 * i;
    return [rect(LEFT, y - 9, 10, 10, ` fill="${COLOURS[i % COLOURS.length]}"`), text(LEFT + 15, y, howWord(kernel))];
  });
  return svg(LEFT + columns * CELL + 16, TOP + lines * CELL + 28 + 16 * kernels.length, `${mode}: kernel over tokens and streams`, [...body, `<path class="dot" d="${[...new Set(dots)].join('')}"/>`, ...across, ...down, ...legend]);
}

/** How many cells of each quality. */
function shares({ modes }: ContractTable): string {
  const letters = Object.values(modes).flatMap(({ cells }) => cells.flatMap((row) => row.split(' '))).map((word) => parseCell(word)?.letter);
  return Object.entries(CELL_LETTERS).flatMap(([letter, quality]) => {
    const count = letters.filter((one) => one === letter).length;
    return count > 0 ? [`${count} ${quality}`] : [];
  }).join(', ');
}

export function surfaceSection(data: ReportData): string {
  const parts = data.tables.flatMap(({ table }, i) =>
    Object.entries(table.contracts).map(([contract, own], j) => {
      // `fastest` chooses between the other two, and shows what both know.
      const modes = (['fastest', 'sequence', 'spread'] as const).filter((mode) => own.modes[mode]).slice(0, own.modes.fastest ? 3 : 2);
      const figures = modes.flatMap((mode) => ({ title: mode, body: surface(table, own, mode) ?? '' }));
      return detailsHtml(`${contractWord(contract)} on ${table.device.name}, ${table.arch}: cells ${shares(own)}`, gridHtml(figures), i === 0 && j === 0);
    }),
  );
  return sectionHtml('surface', 'Shape surface', parts.length === 0 ? [] : [paragraph('What a look-up answers: across tokens of the longest sequence, upwards streams (sequences x KV heads x groups of columns), in quarter or half octaves. Dots are measured points; pale cells are computed, or the default.', true), ...parts]);
}
