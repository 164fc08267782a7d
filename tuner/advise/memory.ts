// What a recipe's cache takes of a model's memory, and what fits. Pure.
import { footprint } from '../../generator/bits.ts';
import type { Recipe } from '../../generator/recipe.ts';

/** The numbers of a model that its cache depends on. */
export interface CacheShape {
  readonly layers: number;
  readonly qHeads: number;
  readonly kvHeads: number;
  readonly headDim: number;
}

export interface Memory {
  /** Effective bits per element at the context. */
  readonly bits: number;
  /** Bytes of a sequence over its tokens, all layers and heads; what is reserved in whole pages and rings is counted. */
  readonly bytesPerToken: number;
  /** Bytes that are reserved for one sequence at the context. */
  readonly sequence: number;
  /** Codebooks of all layers and heads, once for all sequences. */
  readonly codebooks: number;
  /** Most tokens of one sequence alone; 0: not one. */
  readonly longest: number;
  /** Most sequences of the context. */
  readonly batch: number;
}

/** No context is longer: positions are exact to there (CACHE.md, "RoPE and positions"). */
export const MOST_TOKENS = 2 ** 23;

/** Most tokens from 0 to {@link MOST_TOKENS} whose bytes are at most `room`; `bytes` never falls. */
function mostTokens(bytes: (tokens: number) => number, room: number): number {
  let [low, high] = [0, MOST_TOKENS];
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    if (bytes(middle) <= room) low = middle;
    else high = middle - 1;
  }
  return low;
}

/** `context` tokens per sequence, `bytes` of memory for the cache and its codebooks, pages of `pageSize` tokens. */
export function memoryOf(recipe: Recipe, { layers, kvHeads, headDim }: CacheShape, context: number, bytes: number, pageSize = 64): Memory {
  const heads = layers * kvHeads;
  const reserved = (tokens: number): number => heads * footprint(recipe, headDim, tokens, pageSize).allocatedBytes;
  const { bits, codebookBytes } = footprint(recipe, headDim, context, pageSize);
  const codebooks = heads * codebookBytes;
  const room = bytes - codebooks;
  const sequence = reserved(context);
  return { bits, bytesPerToken: sequence / context, sequence, codebooks, longest: mostTokens(reserved, room), batch: Math.max(0, Math.floor(room / sequence)) };
}
