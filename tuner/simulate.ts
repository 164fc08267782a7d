// The life of a cache on recorded queries, keys and values: a decode loop by the kernels, held against a simulation in fp64 after every launch.
import { z } from 'zod';
import { heldBits } from '../generator/bits.ts';
import { isCoded } from '../generator/contract.ts';
import { InputError, UsageError } from '../generator/errors.ts';
import { PAGE_SIZES } from '../generator/layout.ts';
import { kernelName, type Kernel } from '../generator/name.ts';
import type { Recipe } from '../generator/recipe.ts';
import { openDump } from './calibrate/file.ts';
import { calibrateSides, checkDumps, kernelsFor, ropeOf, sideKey, sidesOf, type Side, type Variant } from './dumps.ts';
import { loadKernels, type Device, type Loaded } from './images.ts';
import { APPEND_POLICY, lifeKernelsSchema, NO_EVENTS, type LifeRecord, type LifeRequest } from './life-schema.ts';
import { measure } from './problem.ts';
import { removeTemporary, temporaryFolder } from './temporary.ts';

export interface SimulateOptions {
  readonly variant: Variant;
  /** Dumps: rows to decode, and keys and values of another text to calibrate on. */
  readonly evaluation: string;
  readonly calibration: string;
  /** Decode steps; each adds a token to every sequence. */
  readonly steps: number;
  /** Tokens of each sequence before its first step. */
  readonly prompt: number;
  /** Sequences at a time. One that reaches the end of the dump ends, and another begins. */
  readonly batch: number;
  readonly seed: number;
  /** Steps between two records. */
  readonly every: number;
  readonly device: Device;
  readonly threads?: number | undefined;
  readonly onProgress?: (done: number, total: number, what: string) => void;
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

export interface Simulation {
  readonly records: readonly SimulateRecord[];
  readonly life: LifeRecord;
  readonly device: string;
  readonly emulated: boolean;
  /** Why there is no GPU in it, if it was looked for. */
  readonly why?: string;
}

/** Ops that are not launched here. */
const UNUSED = ['unpack', 'combine'] as const;

/** The number of a policy for append. Throws UsageError for one that append does not know. */
function policyOf({ policy, selection }: Recipe): number {
  if (selection !== 'online') throw new UsageError(`anchors are chosen at each flush here, selection is "${selection}"`, '--set selection=online');
  if (policy === 'column' || policy === 'none') return APPEND_POLICY[policy];
  throw new UsageError(`policy ${policy} ranks prompts only; a decode loop goes by column means`, '--set policy=column');
}

/** The largest page of at most 64 tokens that divides the flush block. */
const pageOf = (recipe: Recipe): number => [...PAGE_SIZES].reverse().find((page) => page <= 64 && (!isCoded(recipe) || recipe.flush_block % page === 0)) ?? 16;

/** Throws InputError and UsageError for what does not fit, and what building and running may throw. */
export async function simulate(options: SimulateOptions): Promise<Simulation> {
  const { variant: { name, recipe }, steps, prompt, batch, seed, every } = options;
  const policy = policyOf(recipe);
  const evaluation = openDump(options.evaluation);
  const calibration = openDump(options.calibration);
  const folder = temporaryFolder('antkv-simulate-');
  let loaded: Loaded | undefined;
  try {
    checkDumps(evaluation.dump, calibration.dump);
    const { dump } = evaluation;
    const layer = dump.layers[0]!;
    if (prompt >= layer.tokens) throw new InputError(`the prompt has ${prompt} tokens, ${dump.header.source} ${layer.tokens}`, `--prompt ${Math.floor(layer.tokens / 3)}`);
    const kernels = kernelsFor(recipe, dump.headDim, UNUSED);
    const sides = sidesOf([options.variant]);
    const total = sides.size + 2 + kernels.length + 1;
    let done = 0;
    const step = (what: string): void => options.onProgress?.(++done, total, what);
    const books = await calibrateSides(calibration, dump, sides, folder, options.threads, (key) => step(`codebook ${key}`));
    loaded = await loadKernels(kernels, options.device, step);
    const [k, v] = (['k', 'v'] as const).map((side): Side | undefined => books.get(sideKey(recipe, side) ?? ''));
    const life = await loaded.runner.life({
      cmd: 'life',
      kernels: lifeKernelsSchema.parse(Object.fromEntries(kernels.map((kernel) => [kernel.contract.op, loaded!.kernels.get(kernelName(kernel))]))),
      seed, steps, prompt, sample_every: every,
      shape: { ...shapeOf(recipe, policy), sequences: batch, max_tokens: layer.tokens, rope: ropeOf(dump) },
      events: NO_EVENTS,
      data: { file: dump.header.source, prefix: layer.v.name.slice(0, -1) },
      codebook: { ...(k && { k: k.path }), ...(v && { v: v.path }) },
    });
    step(`${steps} steps`);
    const { info, why } = loaded;
    const common = {
      recipe: name, head_dim: dump.headDim, kv_heads: layer.kvHeads, q_heads: layer.q!.shape[0]!, window: recipe.window, flush_block: recipe.flush_block, budget_permille: recipe.budget_permille,
      prompt, batch, seed, undertrained: Boolean(k?.undertrained) || Boolean(v?.undertrained), data: dump.header.source, device: info.device, emulated: info.emulated,
    };
    const records = life.samples.map(({ step: at, sequences, tokens, coded, anchors, found, handed_back, exact }) =>
      simulateRecordSchema.parse({
        record: 'simulate', step: at, sequences, tokens, coded, anchors, anchors_found: found, anchors_handed_back: handed_back,
        effective_bits: heldBits(recipe, dump.headDim, { tokens, coded, anchors, kvHeads: layer.kvHeads }),
        error: exact?.rel_l2 ?? null, cosine: exact?.cosine ?? null, lse_error: exact?.lse_err ?? null, ...common,
      }));
    return { records, life, device: info.device, emulated: info.emulated, ...(why !== undefined && { why }) };
  } finally {
    await loaded?.close();
    evaluation.close();
    calibration.close();
    removeTemporary(folder);
  }
}

/** What of a life's shape follows from the recipe. Exact recipes have no window and no flush. */
function shapeOf(recipe: Recipe, policy: number): LifeRequest['shape'] {
  const { window, flush_block, budget_permille, first_tokens } = recipe;
  return isCoded(recipe) ? { page_size: pageOf(recipe), window, flush_block, budget_permille, first_tokens, policy, rows: 1 } : { page_size: pageOf(recipe), rows: 1 };
}
