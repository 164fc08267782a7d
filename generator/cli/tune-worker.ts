// gen tune worker: one stage of one task of a work directory, or the merge of all. Schedulers run it; so does a person who has found an idle GPU.
import type { Argv, CommandModule } from 'yargs';
import { EnvironmentError, UsageError } from '../errors.ts';
import type { Device } from '../../tuner/images.ts';
import type { Stage } from '../../tuner/cluster/worker.ts';
import type { Global } from './commands.ts';
import { deviceOf } from './device.ts';
import { note, outJson } from './print.ts';
import { CLOCK } from './tune-options.ts';
import { whole } from './whole.ts';

const options = <T>(y: Argv<T>) =>
  y
    .option('work', { type: 'string', demandOption: true, requiresArg: true, describe: 'work directory' })
    .option('stage', { choices: ['compile', 'measure', 'merge'] as const, demandOption: true, requiresArg: true, describe: 'what to do' })
    .option('task', { type: 'number', requiresArg: true, describe: 'number of the task, from 0' })
    .option('device', { type: 'string', default: 'auto', requiresArg: true, describe: 'measure: auto (what the scheduler gave), emulated, or the number of a GPU' })
    .option('jobs', { type: 'number', requiresArg: true, describe: 'compilers at once (default: processor cores)' });

export type TuneWorkerArguments = Global & Awaited<ReturnType<typeof options>['argv']>;

async function compiling(jobs: number | undefined): Promise<Stage> {
  const { findNvcc, NVCC_FIX } = await import('../../tuner/nvcc.ts');
  const nvcc = await findNvcc();
  if (!nvcc) throw new EnvironmentError('no nvcc on this node', `${NVCC_FIX}; on a cluster give gen tune --prologue FILE with "module load cuda"`);
  // Nodes with GPUs find the runner in the build cache.
  await (await import('../../tuner/host.ts')).buildRunner();
  const { storingCompiler } = await import('../../tuner/cluster/objects.ts');
  return (await import('../../tuner/cluster/stages.ts')).compileStage({ compiler: (objects) => storingCompiler(nvcc, objects), ...(jobs === undefined ? {} : { jobs }) });
}

/** The GPU that the scheduler gave, the first of several; without a scheduler the first of all. */
const givenDevice = (): string => (process.env['CUDA_VISIBLE_DEVICES'] || '0').split(',')[0]!;

async function measuring(device: Device, jobs: number | undefined): Promise<Stage> {
  const [{ findNvcc }, { openDevices }, { emulatedCompiler, nvccCompiler }, { measureStage }, { committedTables }] = await Promise.all([
    import('../../tuner/nvcc.ts'), import('../../tuner/tune/devices.ts'), import('../../tuner/tune/compile-pool.ts'), import('../../tuner/cluster/stages.ts'), import('../table/read.ts'),
  ]);
  const emulated = device === 'emulated';
  const nvcc = emulated ? undefined : await findNvcc();
  return measureStage({
    nvcc,
    tables: committedTables().map(({ table }) => table),
    open: async ({ arch }) => {
      if (emulated) return (await openDevices('emulated', CLOCK, { emulatedArch: arch.slice(2) }))[0]!;
      if (device !== 'auto') return (await openDevices([device as number], CLOCK))[0]!;
      return (await openDevices('all', CLOCK, { env: { ...process.env, CUDA_VISIBLE_DEVICES: givenDevice() } }))[0]!;
    },
    local: (gpu) => (emulated ? emulatedCompiler() : nvcc && nvccCompiler(nvcc, gpu.device.cc)),
    ...(jobs === undefined ? {} : { jobs }),
  });
}

async function merge(argv: TuneWorkerArguments): Promise<void> {
  const { files, missing, notes } = (await import('../../tuner/cluster/merge.ts')).mergeWork(argv.work);
  if (argv.json) outJson({ files, missing, notes });
  for (const words of notes) note(argv, words);
  note(argv, `${files.length - 1} tables: ${files.slice(1).join(', ') || 'nothing was measured'}`);
  if (missing.length > 0) note(argv, `${missing.length} tasks are not measured to their end: the command that submitted them submits those again`);
}

async function run(argv: TuneWorkerArguments): Promise<void> {
  const { work, stage, task, jobs } = argv;
  whole('jobs', jobs, 1);
  if (stage === 'merge' && task !== undefined) throw new UsageError('--stage merge takes all tasks', 'leave --task out');
  if (stage === 'merge') return merge(argv);
  if (task === undefined) throw new UsageError(`--stage ${stage} needs --task N`, '"gen tune status --work DIR" lists the tasks');
  const { readTask } = await import('../../tuner/cluster/work.ts');
  readTask(work, task);
  const stop = new AbortController();
  // In place of the handlers of other commands, which end at once: the line at hand is finished first.
  for (const signal of ['SIGUSR1', 'SIGTERM', 'SIGINT', 'SIGHUP'] as const) {
    process.removeAllListeners(signal);
    process.on(signal, () => stop.abort());
  }
  const body = stage === 'compile' ? await compiling(jobs) : await measuring(deviceOf(argv.device), jobs);
  const { workOn } = await import('../../tuner/cluster/worker.ts');
  const code = await workOn(work, task, { stage, run: body, clock: CLOCK, signal: stop.signal, note: (text) => note(argv, text) });
  if (argv.json) outJson({ task, stage, exitCode: code });
  // A stage that was left behind must not keep the process.
  if (stop.signal.aborted) process.exit(code);
  process.exitCode = code;
}

export const tuneWorker: CommandModule<Global, TuneWorkerArguments> = {
  command: 'worker',
  describe: 'one stage of one task of a work directory (what the jobs of --scheduler run)',
  builder: (y) => options(y) as unknown as Argv<TuneWorkerArguments>,
  handler: run,
};

export default tuneWorker;
