// Sections of the report: the sweep in a sentence, and at every point what won, against the floor, FP16 and the default.
import type { PointTimes } from '../../generator/table/schema.ts';
import { geomean } from '../space/numbers.ts';
import { contractWord, extrasOf, howWord, type Extra, type ReportData, type ReportTable } from './data.ts';
import { detailsHtml, figures, paragraph, percent, sectionHtml, tableHtml, tokensWord } from './html.ts';

interface Row extends Extra {
  readonly of: ReportTable;
  readonly contract: string;
  readonly point: PointTimes;
  /** Of the fastest shipped kernel. */
  readonly us: number;
  readonly modelled: boolean;
}

export function rowsOf(data: ReportData): Row[] {
  const extras = extrasOf(data);
  return data.tables.flatMap((one) =>
    Object.entries(one.table.contracts).flatMap(([contract, { points, origin }]) =>
      points.map((point) => ({ of: one, contract, point, us: point.times[0]?.us ?? point.default.us, modelled: origin === 'modelled', ...extras(one.table, contract, point) })),
    ),
  );
}

const placeWord = ({ point: { mode, streams, tokens }, batch }: Row): string => `${batch === undefined ? `${streams} streams` : `B${batch}`} x ${tokensWord(tokens)}${mode === 'spread' ? ' spread' : ''}`;

/** The sweep in a few sentences; one for each table. */
export function headlines(data: ReportData): string[] {
  const rows = rowsOf(data);
  return data.tables.map((one) => {
    const own = rows.filter((row) => row.of === one);
    const name = `${one.table.device.name}, ${one.table.arch} kernels`;
    if (own.length === 0) return `${name}: no point was timed.`;
    const gains = own.map(({ point, us }) => point.default.us / us);
    const best = own[gains.indexOf(Math.max(...gains))]!;
    const slower = gains.filter((gain) => gain < 1 / 1.005).length;
    const loss = Math.max(...own.map(({ point, us }) => us / point.best.us));
    const fp16 = own.flatMap(({ fp16Us, us }) => (fp16Us === undefined ? [] : [fp16Us / us]));
    const left = Object.values(one.table.contracts).flatMap(({ leftOut }) => leftOut ?? []);
    return [
      `${name}${own.every(({ modelled }) => modelled) ? ' (modelled, never measured)' : ''}: ${own.length} points of ${Object.keys(one.table.contracts).length} contracts.`,
      `What is shipped takes ${percent(geomean(gains.map((gain) => 1 / gain)))} of the default's time (geometric mean; best ${gains.length > 0 ? Math.max(...gains).toFixed(2) : '-'}x at ${placeWord(best)} of ${contractWord(best.contract)}), is slower than the default at ${slower} points and at most ${percent(loss - 1)} slower than the best that was found.`,
      ...(fp16.length > 0 ? [`Over FP16: ${Math.min(...fp16).toFixed(2)}x to ${Math.max(...fp16).toFixed(2)}x.`] : []),
      ...(left.length > 0 ? [`A point left out of the build loses ${percent(Math.max(...left.map(({ mean }) => mean)) / 1000)} in the mean of the worst contract, ${percent(Math.max(...left.map(({ worst }) => worst)) / 1000)} at worst.`] : []),
    ].join(' ');
  });
}

const HEAD = ['shape', 'kernel', 'launch', 'µs', '± %', '% of floor', 'x FP16', 'x default', 'best found', 'ties'] as const;

function cellsOf(row: Row): string[] {
  const { point, us, floorUs, fp16Us } = row;
  const winner = point.times[0] ?? { ...point.default, half: 0 };
  const same = point.best.kernel === winner.kernel && point.best.launch === winner.launch;
  return [
    placeWord(row), howWord(winner.kernel), winner.launch || '-', figures(us), winner.half === null ? '-' : (100 * winner.half).toFixed(1),
    floorUs === undefined ? '-' : (100 * (floorUs / us)).toFixed(0), fp16Us === undefined ? '-' : (fp16Us / us).toFixed(2), (point.default.us / us).toFixed(3),
    same ? '✓' : `${howWord(point.best.kernel)} ${point.best.launch} ${percent(us / point.best.us - 1)}`.replace('  ', ' '),
    point.ties.map(howWord).filter((word) => word !== howWord(winner.kernel)).join(', ') || '-',
  ];
}

export function winnersSection(data: ReportData): string {
  const rows = rowsOf(data);
  const parts = data.tables.flatMap((one, i) =>
    Object.keys(one.table.contracts).map((contract, j) => {
      const own = rows.filter((row) => row.of === one && row.contract === contract);
      const { origin } = one.table.contracts[contract]!;
      const gain = own.length > 0 ? `, ${geomean(own.map(({ point, us }) => point.default.us / us)).toFixed(2)}x the default` : '';
      return detailsHtml(`${contractWord(contract)} on ${one.table.device.name}, ${one.table.arch}: ${own.length} points${gain}${origin === 'measured' ? '' : `, ${origin}`}`, tableHtml(HEAD, own.map(cellsOf)), i === 0 && j === 0);
    }),
  );
  return sectionHtml('winners', 'Winners', [
    ...(parts.length > 0 ? [paragraph('At every measured point the fastest kernel that is shipped, half the width of the 95 % interval of its ratio to the default, its speed over the floor (useful bytes at the bandwidth read in the same sweep), over FP16 and over the default. Best found: ✓, or what else was faster, and by how much.', true)] : []),
    ...parts,
  ]);
}
