// Builds the native side with the host's C++ compiler, through the build cache: the runner, the emulated driver, emulated kernels.
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { basename, dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import PQueue from 'p-queue';
import { printHeader } from '../generator/bindings/c.ts';
import { printKernels } from '../generator/bindings/kernels.ts';
import { printTables } from '../generator/bindings/table.ts';
import { CompileError, EnvironmentError } from '../generator/errors.ts';
import { paramStruct } from '../generator/abi.ts';
import { parseKernelName } from '../generator/name.ts';
import { readTemplate } from '../generator/render.ts';
import { flatten } from '../generator/table/flat.ts';
import { cached } from './cache.ts';

const ROOT = fileURLToPath(new URL('../', import.meta.url));
const EMULATOR = 'harness/emulator';

export interface HostOptions {
  /** Sanitizers as g++ names them, `address,undefined`. Their builds are kept apart. */
  readonly sanitize?: string;
  readonly env?: NodeJS.ProcessEnv;
}

export interface HostCompiler {
  readonly path: string;
  /** The first line of `--version`. */
  readonly version: string;
}

const compilers = new Map<string, Promise<HostCompiler>>();

/** $CXX, or g++. Throws EnvironmentError if it does not answer. */
export function hostCompiler(env: NodeJS.ProcessEnv = process.env): Promise<HostCompiler> {
  const path = env['CXX'] || 'g++';
  const known = compilers.get(path);
  if (known) return known;
  const found = execa(path, ['--version'], { reject: false, timeout: 20_000 }).then(({ exitCode, stdout }) => {
    if (exitCode === 0) return { path, version: stdout.split('\n')[0] ?? '' };
    throw new EnvironmentError(`no C++ compiler: ${path} does not run`, env['CXX'] ? 'point CXX to g++ or clang++, or unset it' : 'install g++ (Debian, Ubuntu: apt install g++), or set CXX');
  });
  compilers.set(path, found);
  return found;
}

type Sources = readonly (readonly [path: string, text: string])[];

/** Every source and header below a folder of the repository, by its path there, sorted: what a cache key must contain. */
async function sourcesBelow(folder: string): Promise<Sources> {
  const entries = await readdir(join(ROOT, folder), { withFileTypes: true, recursive: true });
  const paths = entries.filter((entry) => entry.isFile() && /\.(cc|h|cuh)$/.test(entry.name)).map((entry) => relative(ROOT, join(entry.parentPath, entry.name)));
  return Promise.all(paths.sort().map(async (path) => [path, await readFile(join(ROOT, path), 'utf8')] as const));
}

/** The headers that generated/ would hold, as the templates are now: a build does not wait for `gen`. */
const headers = (): Sources => [
  ['include/antkv.h', printHeader([])],
  ['include/antkv_kernels.h', printKernels([])],
  ...['antkv_format.h', 'antkv_launch.h'].map((name) => [`include/${name}`, readTemplate(name)] as const),
];

// Contraction off: the same results on every machine.
const flagsOf = ({ sanitize }: HostOptions): string[] => [
  '-std=c++17', '-O2', '-ffp-contract=off',
  ...(sanitize ? ['-g', '-O1', '-fno-omit-frame-pointer', `-fsanitize=${sanitize}`, '-fno-sanitize-recover=undefined'] : []),
];

/** Runs the compiler in `cwd`. Throws CompileError with its output and the command. */
async function compile({ path }: HostCompiler, args: readonly string[], cwd: string): Promise<void> {
  const { exitCode, all } = await execa(path, args, { cwd, all: true, reject: false, timeout: 300_000 });
  if (exitCode !== 0) throw new CompileError(`${basename(path)} failed:\n${(all ?? '').slice(0, 4000)}`, `cd ${cwd} && ${[path, ...args].join(' ')}`);
}

/** Writes `sources` below a new folder of the cache, compiles each .cc of `units` there, two or more at once, and links `output`. */
async function build(label: string, sources: Sources, flags: readonly string[], link: readonly string[], output: string, env?: NodeJS.ProcessEnv): Promise<string> {
  const compiler = await hostCompiler(env);
  const all = [...headers(), ...sources];
  const dir = await cached([label, compiler.version, ...flags, ...link, ...all.flat()], async (temporary) => {
    for (const [path, text] of all) {
      await mkdir(dirname(join(temporary, path)), { recursive: true });
      await writeFile(join(temporary, path), text);
    }
    const units = sources.map(([path]) => path).filter((path) => path.endsWith('.cc') && !path.endsWith('/entry.cc'));
    const queue = new PQueue({ concurrency: Math.max(1, availableParallelism()) });
    const object = (path: string): string => `${path.replaceAll('/', '-')}.o`;
    // The runner's own code is JSON and bookkeeping: -O1 builds it in two thirds of the time. Reference and emulator are loops.
    const level = (path: string): string[] => (path.startsWith('harness/runner/') ? ['-O1'] : []);
    await Promise.all(units.map((path) => queue.add(() => compile(compiler, ['-I', 'include', ...flags, ...level(path), '-c', path, '-o', object(path)], temporary))));
    await compile(compiler, [...flags, ...units.map(object), ...link, '-o', output], temporary);
  });
  return join(dir, output);
}

/** Every source below `folders`, and the loader that they may include, with tables that know nothing: a runner is told which kernel to take. */
async function programSources(folders: readonly string[]): Promise<Sources> {
  const loader = await Promise.all(['harness/antkv_load.h', 'harness/antkv_table.h'].map(async (path) => [path, await readFile(join(ROOT, path), 'utf8')] as const));
  return [...(await Promise.all(folders.map(sourcesBelow))).flat(), ...loader, ['include/antkv_tables.h', printTables(flatten([], []), [])]];
}

/** The path of a program made of every .cc below `folders` of the repository, built if need be. */
export async function buildProgram(name: string, folders: readonly string[], options: HostOptions = {}): Promise<string> {
  return build(`${name} 1`, await programSources(folders), flagsOf(options), ['-ldl', '-pthread'], name, options.env);
}

const RUNNER = ['harness/runner', 'harness/reference'];

/** The path of the runner (about 15 s on two cores the first time). */
export const buildRunner = (options: HostOptions = {}): Promise<string> => buildProgram('antkv-runner', RUNNER, options);

/** All that a machine with g++ alone needs to build the runner: its sources, and the headers that it finds with `-I generated`. */
export async function runnerSources(): Promise<Sources> {
  return [...headers(), ...(await programSources(RUNNER))].map(([path, text]) => [path.replace(/^include\//, 'generated/'), text] as const);
}

/** The path of the emulated driver, a drop-in libcuda.so.1, built if need be. */
export async function buildEmulator(options: HostOptions = {}): Promise<string> {
  const flags = [...flagsOf(options), '-fPIC', '-fvisibility=hidden', '-I', EMULATOR];
  return build('emulator 1', await sourcesBelow(EMULATOR), flags, ['-shared', '-ldl', '-Wl,-soname,libcuda.so.1'], 'libcuda.so.1', options.env);
}

/** The path of an image of kernel `name` that the emulated driver loads, built from its generated source. */
export async function buildEmulatedKernel(name: string, cuText: string, options: HostOptions = {}): Promise<string> {
  const compiler = await hostCompiler(options.env);
  const sources = [...headers(), ...(await sourcesBelow(EMULATOR)).filter(([path]) => !path.startsWith(`${EMULATOR}/driver/`)), ['kernel.cu', cuText] as const];
  const struct = paramStruct(parseKernelName(name).contract.op).name;
  const args = [
    ...flagsOf(options), '-fPIC', '-shared', '-fvisibility=hidden', '-I', EMULATOR, '-I', 'include', '-I', '.',
    '-DANTKV_EMU_SOURCE="kernel.cu"', `-DANTKV_EMU_KERNEL=${name}`, `-DANTKV_EMU_PARAMS=${struct}`, `${EMULATOR}/entry.cc`, '-o', 'kernel.so',
  ];
  const dir = await cached(['emulated kernel 1', compiler.version, ...args, ...sources.flat()], async (temporary) => {
    for (const [path, text] of sources) {
      await mkdir(dirname(join(temporary, path)), { recursive: true });
      await writeFile(join(temporary, path), text);
    }
    await compile(compiler, args, temporary);
  });
  return join(dir, 'kernel.so');
}
