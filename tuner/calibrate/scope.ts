// What shares one codebook (recipe axis `scope`): the vectors of a chunk, of all chunks of a KV head, or of all heads of a layer. A shared codebook is trained on all of
// its vectors, and written once for each chunk, as files, packers and kernels have it: whatever reads a codebook knows no scope.
import type { Recipe } from '../../generator/recipe.ts';
import { gather } from './rows.ts';
import type { Rows } from './task.ts';

export type Scope = Recipe['scope'];

/** One codebook: that of a chunk, or the first (head, chunk) of those that share it. */
export interface Share {
  readonly scope: Scope;
  readonly head: number;
  readonly chunk: number;
}

/** The codebooks of one side, in the order of their places. */
export function sharesOf(scope: Scope, heads: number, chunks: number): Share[] {
  const [own, parts] = [scope === 'layer' ? 1 : heads, scope === 'chunk' ? chunks : 1];
  return Array.from({ length: own * parts }, (_, i) => ({ scope, head: Math.floor(i / parts), chunk: i % parts }));
}

/** Every (head, chunk) that a codebook serves, as head * chunks + chunk. */
export function placesOf({ scope, head, chunk }: Share, heads: number, chunks: number): number[] {
  if (scope === 'chunk') return [head * chunks + chunk];
  return Array.from({ length: scope === 'head' ? chunks : heads * chunks }, (_, i) => head * chunks + i);
}

/** Vectors per token that train one codebook. */
export const vectorsPerToken = (scope: Scope, heads: number, chunks: number): number => placesOf({ scope, head: 0, chunk: 0 }, heads, chunks).length;

const headsOf = ({ data, stride, headDim }: Rows, { scope, head }: Share): number[] => (scope === 'layer' ? Array.from({ length: data.length / (stride * headDim) }, (_, i) => i) : [head]);

/** The vectors of a codebook, fp32 `[vectors, channels]`: by head, then token, then chunk. */
export function vectorsOf(rows: Rows, share: Share, channels: number): Float32Array {
  if (share.scope === 'chunk') return gather(rows, share.head, share.chunk * channels, channels);
  const heads = headsOf(rows, share);
  const out = new Float32Array(heads.length * rows.tokens * rows.headDim);
  heads.forEach((head, i) => out.set(gather(rows, head, 0, rows.headDim), i * rows.tokens * rows.headDim));
  return out;
}

/** Their weights, of `all` `[heads, tokens]`: a token's weight is that of each of its chunks. */
export function weightsFor(all: Float32Array, rows: Rows, share: Share, channels: number): Float32Array {
  const of = (head: number): Float32Array => all.subarray(head * rows.tokens, (head + 1) * rows.tokens);
  if (share.scope === 'chunk') return of(share.head);
  const chunks = rows.headDim / channels;
  const heads = headsOf(rows, share).map(of);
  return Float32Array.from({ length: heads.length * rows.tokens * chunks }, (_, i) => heads[Math.floor(i / (rows.tokens * chunks))]![Math.floor(i / chunks) % rows.tokens]!);
}
