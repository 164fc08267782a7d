// gen table: shows, explains, compares, merges and checks tuning tables.
import { readFileSync } from 'node:fs';
import { relative, resolve } from 'node:path';
import type { Argv, CommandModule } from 'yargs';
import { EXIT, unknownName, UsageError } from '../errors.ts';
import { contractName, kernelName } from '../name.ts';
import { SHIPPED_ARCHS, shippedContracts, shippedKernels } from '../ship.ts';
import { entriesOf } from '../table/entries.ts';
import { committedTables, readTable } from '../table/read.ts';
import { printTable } from '../table/words.ts';
import { writeWhole } from '../write.ts';
import type { Global } from './commands.ts';
import { kernelOf } from './names.ts';
import { note, out, outJson } from './print.ts';
import { shipOptions, shippingOf, type ShipOptions } from './ship-options.ts';
import { contractFacts, printCurve, printDiff, printShow, printWhy } from './table-print.ts';
import { askedDevice, parseAskedShape } from './table-words.ts';

const VERBS = ['show', 'why', 'diff', 'merge', 'validate'];

async function show({ files, curve, json, ...options }: Global & ShipOptions & { files: string[]; curve: boolean }): Promise<void> {
  const shipping = shippingOf(options);
  const { mergeInto, noTimes, readInputs } = await import('../../tuner/table/files.ts');
  const inputs = readInputs(files);
  if (inputs.journals === 0 && Object.keys(shipping).length > 0) throw new UsageError('--max-kernels and --max-slowdown choose among the kernels of journals: a table holds shipped kernels only', 'leave them out, or name a journal');
  const shown = files.length === 0 ? committedTables().map(({ file, table }) => ({ file, table, curves: {}, notes: [] })) : mergeInto(inputs, undefined, shipping);
  if (files.length > 0 && shown.length === 0) throw noTimes(files.join(', '));
  if (shown.length === 0) note(options, 'no table is committed: every look-up answers with the default tile\n  fix: gen tune');
  if (curve && inputs.journals === 0) throw new UsageError('--curve is made from journals: a table holds shipped kernels only', 'gen table show --curve tune.jsonl');
  for (const { file, table, curves, notes } of shown) {
    if (json) outJson({ file, arch: table.arch, device: table.device, tunedFor: table.tunedFor, contracts: Object.entries(table.contracts).map(([name, row]) => contractFacts(name, row)), ...(curve ? { curves } : {}) });
    else out([printShow(file, table), ...(curve ? Object.entries(curves).map(([name, steps]) => printCurve(name, steps)) : [])].join('\n\n'));
    for (const text of notes) note(options, `${file}: ${text}`);
  }
}

/** Why no look-up is asked for a contract: it is none, is refused, or is written on demand alone. */
function unasked(name: string): UsageError {
  try {
    const kernel = kernelOf(name, SHIPPED_ARCHS[0]!);
    if (!name.includes('__')) return new UsageError(`${name} is offered, but neither shipped nor in a table: look-ups answer with its default tile, ${kernelName(kernel)}`, `gen tune --only ${name} measures it; gen --only ${name} --out DIR writes it`);
    return new UsageError(`${name} is a kernel`, `give its contract: ${contractName(kernel.contract)}`);
  } catch (error) {
    return error instanceof UsageError && error.message.includes('is not offered') ? error : unknownName('contract', name, [...shippedContracts().keys()]);
  }
}

async function why({ contract, shape, device, json, table: paths }: Global & { contract: string; shape: string; device: string; table?: string[] | undefined }): Promise<void> {
  const { explain } = await import('../../tuner/table/why.ts');
  const { withChosen } = await import('../ship.ts');
  const tables = paths ? paths.map((path) => readTable(path, path)) : committedTables();
  const kernels = withChosen(shippedKernels(), tables);
  if (!shippedContracts().has(contract) && !tables.some(({ table }) => table.contracts[contract])) throw unasked(contract);
  const asked = askedDevice(device, tables);
  const answer = explain(entriesOf(tables, kernels), kernels, { contract, device: asked.identity, ...parseAskedShape(shape) });
  if (json) outJson({ contract, device: asked, ...answer });
  else out(printWhy(contract, asked.name, answer));
}

async function diff({ a, b, check, json }: Global & { a: string; b: string; check: boolean }): Promise<void> {
  const { diffTables, isSame } = await import('../../tuner/table/diff.ts');
  const found = diffTables(readTable(a, a).table, readTable(b, b).table);
  if (json) outJson({ same: isSame(found), ...found });
  else out(printDiff(found));
  if (check && !isSame(found)) process.exitCode = EXIT.stale;
}

async function merge({ files, out: dir, dryRun, json, ...options }: Global & ShipOptions & { files: string[]; out: string; dryRun: boolean }): Promise<void> {
  if (dir === '') throw new UsageError('--out is empty', 'name a folder');
  const { mergeInto, noTimes, readInputs } = await import('../../tuner/table/files.ts');
  const inputs = readInputs(files);
  for (const path of inputs.torn) note(options, `${path}: its last line is not finished and was not read`);
  const merged = mergeInto(inputs, resolve(dir), shippingOf(options));
  if (merged.length === 0) throw noTimes(files.join(', '));
  for (const { file, table, curves, notes } of merged) {
    const path = resolve(dir, file);
    if (!dryRun) writeWhole(path, printTable(table));
    const shown = relative(process.cwd(), path);
    if (json) outJson({ file: shown, written: !dryRun, contracts: Object.keys(table.contracts).length, kernels: Object.keys(table.kernels).length, curves, notes });
    else out(`${dryRun ? 'would write' : 'wrote'} ${shown}: ${Object.keys(table.contracts).length} contracts, ${Object.keys(table.kernels).length} kernels`);
    for (const text of notes) note(options, `  ${text}`);
  }
  note(options, 'run "gen" next: it writes and compiles the kernels that tables choose, and the look-up');
}

/** Compiles kernels to PTX with this machine's nvcc. Throws EnvironmentError without one. */
async function compiler() {
  const { findNvcc, NVCC_FIX } = await import('../../tuner/nvcc.ts');
  const { isLost, shorterHashes, toPtx } = await import('../../tuner/space/ptx.ts');
  const { EnvironmentError } = await import('../errors.ts');
  const { parseKernelName } = await import('../name.ts');
  const nvcc = await findNvcc();
  if (!nvcc) throw new EnvironmentError('nvcc was not found, and --mend compares PTX', NVCC_FIX);
  return async (name: string) => {
    const made = await toPtx(parseKernelName(name), { nvcc });
    return isLost(made) ? { why: made.why } : { ptx: made.ptx, shorter: shorterHashes(readFileSync(made.path, 'utf8'), name), inputs: made.inputs };
  };
}

async function validate({ files, mend: mending, json, ...talk }: Global & { files: string[]; mend: boolean }): Promise<void> {
  const { findingsOf, mend } = await import('../../tuner/table/validate.ts');
  const compile = mending ? await compiler() : undefined;
  for (const path of files) {
    let { table } = readTable(path, path);
    if (compile) {
      const done = await mend(table, compile);
      if (printTable(done.table) !== printTable(table)) writeWhole(path, printTable(done.table));
      table = done.table;
      for (const name of done.mended) note(talk, `${path}: ${name} is the machine code that was measured`);
      for (const { kernel, why: reason } of done.left) note(talk, `${path}: ${kernel}: ${reason}`);
    }
    const findings = findingsOf(table, readFileSync(path, 'utf8'), path);
    if (json) outJson({ file: path, findings });
    else {
      const faults = findings.filter(({ kind }) => kind !== 'note').length;
      const told = findings.map(({ kind, what, fix }) => `  ${kind.padEnd(5)}  ${what}\n         fix: ${fix}`);
      out([`${path}: ${Object.keys(table.contracts).length} contracts, ${faults} faults`, ...told].join('\n'));
    }
    if (findings.some(({ kind }) => kind !== 'note')) process.exitCode = EXIT.stale;
  }
}

const files = { type: 'string', array: true, demandOption: true } as const;
const word = { type: 'string', demandOption: true } as const;

const showOptions = (y: Argv) =>
  shipOptions(y)
    .positional('files', { ...files, demandOption: false, default: [] as string[], describe: 'tables or journals (default: the committed tables)' })
    .option('curve', { type: 'boolean', default: false, describe: 'what each further kernel would bring (journals)' });
const whyOptions = (y: Argv) =>
  y
    .positional('contract', { ...word, describe: 'contract' })
    .positional('shape', { ...word, describe: 'B16x32K, B1x131072,heads=32/8,q=1,spread, or JSON' })
    .option('device', { type: 'string', demandOption: true, requiresArg: true, describe: 'a board by name, an architecture, or a file' })
    .option('table', { type: 'string', array: true, nargs: 1, requiresArg: true, describe: 'table instead of the committed ones' });
const diffOptions = (y: Argv) =>
  y
    .positional('a', { ...word, describe: 'table before' })
    .positional('b', { ...word, describe: 'table after' })
    .option('check', { type: 'boolean', default: false, describe: 'exit 1 if a choice differs' });
const mergeOptions = (y: Argv) =>
  shipOptions(y)
    .positional('files', { ...files, describe: 'journals and tables' })
    .option('out', { type: 'string', demandOption: true, requiresArg: true, describe: 'generated folder to write to; what its tables know besides is kept' })
    .option('dry-run', { type: 'boolean', default: false, describe: 'write nothing' });
const validateOptions = (y: Argv) =>
  y
    .positional('files', { ...files, describe: 'tables' })
    .option('mend', { type: 'boolean', default: false, describe: 'compile changed kernels; those with equal PTX count as measured' });

export const table: CommandModule<Global, Global> = {
  command: 'table',
  describe: 'tuning tables: show, why, diff, merge, validate',
  builder: (y) =>
    y
      .command('show [files..]', 'what tables hold; of journals what they would make', (z) => showOptions(z).strict() as never, show as never)
      .command('why <contract> <shape>', 'why a look-up answers as it does', (z) => whyOptions(z).strict() as never, why as never)
      .command('diff <a> <b>', 'what differs between two tables', (z) => diffOptions(z).strict() as never, diff as never)
      .command('merge <files..>', 'journals, and tables, to tables', (z) => mergeOptions(z).strict() as never, merge as never)
      .command('validate <files..>', 'what is wrong with tables', (z) => validateOptions(z).strict() as never, validate as never)
      .command('$0 [verb]', false, (z) => z.positional('verb', { type: 'string' }).hide('verb').strict(false) as never, (({ verb }: { verb?: string }) => {
        if (verb === undefined) throw new UsageError('gen table needs to know what to do', `gen table ${VERBS.join(' | ')}; "gen table --help" says more`);
        throw unknownName('command of gen table', verb, VERBS);
      }) as never) as unknown as Argv<Global>,
  handler: () => undefined,
};

export default table;
