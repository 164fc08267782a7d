// Section of the report: what each kernel took to compile, and what became of it there.
import { parseKernelName } from '../../generator/name.ts';
import { mean } from '../space/numbers.ts';
import { of, type EventOf } from '../tune/events.ts';
import type { ReportData } from './data.ts';
import { detailsHtml, paragraph, sectionHtml, tableHtml } from './html.ts';

/** Rows of the table: what goes beyond is counted. */
const MOST = 400;

/** 0: it was in the cache. */
const secondsOf = ({ seconds: { ptx, ptxas } }: EventOf<'compiled'>): number => (ptx ?? 0) + (ptxas ?? 0);
const word = (seconds: number | null): string => seconds?.toFixed(1) ?? 'cached';

/** Kernels that were compiled, slowest first; of several compilations of one the newest that took time counts. */
export const compiledOf = ({ events }: Pick<ReportData, 'events'>): EventOf<'compiled'>[] =>
  [...new Map(of(events, 'compiled').toSorted((a, b) => Math.sign(secondsOf(a)) - Math.sign(secondsOf(b))).map((event) => [event.kernel, event])).values()].sort((a, b) => secondsOf(b) - secondsOf(a) || (a.kernel < b.kernel ? -1 : 1));

export function compileSection(data: ReportData): string {
  const compiled = compiledOf(data);
  if (compiled.length === 0) return '';
  const ops = [...new Set(compiled.map(({ kernel }) => parseKernelName(kernel).contract.op))].sort().map((op) => {
    const own = compiled.filter(({ kernel }) => parseKernelName(kernel).contract.op === op);
    return [op, String(own.length), mean(own.map(secondsOf)).toFixed(1), secondsOf(own[0]!).toFixed(1), own.reduce((sum, one) => sum + secondsOf(one), 0).toFixed(0)];
  });
  const rows = compiled.slice(0, MOST).map((event) => [event.kernel, word(event.seconds.ptx), word(event.seconds.ptxas), String(event.registers), String(event.spillBytes), String(event.stackBytes)]);
  return sectionHtml('compile', 'Compilation', [
    paragraph('Seconds of one core, beside the GPU. Each kernel is compiled once for all points.'),
    tableHtml(['op', 'kernels', 'mean s', 'most s', 'in all s'], ops),
    detailsHtml('Every kernel, the slowest first', tableHtml(['kernel', 'to PTX s', 'ptxas s', 'registers', 'spills B', 'stack B'], rows)),
    ...(compiled.length > MOST ? [paragraph(`and ${compiled.length - MOST} more.`, true)] : []),
  ]);
}
