// The arms of a problem: the launches of a kernel, the one that users get without a table, and an arm as the runner takes it. Pure.
import { contractName, kernelName, parseKernelName } from '../../generator/name.ts';
import { threadsOf } from '../../generator/tile.ts';
import { ctasPerSm, launchWord, parseLaunch } from '../bench-launch.ts';
import { combineOf } from '../bench-plan.ts';
import type { KernelRef } from '../problem.ts';
import { armsOf } from '../space/arms.ts';
import { linesOf, placeOfProblem, type Arm, type Problem } from './problem.ts';
import type { RaceArm } from './runner-schema.ts';

const batchOf = ({ shape }: Problem): number => shape.lens?.length ?? shape.batch ?? 1;

/** Launches of `kernel` that the problem's mode allows, each once, the likeliest best first; of ops without splits the one that there is. */
export const launchesFor = (problem: Problem, kernel: string, sms: number): string[] => [...new Set(armsOf(kernel, problem, sms).map(({ launch }) => launch))];

/**
 * The launch that `antkv_get` chooses without a table: the rule of antkv_load.h (antkv_i_choose_splits), with the last CTA merging. What the loader asks the driver,
 * the CTAs that an SM holds, is computed here from the tile.
 */
export function defaultLaunch(problem: Problem, kernel: string, sms: number): string {
  const parsed = parseKernelName(kernel);
  if (parsed.contract.op !== 'decode') return '';
  const resident = ctasPerSm(parsed);
  const lines = linesOf(problem);
  const { tokens } = placeOfProblem(problem);
  const batch = batchOf(problem);
  const spread = problem.mode === 'spread';
  const word = (splits: number): string => launchWord({ splits, spread, merge: 'last' });
  if (spread) return word(Math.max(1, Math.min(1024, Math.floor((sms * resident) / lines), batch * Math.ceil(tokens / 256))));
  const steps = Math.ceil(tokens / (parsed.tile.tokens ?? threadsOf(parsed.tile)));
  let best = { splits: 1, cost: Infinity };
  for (let splits = 1; splits <= Math.min(steps, 256); splits++) {
    const blocks = batch * lines * splits;
    const waves = Math.floor(blocks / (sms * resident));
    const rest = Math.ceil((blocks % (sms * resident)) / sms);
    const slowness = waves * (1 + resident) + (rest > 0 ? 1 + rest : 0);
    const cost = 8 * (Math.ceil(steps / splits) + 1) * slowness + (splits > 1 ? 16 + splits : 0);
    if (cost < best.cost) best = { splits, cost };
  }
  return word(best.splits);
}

/** Arm 0 of every block: the default kernel as users launch it without a table. */
export const defaultArm = (problem: Problem, kernel: string, sms: number): Arm => ({ kernel, launch: defaultLaunch(problem, kernel, sms) });

/** An arm as the runner takes it. `ref` gives the reference of a kernel. */
export function wireArm({ kernel, launch }: Arm, ref: (name: string) => KernelRef): RaceArm {
  if (launch === '') return { kernel: ref(kernel) };
  const { splits, spread, merge } = parseLaunch(launch);
  const combine = merge === 'combine' ? { combine: ref(kernelName(combineOf(parseKernelName(kernel)))) } : {};
  return { kernel: ref(kernel), splits, spread, ...(merge === 'none' ? {} : { merge }), ...combine };
}

/** The kernels that a task's problems need beside its candidates: combine, of decode. */
export const helpersOf = (kernel: string): string[] => {
  const parsed = parseKernelName(kernel);
  return parsed.contract.op === 'decode' ? [kernelName(combineOf(parsed))] : [];
};

/** A problem in words: `decode … sequence B16x32768`. */
export function problemWord({ contract, mode, shape }: Problem): string {
  const size = shape.lens ? `${shape.lens.length} sequences of up to ${Math.max(...shape.lens)}` : `B${shape.batch ?? 1}x${shape.tokens}`;
  return `${contract} ${size}${mode === 'spread' ? ' spread' : ''}`;
}

/** A command that runs a kernel again: its checks, or one arm at a problem. */
export function reproOf(device: string, kernel: string, problem?: Problem, launch?: string): string {
  if (!problem) return `gen verify --device ${device} --only ${kernel} --quick`;
  const { shape } = problem;
  const usual = shape.q_heads === 32 && shape.kv_heads === 8 && shape.tokens !== undefined && (shape.q_len ?? 1) === 1;
  if (!usual) return `echo '${JSON.stringify({ contract: contractName(parseKernelName(kernel).contract), shape })}' > shape.jsonl && gen tune --device ${device} --only ${kernel} --shapes shape.jsonl --retry`;
  const { contract } = parseKernelName(kernel);
  return `gen bench --device ${device} --no-baseline --op ${contract.op} --only ${kernel} --batch ${shape.batch ?? 1} --tokens ${shape.tokens}${launch ? ` --splits ${launch}` : ''}`;
}
