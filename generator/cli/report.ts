// gen report: draws records, or the journals and tables of a sweep. The only command that draws.
import type { Argv, CommandModule } from 'yargs';
import { EXIT, UsageError } from '../errors.ts';
import { writeWhole } from '../write.ts';
import type { Global } from './commands.ts';
import { judgeOutput } from './output.ts';
import { note, out, outJson } from './print.ts';
import { readRowFiles } from './records.ts';
import { readText } from '../../tuner/text.ts';

const options = <T>(y: Argv<T>) =>
  y
    .positional('files', { type: 'string', array: true, describe: 'records of gen bench --out or of a pack; journals and tables of gen tune; or records of perplexity (harness/python/eval)' })
    .option('out', { type: 'string', default: 'report.html', requiresArg: true, describe: 'HTML file to write; of perplexity also NAME.svg: the drawing alone' })
    .option('markdown', { type: 'boolean', default: false, describe: 'print the table of records in Markdown instead' })
    .option('front', { type: 'boolean', default: false, describe: 'with --markdown of perplexity: only recipes that no other one beats' });

export type ReportArguments = Global & Awaited<ReturnType<typeof options>['argv']>;

/** A file that is drawn. */
interface Drawn {
  readonly file: string;
  readonly text: string;
}

type Kind = 'sweep' | 'accuracy' | 'records';
const KIND_WORDS: Readonly<Record<Kind, string>> = { sweep: 'is of a sweep', accuracy: 'holds perplexities', records: 'holds records of times' };

/** What a file is, from its beginning: the header of a journal says so, a table is one object over many lines, and records have their kind in the first line. */
function kindOf({ text: whole }: Drawn): Kind {
  const text = whole.slice(0, 4096);
  if (/^\{[^\n]*"event":\s*"header"/.test(text) || /^\{(\s*\n\s*"|[^\n]*"axes":)/.test(text)) return 'sweep';
  return /^\s*\{[^\n]*"record":\s*"perplexity"/.test(text) ? 'accuracy' : 'records';
}

function write(argv: ReportArguments, text: string, what: object, words: string): void {
  writeWhole(argv.out, text);
  const bytes = Buffer.byteLength(text);
  if (argv.json) outJson({ out: argv.out, bytes, ...what });
  note(argv, `${argv.out}: ${words}, ${Math.ceil(bytes / 1024)} KB`);
}

async function drawSweep(argv: ReportArguments, drawn: readonly Drawn[]): Promise<void> {
  if (argv.markdown) throw new UsageError('--markdown is for records of gen bench', 'leave it out: journals and tables are drawn as HTML');
  const { tunePage } = await import('../../tuner/report/page.ts');
  write(argv, tunePage(drawn), { files: drawn.length }, `${drawn.length} journals and tables`);
}

async function drawRecords(argv: ReportArguments, drawn: readonly Drawn[]): Promise<void> {
  const rows = await readRowFiles(argv, drawn.map(({ file }) => file));
  if (rows.length === 0) return; // checks failed, and that was said
  const { html, markdown } = await import('../../tuner/report.ts');
  if (argv.markdown) out(markdown(rows));
  else write(argv, html(rows), { rows: rows.length }, `${rows.length} measurements`);
  if (rows.some(({ ok }) => !ok)) process.exitCode = EXIT.wrong;
}

async function drawAccuracy(argv: ReportArguments, drawn: readonly Drawn[]): Promise<void> {
  const [{ readAccuracy }, { accuracyHtml, accuracyMarkdown, accuracySvg }] = await Promise.all([import('../../tuner/accuracy/record.ts'), import('../../tuner/accuracy/page.ts')]);
  const records = drawn.flatMap(({ file, text }) => readAccuracy(text, file));
  if (records.length === 0) throw new UsageError('the files hold no perplexities', 'a last line that is torn does not count: run python3 -m eval --out once more, it goes on');
  if (argv.markdown) return out(accuracyMarkdown(records, argv.front));
  const drawing = argv.out.endsWith('.svg');
  write(argv, (drawing ? accuracySvg : accuracyHtml)(records), { records: records.length }, `${records.length} perplexities`);
}

const DRAW = { sweep: drawSweep, accuracy: drawAccuracy, records: drawRecords } as const;

async function run(argv: ReportArguments): Promise<void> {
  const files = argv.files ?? [];
  if (files.length === 0) throw new UsageError('gen report takes one or more files', 'gen report records.jsonl, or gen report tune.jsonl, --out report.html');
  if (argv.markdown && argv.json) throw new UsageError('--markdown and --json contradict each other', 'leave one out');
  if (!argv.markdown) judgeOutput(argv.out, files);
  const drawn = files.map((file) => ({ file, text: readText(file, 'give records, or journals and tables of gen tune') }));
  const kinds = drawn.map(kindOf);
  const [kind] = kinds as [Kind];
  const other = kinds.findIndex((one) => one !== kind);
  if (other > 0) throw new UsageError(`${files[0]} ${KIND_WORDS[kind]}, ${files[other]} ${KIND_WORDS[kinds[other]!]}`, 'draw them one after the other');
  if (argv.front && !(kind === 'accuracy' && argv.markdown)) throw new UsageError('--front is for --markdown of perplexities', 'leave it out');
  return DRAW[kind](argv, drawn);
}

export const report: CommandModule<Global, ReportArguments> = {
  command: 'report [files..]',
  describe: 'draws records of gen bench, journals and tables of gen tune, or perplexities: one HTML file',
  builder: (y) => options(y) as unknown as Argv<ReportArguments>,
  handler: run,
};

export default report;
