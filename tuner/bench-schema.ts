// What the runner is asked to measure and what it answers, as schemas. harness/runner/README.md is the same in words.
import { z } from 'zod';
import { emulatorSchema, kernelRefSchema } from './problem.ts';

const count = z.int().min(0);
const positive = z.int().min(1);
// Numbers that may be unknown, infinite or NaN come as null.
const measure = z.number().nullable();

/** Microseconds. */
export const spreadSchema = z.object({ median: z.number(), p10: z.number(), p90: z.number(), min: z.number() });

const plainFields = {
  batch: positive.optional(),
  /** Tokens of every sequence; absent only with `lens`. */
  tokens: positive.optional(),
  /** Tokens of each sequence, instead of `tokens`; 0: none (decode only). */
  lens: z.array(count).optional(),
  q_heads: positive.optional(),
  kv_heads: positive.optional(),
};
const cacheFields = {
  ...plainFields,
  page_size: positive.optional(),
  anchor_permille: z.int().min(0).max(1000).optional(),
  codes: z.enum(['uniform', 'zipf', 'equal']).optional(),
};

/** The shape of a measurement of each op; README.md says what each field means and its default. */
export const BENCH_SHAPES = {
  decode: z.strictObject({ ...cacheFields, window: count.optional(), q_len: positive.max(16).optional(), splits: positive.optional(), spread: z.boolean().optional(), merge: z.enum(['last', 'combine']).optional() }),
  encode: z.strictObject(cacheFields),
  /** `flush`: the first sequences of the batch, from which a block leaves. */
  append: z.strictObject({ ...cacheFields, window: count.optional(), flush_block: positive.optional(), flush: count.optional() }),
  unpack: z.strictObject(cacheFields),
  /** `rows`: query rows of each sequence, its newest; with `sampled_rows` its `newest_rows` newest count, and so many of the older. */
  score: z.strictObject({ ...plainFields, rows: positive.optional(), sampled_rows: count.optional(), newest_rows: count.optional() }),
  select: z.strictObject({ ...plainFields, anchor_permille: z.int().min(0).max(1000).optional() }),
} as const;
export type BenchOp = keyof typeof BENCH_SHAPES;
export type BenchShape<Op extends BenchOp> = z.infer<(typeof BENCH_SHAPES)[Op]>;

const benchRequest = <Op extends BenchOp>(op: Op) =>
  z.strictObject({
    cmd: z.literal('bench'),
    op: z.literal(op),
    kernel: kernelRefSchema,
    /** decode only; needed with more than one split unless the last CTA merges, else ignored. */
    combine: kernelRefSchema.nullish(),
    shape: BENCH_SHAPES[op],
    samples: positive.max(10_000).optional(),
    seed: z.int().optional(),
    emulator: emulatorSchema.optional(),
  });
export const benchRequestSchema = z.discriminatedUnion('op', [
  benchRequest('decode'),
  benchRequest('append').omit({ combine: true }),
  benchRequest('encode').omit({ combine: true }),
  benchRequest('unpack').omit({ combine: true }),
  benchRequest('score').omit({ combine: true }),
  benchRequest('select').omit({ combine: true }),
]);
export type BenchRequest = z.infer<typeof benchRequestSchema>;

export const benchRecordSchema = z.looseObject({
  /** No fault was found in the results; a time of wrong results means nothing. */
  ok: z.boolean(),
  op: z.string(),
  kernel: z.string(),
  /** With the defaults filled in. */
  shape: z.record(z.string(), z.unknown()),
  /** One step, alone in its graph, L2 cold. */
  us: spreadSchema,
  /** One step among `b2b_steps` in one graph. */
  b2b_us: z.number(),
  b2b_steps: positive,
  samples: positive,
  /** Useful bytes of a step, and what they are for. */
  bytes: z.int(),
  byte_parts: z.record(z.string(), z.int()),
  /** `bytes` over the median time. */
  gbps: z.number(),
  /** SM clock; null without NVML. */
  clock_mhz: z.object({ begin: measure, end: measure }),
  /** Copies of the data that took turns, and the allocated bytes of each. */
  copies: positive,
  copy_bytes: z.int(),
  l2_bytes: z.int(),
  /** False: the driver has no graphs, and the times contain launches. */
  graph: z.boolean(),
  /** True: the times mean nothing. */
  emulated: z.boolean(),
  check: z.looseObject({ kind: z.enum(['full', 'one head', 'finite', 'one run', 'some keys', 'one list']) }),
  faults: z.array(z.string()),
  /** decode. */
  splits: positive.optional(),
  combine: z.string().nullish(),
  /** Anchors of all sequences and KV heads: decode, encode, unpack. */
  anchors: count.optional(),
  /** score. */
  tflops: measure.optional(),
});
export type BenchRecord = z.infer<typeof benchRecordSchema>;

export const ceilingsRequestSchema = z.strictObject({
  cmd: z.literal('ceilings'),
  /** Path of the fatbin of harness/bench/ceilings.cu; without it only copies are measured. */
  image: z.string().optional(),
  samples: positive.max(1000).optional(),
});
export type CeilingsRequest = z.infer<typeof ceilingsRequestSchema>;

const clocksSchema = z.object({ sm_mhz: measure, memory_mhz: measure, power_w: measure, temperature_c: measure }).nullable();
const rateSchema = { bytes: z.int(), us: spreadSchema, gbps: z.number() };
export const ceilingsRecordSchema = z.looseObject({
  device: z.string(),
  emulated: z.boolean(),
  /** Compute capability times 10. */
  cc: z.int(),
  multiprocessors: positive,
  l2_bytes: z.int(),
  memory_bytes: z.int(),
  /** Version of the CUDA API, and of the driver package. */
  driver_version: z.int(),
  driver: z.string().nullable(),
  clocks_idle: clocksSchema,
  clocks_busy: clocksSchema,
  /** Device to device; bytes read and bytes written both count. */
  copy: z.object(rateSchema),
  read: z.object({ ...rateSchema, threads: positive, ctas: positive }).nullable(),
  /** m16n8k16, f16 to f32, on constant operands. */
  mma: z.object({ tflops: z.number(), us: spreadSchema, ctas_per_sm: positive, threads: positive, clocks: clocksSchema }).nullable(),
  /** A kernel that does nothing; older records lack it. */
  launch: z.object({ us: spreadSchema, b2b_us: z.number() }).nullish(),
});
export type CeilingsRecord = z.infer<typeof ceilingsRecordSchema>;
