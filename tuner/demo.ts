// The whole algorithm on real keys and values: calibrate, score, select, encode, decode, each recipe against exact attention.
import { footprint, USUAL_TOKENS } from '../generator/bits.ts';
import { isCoded } from '../generator/contract.ts';
import { WrongResultError } from '../generator/errors.ts';
import { ropeOf, type Variant } from './dumps.ts';
import type { AttendRecord, AttendRequest } from './attend-schema.ts';
import { codebookOf, onGround, type Ground, type GroundOptions, type Place, type Use } from './ground.ts';
import { lifeUse, liveOn, type Lived, type Lifetime } from './simulate.ts';

export interface DemoOptions extends GroundOptions {
  readonly variants: readonly Variant[];
  /** Query rows, spread evenly over the evaluation tokens; each sees all tokens before it. */
  readonly queries: number;
  /** Whose cache lives beside that; none unless given. */
  readonly life?: Variant | undefined;
}

/** One recipe at one window. Errors are relative: ‖o - exact‖ / ‖exact‖ over all query rows and heads. */
export interface DemoRow {
  readonly recipe: string;
  readonly window: number;
  readonly effectiveBits: number;
  /** Packed, K and V, per layer and KV head. */
  readonly codebookBytes: number;
  readonly undertrained: boolean;
  readonly error: number;
  /** Null for recipes that keep no anchors. */
  readonly errorWithAnchors: number | null;
  readonly anchors: number;
  readonly agreement: AttendRecord['agreement'];
  /** What of the kernels disagrees with the reference; empty if nothing does. */
  readonly faults: readonly string[];
  /** Wall time of the kernels. */
  readonly milliseconds: number;
}

export interface DemoRecord extends Place {
  readonly tokens: number;
  readonly queries: number;
  readonly rows: readonly DemoRow[];
  readonly lived?: Lived;
}

/**
 * Kernel against reference, both on the same inputs: the tolerances of `check` (harness/runner), which derive them from the types, but for the LSE. Recorded keys after RoPE have
 * partial sums far above their scores, and sums of look-ups are rounded by the largest of them; an LSE that is off by e weighs its part of a merge by exp(e), so it may be off
 * by what an output may.
 */
export const TOLERANCE = { score: 1e-3, output: 4e-3, lse: 4e-3, codes: 0.999 } as const;

/** What of an attend record is beyond {@link TOLERANCE}. */
export function faultsOf({ faults, agreement: a }: Pick<AttendRecord, 'faults' | 'agreement'>): string[] {
  const found = [...faults];
  const above = (what: string, value: number | null | undefined, most: number): void => {
    if (value === undefined) return;
    if (!(value !== null && value <= most)) found.push(`${what} differs from the reference by ${value}, more than ${most}`);
  };
  above('score', a.score_rel_l2, TOLERANCE.score);
  for (const [what, value] of [['decode', a.decode_rel_l2], ['decode with anchors', a.decode_anchors_rel_l2]] as const) above(what, value, TOLERANCE.output);
  for (const [what, value] of [['LSE', a.decode_lse_err], ['LSE with anchors', a.decode_anchors_lse_err]] as const) above(what, value, TOLERANCE.lse);
  if (a.kept_equal === false) found.push('select kept other tokens than the reference');
  // Two centroids may tie within rounding; more than one code in a thousand is no tie.
  if (!(a.codes_equal >= TOLERANCE.codes)) found.push(`encode: only ${a.codes_equal} of the codes are those of the reference`);
  return found;
}

/** Throws WrongResultError if kernels and reference disagree anywhere. */
export function mustAgree(rows: readonly Pick<DemoRow, 'recipe' | 'window' | 'faults'>[]): void {
  const wrong = rows.flatMap(({ recipe, window, faults }) => faults.map((fault) => `${recipe}, window ${window}: ${fault}`));
  if (wrong.length > 0) throw new WrongResultError(`kernels and reference disagree:\n  ${wrong.join('\n  ')}`, 'a template or the emulator is wrong: "npm test" narrows it down');
}

/** The windows that a recipe is shown at. */
const windowsOf = ({ recipe }: Variant): number[] => [...new Set([0, recipe.window])];

/** Ops that are not launched here. */
export const DEMO_UNUSED = ['append', 'unpack', 'combine'] as const;

/** Runs every variant on prepared ground. */
export async function demoOn(ground: Ground, variants: readonly Variant[], queries: number): Promise<DemoRow[]> {
  const rows: DemoRow[] = [];
  for (const variant of variants) {
    for (const window of windowsOf(variant)) {
      rows.push(await attend(ground, variant, window, queries));
      ground.done(`${variant.name}, window ${window}`);
    }
  }
  return rows;
}

/** What {@link demoOn} does with `variants`. */
export const demoUse = (variants: readonly Variant[]): Use => ({ variants, unused: DEMO_UNUSED, runs: variants.reduce((runs, variant) => runs + windowsOf(variant).length, 0) });

/** A cache's life beside the demo: the rest of the dump behind a third of it as the prompt, {@link DEMO_LIFE} tokens a step. */
const DEMO_LIFE = { tokensPerStep: 8, records: 8 } as const;
function lifetimeOf(tokens: number): Lifetime {
  const prompt = Math.max(1, Math.floor(tokens / 3));
  const steps = Math.max(1, Math.floor((tokens - prompt) / DEMO_LIFE.tokensPerStep));
  return { steps, prompt, tokensPerStep: DEMO_LIFE.tokensPerStep, batch: 1, seed: 1, every: Math.max(1, Math.floor(steps / DEMO_LIFE.records)) };
}

/** Runs every variant, and one cache's life. Throws as `onGround`. */
export function demo(options: DemoOptions): Promise<DemoRecord> {
  const { variants, queries, life } = options;
  return onGround(options, [demoUse(variants), ...(life ? [lifeUse([life], { prompt: 0 })] : [])], async (ground) => {
    const { tokens } = ground.dump.layers[0]!;
    return { tokens, queries, rows: await demoOn(ground, variants, queries), ...(life && { lived: await liveOn(ground, life, lifetimeOf(tokens)) }) };
  });
}

async function attend(ground: Ground, { name, recipe }: Variant, window: number, queries: number): Promise<DemoRow> {
  const { dump, loaded } = ground;
  const books = ground.books(recipe);
  const { encode, decode, select, score, rank } = ground.kernels(recipe, DEMO_UNUSED);
  const scores = rank ?? score;
  const { policy, budget_permille, budget_tokens, first_tokens, flush_block } = recipe;
  const record = await loaded.runner.attend({
    cmd: 'attend',
    kernels: { encode: encode!, decode: decode!, ...(select && { select }), ...(scores && { score: scores }) } satisfies AttendRequest['kernels'],
    data: { file: dump.header.source, prefix: dump.layers[0]!.v.name.slice(0, -1) },
    codebook: codebookOf(books),
    // Exact recipes have flush block 1, which is no multiple of a unit; with window 0 nothing is flushed.
    recipe: { policy, budget_permille, budget_tokens, first_tokens, window, ...(isCoded(recipe) && { flush_block }) },
    rope: ropeOf(dump),
    queries: { count: queries },
  });
  const { bits, codebookBytes } = footprint(recipe, dump.headDim, USUAL_TOKENS);
  return {
    recipe: name,
    window,
    effectiveBits: bits,
    codebookBytes,
    undertrained: books.undertrained,
    error: record.anchors_off.rel_l2 ?? NaN,
    errorWithAnchors: record.anchors_on ? (record.anchors_on.rel_l2 ?? NaN) : null,
    anchors: record.kept,
    agreement: record.agreement,
    faults: faultsOf(record),
    milliseconds: Object.values(record.ms).reduce((a, b) => a + b, 0),
  };
}
