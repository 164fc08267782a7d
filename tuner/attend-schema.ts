// What the runner is asked of real data and what it answers, as schemas. harness/runner/README.md is the same in words.
import { z } from 'zod';
import { POLICY_NAMES } from '../generator/policy.ts';
import { emulatorSchema, kernelRefSchema, measure, ropeSchema } from './problem.ts';

const count = z.int().min(0);

/** Real data through score, select, encode and decode. */
export const attendRequestSchema = z.strictObject({
  cmd: z.literal('attend'),
  /** score and select may be absent with policy "none", score with "first", combine with one split. */
  kernels: z.strictObject({ score: kernelRefSchema.optional(), select: kernelRefSchema.optional(), encode: kernelRefSchema, decode: kernelRefSchema, combine: kernelRefSchema.nullish() }),
  data: z.strictObject({ file: z.string(), prefix: z.string().optional(), first_pos: count.optional() }),
  /** Paths of packed codebooks, absent for an exact side; and of the basis that values are coded in (`packBasis`), if any. */
  codebook: z.strictObject({ k: z.string().optional(), v: z.string().optional(), basis: z.string().optional() }),
  recipe: z.strictObject({
    policy: z.enum(POLICY_NAMES).optional(),
    budget_permille: count.optional(),
    budget_tokens: count.optional(),
    first_tokens: count.optional(),
    window: count.optional(),
    flush_block: count.optional(),
  }),
  rope: ropeSchema,
  queries: z.strictObject({ count: count.optional() }),
  page_size: count.optional(),
  splits: count.optional(),
  emulator: emulatorSchema.optional(),
});
export type AttendRequest = z.infer<typeof attendRequestSchema>;

/** Distance of attention outputs from exact attention, over all query rows and heads: relative L2 error, mean cosine, mean absolute LSE error. */
const distanceSchema = z.object({ rel_l2: measure, cosine: measure, lse_err: measure });
export const attendRecordSchema = z.looseObject({
  ok: z.boolean(),
  faults: z.array(z.string()),
  tokens: z.int(),
  kv_heads: z.int(),
  q_heads: z.int(),
  queries: z.int(),
  /** Anchors of all KV heads. */
  kept: z.int(),
  /** Bytes of one coded page of one KV head, and the number of such pages. */
  page_bytes: z.int(),
  pages: z.int(),
  anchors_off: distanceSchema,
  anchors_on: distanceSchema.nullable(),
  /** Kernel against reference on the same inputs. */
  agreement: z.object({
    score_rel_l2: measure.optional(),
    kept_equal: z.boolean().optional(),
    codes_equal: z.number(),
    decode_rel_l2: z.number(),
    decode_lse_err: z.number(),
    decode_anchors_rel_l2: z.number().optional(),
    decode_anchors_lse_err: z.number().optional(),
  }),
  /** Wall time per step. */
  ms: z.record(z.string(), z.number()),
  emulated: z.boolean(),
});
export type AttendRecord = z.infer<typeof attendRecordSchema>;
