// Section of the report: what is lost on a device by the choices of another one's table.
import { IDENTITY_KEYS } from '../../generator/table/find.ts';
import type { PointTimes, Table } from '../../generator/table/schema.ts';
import { placeOf } from '../../generator/table/steps.ts';
import { parseCell } from '../../generator/table/words.ts';
import { mean } from '../space/numbers.ts';
import type { ReportData, ReportTable } from './data.ts';
import { paragraph, percent, sectionHtml, tableHtml } from './html.ts';

/** The kernel that a table chooses at a point; undefined where it has no such contract. */
function chosen({ axes, contracts }: Table, contract: string, { mode, streams, tokens }: PointTimes): string | undefined {
  const modes = contracts[contract]?.modes;
  const plane = modes?.[mode] ?? modes?.sequence;
  const word = plane?.cells[placeOf(axes.streams, streams)]?.split(' ')[placeOf(axes.tokens, tokens)];
  const cell = word === undefined ? undefined : parseCell(word);
  return cell && plane!.choices[cell.key]?.kernel;
}

export interface Portability {
  /** Points that could be compared, of all of them. */
  readonly compared: number;
  readonly points: number;
  readonly mean: number;
  readonly worst: number;
}

/** What the choices of `from` lose at the points of `on`, each with the best launch that its kernel had there. */
export function portabilityOf(from: Table, { table: on }: ReportTable, { pools }: Pick<ReportData, 'pools'>): Portability {
  const pool = pools.find(({ arch, device }) => arch === on.arch && IDENTITY_KEYS.every((key) => device[key] === on.device[key]));
  let points = 0;
  const losses = Object.entries(on.contracts).flatMap(([contract, own]) =>
    own.points.flatMap((point) => {
      points++;
      const kernel = chosen(from, contract, point);
      if (kernel === undefined) return [];
      const here = pool?.points.find(({ problem, streams, tokens }) => problem.contract === contract && problem.mode === point.mode && streams === point.streams && tokens === point.tokens);
      const us = here?.arms.find((arm) => arm.kernel === kernel)?.us ?? point.times.find((time) => time.kernel === kernel)?.us ?? (point.default.kernel === kernel ? point.default.us : undefined);
      const best = point.times[0]?.us ?? point.default.us;
      return us === undefined ? [] : [Math.max(0, us / best - 1)];
    }),
  );
  return { compared: losses.length, points, mean: losses.length > 0 ? mean(losses) : 0, worst: Math.max(0, ...losses) };
}

const nameOf = ({ table: { device, arch, contracts } }: ReportTable): string => `${device.name}, ${arch}${Object.values(contracts).every(({ origin }) => origin === 'modelled') ? ' (modelled)' : ''}`;

export function portabilitySection(data: ReportData): string {
  const rows = data.tables.flatMap((from) =>
    data.tables.flatMap((on) => {
      if (from === on || from.table.arch !== on.table.arch) return [];
      const { compared, points, mean: middle, worst } = portabilityOf(from.table, on, data);
      return compared > 0 ? [[nameOf(from), nameOf(on), `${compared} of ${points}`, percent(middle), percent(worst)]] : [];
    }),
  );
  return sectionHtml('portability', 'Portability', rows.length === 0 ? [] : [paragraph('How much slower one device is with the kernels that the table of another chooses, where those ran there. A modelled table holds no measurement: a row about it says what the model thinks.', true), tableHtml(['choices of', 'on', 'points', 'mean loss', 'worst loss'], rows)]);
}
