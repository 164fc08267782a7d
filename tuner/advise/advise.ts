// gen advise: which recipe for a model, a context and a memory. A pure function of recipes, tables and records.
import { rejectRecipe, type Recipe } from '../../generator/recipe.ts';
import type { Accuracy } from '../accuracy/record.ts';
import { keyBits, keysShort, lossOf, type KnownLoss } from './accuracy.ts';
import { memoryOf, type CacheShape, type Memory } from './memory.ts';
import { speedOf, type Speed, type SpeedTables } from './speed.ts';

/**
 * What a task asks of keys, in bits per channel. A rule of thumb from what others publish (2 bits keep long chains of reasoning within a point, 1 bit is for text that is
 * read once), as no task was measured here; figures of a model at hand, by harness/python/eval, outweigh it.
 */
export const TASKS = {
  chat: { bits: 1, why: 'short answers over a prompt: 1 bit with exact newest tokens' },
  reasoning: { bits: 2, why: 'long chains read what they wrote, so that errors add up: 2 bits or more' },
  retrieval: { bits: 2, why: 'one token among many has to be found again: 2 bits or more' },
  long: { bits: 0.5, why: 'the context has to fit at all' },
} as const;
export type Task = keyof typeof TASKS;

export interface Question {
  readonly shape: CacheShape;
  readonly context: number;
  readonly batch: number;
  /** Bytes for caches and codebooks: what weights and activations leave. */
  readonly memory: number;
  readonly task: Task;
}

export interface Row {
  readonly name: string;
  readonly recipe: Recipe;
  readonly memory: Memory;
  readonly speed: Speed | undefined;
  /** Speed over that of the exact cache at the same shape. */
  readonly overExact: number | undefined;
  readonly loss: KnownLoss;
  /** Why it is not advised for this question; empty if it could be. */
  readonly against: readonly string[];
}

export interface Advice {
  /** Fewest bits last. */
  readonly rows: readonly Row[];
  /** The advised row, and why it and no other one; undefined: nothing fits. */
  readonly best: Row | undefined;
  readonly why: string;
  /** Recipes that have no kernels at this head dim, with the reasons. */
  readonly refused: readonly { readonly name: string; readonly why: readonly string[] }[];
}

function against({ context, batch, task }: Question, recipe: Recipe, memory: Memory, records: readonly Accuracy[]): string[] {
  const short = keysShort(recipe, records);
  return [
    ...(memory.batch >= batch ? [] : [memory.longest >= context ? `${memory.batch} of ${batch} sequences fit` : `only ${memory.longest} tokens fit`]),
    ...(keyBits(recipe) >= TASKS[task].bits ? [] : [`${keyBits(recipe)} bits per key channel, ${task} asks for ${TASKS[task].bits}`]),
    ...(short === undefined ? [] : [short]),
  ];
}

/** The speed of the exact recipe at the question's shape, which others are compared with. */
const EXACT: Pick<Recipe, 'k' | 'v'> = { k: 'f16', v: 'f16' };

/** Of the recipes that fit and satisfy the task that with the fewest bits: memory and time follow the bits, and the task says how many are needed. */
export function advise(question: Question, recipes: ReadonlyMap<string, Recipe>, tables: SpeedTables, records: readonly Accuracy[]): Advice {
  const { shape, context, batch } = question;
  const refused = [...recipes].map(([name, recipe]) => ({ name, why: rejectRecipe(recipe, shape.headDim) })).filter(({ why }) => why.length > 0);
  const offered = [...recipes].filter(([name]) => !refused.some((one) => one.name === name));
  const speeds = new Map(offered.map(([name, recipe]) => [name, speedOf(recipe, shape, batch, context, tables)]));
  const exact = offered.find(([, { k, v }]) => k === EXACT.k && v === EXACT.v);
  const baseline = exact && speeds.get(exact[0])?.us;
  const rows = offered.map(([name, recipe]): Row => {
    const memory = memoryOf(recipe, shape, context, question.memory);
    const speed = speeds.get(name);
    const overExact = baseline !== undefined && speed?.us !== undefined ? baseline / speed.us : undefined;
    return { name, recipe, memory, speed, overExact, loss: lossOf(recipe, records), against: against(question, recipe, memory, records) };
  }).toSorted((a, b) => b.memory.bits - a.memory.bits || (a.name < b.name ? -1 : 1));
  return { rows, refused, ...chosen(rows, question) };
}

/** Of the rows about as small (`sign` 1) or as large (-1) as any, within 2 % of the bits: that with the smaller loss, then the faster one. */
function pick(rows: readonly Row[], sign: 1 | -1): Row | undefined {
  const size = ({ memory: { bits } }: Row): number => sign * Math.log(bits);
  const least = Math.min(...rows.map(size));
  const loss = ({ loss: { used, strict } }: Row): number => used?.increase ?? strict?.increase ?? Number.MAX_VALUE;
  const time = ({ speed }: Row): number => speed?.us ?? Number.MAX_VALUE;
  const [best] = rows.filter((row) => size(row) <= least + 0.02).toSorted((a, b) => loss(a) - loss(b) || time(a) - time(b) || size(a) - size(b));
  return best;
}

function chosen(rows: readonly Row[], { task, batch, context }: Question): Pick<Advice, 'best' | 'why'> {
  const fit = rows.filter((row) => row.against.length === 0);
  // Kernels that are committed were tuned, and their times are known; where no coded recipe that fits has any, one is as good as another.
  const committed = fit.filter(({ speed, recipe }) => speed !== undefined && keyBits(recipe) < 16);
  const [best, least] = [pick(committed.length > 0 ? committed : fit, 1), pick(fit, 1)];
  const smaller = best && least && least.memory.bits < best.memory.bits ? `, of recipes with committed kernels (${least.name} has fewer, and no such kernel)` : '';
  if (best) return { best, why: `the fewest bits that ${task} should have${smaller}: ${TASKS[task].why}` };
  const most = pick(rows.filter(({ memory }) => memory.batch >= batch), -1);
  if (most) return { best: most, why: `the most bits that fit, though ${most.against.join('; ')}` };
  return { best: undefined, why: `no recipe holds ${batch} x ${context} tokens in that memory` };
}
