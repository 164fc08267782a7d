// gen report: draws records. The only command that does.
import type { Argv, CommandModule } from 'yargs';
import { EXIT, UsageError } from '../errors.ts';
import { writeWhole } from '../write.ts';
import type { Global } from './commands.ts';
import { note, out, outJson } from './print.ts';
import { readRowFiles } from './records.ts';

const options = <T>(y: Argv<T>) =>
  y
    .positional('files', { type: 'string', array: true, describe: 'records of gen bench --out, or of a pack' })
    .option('out', { type: 'string', default: 'report.html', requiresArg: true, describe: 'HTML file to write' })
    .option('markdown', { type: 'boolean', default: false, describe: 'print the table in Markdown instead' });

export type ReportArguments = Global & Awaited<ReturnType<typeof options>['argv']>;

async function run(argv: ReportArguments): Promise<void> {
  const files = argv.files ?? [];
  if (files.length === 0) throw new UsageError('gen report takes one or more files of records', 'gen report records.jsonl --out report.html');
  const rows = await readRowFiles(argv, files);
  if (rows.length === 0) throw new UsageError('the files hold no measurements', 'see what measure.sh or gen bench said');
  const { html, markdown } = await import('../../tuner/report.ts');
  if (argv.markdown) out(markdown(rows));
  else {
    const text = html(rows);
    writeWhole(argv.out, text);
    if (argv.json) outJson({ out: argv.out, bytes: Buffer.byteLength(text), rows: rows.length });
    note(argv, `${argv.out}: ${rows.length} measurements, ${Math.ceil(Buffer.byteLength(text) / 1024)} KB`);
  }
  if (rows.some(({ ok }) => !ok)) process.exitCode = EXIT.wrong;
}

export const report: CommandModule<Global, ReportArguments> = {
  command: 'report [files..]',
  describe: 'draws records: one HTML file, or a table in Markdown',
  builder: (y) => options(y) as unknown as Argv<ReportArguments>,
  handler: run,
};

export default report;
