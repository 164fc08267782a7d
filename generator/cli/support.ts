// gen support: the matrix of generator/SUPPORT.md, from what records say was tried.
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Argv, CommandModule } from 'yargs';
import { findArch } from '../arch.ts';
import { EXIT, InputError, UsageError } from '../errors.ts';
import { contractName, parseContractName, parseKernelName } from '../name.ts';
import { countValues, SEEN, supportMatrix, withMatrix, type Support } from '../support.ts';
import { committedTables } from '../table/read.ts';
import { writeWhole } from '../write.ts';
import type { Global } from './commands.ts';
import { archsOf } from './names.ts';
import { note, out, outJson, progress } from './print.ts';
import { ROOT } from './select.ts';
import { judgeDraws } from './whole.ts';
import { readText } from '../../tuner/text.ts';

const options = <T>(y: Argv<T>) =>
  y
    .option('check', { type: 'boolean', default: false, describe: 'write nothing; end with 1 if it is stale' })
    .option('records', { type: 'string', array: true, requiresArg: true, describe: 'records of gen verify --json, or answers of a pack beside its requests.jsonl: what agreed in them was seen' })
    .option('compile', { type: 'number', requiresArg: true, describe: 'compile this many draws (gen verify --sample) for each of --arch: what nvcc took was seen' })
    .option('arch', { type: 'string', default: 'sm86,sm89,sm100,sm120', requiresArg: true, describe: 'of --compile' })
    .option('seed', { type: 'number', default: 1, requiresArg: true, describe: 'of --compile' });

type SupportArguments = Global & Awaited<ReturnType<typeof options>['argv']>;

/** Architecture, what tried it, and the contract. */
interface Seen {
  readonly arch: string;
  readonly by: string;
  readonly contract: string;
}

/** The objects of JSON lines; the last line may be torn, by a run that was killed. Throws InputError with the line that is none. */
function linesOf(text: string, path: string): Record<string, unknown>[] {
  const lines = text.split('\n');
  return lines.flatMap((line, i) => {
    if (!line.startsWith('{')) return [];
    try {
      return [JSON.parse(line) as Record<string, unknown>];
    } catch {
      if (i === lines.length - 1) return [];
      throw new InputError(`${path}, line ${i + 1}: not JSON`, 'give records of gen verify --json, or answers of a pack');
    }
  });
}

/** Throws InputError unless a record names what there is. */
function known(seen: Seen, path: string): Seen {
  const bad = (what: string, name: string) => new InputError(`${path}: a record names the ${what} "${name}", which is none of this antkv`, 'give records of gen verify --json of this version');
  if (!findArch(seen.arch)) throw bad('architecture', seen.arch);
  try {
    parseContractName(seen.contract);
  } catch {
    throw bad('contract', seen.contract);
  }
  return seen;
}

/** What the records of a file say. Throws InputError. */
function seenIn(path: string): Seen[] {
  const records = linesOf(readText(path, 'give records of gen verify --json'), path);
  if (records.length === 0) throw new InputError(`no records in ${path}`, 'give records of gen verify --json, or answers of a pack');
  const about = records.find((record) => 'multiprocessors' in record);
  // Answers of a pack say who asked what by number.
  const asked = about ? new Map(linesOf(readRequests(path), requestsBeside(path)).map(({ id, kernel }) => [id, (kernel as { name?: string } | undefined)?.name])) : undefined;
  return records.flatMap(({ id, kind, ok, arch, contract, device, emulated }) => {
    if (ok !== true || contract === '*') return [];
    const by = (emulated ?? about?.['emulated']) === true ? 'emulated' : String(device ?? about?.['device']);
    if (kind === 'verify') return [known({ arch: String(arch), contract: String(contract), by }, path)];
    const name = asked?.get(id);
    if (name === undefined) return [];
    const [asContract = '', tile = ''] = String(name).split('__');
    return [known({ arch: tile.split('_')[0]!, contract: asContract, by }, path)];
  });
}

const requestsBeside = (answers: string): string => join(dirname(answers), 'requests.jsonl');

/** The requests that lie beside a pack's answers. */
function readRequests(answers: string): string {
  const path = requestsBeside(answers);
  try {
    return readFileSync(path, 'utf8');
  } catch {
    throw new InputError(`${answers} are answers of a pack, but ${path} is missing`, 'copy the answers into the folder of the pack');
  }
}

async function compiled({ compile, arch, seed, ...argv }: SupportArguments): Promise<Seen[]> {
  if (compile === undefined) return [];
  judgeDraws('compile', compile);
  const [{ sampleOf }, { tryCompile }] = await Promise.all([import('../../tuner/sample/draw.ts'), import('../../tuner/sample/compile.ts')]);
  const line = progress(argv, 'compiling');
  const kernels = (await archsOf(arch)).flatMap((one) => sampleOf(compile, seed, [one]).draws.map(({ kernel }) => kernel));
  const { nvcc, names, failed } = await tryCompile(kernels, (done, total, what) => line.step(done, total, what)).finally(() => line.end());
  for (const why of failed) note(argv, `failed ${why}`);
  if (failed.length > 0) process.exitCode = EXIT.compile;
  return names.map(parseKernelName).map((kernel) => ({ arch: kernel.arch.name, by: `nvcc ${nvcc}`, contract: contractName(kernel.contract) }));
}

/** What was seen before and now; where the same architecture and device had counts, the larger ones, as contracts of both may be the same. */
function merged(seen: readonly Seen[]): Support {
  const next: Record<string, Record<string, Record<string, number>>> = structuredClone(SEEN) as never;
  const pairs = new Set(seen.map(({ arch, by }) => `${arch}\n${by}`));
  for (const pair of [...pairs].sort()) {
    const [arch, by] = pair.split('\n') as [string, string];
    const before = next[arch]?.[by] ?? {};
    const counts = Object.entries(countValues(seen.filter((one) => one.arch === arch && one.by === by).map(({ contract }) => contract)));
    (next[arch] ??= {})[by] = sorted({ ...before, ...Object.fromEntries(counts.map(([value, count]) => [value, Math.max(count, before[value] ?? 0)])) });
  }
  return sorted(next);
}

const sorted = <T>(record: Readonly<Record<string, T>>): Record<string, T> => Object.fromEntries(Object.entries(record).sort(([a], [b]) => (a < b ? -1 : 1)));

async function run(argv: SupportArguments): Promise<void> {
  const seen = [...(argv.records ?? []).flatMap(seenIn), ...(await compiled(argv))];
  const support = seen.length > 0 ? merged(seen) : SEEN;
  const path = join(ROOT, 'generator/SUPPORT.md');
  const before = readFileSync(path, 'utf8');
  const after = withMatrix(before, supportMatrix(committedTables(), support));
  if (argv.check) {
    if (after !== before) process.exitCode = EXIT.stale;
    if (argv.json) outJson({ clean: after === before, matrix: 'generator/SUPPORT.md' });
    return note(argv, after === before ? 'generator/SUPPORT.md has the matrix of today' : 'generator/SUPPORT.md is stale: gen support');
  }
  if (seen.length > 0) writeWhole(join(ROOT, 'generator/support.json'), `${JSON.stringify(support, null, 1)}\n`);
  if (after !== before) writeWhole(path, after);
  if (argv.json) outJson({ matrix: 'generator/SUPPORT.md', changed: after !== before, seen: support });
  else out(supportMatrix(committedTables(), support));
}

const supportCommand: CommandModule<Global, SupportArguments> = {
  command: 'support',
  describe: 'the support matrix of generator/SUPPORT.md',
  builder: (y) => options(y) as unknown as Argv<SupportArguments>,
  handler: run,
};

export default supportCommand;
