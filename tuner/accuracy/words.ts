// Records of perplexity in words: the columns of a table. Pure.
import type { Accuracy, MeasuredRecipe } from './record.ts';

export const HEAD = ['', 'run', 'K / V', 'keys', 'gain', 'exact tokens', 'bits', 'bits at 32K', 'codebooks', 'perplexity', 'over exact'] as const;

const once = (words: readonly string[]): string => [...new Set(words)].join(', ');

/** What stays exact: anchors and who chooses them, first tokens, the window. */
function kept({ policy, selection, budget_permille: budget, first_tokens: first, window }: MeasuredRecipe): string {
  const anchors = policy === 'none' || budget === 0 ? [] : [`${budget / 10} % by ${policy}${selection === 'online' ? ', online' : ''}`];
  return [...anchors, ...(first > 0 ? [`first ${first}`] : []), ...(window > 0 ? [`window ${window}`] : [])].join(', ') || 'none';
}

/** 1500 bytes as 1.5 KB. */
export function bytesWord(bytes: number): string {
  const power = bytes < 1000 ? 0 : Math.min(4, Math.floor(Math.log10(bytes) / 3));
  return `${Number((bytes / 1000 ** power).toPrecision(3))} ${['B', 'KB', 'MB', 'GB', 'TB'][power]}`;
}

/** The cells of a record; `mark` is what stands in the first column. */
export function cellsOf(record: Accuracy, mark: string): string[] {
  const { run: { name, plan }, perplexity, exact, bits, held_bits: held, codebook_bytes: books } = record;
  const each = (word: (recipe: MeasuredRecipe) => string): string => once(plan.map(word));
  return [mark, name, each(({ k, v }) => `${k} / ${v}`), each(({ key }) => key), each(({ gain }) => gain), each(kept), held.toFixed(3), bits.toFixed(3), bytesWord(books), perplexity.toFixed(3), `+${(100 * (perplexity / exact - 1)).toFixed(1)} %`];
}
