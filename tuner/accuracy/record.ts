// Records of perplexity, as harness/python/eval writes them: one JSON object a line. Pure.
import { z } from 'zod';
import { InputError } from '../../generator/errors.ts';

/** The members that are read here. Codecs may be such that kernels do not have. */
const recipeSchema = z.looseObject({
  k: z.string(),
  v: z.string(),
  key: z.enum(['pre', 'post']),
  gain: z.string(),
  transform: z.string().default('none'),
  policy: z.string(),
  selection: z.string(),
  budget_permille: z.int(),
  first_tokens: z.int(),
  window: z.int(),
});
export type MeasuredRecipe = z.infer<typeof recipeSchema>;

export const accuracySchema = z.looseObject({
  record: z.literal('perplexity'),
  schema: z.literal(1),
  model: z.string(),
  /** value_basis: how the basis of values was found; records from before recipes had a transform say there that they had one. */
  run: z.looseObject({ name: z.string(), rule: z.string(), on: z.string(), value_basis: z.string().default('none'), plan: z.array(recipeSchema).min(1) }),
  perplexity: z.number().positive(),
  /** Of the same model on the same tokens with an exact cache. */
  exact: z.number().positive(),
  /** Effective bits at `bits_at` tokens, as CACHE.md counts them, and what this run held per element after its last token. */
  bits: z.number(),
  bits_at: z.int(),
  held_bits: z.number(),
  /** Of all layers and heads. */
  codebook_bytes: z.number(),
  /** Windows, tokens of each. */
  windows: z.tuple([z.int(), z.int()]),
  /** What computed it: a simulation, kernels. */
  source: z.string(),
  device: z.string(),
});
export type Accuracy = z.infer<typeof accuracySchema>;

/** The records of a file's text; the last line may be torn, others are ignored if they are of another kind. Throws InputError with the line that is none. */
export function readAccuracy(text: string, source: string): Accuracy[] {
  const lines = text.split('\n');
  return lines.flatMap((line, i) => {
    if (line.trim() === '') return [];
    const fail = (why: string): InputError => new InputError(`${source}, line ${i + 1}: ${why}`, 'give a file that "python3 -m eval --out" wrote');
    let json: unknown;
    try {
      json = JSON.parse(line);
    } catch {
      if (i === lines.length - 1) return []; // a run that was killed while it wrote
      throw fail('not JSON');
    }
    const parsed = accuracySchema.safeParse(json);
    if (!parsed.success) throw fail(`no record of perplexity: ${z.prettifyError(parsed.error)}`);
    return [parsed.data];
  });
}

/** No token of the newest stays exact: every protocol with a window is another, easier question. */
export const isStrict = ({ run: { rule, plan } }: Accuracy): boolean => rule === 'newest' && plan.every(({ window }) => window === 0);

/** Whether values were coded in a basis of their own. */
export const hasBasis = ({ run: { value_basis, plan } }: Accuracy): boolean => value_basis !== 'none' || plan.some(({ transform }) => transform === 'basis');

/** True for an exact cache: the baseline, no point of a front. */
export const isBaseline = ({ run: { plan } }: Accuracy): boolean => plan.every(({ k, v }) => /^b?f16$/.test(k) && /^b?f16$/.test(v));

/** Records that answer one question: they are drawn together, and only these are compared. */
export interface Question {
  readonly title: string;
  readonly exact: number;
  readonly strict: boolean;
  /** By bits, ascending. */
  readonly records: readonly Accuracy[];
  /** Those that no other record beats or equals with at most as many bits, ascending. */
  readonly front: readonly Accuracy[];
}

/** Records that have the lowest perplexity of all with as many bits or fewer, by bits. */
export function frontOf(records: readonly Accuracy[]): Accuracy[] {
  let least = Infinity;
  return records.toSorted((a, b) => a.held_bits - b.held_bits || a.perplexity - b.perplexity).filter(({ perplexity }) => perplexity < least && ((least = perplexity), true));
}

/** By model, text, what computed it, and whether the newest tokens stay exact; the strict ones first. Of a run that was measured twice the last record counts. */
export function questionsOf(records: readonly Accuracy[]): Question[] {
  const groups = new Map<string, Map<string, Accuracy>>();
  for (const record of records.filter((one) => !isBaseline(one))) {
    const { model, run, windows: [windows, tokens], source } = record;
    const title = `${model}, ${isStrict(record) ? 'every token coded' : 'the newest tokens exact'}; ${run.on}, ${windows} windows of ${tokens} tokens; ${source}`;
    const group = groups.get(title) ?? new Map<string, Accuracy>();
    groups.set(title, group.set(run.name, record));
  }
  const questions = [...groups].map(([title, group]): Question => {
    const all = [...group.values()].toSorted((a, b) => a.held_bits - b.held_bits || a.perplexity - b.perplexity);
    return { title, exact: all[0]!.exact, strict: isStrict(all[0]!), records: all, front: frontOf(all) };
  });
  return questions.toSorted((a, b) => Number(b.strict) - Number(a.strict));
}
