// The command line: parses, calls a command, turns errors into words and exit codes.
import yargs, { type CommandModule } from 'yargs';
import { AntkvError, EXIT, nearest, UsageError } from '../errors.ts';
import packageJson from '../../package.json' with { type: 'json' };
import { gen } from './gen.ts';
import { lazy } from './lazy.ts';
import { colour, outJson } from './print.ts';

/** Ends a command that has said all, without an error. */
class Printed extends Error {}

/** What yargs refuses, with the nearest options of those in the command's own help. */
function refused(message: string, help: string): UsageError {
  const unknown = /^Unknown arguments?: (.+)$/.exec(message)?.[1]?.split(', ') ?? [];
  const options = [...help.matchAll(/--([a-z][a-z0-9-]*)/g)].map(([, option]) => option!);
  const near = unknown.flatMap((word) => nearest(word, options)).map((option) => `--${option}`);
  return new UsageError(message, near.length > 0 ? `did you mean ${near.join(' or ')}?` : 'see "gen --help", or --help behind the command');
}

interface Declared {
  getOptions(): Readonly<Record<'array' | 'boolean' | 'number' | 'string', readonly string[]>>;
}

/** Refuses an option of one value that is given several times: commands would find a list. */
function refuseRepeats(argv: Record<string, unknown>, y: Declared): void {
  const { array, number, string } = y.getOptions();
  const repeated = [...string, ...number].find((name) => !array.includes(name) && Array.isArray(argv[name]) && name !== '_');
  if (repeated) throw new UsageError(`--${repeated} is given ${(argv[repeated] as unknown[]).length} times, and takes one value`, 'give it once; --help says how it takes several, if it does');
}

/** Refuses what yargs would read as something else: --check=yes as false, --no-out as a folder called false, an empty number as 0. */
function refuseMisread(words: readonly string[], y: Declared): void {
  const { array, boolean, number, string } = y.getOptions();
  for (let i = 0; i < words.length && words[i] !== '--'; i++) {
    const [, no, written = '', value] = /^--?(no-)?([A-Za-z][\w-]*)(?:=([^]*))?$/.exec(words[i]!) ?? [];
    const name = written.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
    if (boolean.includes(name)) {
      if (value !== undefined && !/^(true|false)$/.test(value)) throw new UsageError(`--${name} takes true or false, not "${value}"`, `--${name} alone is true`);
    } else if ([...array, ...number, ...string].includes(name)) {
      if (no) throw new UsageError(`--${name} takes a value: there is no --no-${name}`, `leave --${name} out`);
      const given = value ?? words[++i];
      if (number.includes(name) && given?.trim() === '') throw new UsageError(`--${name} takes a number, and has none`, `leave --${name} out for the default`);
    }
  }
}

function parser(words: readonly string[]) {
  return yargs([...words])
    .scriptName('gen')
    .usage('$0 [command] [options]')
    .command(gen as unknown as CommandModule)
    .command(lazy('list', 'presets and contracts that are offered', async () => (await import('./list.ts')).list))
    .command(lazy('show <name>', 'one kernel or contract: configuration, bytes, shared memory, grid, parameters', async () => (await import('./show.ts')).show))
    .command(lazy('doctor', 'what of this machine is ready, and the fix for what is not', async () => (await import('./doctor.ts')).doctor))
    .command(lazy('calibrate [dump]', 'codebooks from K/V dumps', async () => (await import('./calibrate.ts')).default))
    .command(lazy('demo', 'the whole algorithm on real K/V that ships in the repository', async () => (await import('./demo.ts')).default))
    .command(lazy('simulate', 'the life of a cache: a decode loop on recorded K/V, every step checked', async () => (await import('./simulate.ts')).default))
    .command(lazy('verify', 'kernels against the fp64 reference, on a GPU or emulated', async () => (await import('./verify.ts')).default))
    .command(lazy('bench', 'times kernels on a GPU, beside what the device can do', async () => (await import('./bench.ts')).default))
    .command(lazy('tune', 'races kernels and launches on GPUs; leaves a journal, and tables made of it', async () => (await import('./tune.ts')).default))
    .command(lazy('table', 'tuning tables: show, why, diff, merge, validate', async () => (await import('./table.ts')).default))
    .command(lazy('pack', 'a folder or archive for machines without Node and network (--measure)', async () => (await import('./pack.ts')).default))
    .command(lazy('report [files..]', 'draws records of gen bench, journals and tables of gen tune, or perplexities: one HTML file', async () => (await import('./report.ts')).default))
    .command(lazy('advise', 'recipes for a model, a context and a memory', async () => (await import('./advise.ts')).default))
    .command(lazy('support', 'the support matrix of generator/SUPPORT.md, from what records say was tried', async () => (await import('./support.ts')).default))
    .option('json', { type: 'boolean', default: false, global: true, describe: 'JSON on stdout: one object, or one per line' })
    .option('quiet', { alias: 'q', type: 'boolean', default: false, global: true, describe: 'no talk on stderr' })
    .option('verbose', { alias: 'v', type: 'boolean', default: false, global: true, describe: 'more talk on stderr' })
    .option('print-config', { type: 'boolean', default: false, global: true, describe: 'print the options that hold, and stop' })
    .middleware((argv) => {
      if (argv['printConfig'] !== true) return;
      const { _, $0, printConfig, ...options } = argv;
      outJson(Object.fromEntries(Object.entries(options).filter(([name, value]) => value !== undefined && !(name.includes('-') || name.length === 1))));
      throw new Printed();
    })
    // Its types know no second argument.
    .middleware(refuseRepeats as never)
    .middleware(((_: unknown, y: Declared) => refuseMisread(words, y)) as never)
    .parserConfiguration({ 'dot-notation': false, 'strip-aliased': false, 'duplicate-arguments-array': true })
    .version(packageJson.version)
    .strictOptions()
    .help()
    .alias('help', 'h')
    .epilogue('Exit codes: 0 ok, 1 stale or check failed, 2 usage, 3 environment, 4 some kernels did not compile, 5 wrong results, 75 a cluster worker to be run again, 130 interrupted.')
    .fail((message, error, usage) => {
      throw error ?? refused(message, String(usage.help())); // what yargs passes here is its usage, whose help is a text, whatever the types say
    })
    .exitProcess(false)
    .wrap(Math.min(120, process.stdout.columns || 100));
}

function report(error: unknown, json: boolean): number {
  if (!(error instanceof AntkvError)) {
    process.stderr.write(`gen: a bug: ${error instanceof Error ? error.stack : String(error)}\n`);
    return 1;
  }
  if (json) outJson({ error: error.message, fix: error.fix ?? null, exitCode: error.exitCode });
  process.stderr.write(`${colour('gen:', 'red', process.stderr)} ${error.message}\n${error.fix === undefined ? '' : `  fix: ${error.fix}\n`}`);
  return error.exitCode;
}

/** Runs the command line `words`; the exit code. */
export async function main(words: readonly string[]): Promise<number> {
  // The exit handlers of write, cache and nvcc leave no half file and no stray compiler.
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => process.exit(EXIT.interrupted));
  process.stderr.on('error', () => {}); // nobody listens to talk: no reason to end the work
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit(EXIT.ok);
    process.stderr.write(`gen: cannot write the output (${error.code})\n  fix: free some space, or send the output elsewhere\n`);
    process.exit(EXIT.environment);
  });
  try {
    await parser(words).parseAsync();
    return Number(process.exitCode ?? EXIT.ok);
  } catch (error) {
    if (error instanceof Printed) return EXIT.ok;
    // yargs throws its own kind for an option without its value.
    if (error instanceof Error && error.name === 'YError') return report(new UsageError(error.message, 'see "gen --help"'), words.includes('--json'));
    return report(error, words.includes('--json'));
  }
}
