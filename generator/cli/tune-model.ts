// gen tune model: the table of a device that nobody has measured, from the analytic model. Every answer of it says "modelled"; one sweep on the device replaces it.
import { readFileSync } from 'node:fs';
import { relative, resolve } from 'node:path';
import type { Argv, CommandModule } from 'yargs';
import { z } from 'zod';
import { EXIT, InputError, UsageError } from '../errors.ts';
import { committedTables } from '../table/read.ts';
import { deviceSchema, type DeviceFacts } from '../table/schema.ts';
import { printTable } from '../table/words.ts';
import { writeWhole } from '../write.ts';
import type { Global } from './commands.ts';
import { archsOf } from './names.ts';
import { note, out, outJson, table } from './print.ts';
import { GENERATED } from './select.ts';
import { contractsToTune, tuneOptions, tuningOf } from './tune-options.ts';

const options = <T>(y: Argv<T>) =>
  tuneOptions(y)
    .option('device', { type: 'string', default: 'a100-sxm4-80gb', requiresArg: true, describe: 'a100-sxm4-80gb, or a JSON file with what "device" of a table holds' })
    .option('check', { type: 'boolean', default: false, describe: 'write nothing; exit 1 if a table would change' })
    .option('out', { type: 'string', requiresArg: true, describe: 'write the tables below this folder (default: generated/)' });

export type TuneModelArguments = Global & Awaited<ReturnType<typeof options>['argv']>;

/** The device of a word. Throws UsageError, InputError. */
async function deviceOf(word: string): Promise<DeviceFacts> {
  const { A100_SXM4_80GB } = await import('../../tuner/model/modelled.ts');
  if (word === 'a100-sxm4-80gb') return A100_SXM4_80GB;
  let json: unknown;
  try {
    json = JSON.parse(readFileSync(word, 'utf8'));
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === 'ENOENT') throw new UsageError(`no device is called "${word}", and there is no such file`, 'known: a100-sxm4-80gb; or give a JSON file with what "device" of a table holds');
    throw new InputError(`cannot read the device ${word}: ${code ?? (error as Error).message}`, 'give a JSON file with what "device" of a table holds (generated/table.schema.json)');
  }
  const parsed = deviceSchema.safeParse(json);
  if (!parsed.success) throw new InputError(`${word} is not a device:\n${z.prettifyError(parsed.error)}`, 'give what "device" of a table holds (generated/table.schema.json)');
  return parsed.data;
}

async function run(argv: TuneModelArguments): Promise<void> {
  const device = await deviceOf(argv.device);
  const [{ machineFor, modelledEvents }, { fitFor }, { tasksOf }, { winnersOf }, { mergeInto }, { stableText }] = await Promise.all([
    import('../../tuner/model/modelled.ts'), import('../../tuner/model/fits.ts'), import('../../tuner/space/tasks.ts'), import('../../tuner/search/seeds.ts'), import('../../tuner/table/files.ts'), import('../stable.ts'),
  ]);
  const archs = (await archsOf(argv.arch)).filter(({ name }) => Number(name.slice(2)) <= device.cc);
  if (archs.length === 0) throw new UsageError(`${device.name} runs no code of ${argv.arch}`, `name an architecture up to sm${device.cc}, for example --arch sm80`);
  const machine = machineFor(device);
  const fit = fitFor(machine);
  const tuning = await tuningOf(argv);
  const contracts = contractsToTune(argv).filter(({ op }) => op === 'decode');
  if (contracts.length === 0) throw new UsageError('the model knows decode, and no decode contract is chosen', "choose some with --only '*decode*'");
  const tasks = tasksOf(contracts, archs, tuning, () => device, () => undefined).map(({ task }) => task);
  // Tiles that won where somebody measured; what was modelled proves nothing.
  const measured = committedTables().map((named) => named.table).filter((one) => Object.values(one.environments).every(({ clock }) => clock === 'gpu'));
  const events = modelledEvents(tasks, { device, fit, tunedFor: tuning.tunedFor, winners: measured.flatMap(winnersOf) });
  const lines = events.map((event) => ({ id: event.id, at: event.at, text: stableText(event), event }));
  const dir = argv.out === undefined ? GENERATED : resolve(argv.out);
  const merged = mergeInto({ lines, journals: 1, tables: [], torn: [] }, dir, { modelError: fit.error.p90 });
  const rows = merged.map(({ file, table: made, notes }) => {
    const path = resolve(dir, file);
    const text = printTable(made);
    let was: string | undefined;
    try {
      was = readFileSync(path, 'utf8');
    } catch {
      was = undefined; // a new one
    }
    for (const words of notes) note(argv, `${file}: ${words}`);
    if (!argv.check && was !== text) writeWhole(path, text);
    const origins = Object.values(made.contracts).map(({ origin }) => origin);
    return { file: relative(process.cwd(), path), modelled: origins.filter((origin) => origin === 'modelled').length, measured: origins.filter((origin) => origin === 'measured').length, kernels: Object.keys(made.kernels).length, changed: was !== text };
  });
  if (argv.json) outJson({ device, machine: machine.name, fit, tables: rows });
  else out(table([['table', 'contracts modelled', 'measured', 'kernels', ''], ...rows.map((row) => [row.file, row.modelled, row.measured, row.kernels, row.changed ? (argv.check ? 'would change' : 'written') : 'unchanged'])]));
  note(argv, `modelled for ${device.name}, not measured: the fit is of ${fit.machine}, where the model is off by ${(100 * fit.error.median).toFixed(0)} % in the median and ${(100 * fit.error.p90).toFixed(0)} % in one of ten times. Replace it on the device with: gen tune --arch ${archs.map(({ name }) => name).join(',')}`);
  if (argv.check && rows.some(({ changed }) => changed)) process.exitCode = EXIT.stale;
}

const tuneModel: CommandModule<Global, TuneModelArguments> = {
  command: 'model',
  describe: 'the table of a device that nobody has measured, from the analytic model: every answer of it says so',
  builder: (y) => options(y) as unknown as Argv<TuneModelArguments>,
  handler: run,
};

export default tuneModel;
