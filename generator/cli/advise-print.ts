// What gen advise prints for people.
import type { Advice, Question, Row } from '../../tuner/advise/advise.ts';
import type { Loss } from '../../tuner/advise/accuracy.ts';
import { bytesWord } from '../../tuner/accuracy/words.ts';
import { table } from './print.ts';

const HEAD = ['recipe', 'K / V', 'bits', 'a token', 'a sequence', 'codebooks', 'longest', 'batch', 'µs a layer', 'x exact', 'by', 'perplexity', 'without window'];

const lossWord = (loss: Loss | undefined): string => (loss === undefined ? 'not measured' : `+${(100 * loss.increase).toFixed(1)} %`);
const tokensWord = (tokens: number): string => (tokens >= 2 ** 23 ? '8M or more' : tokens >= 10_240 ? `${Math.floor(tokens / 1024)}K` : String(tokens));

function cells({ name, recipe, memory, speed, overExact, loss }: Row, marked: boolean): string[] {
  const exact = recipe.k === recipe.v && /^b?f16$/.test(recipe.k);
  const perplexity = exact ? ['exact', 'exact'] : [lossWord(loss.used), lossWord(loss.strict)];
  const time = speed?.us === undefined ? '-' : speed.us.toPrecision(3);
  return [
    `${marked ? '> ' : '  '}${name}`, `${recipe.k} / ${recipe.v}`, memory.bits.toFixed(3), bytesWord(memory.bytesPerToken), bytesWord(memory.sequence), bytesWord(memory.codebooks),
    tokensWord(memory.longest), String(memory.batch), time, overExact === undefined ? '-' : overExact.toFixed(2), speed === undefined ? 'no kernel' : `${speed.quality}${speed.extrapolated ? ', extrapolated' : ''}`, ...perplexity,
  ];
}

/** The table, highest rate first; then the advice, and what speaks against the others. */
export function printAdvice({ rows, best, why }: Advice, { shape, context, batch, memory, task }: Question, device: string): string {
  const { layers, qHeads, kvHeads, headDim } = shape;
  const models = [...new Set(rows.flatMap(({ loss: { used, strict } }) => [used, strict].flatMap((loss) => loss?.model ?? [])))];
  return [
    `${layers} layers, ${qHeads} query and ${kvHeads} KV heads, head dim ${headDim}; ${batch} x ${context} tokens in ${bytesWord(memory)}; ${device}`,
    '',
    table([HEAD, ...rows.map((row) => cells(row, row === best))]),
    '',
    best === undefined ? `none: ${why}` : `${best.name}: ${why}`,
    ...rows.filter((row) => row !== best && row.against.length > 0).map(({ name, against }) => `not ${name}: ${against.join('; ')}`),
    ...(models.length > 0 ? [`perplexity: over that of an exact cache, of ${models.join(', ')}; measure your own model with harness/python/eval`] : []),
    'µs: attention of one layer and one decode step, by the table that the look-up takes; "gen table why" says more',
  ].join('\n');
}
