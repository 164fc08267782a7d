// `gen verify`: kernels, rendered from the templates as they are now, against the fp64 reference at the shapes of shapes.ts and large.ts.
import { freemem } from 'node:os';
import { UsageError } from '../generator/errors.ts';
import { contractName, kernelName, type Kernel } from '../generator/name.ts';
import { combineOf } from './bench-plan.ts';
import { loadKernels, type Device, type Loaded } from './images.ts';
import { largeShapes } from './large.ts';
import { SHAPES, verifyRecordSchema, type CheckOp, type CheckRequest, type InfoRecord, type KernelRef, type Shape, type VerifyRecord } from './problem.ts';
import { RunnerError, type Runner } from './runner.ts';
import { sanitize, TOOLS } from './sanitize.ts';
import type { Draw } from './sample/draw.ts';
import { combines, fit, SMALL } from './shapes.ts';

/** `quick`: one shape of each kind; `usual`: all small ones; `full`: large ones too, on a GPU. */
export type Level = 'quick' | 'usual' | 'full';

export interface VerifyOptions {
  readonly kernels: readonly Kernel[];
  readonly device: Device;
  readonly level: Level;
  readonly seed: number;
  /** This one shape instead of all: what repeats a check. */
  readonly shape?: object;
  /** These checks instead of those of `kernels`. */
  readonly draws?: readonly Draw[];
  readonly sanitize?: boolean;
  readonly onStep?: (done: number, total: number, what: string) => void;
  readonly onRecord?: (record: VerifyRecord) => void;
  /** Something that was left out, and why. */
  readonly onNote?: (text: string) => void;
}

/** One check to make. */
export interface Job {
  readonly kernel: Kernel;
  readonly group: string;
  readonly shape: object;
  /** Of large shapes: bytes on the device, about. */
  readonly bytes: number;
  /** Instead of the one of all. */
  readonly seed?: number;
}

/** The check of a draw. */
export const jobOf = ({ kernel, shape, seed }: Draw): Job => ({ kernel, group: 'draw', shape, bytes: 0, seed });

/** The checks of one kernel, in order. Throws UsageError for a shape that its op does not have. */
export function jobsOf(kernel: Kernel, level: Level, shape?: object): Job[] {
  const { contract } = kernel;
  const op = contract.op as CheckOp;
  const job = (group: string, one: object, bytes = 0): Job => ({ kernel, group, shape: one, bytes });
  if (shape) {
    const parsed = SHAPES[op].safeParse(shape);
    if (!parsed.success) throw new UsageError(`--shape is no shape of ${op}: ${parsed.error.issues.map(({ path, message }) => `${path.join('.')} ${message}`.trim()).join('; ')}`, 'harness/runner/README.md lists the fields');
    return [job('given', shape)];
  }
  const small = Object.entries(SMALL[op]).flatMap(([group, shapes]: [string, readonly object[]]) => {
    const fitting = shapes.map((one) => fit(op, one as never, contract) as object | undefined).filter((one) => one !== undefined);
    return (level === 'quick' ? fitting.slice(0, 1) : fitting).map((one) => job(group, one));
  });
  const large = level === 'full' ? largeShapes(contract).map(({ group, shape: one, bytes }) => job(group, one, bytes)) : [];
  // Without anchors and ring some shapes become equal.
  return [...new Map([...small, ...large].map((one) => [JSON.stringify(one.shape), one] as const)).values()];
}

/** The request of a job. */
export function requestOf({ kernel, shape, group }: Job, kernels: ReadonlyMap<string, KernelRef>, seed: number): CheckRequest {
  const op = kernel.contract.op as CheckOp;
  // With one split combine turns ring scores into mass; half of the ring's checks ask for them raw.
  const merges = op === 'decode' && combines(shape as Shape<'decode'>);
  const masses = op === 'decode' && group === 'ringScores' && 'tree_mask' in shape;
  const combine = merges || masses ? { combine: kernels.get(kernelName(combineOf(kernel)))! } : {};
  return { cmd: 'check', op, kernel: kernels.get(kernelName(kernel))!, ...combine, shape, seed } as CheckRequest;
}

/** Why a large job cannot be done here; undefined if it can. */
function tooLarge({ bytes }: Job, info: InfoRecord): string | undefined {
  const gigabytes = (n: number): string => `${(n / 1e9).toFixed(1)} GB`;
  if (bytes > 0 && info.emulated) return 'the emulator is too slow for it';
  if (bytes > 0.9 * info.memory_bytes) return `it needs ${gigabytes(bytes)} of GPU memory, there are ${gigabytes(info.memory_bytes)}`;
  return 3.2 * bytes > freemem() ? `it may need ${gigabytes(3.2 * bytes)} of host memory, ${gigabytes(freemem())} are free` : undefined;
}

const FAILED = { rel_l2: null, max_abs: null, lse_err: null, bit_equal: false, tolerance: null, ms: null };

/** Makes one check; a kernel that fails or hangs is a record like any other. */
async function check(runner: Runner, info: InfoRecord, job: Job, request: CheckRequest): Promise<VerifyRecord> {
  const { device, emulated, cc, driver_version } = info;
  const { kernel, group, shape } = job;
  const common = { kind: 'verify', kernel: kernelName(kernel), contract: contractName(kernel.contract), arch: kernel.arch.name, op: request.op, group, shape, seed: request.seed, device, emulated, cc, driver_version };
  try {
    const { ok, faults, rel_l2, max_abs, lse_err, bit_equal, tolerance, ms } = await runner.check(request);
    return verifyRecordSchema.parse({ ...common, ok, faults, rel_l2, max_abs, lse_err, bit_equal, tolerance, ms, request });
  } catch (error) {
    if (!(error instanceof RunnerError)) throw error;
    return verifyRecordSchema.parse({ ...common, ...FAILED, ok: false, faults: [error.message], request });
  }
}

/** Every check of every kernel; each record also goes to `onRecord` as it comes. Throws what {@link loadKernels} throws. */
export async function verify(options: VerifyOptions): Promise<{ records: VerifyRecord[]; info: InfoRecord; why?: string }> {
  const { kernels, level, seed, onStep, onRecord, onNote } = options;
  const jobs = options.draws?.map(jobOf) ?? kernels.flatMap((kernel) => jobsOf(kernel, level, options.shape));
  const merges = kernels.filter(({ contract }) => contract.op === 'decode').map(combineOf);
  const images = [...new Map([...kernels, ...merges].map((kernel) => [kernelName(kernel), kernel])).values()];
  let done = 0;
  const total = images.length + 2 + jobs.length;
  const step = (what: string): void => onStep?.((done = Math.min(done + 1, total)), total, what);
  const loaded: Loaded = await loadKernels(images, options.device, step);
  const records: VerifyRecord[] = [];
  const add = (record: VerifyRecord): void => {
    records.push(record);
    onRecord?.(record);
  };
  try {
    const left = new Map<string, number>();
    for (const job of jobs) {
      const why = tooLarge(job, loaded.info);
      if (why) left.set(why, (left.get(why) ?? 0) + 1);
      else add(await check(loaded.runner, loaded.info, job, requestOf(job, loaded.kernels, job.seed ?? seed)));
      step(`${kernelName(job.kernel)} ${job.group}`);
    }
    for (const [why, count] of left) onNote?.(`${count} large checks left out: ${why}`);
    if (options.sanitize) {
      const small = kernels.flatMap((kernel) => jobsOf(kernel, 'quick')).map((job) => requestOf(job, loaded.kernels, seed));
      const outcome = await sanitize(loaded, small, (tool) => onStep?.(TOOLS.indexOf(tool), TOOLS.length, `compute-sanitizer ${tool}`));
      outcome.records.forEach(add);
      outcome.notes.forEach((text) => onNote?.(text));
    }
  } finally {
    await loaded.close();
  }
  return { records, info: loaded.info, ...(loaded.why === undefined ? {} : { why: loaded.why }) };
}
