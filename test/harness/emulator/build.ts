// Builds what the emulator's tests need with the host compiler, through the build cache, and runs the test host.
import { readFile, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { EnvironmentError } from '../../../generator/errors.ts';
import { cached } from '../../../tuner/cache.ts';
import { buildEmulator, hostCompiler } from '../../../tuner/host.ts';

const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
const HERE = 'test/harness/emulator';
const SANITIZE = ['-g', '-O1', '-fno-omit-frame-pointer', '-fsanitize=address,undefined', '-fno-sanitize-recover=undefined'];

export interface Built {
  readonly driver: string;
  readonly host: string;
  kernel(name: 'clean' | 'planted' | 'counted'): Promise<string>;
}

async function texts(folder: string): Promise<string[]> {
  const names = (await readdir(join(ROOT, folder), { recursive: true })).filter((name) => /\.(cc|h|cuh|cu)$/.test(name)).sort();
  return (await Promise.all(names.map(async (name) => [name, await readFile(join(ROOT, folder, name), 'utf8')]))).flat();
}

/** One g++ call, cached by sources, flags and compiler; the output's path. Sources are given relative to the repository. */
async function compile(output: string, args: readonly string[]): Promise<string> {
  const { path, version } = await hostCompiler();
  const all = ['-std=c++17', '-O2', '-Wall', '-Wextra', '-Werror', '-ffp-contract=off', ...args];
  const key = ['emulator test 1', version, output, ...all, ...(await texts(HERE)), ...(await texts('harness/emulator'))];
  const dir = await cached(key, async (temporary) => {
    await execa(path, [...all, '-o', join(temporary, output)], { cwd: ROOT, timeout: 300_000 });
  });
  return join(dir, output);
}

/** Driver and host, kernels on demand; null, with a word on stderr, if there is no C++ compiler. */
export async function build(sanitize = false): Promise<Built | null> {
  const flags = sanitize ? SANITIZE : [];
  try {
    await hostCompiler();
  } catch (error) {
    if (!(error instanceof EnvironmentError)) throw error;
    process.stderr.write(`skipped: the emulator's tests need g++ (${error.message})\n`);
    return null;
  }
  const sources = ['host.cc', 'host_api.cc', 'host_clean.cc', 'host_launch.cc', 'host_lookup.cc'].map((name) => `${HERE}/${name}`);
  const [driver, host] = await Promise.all([buildEmulator(sanitize ? { sanitize: 'address,undefined' } : {}), compile('host', [...flags, ...sources, '-ldl'])]);
  const kernel = (name: string): Promise<string> =>
    compile(`${name}.so`, [
      ...flags, '-fPIC', '-shared', '-fvisibility=hidden', '-I', 'harness/emulator', '-I', `${HERE}/kernels`, '-I', '.',
      `-DANTKV_EMU_SOURCE="${HERE}/kernels/${name}.cu"`, `-DANTKV_EMU_KERNEL=emu_${name}`, '-DANTKV_EMU_PARAMS=emu_test_params', 'harness/emulator/entry.cc',
    ]);
  return { driver, host, kernel };
}

/** Runs the test host and parses its lines. */
export async function run<T>(built: Built, command: string, args: readonly (string | number)[]): Promise<T[]> {
  const { stdout } = await execa(built.host, [built.driver, command, ...args.map(String)], { timeout: 120_000 });
  return stdout.split('\n').filter(Boolean).map((line) => JSON.parse(line) as T);
}

