// What the runner is asked and what it answers, as schemas; attend-schema.ts, life-schema.ts and bench-schema.ts have the rest. harness/runner/README.md is the same in words.
import { z } from 'zod';
import { paramStruct, structLayout } from '../generator/abi.ts';
import { parseKernelName } from '../generator/name.ts';
import { sharedBytes } from '../generator/shared.ts';
import { threadsOf } from '../generator/tile.ts';

const count = z.int().min(0);
const perSequence = z.array(z.int());

/** A kernel with all that a launch needs. Made by {@link kernelRef}. */
export const kernelRefSchema = z.strictObject({
  name: z.string(),
  /** Path of a fatbin, or of an emulated kernel. */
  image: z.string(),
  op: z.string(),
  threads: count,
  /** Tokens per CTA step; 0 for ops without. */
  tokens: count,
  shared: count, // bytes, dynamic
  params_bytes: count,
  head_dim: count.optional(),
  k: z.string().optional(),
  v: z.string().optional(),
  dtype: z.string().optional(),
  key: z.string().optional(),
  gain: z.string().optional(),
  form: z.string().optional(),
  /** Query columns of a CTA; decode only. */
  columns: count.optional(),
  /** Scores are capped; learned sink logits join. decode only. */
  softcap: z.boolean().optional(),
  sink: z.boolean().optional(),
});
export type KernelRef = z.infer<typeof kernelRefSchema>;

/** The reference of kernel `name`, whose image lies at `image`. Throws on a name that is not a kernel's. */
export function kernelRef(name: string, image: string): KernelRef {
  const { contract, tile } = parseKernelName(name);
  const { op, headDim, k, v, dtype, key, gain, form, columns, softcap, sink } = contract;
  const axes = { head_dim: headDim, k, v, dtype, key, gain, form, columns, softcap: softcap || undefined, sink: sink || undefined };
  const present = Object.fromEntries(Object.entries(axes).filter(([, value]) => value !== undefined));
  const { bytes } = structLayout(paramStruct(op));
  return kernelRefSchema.parse({ name, image, op, threads: threadsOf(tile), tokens: tile.tokens ?? 0, shared: sharedBytes(contract, tile), params_bytes: bytes, ...present });
}

export const ropeSchema = z.strictObject({ theta: z.number(), rotary_dim: count, interleaved: z.boolean(), factor: z.number() }).partial();

const cacheFields = {
  kv_heads: count.optional(),
  page_size: count.optional(),
  /** Bytes of padding in every stride, a multiple of 16. */
  pad: count.optional(),
  index: z.enum(['table', 'csr']).optional(),
  first_pos: perSequence.optional(),
  /** Anchors per 1000 coded tokens, drawn at random; -1: none, and no anchor table. */
  anchor_permille: z.int().min(-1).max(1000).optional(),
  frozen_len: perSequence.optional(),
  frozen_anchor_pages: perSequence.optional(),
  /** Pages of the pool that no sequence uses. */
  spare_pages: count.optional(),
  /** False: no state slots, state lies at the batch row. */
  state_slot: z.boolean().optional(),
  rope: ropeSchema.optional(),
};

/** The shape of a check of each op; README.md says what each field means and its default. */
export const SHAPES = {
  decode: z.strictObject({
    ...cacheFields,
    coded_len: perSequence,
    /** Tokens that every sequence has from the pages of the first; whole pages. */
    shared_prefix: count.optional(),
    kv_len: perSequence.optional(),
    q_len: perSequence.optional(),
    q_pos: perSequence.optional(),
    q_heads: count.optional(),
    ring_rows: count.optional(),
    max_q_len: count.optional(),
    splits: count.optional(),
    /** All sequences are one line of work, cut into `splits` shares. */
    spread: z.boolean().optional(),
    /** Who merges the splits: the CTA that arrives last, or `combine`. */
    merge: z.enum(['last', 'combine']).optional(),
    segments: count.optional(),
    cu_q: z.boolean().optional(),
    tree_mask: z.boolean().optional(),
    ring_scores: z.boolean().optional(),
    lse: z.boolean().optional(),
    score_std: z.number().optional(),
    peak: z.boolean().optional(),
    sink: z.number().positive().optional(),
    nan: z.boolean().optional(), // one channel of every second query head is not a number
    softcap: z.number().positive().optional(), // of contracts with softcap; 2
  }),
  combine: z.strictObject({ rows: count, q_heads: count, splits: count, ring_rows: count, empty_permille: count, lse_std: z.number(), lse: z.boolean(), pad: count }).partial(),
  encode: z.strictObject({ ...cacheFields, end: perSequence, first_token: perSequence.optional(), keys_unrotated: z.boolean().optional() }),
  append: z.strictObject({
    ...cacheFields,
    /** Committed tokens before the step. */
    seq_len: perSequence,
    accepted: perSequence.optional(),
    coded_len: perSequence.optional(),
    /** New rows. */
    q_len: perSequence.optional(),
    /** 1: the step before had no rows of the sequence. */
    unscored: perSequence.optional(),
    window: count.optional(),
    flush_block: count.optional(),
    ring_rows: count.optional(),
    q_heads: count.optional(),
    policy: count.optional(),
    budget_permille: count.optional(),
    budget_tokens: count.optional(),
    extra_tokens: count.optional(),
    first_tokens: count.optional(),
    /** Free anchor rows, at least. */
    anchor_spare: count.optional(),
    pattern: z.enum(['random', 'ties', 'special']).optional(),
    scores: z.boolean().optional(),
    score_row: z.boolean().optional(),
    lse: z.boolean().optional(),
    new_score: z.boolean().optional(),
  }),
  score: z.strictObject({
    keys: perSequence,
    rows: perSequence.optional(),
    first_pos: perSequence.optional(),
    q_pos: perSequence.optional(),
    ...z.object({ q_heads: count, kv_heads: count, pad: count }).partial().shape,
    score_std: z.number().optional(),
    /** Rows drawn from those older than `newest_rows`; either makes the score one of a sample. */
    sampled_rows: count.optional(),
    newest_rows: count.optional(),
    /** The cap of contracts with softcap (2), and a learned sink logit of every head, which the LSE contains. */
    ...z.object({ softcap: z.number().positive(), sink_logit: z.number() }).partial().shape,
    /** Place of key 0 in its row of scores. */
    first_key: perSequence.optional(),
    /** Scores start at random numbers, and are added to. */
    accumulate: z.boolean().optional(),
    /** Rows of each launch; they add up to the scores of one sequence. */
    chunks: z.array(count).optional(),
  }),
  select: z.strictObject({
    token_count: perSequence,
    kv_heads: count.optional(),
    pattern: z.enum(['random', 'ties', 'constant', 'special', 'ascending', 'close', 'subnormal', 'negative', 'nothing']).optional(),
    max_anchors: count.optional(),
    budget_permille: count.optional(),
    budget_tokens: z.int().min(-1).optional(),
    first_tokens: count.optional(),
    count: z.boolean().optional(),
    pad: count.optional(),
  }),
  kmeans: z
    .strictObject({
      heads: count, chunks: count, tokens: count, splits: count, max_steps: count, tolerance: z.number(), pad: count, weights: z.boolean(),
      /** Centroids are given, most of them equal; else k-means++ draws them. */
      given: z.boolean(),
      pattern: z.enum(['gauss', 'alike', 'zeros', 'large']),
    })
    .partial(),
  unpack: z.strictObject({ ...cacheFields, coded_len: perSequence, shared_prefix: count.optional(), first_token: perSequence.optional() }),
} as const;
export type CheckOp = keyof typeof SHAPES;
export type Shape<Op extends CheckOp> = z.infer<(typeof SHAPES)[Op]>;

/** Settings of the emulated driver; they stay until set again. A real driver ignores them. */
export const emulatorSchema = z.strictObject({ order: count, race: z.int().min(0).max(2), counters: z.int().min(0).max(1), warp_order: z.int().min(0).max(1), smem_limit: count }).partial();

export interface CheckRequest<Op extends CheckOp = CheckOp> {
  readonly cmd: 'check';
  readonly op: Op;
  readonly kernel: KernelRef;
  /** decode only: merges the splits unless the last CTA does, and turns ring scores into mass. */
  readonly combine?: KernelRef;
  /** unpack only: scores what unpack wrote (mode `coded` of prefill scoring). */
  readonly score?: KernelRef;
  readonly shape: Shape<Op>;
  readonly seed?: number;
  readonly tolerance?: { readonly rel_l2?: number; readonly lse?: number; readonly relative?: number };
  readonly emulator?: z.infer<typeof emulatorSchema>;
  /** False: workspaces stay uninitialised, for compute-sanitizer. */
  readonly poison?: boolean;
}

/** Numbers that may be infinite or NaN come as null. */
export const measure = z.number().nullable();

export const checkRecordSchema = z.looseObject({
  ok: z.boolean(),
  op: z.string(),
  /** Error of the worst output row. */
  rel_l2: measure,
  max_abs: measure,
  lse_err: measure,
  /** Two runs gave equal bits. */
  bit_equal: z.boolean(),
  tolerance: z.object({ rel_l2: z.number(), lse: z.number() }),
  /** Why `ok` is false. */
  faults: z.array(z.string()),
  /** Wall time of the first run, launch to end. */
  ms: z.number(),
  emulated: z.boolean(),
  /** Of the last launch; emulated driver only. */
  counters: z.record(z.string(), z.unknown()).optional(),
});
export type CheckRecord = z.infer<typeof checkRecordSchema>;

/** One check of `gen verify`, or one tool of compute-sanitizer over small shapes of all kernels. */
export const verifyRecordSchema = z.strictObject({
  kind: z.literal('verify'),
  /** Of compute-sanitizer; kernel, contract, arch and op are then "*". */
  tool: z.string().optional(),
  kernel: z.string(),
  contract: z.string(),
  arch: z.string(),
  op: z.string(),
  /** What the shape is for: its list in shapes.ts or large.ts. */
  group: z.string(),
  shape: z.looseObject({}),
  seed: z.int(),
  device: z.string(),
  emulated: z.boolean(),
  cc: z.int(), // compute capability times 10
  driver_version: z.int(),
  ok: z.boolean(),
  faults: z.array(z.string()),
  rel_l2: measure,
  max_abs: measure,
  lse_err: measure,
  bit_equal: z.boolean().nullable(),
  tolerance: z.object({ rel_l2: z.number(), lse: z.number() }).nullable(),
  ms: z.number().nullable(), // of the first launch, by the wall's clock
  request: z.looseObject({}).nullable(), // what the runner was asked
});
export type VerifyRecord = z.infer<typeof verifyRecordSchema>;

export const infoRecordSchema = z.looseObject({
  device: z.string(),
  emulated: z.boolean(),
  driver_version: z.int(),
  memory_bytes: z.int(),
  cc: z.int(), // compute capability times 10
  multiprocessors: z.int(),
  shared_per_block: z.int(),
  abi_version: z.int(),
});
export type InfoRecord = z.infer<typeof infoRecordSchema>;
