// gen tune status: how far the work directory of a sweep is. Asks the directory alone, so that it works wherever that can be read.
import type { Argv, CommandModule } from 'yargs';
import type { Global } from './commands.ts';
import { note, out, outJson, table } from './print.ts';

const options = <T>(y: Argv<T>) => y.option('work', { type: 'string', demandOption: true, requiresArg: true, describe: 'work directory' });

export type TuneStatusArguments = Global & Awaited<ReturnType<typeof options>['argv']>;

async function run(argv: TuneStatusArguments): Promise<void> {
  const { statusOf } = await import('../../tuner/cluster/status.ts');
  const { tasks, count, rows } = await statusOf(argv.work);
  if (argv.json) return outJson({ tasks, count, rows });
  const cells = rows.map((row) => [
    row.task, row.arch, row.contract.replace(/^antkv_/, ''), row.state, row.attempts, `${row.settled}/${row.problems}`, `${row.compiled}/${row.kernels}`, row.raced, row.failed, row.pruned,
    row.silentS === null ? row.by : `${row.by}, ${row.silentS} s ago`,
  ]);
  out(table([['task', 'arch', 'contract', 'state', 'attempts', 'settled', 'compiled', 'raced', 'lost', 'pruned', 'worker'], ...cells]));
  note(argv, `${tasks} tasks: ${Object.entries(count).map(([state, n]) => `${n} ${state}`).join(', ')}`);
  if (count.done === tasks) note(argv, `all measured; the tables are in ${argv.work}/table`);
}

export const tuneStatus: CommandModule<Global, TuneStatusArguments> = {
  command: 'status',
  describe: 'how far the work directory of a sweep is',
  builder: (y) => options(y) as unknown as Argv<TuneStatusArguments>,
  handler: run,
};

export default tuneStatus;
