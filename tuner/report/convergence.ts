// Sections of the report: how the search came to its best, and what more kernels would bring.
import { parseKernelName } from '../../generator/name.ts';
import { geomean, median } from '../space/numbers.ts';
import { problemKey } from '../tune/problem.ts';
import { of, type EventOf } from '../tune/events.ts';
import { contractWord, howWord, type ReportData } from './data.ts';
import { detailsHtml, gridHtml, paragraph, percent, sectionHtml, tableHtml } from './html.ts';
import { linePlot, type Line } from './svg.ts';

/** After each kernel that was first seen: how many there were, and the best time over the default so far, geometric mean over the problems seen. */
export function convergenceOf(races: readonly EventOf<'raced'>[]): [kernels: number, ratio: number][] {
  const seen = new Set<string>();
  const best = new Map<string, number>();
  const curve: [number, number][] = [];
  for (const { problem, arms, rounds } of races) {
    if (rounds.length === 0) continue;
    const key = problemKey(problem);
    arms.forEach(({ kernel }, i) => {
      seen.add(kernel);
      const ratio = Math.exp(median(rounds.map(({ us }) => Math.log(us[i]! / us[0]!))));
      best.set(key, Math.min(best.get(key) ?? 1, ratio));
    });
    const point: [number, number] = [seen.size, geomean([...best.values()])];
    if (curve.at(-1)?.[0] === point[0]) curve[curve.length - 1] = point;
    else curve.push(point);
  }
  return curve;
}

export function convergenceSection({ events }: ReportData): string {
  const groups = new Map<string, EventOf<'raced'>[]>();
  // Screens see every kernel; races see the survivors, more exactly.
  for (const event of of(events, 'raced').filter(({ phase }) => phase === 'screen')) {
    const { contract, arch } = parseKernelName(event.arms[0]!.kernel);
    const key = `${event.environment} ${event.problem.contract} ${arch.name} ${contract.op}`;
    groups.set(key, [...(groups.get(key) ?? []), event]);
  }
  const figures = [...groups.values()].flatMap((races) => {
    const curve = convergenceOf(races);
    const { arch } = parseKernelName(races[0]!.arms[0]!.kernel);
    const body = linePlot('best time over the default, by kernels tried', [{ name: 'best so far', points: curve }], String, (y) => y.toFixed(2), true);
    return body === '' ? [] : [{ title: `${contractWord(races[0]!.problem.contract)}, ${arch.name}: ${curve.at(-1)![0]} kernels`, body }];
  });
  return sectionHtml('convergence', 'Convergence', figures.length === 0 ? [] : [paragraph('Best time over the default (geometric mean over the problems), by the number of kernels tried, as the screens saw it.', true), gridHtml(figures)]);
}

export function curveSection({ tables }: ReportData): string {
  const parts = tables.flatMap(({ table, curves }, i) =>
    Object.entries(curves).map(([contract, steps], j) => {
      const line = (name: string, value: 'worst' | 'mean'): Line => ({ name, points: steps.map((step) => [step.kernels, step[value] - 1]) });
      const plot = linePlot('slowdown against the best, by kernels shipped', [line('worst point', 'worst'), line('mean', 'mean')], (x) => (Number.isInteger(x) ? String(x) : ''), (y) => percent(y));
      const rows = steps.map((step) => [String(step.kernels), howWord(step.kernel), `${(step.bytes / 1024).toFixed(0)} KB`, Number.isFinite(step.worst) ? percent(step.worst - 1) : '-', Number.isFinite(step.mean) ? percent(step.mean - 1) : '-', step.shipped ? '✓' : '']);
      const finite = steps.every(({ worst, mean }) => Number.isFinite(worst) && Number.isFinite(mean));
      const body = `${finite && plot !== '' ? gridHtml([{ title: 'slowdown by number of kernels', body: plot }]) : ''}${tableHtml(['kernels', 'added', 'sources', 'worst point', 'mean', 'shipped'], rows)}`;
      return detailsHtml(`${contractWord(contract)} on ${table.device.name}, ${table.arch}: ${steps.filter(({ shipped }) => shipped).length} of ${steps.length} shipped`, body, i === 0 && j === 0);
    }),
  );
  return sectionHtml('ship', 'What to ship', parts.length === 0 ? [] : [paragraph('Kernels in the order in which they are added, and how much slower than the best that was found one is with so many.', true), ...parts]);
}
