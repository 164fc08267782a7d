// The life of a cache: what the runner is asked and what it answers, as schemas. harness/runner/README.md is the same in words.
import { z } from 'zod';
import { emulatorSchema, kernelRefSchema, measure, ropeSchema } from './problem.ts';

const count = z.int().min(0);
const permille = z.int().min(0).max(1000);

export const lifeShapeSchema = z
  .strictObject({
    kv_heads: count,
    q_heads: count,
    rank: count,
    ranks: count,
    page_size: count,
    /** Bytes of padding in every stride, a multiple of 16. */
    pad: count,
    window: count,
    flush_block: count,
    budget_permille: permille,
    budget_tokens: count,
    extra_tokens: count,
    first_tokens: count,
    /** As in `antkv_append_params`. */
    policy: count,
    /** The most that live at a time. */
    sequences: count,
    max_tokens: count,
    anchor_pages: count,
    /** False: inherited anchor pages with rows of others are not copied when they must be. */
    seal: z.boolean(),
    splits: count,
    spread: z.boolean(),
    merge: z.enum(['last', 'combine']),
    /** The most queries of a sequence and step. */
    rows: count,
    /** Steps as CUDA graphs. */
    graph: z.boolean(),
    index: z.enum(['table', 'csr']),
    rope: ropeSchema,
  })
  .partial();
export type LifeShape = z.infer<typeof lifeShapeSchema>;

/** Chances per 1000. */
export const lifeEventsSchema = z
  .strictObject({ start: permille, end: permille, fork: permille, prefix: permille, truncate: permille, draft: permille, tree: permille, pause: permille, turn: permille, rejects: z.boolean() })
  .partial();
export type LifeEvents = z.infer<typeof lifeEventsSchema>;

/** Nothing but one query per sequence and step. */
export const NO_EVENTS = { start: 0, end: 0, fork: 0, prefix: 0, truncate: 0, draft: 0, pause: 0, turn: 0 } as const satisfies LifeEvents;

export const lifeKernelsSchema = z.strictObject({
  append: kernelRefSchema,
  decode: kernelRefSchema,
  /** Column sums, from which the ring goes on. */
  score: kernelRefSchema.optional(),
  /** What ranks a prompt where those sums do not. */
  rank: kernelRefSchema.optional(),
  select: kernelRefSchema.optional(),
  encode: kernelRefSchema.optional(),
  combine: kernelRefSchema.optional(),
  unpack: kernelRefSchema.optional(),
});
export type LifeKernels = z.infer<typeof lifeKernelsSchema>;

export const lifeRequestSchema = z.strictObject({
  cmd: z.literal('life'),
  kernels: lifeKernelsSchema,
  seed: count.optional(),
  steps: count.optional(),
  sample_every: count.optional(),
  shape: lifeShapeSchema,
  events: lifeEventsSchema.optional(),
  prompt: count.optional(),
  tokens_per_step: count.optional(),
  only: z.array(z.int()).optional(),
  still: z.array(z.int()).optional(),
  drawn_masses: z.boolean().optional(),
  data: z.strictObject({ file: z.string(), prefix: z.string().optional() }).optional(),
  codebook: z.strictObject({ k: z.string().optional(), v: z.string().optional(), basis: z.string().optional() }).optional(),
  emulator: emulatorSchema.optional(),
});
export type LifeRequest = z.infer<typeof lifeRequestSchema>;

export const lifeSampleSchema = z.object({
  step: z.int(),
  sequences: z.int(),
  tokens: z.int(),
  coded: z.int(),
  /** Of all KV heads. */
  anchors: z.int(),
  found: z.int(),
  handed_back: z.int(),
  /** Distance from exact attention since the sample before; with recorded rows only. */
  exact: z.object({ rel_l2: measure, cosine: measure, lse_err: measure }).nullish(),
});
export type LifeSample = z.infer<typeof lifeSampleSchema>;

const EVENT_COUNTS = ['starts', 'ends', 'forks', 'prefixes', 'truncations', 'turns', 'appended', 'accepted', 'rejected', 'flushes', 'trees', 'graphs', 'replays', 'copied_pages', 'copied_anchor_pages', 'found', 'handed_back', 'handed_back_shared', 'codes', 'code_ties', 'anchor_ties'] as const;

export const lifeRecordSchema = z.looseObject({
  ok: z.boolean(),
  /** Step, sequence, KV head, and what differs from the simulation. */
  faults: z.array(z.string()),
  steps: z.int(),
  events: z.record(z.enum(EVENT_COUNTS), z.int()),
  samples: z.array(lifeSampleSchema),
  /** Per sequence, a number in hexadecimal for each KV head. */
  digests: z.array(z.object({ sequence: z.int(), state: z.array(z.string()), outputs: z.array(z.string()) })),
  /** Null if something was no number. */
  rel_l2: measure,
  lse_err: measure,
  ms: z.number(),
  emulated: z.boolean(),
});
export type LifeRecord = z.infer<typeof lifeRecordSchema>;
