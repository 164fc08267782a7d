// gen bench: ceilings of the device first, the FP16 baseline, then every case of the plan; a row for each time that was taken.
import { join } from 'node:path';
import { EnvironmentError } from '../generator/errors.ts';
import { kernelName } from '../generator/name.ts';
import { runBaseline } from './baseline.ts';
import { launchWord, type Launch } from './bench-launch.ts';
import { baselineShapes, kernelsOfCases, roundsOf, totalTokens, USUAL_SMS, type BaselineShape, type Case } from './bench-plan.ts';
import { environmentOf, rowOf, type Environment, type Row } from './bench-row.ts';
import { benchRecordSchema, ceilingsRecordSchema, type BenchRequest } from './bench-schema.ts';
import { compileCeilings } from './ceilings.ts';
import { loadKernels, type Device, type Loaded } from './images.ts';
import { findNvcc } from './nvcc.ts';
import { removeTemporary, temporaryFolder } from './temporary.ts';

/** Shapes that the emulated driver can run in reasonable time. */
const MOST_EMULATED_TOKENS = 4096;

export interface BenchOptions {
  /** What to measure on a device of so many multiprocessors, in groups; the number changes launches, never kernels. */
  readonly plan: (sms: number) => readonly (readonly Case[])[];
  readonly device: Device;
  readonly samples?: number;
  /** FP16 rows of PyTorch, if it is there. */
  readonly baseline: boolean;
  readonly onRow: (row: Row) => void;
  /** Why a measurement, or the baseline, is missing. */
  readonly onMiss: (what: string) => void;
  readonly onStep: (done: number, total: number, what: string) => void;
}

/** Measures. Throws EnvironmentError if `auto` finds no GPU, or if the emulated driver was asked for large shapes; CompileError. Single requests that fail are told to `onMiss`. */
export async function bench(options: BenchOptions): Promise<Environment> {
  const { plan, device } = options;
  const usual = plan(USUAL_SMS).flat();
  if (device === 'emulated' && Math.max(...usual.map(({ shape }) => totalTokens(shape))) > MOST_EMULATED_TOKENS) {
    throw new EnvironmentError(`the emulated driver takes at most ${MOST_EMULATED_TOKENS} tokens in all`, 'add --batch 1 --tokens 256');
  }
  // All kernels are compiled before the number of multiprocessors is known. With another one combine may be wanted where it was not.
  const merges = usual.flatMap(({ combine }) => combine ?? []);
  const all = [...new Map([...kernelsOfCases(usual), ...merges].map((kernel) => [kernelName(kernel), kernel])).values()];
  const loaded = await loadKernels(all, device, (what) => options.onStep(0, 0, what), false).catch((error: unknown) => {
    throw device === 'auto' && error instanceof EnvironmentError ? noGpu(error.message) : error;
  });
  try {
    if (loaded.info.emulated && device !== 'emulated') throw noGpu('the driver is the emulated one');
    const environment = await measureCeilings(loaded);
    const shapes = baselineShapes(usual);
    if (options.baseline && !environment.emulated && shapes.length > 0) await baselineRows(options, shapes, environment);
    await measureCases(loaded, environment, options);
    return environment;
  } finally {
    await loaded.close();
  }
}

const noGpu = (why: string): EnvironmentError =>
  new EnvironmentError(`no GPU to measure on: ${why}`, '"gen pack --measure" makes a folder for a machine with a GPU; --device emulated tries the command, its times mean nothing');

async function measureCeilings({ runner, info }: Loaded): Promise<Environment> {
  const nvcc = info.emulated ? undefined : await findNvcc();
  const folder = temporaryFolder('antkv-ceilings-');
  try {
    const image = join(folder, 'ceilings.fatbin');
    if (nvcc) await compileCeilings(nvcc, image);
    const request = { cmd: 'ceilings', ...(nvcc ? { image } : {}), ...(info.emulated ? { samples: 3 } : {}) };
    return environmentOf(ceilingsRecordSchema.parse(await runner.request(request)), nvcc?.version ?? null);
  } finally {
    removeTemporary(folder);
  }
}

/** A request in words, for people who wait. */
export function requestWords({ kernel, shape }: BenchRequest): string {
  const launch = 'splits' in shape ? [launchWord({ splits: shape.splits ?? 1, spread: shape.spread === true, merge: (shape.merge ?? 'none') as Launch['merge'] })] : [];
  return [kernel.name, `B${shape.batch ?? 1}`, shape.lens ? 'ragged' : `${shape.tokens} tokens`, ...launch].join(' ');
}

async function measureCases({ runner, info, kernels }: Loaded, environment: Environment, options: BenchOptions): Promise<void> {
  const samples = options.samples ?? (info.emulated ? 3 : undefined);
  const requests = roundsOf(options.plan(info.multiprocessors), (name) => kernels.get(name)!, samples);
  for (const [i, request] of requests.entries()) {
    const what = requestWords(request);
    options.onStep(i, requests.length, what);
    try {
      options.onRow(rowOf(benchRecordSchema.parse(await runner.request(request)), environment));
    } catch (error) {
      options.onMiss(`${what}: ${(error as Error).message}`);
    }
  }
}

/** The FP16 rows of the same GPU, while the runner waits. */
async function baselineRows({ device, samples, onRow, onMiss }: BenchOptions, shapes: readonly BaselineShape[], environment: Environment): Promise<void> {
  const { rows, missing } = await runBaseline(shapes, { ...(device === 'auto' ? {} : { device: String(device) }), ...(samples === undefined ? {} : { samples }) });
  for (const row of rows) {
    const { device: name, ...own } = row.environment;
    onRow({ ...row, environment: { ...environment, ...Object.fromEntries(Object.entries(own).filter(([, value]) => value !== null)), device: name } as Environment });
  }
  if (missing !== undefined) onMiss(missing);
}
