// Facts per GPU architecture: limits, nvcc flags, minimum toolkit, instructions. Each column names its source.
import { EnvironmentError, unknownName, UsageError } from './errors.ts';

/** Instructions that a body may ask for, with the first architecture that has each (PTX ISA, "Target ISA Notes" of the instruction). */
export const INSTRUCTIONS = ['cpAsync', 'ldmatrix', 'movmatrix', 'mmaM16n8k16', 'redux', 'e4m3', 'stmatrix', 'tma', 'cluster', 'wgmma', 'tcgen05'] as const;
export type Instruction = (typeof INSTRUCTIONS)[number];

/** What the analytic cost model (cost.ts) knows of a device. Rates are per SM and clock. */
export interface Machine {
  readonly name: string;
  readonly sms: number;
  readonly ghz: number;
  /** GB/s that reading kernels reach, not the number on the box. */
  readonly memory: number;
  /** Bytes from L2 when all SMs read. */
  readonly l2: number;
  /** Warp instructions on two halves at once, and on fp32. All others: cost.ts. */
  readonly half: number;
  readonly float: number;
  /** Clocks that one mma.m16n8k16 f16 or m16n8k32 s8 holds the matrix unit of a quarter of an SM. */
  readonly matrix: number;
  /** False: from documents alone; what follows from it is printed as modelled. */
  readonly measured: boolean;
}

export interface Arch {
  /** `sm80`, as in kernel names and folders. */
  readonly name: string;
  /** Compute capability, `8.0`. */
  readonly capability: string;
  readonly threadsPerSm: number;
  readonly threadsPerBlock: number;
  readonly registersPerSm: number;
  readonly registersPerThread: number;
  readonly blocksPerSm: number;
  /** Bytes. Each resident block also takes 1 KB of it for the system. */
  readonly sharedPerSm: number;
  /** Bytes of dynamic shared memory that a block may opt in to. */
  readonly sharedPerBlock: number;
  /** The usual part of this architecture; absent where its numbers are not published. */
  readonly part: { readonly name: string; readonly sms: number; readonly l2Bytes: number } | undefined;
  /** First CUDA toolkit whose nvcc can compile our sources for it, `major.minor`. */
  readonly minNvcc: string;
  /** Oldest driver that can run binaries of it: the one that came with the first toolkit that knew it. PTX also needs {@link driverForToolkit}. */
  readonly minDriver: string;
  readonly instructions: readonly Instruction[];
  /** What `gen show --cost` computes times for; absent where nobody wrote it down. */
  readonly machine?: Machine;
}

const KB = 1024;
const MB = 1024 * KB;

// CUDA C++ Programming Guide, "Compute Capabilities", table of technical specifications; the same numbers in cuda/__device/arch_traits.h of CCCL:
// 1024 threads per block, 64 K registers per SM, 255 per thread, and 1 KB of each block's shared memory reserved, on all of these.
const limits = (threadsPerSm: number, blocksPerSm: number, sharedKb: number) => ({
  threadsPerSm,
  threadsPerBlock: 1024,
  registersPerSm: 64 * KB,
  registersPerThread: 255,
  blocksPerSm,
  sharedPerSm: sharedKb * KB,
  sharedPerBlock: (sharedKb - 1) * KB,
});

// PTX ISA: cp.async, mma.m16n8k16 and redux.sync from sm_80, ldmatrix and movmatrix from sm_75.
const AMPERE: readonly Instruction[] = ['cpAsync', 'ldmatrix', 'movmatrix', 'mmaM16n8k16', 'redux'];
// cvt to and from e4m3x2 from sm_89.
const ADA: readonly Instruction[] = [...AMPERE, 'e4m3'];
// stmatrix, cp.async.bulk.tensor and clusters from sm_90; wgmma is sm_90a only, tcgen05 sm_100a and sm_103a only: nothing later inherits them.
const HOPPER_ON: readonly Instruction[] = [...ADA, 'stmatrix', 'tma', 'cluster'];

// movmatrix needs PTX ISA 7.8, that is CUDA 11.8, and is the newest thing in our sources (__grid_constant__ is of 11.7).
const SOURCES_NEED = '11.8';

// A100 whitepaper: 108 SMs, 1410 MHz, 1555 to 2039 GB/s by part (here what an 80 GB part reads), 5120 B of L2 per clock of which two thirds are taken as reached,
// mma f16 1024 FMA per SM and clock (int8 twice that). CUDA programming guide, "Throughput of native arithmetic instructions": halves, fp32.
const A100: Machine = { name: 'A100', sms: 108, ghz: 1.41, memory: 1900, l2: 32, half: 4, float: 2, matrix: 8, measured: false };
// Measured on one H200 (harness/bench/NOTES.md): 4580 GB/s read by the best FP16 attention; 6.1 clocks per mma.sync, f16 and int8 alike; halves only on the
// heavy one of the two FMA pipes; L2 from the 5.0 to 5.2 k clocks in which a CTA reads 96 KB of codebooks before its first tile.
const H200: Machine = { name: 'H200', sms: 132, ghz: 1.98, memory: 4580, l2: 25, half: 2, float: 4, matrix: 6.1, measured: true };

/**
 * Toolkits that first knew each architecture: CUDA release notes, "New features" (PTX ISA release history: 7.0, 7.1, 7.4, 7.8, 7.8, 8.6, 8.8, 8.7).
 * Parts: whitepapers of A100, GA102 (A40), Jetson AGX Orin, Ada (L40S), H100, RTX Blackwell (RTX 5090); B200: 2 x 74 SMs and 126 MB as cudaDeviceProp reports.
 */
export const ARCHS: readonly Arch[] = [
  { name: 'sm80', capability: '8.0', ...limits(2048, 32, 164), part: { name: 'A100', sms: 108, l2Bytes: 40 * MB }, minNvcc: SOURCES_NEED, minDriver: '450.36', instructions: AMPERE, machine: A100 },
  { name: 'sm86', capability: '8.6', ...limits(1536, 16, 100), part: { name: 'A40', sms: 84, l2Bytes: 6 * MB }, minNvcc: SOURCES_NEED, minDriver: '455.23', instructions: AMPERE },
  { name: 'sm87', capability: '8.7', ...limits(1536, 16, 164), part: { name: 'Jetson AGX Orin', sms: 16, l2Bytes: 4 * MB }, minNvcc: SOURCES_NEED, minDriver: '470.42', instructions: AMPERE },
  { name: 'sm89', capability: '8.9', ...limits(1536, 24, 100), part: { name: 'L40S', sms: 142, l2Bytes: 96 * MB }, minNvcc: '11.8', minDriver: '520.61', instructions: ADA },
  { name: 'sm90', capability: '9.0', ...limits(2048, 32, 228), part: { name: 'H100 SXM', sms: 132, l2Bytes: 50 * MB }, minNvcc: '11.8', minDriver: '520.61', instructions: [...HOPPER_ON, 'wgmma'], machine: H200 },
  { name: 'sm100', capability: '10.0', ...limits(2048, 32, 228), part: { name: 'B200', sms: 148, l2Bytes: 126 * MB }, minNvcc: '12.8', minDriver: '570.26', instructions: [...HOPPER_ON, 'tcgen05'] },
  { name: 'sm103', capability: '10.3', ...limits(2048, 32, 228), part: undefined, minNvcc: '12.9', minDriver: '575.51', instructions: [...HOPPER_ON, 'tcgen05'] },
  { name: 'sm120', capability: '12.0', ...limits(1536, 24, 100), part: { name: 'RTX 5090', sms: 170, l2Bytes: 96 * MB }, minNvcc: '12.8', minDriver: '570.26', instructions: HOPPER_ON },
];

/** The architecture called `name` (`sm80`), or undefined. */
export const findArch = (name: string): Arch | undefined => ARCHS.find((arch) => arch.name === name);

/** What stands behind `compute_` and `sm_` in nvcc's flags: `90`, or `90a` for instructions that are the architecture's own (wgmma). */
export const targetOf = (arch: Arch, own: boolean): string => `${arch.name.slice(2)}${own ? 'a' : ''}`;

/** nvcc's target flags: machine code of the architecture, and PTX for whatever comes after it; what uses `own` instructions, which nothing later inherits, runs there alone. */
export function gencodeFlags(arch: Arch, own = false): string[] {
  const n = targetOf(arch, own);
  if (own) return ['-gencode', `arch=compute_${n},code=sm_${n}`];
  return ['-gencode', `arch=compute_${n},code=sm_${n}`, '-gencode', `arch=compute_${n},code=compute_${n}`];
}

// CUDA Toolkit release notes, "CUDA Toolkit and Corresponding Driver Versions", Linux x86_64, first release of each.
const TOOLKIT_DRIVERS: readonly (readonly [toolkit: string, driver: string])[] = [
  ['11.8', '520.61'], ['12.0', '525.60'], ['12.1', '530.30'], ['12.2', '535.54'], ['12.3', '545.23'], ['12.4', '550.54'],
  ['12.5', '555.42'], ['12.6', '560.28'], ['12.8', '570.26'], ['12.9', '575.51'], ['13.0', '580.65'],
];

/** Negative if version `a` is older than `b`: `12.4` < `12.10`, `580.65.06` > `580.65`. */
export function compareVersions(a: string, b: string): number {
  const x = a.split('.').map(Number);
  const y = b.split('.').map(Number);
  for (let i = 0; i < Math.max(x.length, y.length); i++) {
    const difference = (x[i] ?? 0) - (y[i] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}

/** The oldest driver that can compile PTX written by nvcc `version`: PTX carries the toolkit's ISA version, and older drivers refuse it whatever the GPU. */
export function driverForToolkit(version: string): string | undefined {
  return TOOLKIT_DRIVERS.findLast(([toolkit]) => compareVersions(toolkit, version) <= 0)?.[1];
}

/**
 * Architectures from what a user types: `sm80`, `sm_80`, `80`, `8.0`, or a list with commas. `native` asks `native`, which gives the compute capabilities of the
 * GPUs in this machine (`8.0`). Throws UsageError for unknown names, EnvironmentError if `native` cannot be answered.
 */
export function parseArchs(text: string, native: () => readonly string[]): Arch[] {
  const wanted = text.split(',').flatMap((part) => (part.trim() === 'native' ? native() : [part.trim()]));
  const archs = wanted.map((part) => {
    const name = `sm${part.replace(/^(sm|compute)_?/i, '').replace('.', '')}`;
    const arch = findArch(name);
    if (arch) return arch;
    if (part === '') throw new UsageError('an empty architecture', `known: ${ARCHS.map((a) => a.name).join(', ')}`);
    if (text.includes('native')) throw new EnvironmentError(`this machine's GPU has compute capability ${part}, which is not known here`, `name one with --arch: ${ARCHS.map((a) => a.name).join(', ')}`);
    throw unknownName('architecture', part, ARCHS.map((a) => a.name));
  });
  return [...new Set(archs)];
}
