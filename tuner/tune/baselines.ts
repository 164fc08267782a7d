// The FP16 attention that a sweep's report compares with: timed once all problems are settled, on one of the devices that settled them.
import { parseContractName } from '../../generator/name.ts';
import { runBaseline } from '../baseline.ts';
import { baselineShapeOf, type BaselineShape } from '../bench-plan.ts';
import { of, type TuneEvent, type Write } from './events.ts';
import type { Problem, Task } from './problem.ts';

/** Seconds that it may take to begin shapes: the default grid of one head dim takes about as long on an H200. */
const LIMIT = 60;

export interface BaselinesOptions {
  readonly tasks: readonly Task[];
  readonly past: readonly TuneEvent[];
  /** Digest of the environment of the device, and its number. */
  readonly environment: string;
  readonly device: string;
  readonly write: Write;
  readonly signal: AbortSignal;
  /** Seconds that are left of a budget. */
  readonly left?: number;
}

/** Times FP16 attention at every shape of the tasks that the journal has no time of, small ones first, and writes the best of PyTorch's kernels. Returns why some are missing. */
export async function measureBaselines({ tasks, past, environment, device, write, signal, left = Infinity }: BaselinesOptions): Promise<string | undefined> {
  const shapeOf = ({ contract, shape }: Problem): BaselineShape | undefined => baselineShapeOf(parseContractName(contract), shape);
  const word = (shape: BaselineShape | undefined): string => JSON.stringify(shape);
  const known = new Set(of(past, 'baseline').flatMap((event) => (event.environment === environment ? [word(shapeOf(event.problem))] : [])));
  const problems = new Map<string, { shape: BaselineShape; problem: Problem }>();
  for (const problem of tasks.flatMap((task) => task.problems)) {
    const shape = shapeOf(problem);
    if (shape && !known.has(word(shape)) && !problems.has(word(shape))) problems.set(word(shape), { shape, problem });
  }
  const limit = Math.floor(Math.min(LIMIT, left));
  if (problems.size === 0 || limit <= 0) return undefined;
  const shapes = [...problems.values()].map(({ shape }) => shape).sort((a, b) => a.batch * a.tokens * a.head_dim - b.batch * b.tokens * b.head_dim);
  const { rows, missing } = await runBaseline(shapes, { device, limit, signal, samples: 15 });
  const best = new Map<string, { us: number; software: string }>();
  for (const { ok, us, shape, head_dim, kernel, environment: { software = 'PyTorch' } } of rows) {
    const key = word(shapes.find((one) => one.head_dim === head_dim && one.batch === shape['batch'] && one.tokens === shape['tokens'] && one.q_heads === shape['q_heads'] && one.kv_heads === shape['kv_heads'] && one.q_len === shape['q_len']));
    if (ok && problems.has(key) && us.median < (best.get(key)?.us ?? Infinity)) best.set(key, { us: us.median, software: `${software}, ${kernel}` });
  }
  for (const [key, { us, software }] of best) await write({ event: 'baseline', environment, problem: problems.get(key)!.problem, software, us });
  return missing;
}
