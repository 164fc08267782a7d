// gen verify: kernels against the fp64 reference, rendered from the templates as they are now.
import type { Argv, CommandModule } from 'yargs';
import { resolve } from 'node:path';
import { ARCHS } from '../arch.ts';
import { OPS } from '../contract.ts';
import { EXIT, nearest, UsageError } from '../errors.ts';
import { contractName, kernelName, type Kernel } from '../name.ts';
import { kernelsOf, shippedContracts } from '../ship.ts';
import { misfit } from '../tile.ts';
import type { VerifyRecord } from '../../tuner/problem.ts';
import type { Draw } from '../../tuner/sample/draw.ts';
import type { Level } from '../../tuner/verify.ts';
import type { Global } from './commands.ts';
import { deviceOf } from './device.ts';
import { offeredContracts } from './list.ts';
import { archsOf, kernelOf } from './names.ts';
import { colour, note, out, outJson, progress, table } from './print.ts';
import { globOf } from './select.ts';
import { judgeDraws } from './whole.ts';

const options = <T>(y: Argv<T>) =>
  y
    .option('device', { type: 'string', default: 'auto', requiresArg: true, describe: 'auto, emulated, or the number of a GPU' })
    .option('arch', { type: 'string', requiresArg: true, default: 'sm80', describe: `architectures with commas, or native: ${ARCHS.map((a) => a.name).join(', ')}` })
    .option('only', { type: 'string', requiresArg: true, describe: 'of all that is offered, kernels whose name, or contract, matches this glob (default: the shipped ones)' })
    .option('quick', { type: 'boolean', default: false, describe: 'one shape of each kind' })
    .option('full', { type: 'boolean', default: false, describe: 'large shapes too: 131,072 tokens, batch 16, over 2^31 bytes (GPU only)' })
    .option('sanitize', { type: 'boolean', default: false, describe: 'small shapes under compute-sanitizer too (GPU only)' })
    .option('seed', { type: 'number', default: 1, requiresArg: true, describe: 'of the random problems' })
    .option('sample', { type: 'number', requiresArg: true, describe: 'this many random kernels and shapes out of the whole product of axes instead' })
    .option('pack', { type: 'string', requiresArg: true, describe: 'with --sample: write them into this folder, compiled, for a GPU without Node: run checks.sh there' })
    .option('sources', { type: 'boolean', default: false, describe: 'with --pack: sources, which checks.sh compiles there with nvcc' })
    .option('shape', { type: 'string', requiresArg: true, describe: 'this shape only, as JSON: repeats a check' });

type VerifyArguments = Global & Awaited<ReturnType<typeof options>['argv']>;

/** The shipped kernels, or those of everything offered that `--only` names. */
async function kernelsFor({ arch, only }: { arch: string; only?: string | undefined }): Promise<Kernel[]> {
  const archs = await archsOf(arch);
  if (only === undefined) return kernelsOf([...shippedContracts().values()].map(({ contract }) => contract), archs);
  // A whole name means that kernel, whatever its tile.
  if (only.includes('__') && !/[*?]/.test(only)) return [kernelOf(only, archs[0]!.name)];
  const glob = globOf(only);
  const all = kernelsOf(OPS.flatMap(offeredContracts), archs).filter((kernel) => misfit(kernel.contract, kernel.tile, kernel.arch).length === 0);
  const kernels = all.filter((kernel) => glob.test(kernelName(kernel)) || glob.test(contractName(kernel.contract)));
  if (kernels.length > 0) return kernels;
  const near = nearest(only, all.map(({ contract }) => contractName(contract)));
  throw new UsageError(`--only ${only}: no kernel matches`, near.length > 0 ? `did you mean ${near[0]}?` : '"gen list" names what is offered; quote the glob');
}

function shapeOf(text: string): object {
  let shape: unknown;
  try {
    shape = JSON.parse(text);
  } catch {
    shape = undefined; // refused below, like any JSON that is no object
  }
  if (typeof shape === 'object' && shape !== null && !Array.isArray(shape)) return shape;
  throw new UsageError(`--shape takes a JSON object, not ${text}`, `for example --shape '{"coded_len":[100]}'`);
}

const worst = (records: readonly VerifyRecord[], of: 'rel_l2' | 'lse_err'): string => {
  const values = records.map((record) => record[of]).filter((value) => value !== null);
  return values.length > 0 ? Math.max(...values).toExponential(1) : '-';
};

/** One line per kernel, and one per tool of compute-sanitizer. */
function lines(records: readonly VerifyRecord[]): string {
  const names = [...new Set(records.map(({ kernel, tool }) => tool ?? kernel))];
  const cells = names.map((name) => {
    const mine = records.filter(({ kernel, tool }) => (tool ?? kernel) === name);
    const failed = mine.filter(({ ok }) => !ok).length;
    return [name, mine.length, failed, worst(mine, 'rel_l2'), worst(mine, 'lse_err'), failed > 0 ? 'FAILED' : 'ok'];
  });
  return table([['kernel', 'checks', 'failed', 'rel. L2', 'LSE', ''], ...cells]);
}

/** The command that makes a failed check again. */
const again = ({ kernel, shape, seed, tool }: VerifyRecord, device: string): string =>
  tool ? `gen verify --device ${device} --sanitize --quick --seed ${seed}` : `gen verify --device ${device} --only ${kernel} --seed ${seed} --shape '${JSON.stringify(shape)}'`;

/** The draws of --sample, and a note of what the pruners refused; undefined without it. */
async function drawsOf(argv: VerifyArguments): Promise<readonly Draw[] | undefined> {
  if (argv.sources && argv.pack === undefined) throw new UsageError('--sources says what is in a pack', 'add --pack DIR');
  if (argv.sample === undefined) {
    if (argv.pack !== undefined) throw new UsageError('--pack holds draws', 'add --sample N');
    return undefined;
  }
  judgeDraws('sample', argv.sample);
  const other = (['only', 'shape', 'full', 'quick', 'sanitize'] as const).find((name) => argv[name]);
  if (other) throw new UsageError(`--sample draws kernels and shapes itself: --${other} has no meaning`, 'leave one out');
  const { sampleOf } = await import('../../tuner/sample/draw.ts');
  const { draws, refused } = sampleOf(argv.sample, argv.seed, await archsOf(argv.arch));
  const reasons = [...refused].sort(([, a], [, b]) => b - a);
  const total = reasons.reduce((sum, [, times]) => sum + times, 0);
  note(argv, `${draws.length} draws; ${total} more were refused, for ${reasons.length} reasons:\n${reasons.slice(0, 12).map(([why, times]) => `  ${String(times).padStart(5)}  ${why}`).join('\n')}`);
  return draws;
}

/** Writes a pack of draws instead of checking them. */
async function pack(argv: VerifyArguments, folder: string, draws: readonly Draw[]): Promise<void> {
  if (folder === '') throw new UsageError('--pack is empty', 'name a folder');
  const { kernelsOfDraws, writeSamplePack } = await import('../../tuner/sample/pack.ts');
  const total = kernelsOfDraws(draws).length;
  const line = progress(argv, 'compiling');
  let done = 0;
  const { requests, bytes } = await writeSamplePack(resolve(folder), draws, argv.sources ? 'sources' : 'fatbins', (what) => line.step(++done, total, what)).finally(() => line.end());
  if (argv.json) outJson({ out: folder, requests, bytes });
  note(argv, `${requests} checks, ${(bytes / 1e6).toFixed(1)} MB of ${argv.sources ? 'sources' : 'kernels'}: run ${folder}/checks.sh on a machine with a GPU`);
}

async function run(argv: VerifyArguments): Promise<void> {
  if (!Number.isSafeInteger(argv.seed)) throw new UsageError(`--seed takes a whole number, not ${argv.seed}`, 'leave --seed out for 1');
  if (argv.quick && argv.full) throw new UsageError('--quick and --full contradict each other', 'leave one out');
  if (argv.shape !== undefined && (argv.quick || argv.full)) throw new UsageError(`--shape is one shape: --${argv.quick ? 'quick' : 'full'} chooses among others`, 'leave one out');
  const device = deviceOf(argv.device);
  const level: Level = argv.quick ? 'quick' : argv.full ? 'full' : 'usual';
  const draws = await drawsOf(argv);
  if (argv.pack !== undefined) return pack(argv, argv.pack, draws ?? []);
  const kernels = draws?.map(({ kernel }) => kernel) ?? (await kernelsFor(argv));
  const shape = argv.shape === undefined ? {} : { shape: shapeOf(argv.shape) };
  const ops = new Set(kernels.map(({ contract }) => contract.op));
  if (argv.shape !== undefined && ops.size > 1) throw new UsageError(`--shape is of one op, the kernels are of ${[...ops].join(', ')}`, 'add --only');
  const { verify } = await import('../../tuner/verify.ts');

  const started = performance.now();
  const line = progress(argv, 'verifying');
  const { records, info, why } = await verify({
    kernels, device, level, seed: argv.seed, sanitize: argv.sanitize, ...shape, ...(draws ? { draws } : {}),
    onStep: (done, total, what) => line.step(done, total, what),
    onRecord: (record) => {
      if (argv.json) outJson(record);
      if (record.ok) return;
      line.end();
      process.stderr.write(`${colour('failed', 'red', process.stderr)} ${record.tool ?? record.kernel} (${record.group})\n  ${record.faults.join('\n  ')}\n  again: ${again(record, argv.device)}\n`);
    },
    onNote: (text) => note(argv, text),
  }).finally(() => line.end());

  if (!argv.json) out(lines(records));
  const failed = records.filter(({ ok }) => !ok).length;
  const seconds = ((performance.now() - started) / 1000).toFixed(0);
  note(argv, `${info.device}${info.emulated ? ' (emulated)' : ''}: ${records.length - failed} of ${records.length} checks passed, ${seconds} s. Each runs twice and must give equal bits; outputs start poisoned, guards stand round every buffer`);
  if (why !== undefined) note(argv, `no GPU was used: ${why}`);
  if (failed > 0) process.exitCode = EXIT.wrong;
}

const verifyCommand: CommandModule<Global, VerifyArguments> = {
  command: 'verify',
  describe: 'kernels against the fp64 reference, on a GPU or emulated',
  builder: (y) => options(y) as unknown as Argv<VerifyArguments>,
  handler: run,
};

export default verifyCommand;
