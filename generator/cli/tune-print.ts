// What gen tune says: one line that replaces itself on a terminal, else one every 30 s, and at the end what came of it.
import type { SweepProgress } from '../../tuner/tune/progress.ts';
import type { SweepResult } from '../../tuner/tune/sweep.ts';
import type { Global } from './commands.ts';
import { note, out, outJson, table, type Talk } from './print.ts';

/** Between two redraws on a terminal, and between two lines elsewhere, in ms. */
const REDRAW = { terminal: 200, plain: 30_000 };

export function sweepProgress(talk: Talk): { step: (progress: SweepProgress) => void; end: () => void } {
  const { stderr } = process;
  let last = stderr.isTTY ? -Infinity : performance.now();
  return {
    step(progress) {
      if (talk.quiet || performance.now() - last < (stderr.isTTY ? REDRAW.terminal : REDRAW.plain)) return;
      last = performance.now();
      stderr.write(stderr.isTTY ? `\r\x1b[2K${progress.line().slice(0, (stderr.columns || 80) - 1)}` : `${progress.line()}\n`);
    },
    end() {
      if (stderr.isTTY && !talk.quiet) stderr.write('\r\x1b[2K');
    },
  };
}

/** A table that a sweep made. */
export interface MadeTable {
  readonly file: string;
  readonly written: boolean;
  readonly contracts: number;
  readonly kernels: number;
}

/** What came of a sweep: a row for each task, the tables, and where to look further. */
export function report(argv: Global, { tasks, left, ends, progress }: SweepResult, tables: readonly MadeTable[], journal: string): void {
  const rows = tasks.map((task) => {
    const end = ends.find((one) => one.task === task)?.end;
    return { contract: task.contract, arch: task.arch, points: task.problems.length, kernels: task.kernels.length, state: end?.defaultLost ? 'lost' : end?.done ? 'done' : 'left' };
  });
  if (argv.json) return outJson({ journal, ...progress, tasks: rows, tables });
  out(table([['contract', 'arch', 'points', 'kernels', ''], ...rows.map(({ contract, arch, points, kernels, state }) => [contract, arch, points, kernels, state])]));
  for (const { file, written, contracts, kernels } of tables) out(`${file}: ${contracts} contracts, ${kernels} kernels${written ? '' : '; not written, as emulated times mean nothing (--out DIR)'}`);
  note(argv, `${journal}: ${progress.compiled} compiled, ${progress.measured} measured in ${progress.rounds} rounds, ${progress.lost} lost, ${progress.settled} points settled, ${progress.seconds} s. "gen report ${journal}" draws it`);
  if (tables.some(({ written }) => written)) note(argv, 'run "gen" next: it writes and compiles the kernels that tables choose, and the look-up');
  if (left.length > 0) note(argv, `${left.length} tasks are not done: the same command goes on from there`);
}
