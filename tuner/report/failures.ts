// Section of the report: candidates that were lost or left out, by class, with reasons and the command that shows each again.
import { of, STAGES } from '../tune/events.ts';
import { armWord } from '../tune/problem.ts';
import type { ReportData } from './data.ts';
import { code, paragraph, sectionHtml, tableHtml } from './html.ts';

/** Rows of the table of faults: what goes beyond is counted. */
const MOST = 200;

/** The reason without its numbers, so that a thousand like ones are one class. */
const classOf = (why: string): string => why.split('\n')[0]!.replace(/antkv_\w+/g, 'KERNEL').replace(/\d+(\.\d+)?/g, 'N').slice(0, 160);

function counted<T>(items: readonly T[], key: (item: T) => string): [key: string, count: number, first: T][] {
  const counts = new Map<string, [number, T]>();
  for (const item of items) counts.set(key(item), [(counts.get(key(item))?.[0] ?? 0) + 1, counts.get(key(item))?.[1] ?? item]);
  return [...counts].map(([word, [count, first]]): [string, number, T] => [word, count, first]).sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1));
}

export function failuresSection({ events }: ReportData): string {
  const failed = of(events, 'failed');
  const pruned = of(events, 'pruned');
  if (failed.length + pruned.length === 0) return events.length === 0 ? '' : sectionHtml('failures', 'Failures', [paragraph('No candidate was lost.')]);
  const classes = [
    ...counted(failed, ({ stage, kind, why }) => JSON.stringify([stage, `lost: ${kind}`, classOf(why)])),
    ...counted(pruned, ({ stage, why }) => JSON.stringify([stage, 'left out', classOf(why)])),
  ].map(([key, count, { why }]) => ({ words: JSON.parse(key) as [string, string, string], count, why }));
  const order = (stage: string): number => (STAGES as readonly string[]).indexOf(stage);
  const rows = classes.toSorted((a, b) => order(a.words[0]) - order(b.words[0]) || b.count - a.count).map(({ words: [stage, kind], count, why }) => [stage, kind, String(count), why.split('\n')[0]!.slice(0, 200)]);
  const shown = failed.slice(0, MOST).map(({ stage, kind, kernel, arm, problem, why, repro }) => [
    stage, kind, arm ? armWord(arm) : kernel, problem ? `B${problem.shape.batch ?? 'ragged'} x ${problem.shape.tokens ?? 'ragged'} ${problem.mode}` : 'every problem', why.split('\n')[0]!.slice(0, 300), { html: code(repro) },
  ]);
  return sectionHtml('failures', 'Failures', [
    paragraph(`${failed.length} candidates were lost, ${pruned.length} were left out before they were measured. None of them ended the sweep.`),
    tableHtml(['stage', 'class', 'count', 'the first of them'], rows),
    ...(shown.length > 0 ? ['<h3>Lost, one by one</h3>', tableHtml(['stage', 'kind', 'candidate', 'where', 'why', 'shows it again'], shown)] : []),
    ...(failed.length > MOST ? [paragraph(`and ${failed.length - MOST} more.`, true)] : []),
  ]);
}
