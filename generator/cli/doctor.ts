// gen doctor: what of this machine is ready, and the fix for what is not.
import { constants } from 'node:fs';
import { access, mkdir, statfs } from 'node:fs/promises';
import { dirname } from 'node:path';
import { execa } from 'execa';
import type { CommandModule } from 'yargs';
import { compareVersions, driverForToolkit, type Arch } from '../arch.ts';
import { EnvironmentError, EXIT } from '../errors.ts';
import { cacheDir } from '../../tuner/cache.ts';
import { findDevices, type Device } from '../../tuner/device.ts';
import { checkHostOf, findNvcc, NVCC_FIX, type Nvcc } from '../../tuner/nvcc.ts';
import type { Global } from './commands.ts';
import { archsOf } from './names.ts';
import { colour, out, outJson } from './print.ts';
import { GENERATED } from './select.ts';

interface DoctorOptions extends Global {
  arch: string;
}

interface Finding {
  readonly what: string;
  readonly state: 'ok' | 'warn' | 'fail';
  readonly says: string;
  readonly fix?: string;
}

const ok = (what: string, says: string): Finding => ({ what, state: 'ok', says });
const warn = (what: string, says: string, fix: string): Finding => ({ what, state: 'warn', says, fix });
const fail = (what: string, says: string, fix: string): Finding => ({ what, state: 'fail', says, fix });

async function checkNvcc(nvcc: Nvcc | undefined, archs: readonly Arch[]): Promise<Finding> {
  if (!nvcc) return warn('nvcc', 'not found: kernels can be generated and emulated, not compiled', NVCC_FIX);
  const old = archs.find((arch) => compareVersions(nvcc.version, arch.minNvcc) < 0);
  if (old) return fail('nvcc', `${nvcc.version} cannot compile for ${old.name}`, `install CUDA ${old.minNvcc} or newer`);
  const fault = await checkHostOf(nvcc).catch((error: unknown) => error);
  return fault instanceof EnvironmentError ? fail('nvcc', `${nvcc.version} at ${nvcc.path}: ${fault.message}`, fault.fix!) : ok('nvcc', `${nvcc.version} at ${nvcc.path}`);
}

async function checkHostCompiler(): Promise<Finding> {
  const compiler = process.env['CXX'] || 'g++';
  const { stdout, failed } = await execa(compiler, ['--version'], { reject: false, timeout: 20_000 });
  return failed ? warn('host compiler', `${compiler} not found: no emulator, no runner`, 'install g++ (Debian: apt install g++), or set CXX') : ok('host compiler', stdout.split('\n')[0]!);
}

/** What runs here: machine code on GPUs of its major architecture, PTX on newer ones. PTX is of the toolkit's version, and older drivers refuse it whatever the GPU. */
function checkGpu(devices: readonly Device[], nvcc: Nvcc | undefined, archs: readonly Arch[]): Finding[] {
  if (devices.length === 0) return [warn('GPU', 'nvidia-smi finds none: kernels run on the emulator', 'nothing, unless this machine has a GPU: then install its driver')];
  const ptxNeeds = nvcc && driverForToolkit(nvcc.version);
  const findings = devices.map((device) => {
    const tooOld = ptxNeeds !== undefined && compareVersions(device.driver, ptxNeeds) < 0;
    const sass = archs.find((arch) => arch.capability.split('.')[0] === device.capability.split('.')[0] && compareVersions(arch.capability, device.capability) <= 0);
    const ptx = archs.find((arch) => compareVersions(arch.capability, device.capability) <= 0);
    const says = `${device.name}, compute capability ${device.capability}`;
    if (sass) return ok('GPU', `${says}: runs the machine code of ${sass.name}`);
    if (ptx && tooOld) return fail('GPU', `${says}: cannot run the machine code of ${ptx.name}, and driver ${device.driver} cannot compile the PTX of nvcc ${nvcc!.version}`, `install driver ${ptxNeeds}, or compile with an older toolkit, or for this GPU (--arch native)`);
    return ptx ? ok('GPU', `${says}: runs the PTX of ${ptx.name}, which the driver compiles when a kernel is loaded`) : fail('GPU', `${says} is older than ${archs.map((a) => a.name).join(', ')}`, 'use a GPU of compute capability 8.0 or newer');
  });
  const { driver } = devices[0]!;
  const needs = archs.map((arch) => arch.minDriver).sort(compareVersions).at(-1)!;
  findings.push(compareVersions(driver, needs) < 0 ? fail('driver', `${driver} is too old for ${archs.map((a) => a.name).join(', ')}`, `install driver ${needs} or newer`) : ok('driver', driver));
  if (ptxNeeds && compareVersions(driver, ptxNeeds) < 0) findings.push(warn('PTX', `PTX of nvcc ${nvcc.version} needs driver ${ptxNeeds}, this is ${driver}`, 'machine code of the same major architecture still runs; for others use an older toolkit or a newer driver'));
  else if (ptxNeeds) findings.push(ok('PTX', `driver ${driver} compiles PTX of nvcc ${nvcc.version}`));
  return findings;
}

async function checkFolder(what: string, dir: string, create: boolean, fix: string): Promise<Finding[]> {
  try {
    if (create) await mkdir(dir, { recursive: true });
    await access(dir, constants.W_OK);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code !== 'ENOENT') return [fail(what, `cannot write ${dir} (${code})`, fix)];
    return checkFolder(what, dirname(dir), false, fix);
  }
  const { bavail, bsize } = await statfs(dir);
  const free = Math.floor((bavail * bsize) / 2 ** 20);
  return [free < 200 ? warn(what, `${dir}: ${free} MB free`, `free some space; ${fix}`) : ok(what, `${dir}, ${free} MB free`)];
}

async function findings(archs: readonly Arch[]): Promise<Finding[]> {
  const [nvcc, devices, host] = await Promise.all([findNvcc(), findDevices(), checkHostCompiler()]);
  return [
    ok('Node', process.versions.node),
    await checkNvcc(nvcc, archs),
    host,
    ...checkGpu(devices, nvcc, archs),
    ...(await checkFolder('output', GENERATED, false, 'make it writable, or use --out')),
    ...(await checkFolder('build cache', cacheDir(), true, 'set ANTKV_CACHE to a folder that you can write')),
  ];
}

const COLOUR_OF = { ok: 'green', warn: 'yellow', fail: 'red' } as const;

export const doctor: CommandModule<object, DoctorOptions> = {
  command: 'doctor',
  describe: 'what of this machine is ready, and the fix for what is not',
  builder: (y) => y.option('arch', { type: 'string', default: 'sm80', requiresArg: true, describe: 'architectures to check for' }).strict() as never,
  handler: async ({ arch, json }) => {
    const found = await findings(await archsOf(arch));
    if (json) found.forEach(outJson);
    else for (const { what, state, says, fix } of found) out(`${colour(state.padEnd(4), COLOUR_OF[state])}  ${what.padEnd(13)}  ${says}${fix === undefined ? '' : `\n                       fix: ${fix}`}`);
    if (found.some(({ state }) => state === 'fail')) process.exitCode = EXIT.environment;
  },
};
