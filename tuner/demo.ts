// The whole algorithm on real keys and values: calibrate, score, select, encode, decode, each recipe against exact attention.
import { footprint, USUAL_TOKENS } from '../generator/bits.ts';
import { isCoded } from '../generator/contract.ts';
import { WrongResultError } from '../generator/errors.ts';
import type { Dump } from '../generator/format.ts';
import { kernelName, type Kernel } from '../generator/name.ts';
import type { Recipe } from '../generator/recipe.ts';
import { openDump } from './calibrate/file.ts';
import { calibrateSides, checkDumps, kernelsFor, ropeOf, sideKey, sidesOf, type Side, type Variant } from './dumps.ts';
import { loadKernels, type Device, type Loaded } from './images.ts';
import type { AttendRecord, AttendRequest } from './attend-schema.ts';
import { removeTemporary, temporaryFolder } from './temporary.ts';

export interface DemoOptions {
  readonly variants: readonly Variant[];
  /** Dumps: queries, keys and values to attend to, and keys and values of another text to calibrate on. */
  readonly evaluation: string;
  readonly calibration: string;
  /** Query rows, spread evenly over the evaluation tokens; each sees all tokens before it. */
  readonly queries: number;
  readonly device: Device;
  readonly threads?: number | undefined;
  readonly onProgress?: (done: number, total: number, what: string) => void;
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

export interface DemoRecord {
  readonly device: string;
  readonly emulated: boolean;
  /** Why there is no GPU in it, if it was looked for. */
  readonly why?: string;
  readonly tokens: number;
  readonly queries: number;
  readonly rows: readonly DemoRow[];
}

/** Kernel against reference, both on the same inputs: the tolerances of `check` (harness/runner), which derive them from the types. */
export const TOLERANCE = { score: 1e-3, output: 4e-3, lse: 2e-3, codes: 0.999 } as const;

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

/** Ops that are not launched here. */
const UNUSED = ['append', 'unpack', 'combine'] as const;

/** Throws WrongResultError if kernels and reference disagree anywhere. */
export function mustAgree(rows: readonly Pick<DemoRow, 'recipe' | 'window' | 'faults'>[]): void {
  const wrong = rows.flatMap(({ recipe, window, faults }) => faults.map((fault) => `${recipe}, window ${window}: ${fault}`));
  if (wrong.length > 0) throw new WrongResultError(`kernels and reference disagree:\n  ${wrong.join('\n  ')}`, 'a template or the emulator is wrong: "npm test" narrows it down');
}

/** Runs every variant. Throws InputError for dumps that do not fit, and what building and running may throw. */
export async function demo(options: DemoOptions): Promise<DemoRecord> {
  const evaluation = openDump(options.evaluation);
  const calibration = openDump(options.calibration);
  const folder = temporaryFolder('antkv-demo-');
  let loaded: Loaded | undefined;
  try {
    checkDumps(evaluation.dump, calibration.dump);
    const { headDim } = evaluation.dump;
    const kernels = new Map(options.variants.flatMap(({ recipe }) => kernelsFor(recipe, headDim, UNUSED)).map((kernel) => [kernelName(kernel), kernel]));
    const sides = sidesOf(options.variants);
    const runs = options.variants.flatMap((variant) => [...new Set([0, variant.recipe.window])].map((window) => ({ ...variant, window })));
    const total = sides.size + 2 + kernels.size + runs.length;
    let done = 0;
    const step = (what: string): void => options.onProgress?.(++done, total, what);

    const books = await calibrateSides(calibration, evaluation.dump, sides, folder, options.threads, (key) => step(`codebook ${key}`));
    loaded = await loadKernels([...kernels.values()], options.device, step);
    const rows: DemoRow[] = [];
    for (const run of runs) {
      rows.push(await attend(run, run.window, loaded, evaluation.dump, books, options.queries));
      step(`${run.name}, window ${run.window}`);
    }
    const { info, why } = loaded;
    return { device: info.device, emulated: info.emulated, ...(why !== undefined && { why }), tokens: evaluation.dump.layers[0]!.tokens, queries: options.queries, rows };
  } finally {
    await loaded?.close();
    evaluation.close();
    calibration.close();
    removeTemporary(folder);
  }
}

async function attend({ name, recipe }: Variant, window: number, { runner, kernels }: Loaded, dump: Dump, books: ReadonlyMap<string, Side>, queries: number): Promise<DemoRow> {
  const [k, v] = (['k', 'v'] as const).map((side) => books.get(sideKey(recipe, side) ?? ''));
  const ops = Object.fromEntries(kernelsFor(recipe, dump.headDim, UNUSED).map((kernel) => [kernel.contract.op, kernels.get(kernelName(kernel))!])) as unknown as AttendRequest['kernels'];
  const { v: values } = dump.layers[0]!;
  const record = await runner.attend({
    cmd: 'attend',
    kernels: ops,
    data: { file: dump.header.source, prefix: values.name.slice(0, -1) },
    codebook: { ...(k && { k: k.path }), ...(v && { v: v.path }) },
    // Exact recipes have flush block 1, which is no multiple of a unit; with window 0 nothing is flushed.
    recipe: { policy: recipe.policy as 'column' | 'exact' | 'none', budget_permille: recipe.budget_permille, first_tokens: recipe.first_tokens, window, ...(isCoded(recipe) && { flush_block: recipe.flush_block }) },
    rope: ropeOf(dump),
    queries: { count: queries },
  });
  const { bits, codebookBytes } = footprint(recipe, dump.headDim, USUAL_TOKENS);
  return {
    recipe: name,
    window,
    effectiveBits: bits,
    codebookBytes,
    undertrained: Boolean(k?.undertrained) || Boolean(v?.undertrained),
    error: record.anchors_off.rel_l2 ?? NaN,
    errorWithAnchors: record.anchors_on ? (record.anchors_on.rel_l2 ?? NaN) : null,
    anchors: record.kept,
    agreement: record.agreement,
    faults: faultsOf(record),
    milliseconds: Object.values(record.ms).reduce((a, b) => a + b, 0),
  };
}
