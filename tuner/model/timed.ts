// Measured times as a fit wants them: from bench records, and from the events of a journal. Pure.
import { contractName, parseKernelName } from '../../generator/name.ts';
import { launchWord } from '../bench-launch.ts';
import type { Row } from '../bench-row.ts';
import { armWord, problemKey, type Problem } from '../tune/problem.ts';
import type { TuneEvent } from '../tune/events.ts';
import type { Timed } from '../tune/model.ts';
import { median } from '../space/numbers.ts';

/** The times of decode rows that were right; other rows are left out. */
export function timedOfRows(rows: readonly Row[]): Timed[] {
  return rows.flatMap((row): Timed[] => {
    if (row.source !== 'antkv' || row.op !== 'decode' || !row.ok) return [];
    const { splits: _, spread = false, merge, ...shape } = row.shape as Row['shape'] & { splits?: number; merge?: 'last' | 'combine' };
    const splits = row.splits ?? 1;
    const launch = launchWord({ splits, spread, merge: merge ?? (splits > 1 ? 'combine' : 'none') });
    const problem = { contract: contractName(parseKernelName(row.kernel).contract), mode: spread ? 'spread' : 'sequence', shape: shape as Problem['shape'] } as const;
    return [{ problem, arm: { kernel: row.kernel, launch }, us: row.us.median }];
  });
}

/** The median time of every arm at every problem, over all rounds of `events` that were measured on a GPU in one environment, of each kernel's newest code only. */
export function timedOfEvents(events: readonly TuneEvent[], environment: string): Timed[] {
  const newest = new Map<string, { at: string; ptx: string | undefined }>();
  for (const event of events) {
    if (event.event !== 'raced' || event.environment !== environment) continue;
    event.arms.forEach(({ kernel }, i) => {
      if ((newest.get(kernel)?.at ?? '') < event.at) newest.set(kernel, { at: event.at, ptx: event.ptx[i] });
    });
  }
  const times = new Map<string, { timed: Omit<Timed, 'us'>; us: number[] }>();
  for (const event of events) {
    if (event.event !== 'raced' || event.environment !== environment) continue;
    event.arms.forEach((arm, i) => {
      if (event.ptx[i] !== newest.get(arm.kernel)?.ptx) return;
      const key = `${problemKey(event.problem)} ${armWord(arm)}`;
      const row = times.get(key) ?? { timed: { problem: event.problem, arm }, us: [] };
      row.us.push(...event.rounds.map(({ us }) => us[i]!));
      times.set(key, row);
    });
  }
  return [...times.values()].filter(({ us }) => us.length > 0).map(({ timed, us }) => ({ ...timed, us: median(us) }));
}
