// gen report: draws records, or the journals and tables of a sweep. The only command that draws.
import { closeSync, openSync, readFileSync, readSync } from 'node:fs';
import type { Argv, CommandModule } from 'yargs';
import { EXIT, InputError, UsageError } from '../errors.ts';
import { writeWhole } from '../write.ts';
import type { Global } from './commands.ts';
import { note, out, outJson } from './print.ts';
import { readRowFiles } from './records.ts';

const options = <T>(y: Argv<T>) =>
  y
    .positional('files', { type: 'string', array: true, describe: 'records of gen bench --out or of a pack; or journals and tables of gen tune' })
    .option('out', { type: 'string', default: 'report.html', requiresArg: true, describe: 'HTML file to write' })
    .option('markdown', { type: 'boolean', default: false, describe: 'print the table of records in Markdown instead' });

export type ReportArguments = Global & Awaited<ReturnType<typeof options>['argv']>;

/** The first characters of a file; empty if it cannot be read: who reads it whole says why. */
function beginning(file: string): string {
  try {
    const handle = openSync(file, 'r');
    try {
      const bytes = Buffer.alloc(4096);
      return bytes.toString('utf8', 0, readSync(handle, bytes));
    } finally {
      closeSync(handle);
    }
  } catch {
    return '';
  }
}

/** Records have `record` or a number in each line, the header of a journal says so, a table is one object over many lines. */
const isOfSweep = (file: string): boolean => {
  const text = beginning(file);
  return /^\{[^\n]*"event":\s*"header"/.test(text) || /^\{(\s*\n\s*"|[^\n]*"axes":)/.test(text);
};

function textOf(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    throw new InputError(`cannot read ${file} (${(error as NodeJS.ErrnoException).code})`, 'give journals and tables of gen tune');
  }
}

function write(argv: ReportArguments, text: string, what: object, words: string): void {
  writeWhole(argv.out, text);
  const bytes = Buffer.byteLength(text);
  if (argv.json) outJson({ out: argv.out, bytes, ...what });
  note(argv, `${argv.out}: ${words}, ${Math.ceil(bytes / 1024)} KB`);
}

async function drawSweep(argv: ReportArguments, files: readonly string[]): Promise<void> {
  if (argv.markdown) throw new UsageError('--markdown is for records of gen bench', 'leave it out: journals and tables are drawn as HTML');
  const { tunePage } = await import('../../tuner/report/page.ts');
  write(argv, tunePage(files.map((file) => ({ file, text: textOf(file) }))), { files: files.length }, `${files.length} journals and tables`);
}

async function drawRecords(argv: ReportArguments, files: readonly string[]): Promise<void> {
  const rows = await readRowFiles(argv, files);
  if (rows.length === 0) throw new UsageError('the files hold no measurements', 'see what measure.sh or gen bench said');
  const { html, markdown } = await import('../../tuner/report.ts');
  if (argv.markdown) out(markdown(rows));
  else write(argv, html(rows), { rows: rows.length }, `${rows.length} measurements`);
  if (rows.some(({ ok }) => !ok)) process.exitCode = EXIT.wrong;
}

async function run(argv: ReportArguments): Promise<void> {
  const files = argv.files ?? [];
  if (files.length === 0) throw new UsageError('gen report takes one or more files', 'gen report records.jsonl, or gen report tune.jsonl, --out report.html');
  const ofSweep = files.filter(isOfSweep);
  if (ofSweep.length === 0) return drawRecords(argv, files);
  const other = files.find((file) => !ofSweep.includes(file));
  if (other !== undefined) throw new UsageError(`${other} holds records, ${ofSweep[0]} is of a sweep`, 'draw them one after the other');
  return drawSweep(argv, files);
}

export const report: CommandModule<Global, ReportArguments> = {
  command: 'report [files..]',
  describe: 'draws records of gen bench, or journals and tables of gen tune: one HTML file',
  builder: (y) => options(y) as unknown as Argv<ReportArguments>,
  handler: run,
};

export default report;
