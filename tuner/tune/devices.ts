// The devices of a sweep on this machine: opened, told apart, and asked what they can do at most.
import { uptime } from 'node:os';
import { join } from 'node:path';
import { EnvironmentError } from '../../generator/errors.ts';
import type { TuneEnvironment } from '../../generator/table/schema.ts';
import { compileCeilings } from '../ceilings.ts';
import { findDevices } from '../device.ts';
import { buildEmulator, buildRunner } from '../host.ts';
import type { Nvcc } from '../nvcc.ts';
import { removeTemporary, temporaryFolder } from '../temporary.ts';
import type { Draft } from './events.ts';
import { openGpu, type Gpu } from './gpu.ts';
import type { Clock } from './measurer.ts';
import { stableDigest } from '../../generator/stable.ts';

/** `all`: every GPU that CUDA_VISIBLE_DEVICES leaves, or every one; else those with these numbers. */
export type Devices = 'all' | 'emulated' | readonly number[];

export interface Opened {
  readonly gpu: Gpu;
  /** As `--device` has it. */
  readonly label: string;
}

/** Emulated, a verification of some hundred tokens takes seconds, and more on a busy machine. */
const EMULATED_SETUP_MS = 900_000;

async function wordsOf(devices: 'all' | readonly number[], env: NodeJS.ProcessEnv): Promise<string[]> {
  if (devices !== 'all') return devices.map(String);
  const visible = env['CUDA_VISIBLE_DEVICES'];
  // Empty, it hides them all.
  return visible === undefined ? (await findDevices()).map((_, i) => String(i)) : visible.split(',').map((word) => word.trim()).filter((word) => word !== '');
}

/** Opens devices, each behind a runner of its own. `emulatedArch`: which GPU the emulated driver plays, `90`. Throws EnvironmentError where there is none. */
export async function openDevices(devices: Devices, clock: Clock, { emulatedArch, env = process.env }: { readonly emulatedArch?: string; readonly env?: NodeJS.ProcessEnv } = {}): Promise<Opened[]> {
  const binary = await buildRunner();
  if (devices === 'emulated') {
    const driver = await buildEmulator();
    const gpu = await openGpu({ binary, driver, clock, label: 'emulated', setupMs: EMULATED_SETUP_MS, timeoutMs: EMULATED_SETUP_MS, ...(emulatedArch === undefined ? {} : { env: { ANTKV_EMU_ARCH: emulatedArch } }) });
    return [{ gpu, label: 'emulated' }];
  }
  const words = await wordsOf(devices, env);
  if (words.length === 0) throw new EnvironmentError('no GPU to tune on: nvidia-smi finds none, or CUDA_VISIBLE_DEVICES hides them', 'run on a machine with a GPU, or --scheduler slurm on a cluster; --device emulated tries the command, its times mean nothing');
  const opened: Opened[] = [];
  try {
    for (const word of words) opened.push({ gpu: await openGpu({ binary, clock, label: word, env: { CUDA_VISIBLE_DEVICES: word } }), label: word });
  } catch (error) {
    await Promise.all(opened.map(({ gpu }) => gpu.close()));
    throw error;
  }
  return opened;
}

/** When this machine was started, in ms since 1970. */
export const bootedAt = (): number => Date.now() - 1000 * uptime();

/** What a device's times depend on, and its digest. */
export function environmentOf({ device, driver, clock }: Pick<Gpu, 'device' | 'driver' | 'clock'>, nvcc: string | null): { readonly facts: TuneEnvironment; readonly digest: string } {
  const facts: TuneEnvironment = { device, driver, nvcc, clock, policy: { launch: 'graph', l2: 'cold' } };
  return { facts, digest: stableDigest(facts) };
}

/** Measures what a device can do at most; with nvcc reading and matrix instructions too. */
export async function ceilingsOf(gpu: Gpu, environment: string, nvcc: Nvcc | undefined): Promise<Draft> {
  const folder = temporaryFolder('antkv-ceilings-');
  try {
    const image = join(folder, 'ceilings.fatbin');
    if (nvcc) await compileCeilings(nvcc, image);
    const { read, copy, mma } = await gpu.ceilings(nvcc && image);
    return { event: 'ceilings', environment, read_gbps: read?.gbps ?? null, copy_gbps: copy.gbps, mma_tflops: mma?.tflops ?? null };
  } finally {
    removeTemporary(folder);
  }
}
