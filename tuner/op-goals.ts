// What the ops beside decode are held to on an H200: 32 query and 8 KV heads, head dim 128. No FP16 system has these steps, so most limits are times; a score comes after a forward pass, and is held to a part of it.
import { contractOf, type Contract } from '../generator/contract.ts';
import { HEADS, type CaseShape } from './bench-plan.ts';

export interface OpGoal {
  readonly title: string;
  readonly contract: Contract;
  readonly shape: CaseShape;
  /**
   * `us`: microseconds at most, alone in a graph; `b2b`: one of many in a graph, for steps so short that most of a graph of their own is its launch; `forward`: at most this part of the fastest
   * causal FP16 forward pass over the same prompt. `aim` is what the floors allow.
   */
  readonly unit: 'us' | 'b2b' | 'forward';
  readonly reach: number;
  readonly aim?: number;
}

const PROMPT: CaseShape = { batch: 1, tokens: 32_768, rows: 32_768, ...HEADS };
const score = (form?: Contract['form']): Contract => contractOf('score', { headDim: 128, dtype: 'f16', ...(form && { form }) });
const coded = (op: 'encode' | 'append', key: 'pre' | 'post'): Contract => contractOf(op, { k: '8c8b', v: '8c8bq8', key, gain: 'k', headDim: 128, dtype: 'f16' });
const select = (batch: number): CaseShape => ({ batch, tokens: 131_072, kv_heads: HEADS.kv_heads, anchor_permille: 10 });
const step = (flush: number): CaseShape => ({ batch: 16, tokens: 32_768, flush, ...HEADS });
const CONTEXT: CaseShape = { batch: 1, tokens: 131_072, ...HEADS };

export const OP_GOALS: readonly OpGoal[] = [
  { title: 'score of a prompt, column', contract: score(), shape: PROMPT, unit: 'forward', reach: 0.85, aim: 0.75 },
  { title: 'score of a prompt, mass', contract: score('mass'), shape: PROMPT, unit: 'forward', reach: 0.85, aim: 0.75 },
  { title: 'score of a prompt, mass-q', contract: score('massq'), shape: PROMPT, unit: 'forward', reach: 0.85, aim: 0.75 },
  { title: 'score of a prompt, exact', contract: score('exact'), shape: PROMPT, unit: 'forward', reach: 1.6, aim: 1.3 },
  { title: 'column by a tenth of the rows', contract: score(), shape: { ...PROMPT, sampled_rows: 3276 }, unit: 'forward', reach: 0.12, aim: 0.1 },
  { title: 'select 1 % of 128K tokens', contract: contractOf('select', {}), shape: select(1), unit: 'us', reach: 40 },
  { title: 'select, 16 sequences', contract: contractOf('select', {}), shape: select(16), unit: 'us', reach: 150 },
  { title: 'encode 128K tokens, keys before RoPE', contract: coded('encode', 'pre'), shape: CONTEXT, unit: 'us', reach: 2000 },
  { title: 'encode 128K tokens, keys after RoPE', contract: coded('encode', 'post'), shape: CONTEXT, unit: 'us', reach: 2000 },
  { title: 'append, nothing flushes', contract: coded('append', 'pre'), shape: step(0), unit: 'b2b', reach: 6 },
  { title: 'append, all of 16 flush 128 tokens', contract: coded('append', 'pre'), shape: step(16), unit: 'us', reach: 60 },
  { title: 'append, keys after RoPE, nothing flushes', contract: coded('append', 'post'), shape: step(0), unit: 'b2b', reach: 6 },
  { title: 'append, keys after RoPE, all of 16 flush', contract: coded('append', 'post'), shape: step(16), unit: 'us', reach: 60 },
];

/** Steps between two flushes of a sequence: its block. */
export const FLUSH_STEPS = 128;
/** Microseconds of a step of `append` in the mean, with one flush in {@link FLUSH_STEPS}, at most. */
export const AMORTISED_US = 8;
