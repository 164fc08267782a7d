// gen: writes the generated tree, compiles it where nvcc is there, and ends with a short table.
import { basename, dirname, relative } from 'node:path';
import type { Argv, CommandModule } from 'yargs';
import { ARCHS } from '../arch.ts';
import { footprint, USUAL_TOKENS } from '../bits.ts';
import { isCacheContract, type Contract } from '../contract.ts';
import type { Files } from '../emit.ts';
import { EXIT, unknownName, UsageError } from '../errors.ts';
import { contractName, kernelName, sourcePath } from '../name.ts';
import { contractsOf, type Recipe } from '../recipe.ts';
import { sharedBytes } from '../shared.ts';
import { apply, isClean, plan, sourcesIn, type Plan } from '../write.ts';
import { COMMANDS, type Global } from './commands.ts';
import { readConfig } from './config.ts';
import { kernelOf } from './names.ts';
import { colour, detail, note, out, outJson, progress, table } from './print.ts';
import { kernelOptions, selectKernels, type Selection } from './select.ts';
import { whole } from './whole.ts';
import type { Compiled } from '../../tuner/build.ts';

const options = <T>(y: Argv<T>) =>
  kernelOptions(y)
    .option('check', { type: 'boolean', default: false, describe: 'write nothing; exit 1 if a file is stale' })
    .option('dry-run', { type: 'boolean', default: false, describe: 'write nothing; print what would change' })
    .option('jobs', { type: 'number', requiresArg: true, describe: 'compilers at once (default: processor cores)' })
    .option('timeout', { type: 'number', default: 300, requiresArg: true, describe: 'seconds for one compile' })
    .option('compile', { type: 'boolean', default: true, describe: 'compile with nvcc if it is there (--no-compile)' });

export type GenOptions = Global & Awaited<ReturnType<typeof options>['argv']>;

/** Effective bits of the recipe that a contract of the cache serves; undefined for the others, and where several recipes share it. */
function bitsOf(contract: Contract, recipes: readonly Recipe[]): number | undefined {
  if (!isCacheContract(contract)) return undefined;
  const { headDim, dtype } = contract;
  const served = recipes.filter((recipe) => contractsOf(recipe, headDim, dtype).some((c) => contractName(c) === contractName(contract)));
  const bits = new Set(served.map((recipe) => footprint(recipe, headDim, USUAL_TOKENS).bits));
  return bits.size === 1 ? [...bits][0] : undefined;
}

const rowsOf = ({ kernels, recipes }: Selection, compiled: readonly Compiled[]) =>
  kernels.map((kernel) => {
    const name = kernelName(kernel);
    const built = compiled.find((c) => c.name === name)?.built;
    const bits = bitsOf(kernel.contract, recipes);
    return {
      kernel: name,
      registers: built?.registers ?? null,
      spills: built ? built.spillStores + built.spillLoads : null,
      shared: sharedBytes(kernel.contract, kernel.tile) + (built?.staticShared ?? 0),
      effectiveBits: bits === undefined ? null : Math.round(bits * 1000) / 1000,
    };
  });

/** The words of a plan, one path a line. */
const describePlan = ({ add, change, same, orphan }: Plan): string =>
  [...add.map((path) => `add     ${path}`), ...change.map((path) => `change  ${path}`), ...orphan.map((path) => `orphan  ${path}`), `same    ${same.length} files`].join('\n');

/** The files of a selection: sources of the selected kernels, and what surrounds the whole family. */
async function filesOf({ kernels, family }: Selection): Promise<Files> {
  const { emitAll } = await import('../emit.ts');
  const files = emitAll(family);
  if (kernels.length === family.length) return files;
  const kept = new Set(kernels.map(sourcePath));
  return new Map([...files].filter(([path]) => !path.endsWith('.cu') || kept.has(path)));
}

/** With the kernels that a folder of the user's holds already: each selection adds to it, and the files around the sources speak of all. Sources that this version does not make are nobody's kernels. */
function withHeld(selection: Selection): Selection {
  const kernels = new Map(selection.kernels.map((kernel) => [kernelName(kernel), kernel]));
  for (const path of sourcesIn(selection.out, ARCHS.map(({ name }) => name))) {
    const name = basename(path, '.cu');
    try {
      if (!kernels.has(name)) kernels.set(name, kernelOf(name, dirname(path)));
    } catch (error) {
      if (!(error instanceof UsageError)) throw error;
    }
  }
  return { ...selection, kernels: [...kernels.values()], family: [...kernels.values()] };
}

async function compileSelection({ kernels, family, out: dir }: Selection, files: Files, argv: GenOptions): Promise<{ compiled: Compiled[]; skipped?: string }> {
  const { compileAll, dropStale } = await import('../../tuner/compile.ts');
  const { cacheDir } = await import('../../tuner/cache.ts');
  const { writeBuild } = await import('../../tuner/build.ts');
  const { findNvcc, NVCC_FIX } = await import('../../tuner/nvcc.ts');
  const nvcc = argv.compile ? await findNvcc() : undefined;
  if (!nvcc) {
    await dropStale(kernels, files, dir);
    return { compiled: [], skipped: argv.compile ? `nvcc was not found: ${kernels.length} kernels are written, not compiled; ${NVCC_FIX}` : `${kernels.length} kernels not compiled (--no-compile)` };
  }
  detail(argv, `nvcc ${nvcc.version} at ${nvcc.path}; build cache ${cacheDir()}`);
  const line = progress(argv, 'compiling');
  const compiled = await compileAll(kernels, files, {
    nvcc,
    out: dir,
    timeoutMs: argv.timeout * 1000,
    ...(argv.jobs === undefined ? {} : { jobs: argv.jobs }),
    onDone: (done, total, name) => {
      line.step(done, total, name);
      detail(argv, name);
    },
  }).finally(() => line.end());
  await writeBuild(dir, compiled, family.map(kernelName));
  return { compiled };
}

async function run(argv: GenOptions): Promise<void> {
  whole('jobs', argv.jobs, 1);
  if (!(argv.timeout > 0 && argv.timeout <= 86_400)) throw new UsageError(`--timeout takes seconds, at most a day of them, not ${argv.timeout}`, 'leave --timeout out for the default');
  const selected = await selectKernels(argv);
  const selection = argv.out === undefined ? selected : withHeld(selected);
  const files = await filesOf(selection);
  const dir = selection.out;
  const planned = plan(files, dir, selection.whole ? ARCHS.map(({ name }) => name) : []);
  const shown = relative(process.cwd(), dir) || '.';
  const held = selection.kernels.length - selected.kernels.length;
  if (held > 0) note(argv, `${shown} holds ${held} more kernel${held === 1 ? '' : 's'}: they stay, and the files around them speak of all; remove the folder first to be rid of them`);
  if (argv.check || argv.dryRun) {
    const clean = isClean(planned);
    if (argv.json) outJson({ out: shown, clean, ...planned });
    else out(argv.check && clean ? `${shown}: ${planned.same.length} files, all up to date` : describePlan(planned));
    if (argv.check && !clean) {
      note(argv, `${shown} is out of date\n  fix: npx gen ${process.argv.slice(2).filter((word) => word !== '--check').join(' ')}`);
      process.exitCode = EXIT.stale;
    }
    return;
  }

  apply(files, dir, planned);
  const { compiled, skipped } = await compileSelection(selection, files, argv);
  const failed = compiled.filter(({ failure }) => failure);
  const rows = rowsOf(selection, compiled);
  const counts = `${planned.add.length} added, ${planned.change.length} changed, ${planned.orphan.length} removed, ${planned.same.length} unchanged`;
  if (argv.json) {
    outJson({ out: shown, ...planned, kernels: rows, compiled: compiled.length - failed.length, failed: failed.map(({ name, failure }) => ({ kernel: name, ...failure })), skipped: skipped ?? null });
  } else {
    const cells = rows.map((row) => [row.kernel, row.registers ?? '-', row.spills ?? '-', row.shared, row.effectiveBits?.toFixed(3) ?? '-']);
    out(table([['kernel', 'registers', 'spills B', 'shared B', 'bits'], ...cells]));
    note(argv, `${shown}: ${counts}; ${compiled.length - failed.length} of ${rows.length} kernels compiled. bits: effective bits per element at ${USUAL_TOKENS} tokens`);
  }
  if (skipped) note(argv, `skipped: ${skipped}`);
  for (const { name, failure } of failed) {
    process.stderr.write(`${colour('failed', 'red', process.stderr)} ${name}\n  ${failure!.why}\n  source   ${failure!.source}\n  command  ${failure!.command}\n`);
  }
  if (failed.length > 0) process.exitCode = EXIT.compile;
}

export const gen: CommandModule<Global, GenOptions> = {
  command: '$0',
  describe: 'write the generated kernels, header, manifest and bindings; compile them if nvcc is there',
  builder: (y) =>
    options(y).config(readConfig()).check(({ _: words }) => {
      if (words.length > 0) throw unknownName('command', String(words[0]), COMMANDS);
      return true;
    }) as unknown as Argv<GenOptions>,
  handler: run,
};
