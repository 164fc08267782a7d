// What is tuned: problems (a contract at a shape, under a mode), arms that race there, and the space of tiles that arms come from. Pure.
import { z } from 'zod';
import { linesOf as linesOfAsk } from '../../generator/table/find.ts';
import { stableDigest } from '../../generator/stable.ts';
import { BENCH_SHAPES } from '../bench-schema.ts';

/** The shape of a point: that of a bench request without what a launch adds. Heads and tokens (or lens) are always there. */
export const pointShapeSchema = BENCH_SHAPES.decode.omit({ splits: true, spread: true, merge: true }).extend({
  q_heads: z.int().min(1),
  kv_heads: z.int().min(1),
  /** score: query rows of each sequence. */
  rows: z.int().min(1).optional(),
  /** append: sequences from which a block leaves. */
  flush: z.int().min(0).optional(),
});
export type PointShape = z.infer<typeof pointShapeSchema>;

/** One question: which arm is fastest. Only `sequence` and `spread` are measured; `fastest` is the better of the two. */
export const problemSchema = z.strictObject({ contract: z.string(), mode: z.enum(['sequence', 'spread']), shape: pointShapeSchema });
export type Problem = z.infer<typeof problemSchema>;

/** What can win a problem: a kernel and a launch (bench-launch.ts, `launchWord`); '' for ops without splits. */
export const armSchema = z.strictObject({ kernel: z.string(), launch: z.string() });
export type Arm = z.infer<typeof armSchema>;

/** The name of an arm in records and messages. */
export const armWord = ({ kernel, launch }: Arm): string => (launch === '' ? kernel : `${kernel} ${launch}`);

/** The identity of a problem, 16 hex digits. */
export const problemKey = (problem: Problem): string => stableDigest(problem);

/** Sequences of a shape, empty ones not counted. */
const sequencesOf = ({ batch = 1, lens }: PointShape): number => (lens ? lens.filter((n) => n > 0).length : batch);

/** What a look-up calls lines, of a problem. */
export const linesOf = ({ contract, shape: { q_heads: qHeads, kv_heads: kvHeads, q_len: qLen = 1 } }: Problem): number => linesOfAsk({ contract, qHeads, kvHeads, qLen });

/** Where a problem lies in a table: streams (sequences x lines) and tokens of the longest sequence. */
export function placeOfProblem(problem: Problem): { streams: number; tokens: number } {
  const { lens, tokens } = problem.shape;
  return { streams: Math.max(1, sequencesOf(problem.shape)) * linesOf(problem), tokens: lens ? Math.max(1, ...lens) : tokens! };
}

/** Kernels of one contract and arch, measured on all `problems` of it: compiled once, timed everywhere. What one shard of a cluster holds. */
export const taskSchema = z.strictObject({
  arch: z.string(),
  contract: z.string(),
  problems: z.array(problemSchema).min(1),
  /** Names, the likeliest best first by the model; the default is the first. */
  kernels: z.array(z.string()).min(1),
});
export type Task = z.infer<typeof taskSchema>;
