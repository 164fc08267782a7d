// nvcc: where it is, its command line (pure), its report, and one guarded run of it.
import { spawn } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { setPriority, tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { execa } from 'execa';
import { gencodeFlags, type Arch } from '../generator/arch.ts';
import { EnvironmentError } from '../generator/errors.ts';

export interface Nvcc {
  readonly path: string;
  /** `13.0.88` */
  readonly version: string;
}

/** Where to get nvcc; ends every message that misses it. */
export const NVCC_FIX = 'install the CUDA toolkit 11.8 or newer (https://developer.nvidia.com/cuda-downloads) and put nvcc on PATH, or set CUDA_HOME';

const isExecutable = (path: string): boolean => {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
};

/** Where nvcc is looked for: $CUDACXX alone if it is set (CMake's rule), else PATH, $CUDA_HOME, $CUDA_PATH and the usual place of installation. */
export function nvccCandidates(env: NodeJS.ProcessEnv): string[] {
  if (env['CUDACXX']) return [env['CUDACXX']];
  const homes = [env['CUDA_HOME'], env['CUDA_PATH'], '/usr/local/cuda'].flatMap((home) => (home ? [join(home, 'bin')] : []));
  return [...(env['PATH'] ?? '').split(delimiter), ...homes].filter((dir) => dir !== '').map((dir) => join(dir, 'nvcc'));
}

/** The first nvcc there is, or undefined. One that does not answer with a version counts as none. */
export async function findNvcc(env: NodeJS.ProcessEnv = process.env): Promise<Nvcc | undefined> {
  const path = nvccCandidates(env).find(isExecutable);
  if (path === undefined) return undefined;
  const { stdout } = await execa(path, ['--version'], { reject: false, timeout: 20_000 });
  const version = /V(\d+\.\d+\.\d+)/.exec(stdout)?.[1];
  return version === undefined ? undefined : { path, version };
}

/** Throws EnvironmentError where nvcc finds no compiler of the host, without which it compiles nothing. */
export async function checkHostOf(nvcc: Nvcc): Promise<void> {
  await runNvcc(nvcc.path, ['-E', '-x', 'cu', '/dev/null'], tmpdir(), 20_000);
}

/** The arguments that compile `source` to one fatbin: machine code of `arch` and PTX, without the latter where it uses the architecture's `own` instructions. Paths are relative to the working folder, which holds the headers. */
export const nvccArgs = (arch: Arch, source: string, output: string, own = false): string[] => [
  '-fatbin', '-std=c++17', '-O3', ...gencodeFlags(arch, own), '-I', '.', '-Xptxas', '-v', '-o', output, source,
];

/** What ptxas says of a kernel; bytes, except registers per thread. */
export interface Resources {
  readonly registers: number;
  readonly spillStores: number;
  readonly spillLoads: number;
  readonly stack: number;
  readonly staticShared: number;
}

/** The report of `-Xptxas -v` on one kernel, or undefined if there is none. */
export function parsePtxas(log: string): Resources | undefined {
  const number = (pattern: RegExp): number => Number(pattern.exec(log)?.[1] ?? 0);
  const registers = number(/Used (\d+) registers/);
  if (registers === 0) return undefined;
  return {
    registers,
    spillStores: number(/(\d+) bytes spill stores/),
    spillLoads: number(/(\d+) bytes spill loads/),
    stack: number(/(\d+) bytes stack frame/),
    staticShared: number(/(\d+) bytes smem/),
  };
}

/** What is wrong with the machine, and not with the source, when nvcc says `log`; undefined if nothing. */
function machineFault(log: string): EnvironmentError | undefined {
  if (/Failed to preprocess host compiler properties/.test(log)) return new EnvironmentError(`nvcc finds no C++ compiler: ${firstErrorLine(log.replace(/^nvcc fatal.*$/m, ''))}`, 'install g++ (Debian, Ubuntu: apt install g++), or set NVCC_CCBIN to one');
  return /No space left on device/.test(log) ? new EnvironmentError('no space left for what nvcc writes', 'free some space, or set ANTKV_CACHE to a folder on another disk') : undefined;
}

/** The line of a compiler's output that says what is wrong. */
export const firstErrorLine = (log: string): string =>
  log.split('\n').find((line) => /\b(fatal )?error\b/i.test(line))?.trim() ?? log.split('\n').find((line) => line.trim() !== '')?.trim() ?? 'no output';

export interface NvccRun {
  readonly code: number | null;
  readonly timedOut: boolean;
  readonly log: string;
}

// nvcc starts other programs: a process group of its own lets all of them end together.
const groups = new Set<number>();
const killGroup = (pid: number): void => {
  try {
    process.kill(-pid, 'SIGKILL');
  } catch {
    // It has ended already.
  }
};
let watching = false;
function watchExit(): void {
  if (watching) return;
  watching = true;
  // Before the cache removes the folders that they write to.
  process.prependOnceListener('exit', () => groups.forEach(killGroup));
}

/** How far compilers of a sweep stand back behind what asks the GPU and computes references meanwhile. */
const NICE = 10;
function standBack(pid: number): void {
  try {
    setPriority(pid, NICE); // the programs that nvcc starts take after it
  } catch {
    // It has ended already.
  }
}

/** Runs nvcc in `cwd`; its temporary files stay there too. `nice`: other work of this machine goes first. A compiler that fails is a result; rejects, with EnvironmentError, where it fails for want of a host compiler or of space: that says nothing of the source. */
export function runNvcc(nvcc: string, args: readonly string[], cwd: string, timeoutMs: number, nice = false): Promise<NvccRun> {
  watchExit();
  return new Promise((resolve, reject) => {
    const child = spawn(nvcc, args, { cwd, detached: true, env: { ...process.env, TMPDIR: cwd }, stdio: ['ignore', 'pipe', 'pipe'] });
    let log = '';
    let timedOut = false;
    const hear = (chunk: Buffer): void => void (log += chunk.toString());
    child.stdout.on('data', hear);
    child.stderr.on('data', hear);
    if (child.pid !== undefined) groups.add(child.pid);
    if (nice && child.pid !== undefined) standBack(child.pid);
    const timer = setTimeout(() => {
      timedOut = true;
      if (child.pid !== undefined) killGroup(child.pid);
    }, timeoutMs);
    const end = (code: number | null): void => {
      clearTimeout(timer);
      if (child.pid !== undefined) groups.delete(child.pid);
      const fault = code === 0 ? undefined : machineFault(log);
      if (fault) reject(fault);
      else resolve({ code, timedOut, log });
    };
    child.once('error', (error) => {
      log += error.message;
      end(null);
    });
    child.once('close', end);
  });
}
