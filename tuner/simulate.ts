// The life of a cache on recorded queries, keys and values: a decode loop by the kernels, held against a simulation in fp64 after every launch.
import { z } from 'zod';
import { heldBits } from '../generator/bits.ts';
import { isCoded } from '../generator/contract.ts';
import { InputError, UsageError } from '../generator/errors.ts';
import { PAGE_SIZES } from '../generator/layout.ts';
import { APPEND_POLICY, policyOf } from '../generator/policy.ts';
import type { Recipe } from '../generator/recipe.ts';
import { ropeOf, type Variant } from './dumps.ts';
import { codebookOf, onGround, type Ground, type GroundOptions, type Place, type Use } from './ground.ts';
import { lifeKernelsSchema, NO_EVENTS, type LifeRecord, type LifeRequest } from './life-schema.ts';
import { measure } from './problem.ts';

/** How long a cache lives. */
export interface Lifetime {
  /** Decode steps; each adds `tokensPerStep` tokens to every sequence. */
  readonly steps: number;
  /** As where all drafts are accepted; 1 unless given. A block leaves the window between two steps, so up to 15 tokens later than by single tokens. */
  readonly tokensPerStep?: number;
  /** Tokens of each sequence before its first step. */
  readonly prompt: number;
  /** Sequences at a time. One that reaches the end of the dump ends, and another begins. */
  readonly batch: number;
  readonly seed: number;
  /** Steps between two records. */
  readonly every: number;
}

export interface SimulateOptions extends GroundOptions, Lifetime {
  readonly variant: Variant;
}

/** The state after some steps. Tokens and anchors are those of the live sequences, anchors of all KV heads; found and handed back count from the start. */
export const simulateRecordSchema = z.strictObject({
  record: z.literal('simulate'),
  recipe: z.string(),
  step: z.int(),
  sequences: z.int(),
  tokens: z.int(),
  coded: z.int(),
  anchors: z.int(),
  anchors_found: z.int(),
  anchors_handed_back: z.int(),
  /** Per element of K and V: codes, gains, bitmap, anchor rows, exact rows as they are at this step. */
  effective_bits: z.number(),
  /** Of the steps since the record before, against exact attention: relative L2 error of the outputs, their mean cosine, mean absolute error of the LSE. */
  error: measure,
  cosine: measure,
  lse_error: measure,
  head_dim: z.int(),
  kv_heads: z.int(),
  q_heads: z.int(),
  window: z.int(),
  flush_block: z.int(),
  budget_permille: z.int(),
  prompt: z.int(),
  batch: z.int(),
  seed: z.int(),
  undertrained: z.boolean(),
  data: z.string(),
  device: z.string(),
  emulated: z.boolean(),
});
export type SimulateRecord = z.infer<typeof simulateRecordSchema>;

/** A life that was lived. */
export interface Lived {
  readonly records: readonly SimulateRecord[];
  readonly life: LifeRecord;
}
export type Simulation = Lived & Place;

/** Ops that are not launched here. */
export const LIFE_UNUSED = ['unpack', 'combine'] as const;

/** Throws UsageError for a recipe that no decode loop can follow. */
export function mustBeOnline({ selection }: Recipe): void {
  if (selection !== 'online') throw new UsageError(`anchors are chosen at each flush here, selection is "${selection}"`, '--set selection=online');
}

/** The largest page of at most 64 tokens that divides the flush block. */
const pageOf = (recipe: Recipe): number => [...PAGE_SIZES].reverse().find((page) => page <= 64 && (!isCoded(recipe) || recipe.flush_block % page === 0)) ?? 16;

/** Throws InputError and UsageError for what does not fit, and what building and running may throw. */
export async function simulate(options: SimulateOptions): Promise<Simulation> {
  mustBeOnline(options.variant.recipe);
  return onGround(options, [lifeUse([options.variant], options)], (ground) => liveOn(ground, options.variant, options));
}

/** What one life of each variant uses. */
export const lifeUse = (variants: readonly Variant[], { prompt }: Pick<Lifetime, 'prompt'>): Use => ({
  variants, unused: LIFE_UNUSED, runs: variants.length,
  fits: ({ header, layers }) => {
    const { tokens } = layers[0]!;
    if (prompt >= tokens) throw new InputError(`the prompt has ${prompt} tokens, ${header.source} ${tokens}`, `--prompt ${Math.floor(tokens / 3)}`);
  },
});

/** One life on prepared ground. */
export async function liveOn(ground: Ground, { name, recipe }: Variant, { steps, tokensPerStep = 1, prompt, batch, seed, every }: Lifetime): Promise<Lived> {
  const { dump, loaded: { runner, info } } = ground;
  const layer = dump.layers[0]!;
  const books = ground.books(recipe);
  const life = await runner.life({
    cmd: 'life',
    kernels: lifeKernelsSchema.parse(ground.kernels(recipe, LIFE_UNUSED)),
    seed, steps, prompt, tokens_per_step: tokensPerStep, sample_every: every,
    shape: { ...shapeOf(recipe), rows: tokensPerStep, sequences: batch, max_tokens: layer.tokens, rope: ropeOf(dump) },
    events: NO_EVENTS,
    data: { file: dump.header.source, prefix: layer.v.name.slice(0, -1) },
    codebook: codebookOf(books),
  });
  ground.done(`${name}, ${steps} steps`);
  const common = {
    recipe: name, head_dim: dump.headDim, kv_heads: layer.kvHeads, q_heads: layer.q!.shape[0]!, window: recipe.window, flush_block: recipe.flush_block, budget_permille: recipe.budget_permille,
    prompt, batch, seed, undertrained: books.undertrained, data: dump.header.source, device: info.device, emulated: info.emulated,
  };
  const records = life.samples.map(({ step: at, sequences, tokens, coded, anchors, found, handed_back, exact }) =>
    simulateRecordSchema.parse({
      record: 'simulate', step: at, sequences, tokens, coded, anchors, anchors_found: found, anchors_handed_back: handed_back,
      effective_bits: heldBits(recipe, dump.headDim, { tokens, coded, anchors, kvHeads: layer.kvHeads }),
      error: exact?.rel_l2 ?? null, cosine: exact?.cosine ?? null, lse_error: exact?.lse_err ?? null, ...common,
    }));
  return { records, life };
}

/** What of a life's shape follows from the recipe. Exact recipes have no window and no flush. */
function shapeOf(recipe: Recipe): LifeRequest['shape'] {
  const { window, flush_block, budget_permille, budget_tokens, extra_tokens, first_tokens } = recipe;
  if (!isCoded(recipe)) return { page_size: pageOf(recipe) };
  return { page_size: pageOf(recipe), window, flush_block, budget_permille, budget_tokens, extra_tokens, first_tokens, policy: APPEND_POLICY[policyOf(recipe.policy).append] };
}
