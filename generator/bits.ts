// What a recipe costs per element, counted as CACHE.md, "Effective bits", says; allocated bytes and codebooks beside it.
import { codecOf, rowBytes } from './codec.ts';
import { isCoded, type CacheContract } from './contract.ts';
import { anchorPageBytes, ANCHOR_ROWS, codebookLayout, pageBytes, ringRows } from './layout.ts';
import type { Recipe } from './recipe.ts';

/** Bytes of one KV head of one sequence; bits are per element of K and V together. */
export interface Footprint {
  /** Effective bits per element. */
  readonly bits: number;
  /** Bytes that the effective bits count. */
  readonly bytes: number;
  /** Bytes that are reserved for it: whole pages, whole anchor pages, the whole ring. */
  readonly allocatedBytes: number;
  /** Packed codebooks of K and V, shared by all sequences. Once for each chunk, whatever the recipe's scope, as kernels hold them. */
  readonly codebookBytes: number;
}

/** Context of the figures that `gen` prints. */
export const USUAL_TOKENS = 32768;

const gains = (gain: Recipe['gain']): number => (gain === 'none' ? 0 : gain.length);

/** The most anchors of `coded` coded tokens: the budget over all of them, never rounded per block, the extra ones, and the tokens that are always kept. */
export function anchorsOf(recipe: Recipe, coded: number): number {
  if (recipe.policy === 'none') return 0;
  const budget = recipe.budget_tokens > 0 ? recipe.budget_tokens : Math.floor((coded * recipe.budget_permille) / 1000);
  return Math.min(coded, budget + recipe.extra_tokens + recipe.first_tokens);
}

/** Bytes of a coded token of one KV head: codes, gains, its bit in the bitmap; its rows in an exact recipe. */
const codedBytes = (recipe: Recipe, headDim: number): number =>
  rowBytes(codecOf(recipe.k), headDim) + rowBytes(codecOf(recipe.v), headDim) + gains(recipe.gain) * 2 + (isCoded(recipe) ? 1 / 8 : 0);

/** The footprint of `recipe` at `tokens` tokens; pages of `pageSize` tokens matter for the allocated bytes only. */
export function footprint(recipe: Recipe, headDim: number, tokens: number, pageSize = 64): Footprint {
  const dims = { headDim: headDim as CacheContract['headDim'], k: recipe.k, v: recipe.v, gain: recipe.gain };
  const k = codecOf(recipe.k);
  const v = codecOf(recipe.v);
  const exactRow = headDim * 2 * 2;
  const codedRow = codedBytes(recipe, headDim);
  const codebookBytes = codebookLayout(k, headDim).bytes + codebookLayout(v, headDim).bytes;
  const perElement = 8 / (2 * headDim * tokens);
  if (!isCoded(recipe)) {
    const bytes = tokens * codedRow;
    return { bits: bytes * perElement, bytes, allocatedBytes: Math.ceil(tokens / pageSize) * pageBytes(dims, pageSize), codebookBytes };
  }
  // W + F/2 rows: between two flushes the ring holds W to W + F tokens.
  const exact = Math.min(tokens, recipe.window + recipe.flush_block / 2);
  const coded = tokens - exact;
  const anchors = anchorsOf(recipe, coded);
  const bytes = coded * codedRow + anchors * (exactRow + 4) + exact * exactRow;
  const allocatedBytes =
    Math.ceil(coded / pageSize) * pageBytes(dims, pageSize) +
    Math.ceil(anchors / ANCHOR_ROWS) * anchorPageBytes(headDim) +
    ringRows(recipe.window, recipe.flush_block) * exactRow;
  return { bits: bytes * perElement, bytes, allocatedBytes, codebookBytes };
}

/** What sequences hold at one moment, all together; anchors of all KV heads. */
export interface Holding {
  readonly tokens: number;
  readonly coded: number;
  readonly anchors: number;
  readonly kvHeads: number;
}

/** Effective bits per element of what is held, with as many exact rows as there are. 0 where nothing is. */
export function heldBits(recipe: Recipe, headDim: number, { tokens, coded, anchors, kvHeads }: Holding): number {
  const exactRow = headDim * 2 * 2;
  const held = isCoded(recipe) ? coded : tokens;
  const bytes = kvHeads * (held * codedBytes(recipe, headDim) + (tokens - held) * exactRow) + anchors * (exactRow + 4);
  return tokens === 0 ? 0 : (8 * bytes) / (2 * headDim * kvHeads * tokens);
}

/** Effective bits per element of `recipe` at `tokens` tokens. */
export const effectiveBits = (recipe: Recipe, headDim: number, tokens: number): number => footprint(recipe, headDim, tokens).bits;
