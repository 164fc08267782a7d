// What the fast algorithms of decode need of a contract: how `lookup` scores coded keys, and why a contract has no such kernel.
import { chunksOf, codecOf } from './codec.ts';
import { isCacheContract, type Contract } from './contract.ts';
import { codeOrder } from './layout.ts';

/**
 * How `lookup` scores coded keys.
 * - `sum`: a table of q . centroid per chunk and entry, fixed point; a score is the sum of its chunks' entries. Keys after RoPE, f16 codebook.
 * - `turn`: centroids are looked up and multiplied by mma. Fast pairs of channels are rotated in f16 to the middle of their tile of 32 tokens, slow ones expanded in powers of their
 *   place; the tile's position turns the queries. Keys before RoPE, f16 codebook.
 * - `dot`: int8 centroids are looked up as mma operands, q is 16-bit fixed point. Keys after RoPE, int8 codebook of 2 channels per code.
 */
export type KeyMethod = 'sum' | 'turn' | 'dot';

/** The key method of a decode contract, or undefined if none of them computes it. */
export function keyMethod(c: Contract): KeyMethod | undefined {
  if (c.op !== 'decode' || !isCacheContract(c)) return undefined;
  const k = codecOf(c.k);
  if (k.kind === 'exact') return undefined;
  if (c.key === 'pre') return k.codebook === 'f16' && k.channels >= 4 && k.channels <= 16 ? 'turn' : undefined;
  if (k.codebook === 'f16') return 'sum';
  return k.channels === 2 ? 'dot' : undefined;
}

/** Every reason why the look-up algorithm cannot compute `c`; empty if it can. */
export function lookupMisfit(c: Contract): string[] {
  if (c.op !== 'decode' || !isCacheContract(c)) return [`algorithm lookup is one of decode, not of ${c.op}`];
  const why: string[] = [];
  for (const side of ['k', 'v'] as const) {
    const codec = codecOf(c[side]);
    if (codec.kind === 'exact') why.push(`algorithm lookup needs codes, ${side} is ${codec.name}`);
    else if (!codeOrder(side, c).byLane) why.push(`algorithm lookup takes 8-bit codes in the order of lanes (CACHE.md, "Order of codes"); ${side} has ${chunksOf(codec, c.headDim)} of ${codec.bits} bits${side === 'k' && c.key === 'pre' ? ', coded before RoPE' : ''}`);
  }
  const k = codecOf(c.k);
  const v = codecOf(c.v);
  if (v.kind === 'vq' && v.codebook !== 'q8') why.push(`algorithm lookup multiplies values as int8: the v codec must be a q8 one, not ${c.v}`);
  const method = keyMethod(c);
  if (k.kind === 'vq' && method === undefined) why.push(`algorithm lookup has no way to score ${c.k} keys coded ${c.key === 'pre' ? 'before' : 'after'} RoPE; it takes f16 codebooks after it, with 4 to 16 channels before it, or 2c8bq8 after it`);
  if (c.softcap) why.push('algorithm lookup does not cap scores');
  if (c.headDim > 128 && (method === 'turn' || method === 'dot')) why.push(`algorithm lookup keeps queries of up to 128 channels in registers where keys are coded before RoPE or int8, not ${c.headDim}`);
  if (c.headDim % 64 !== 0 && method === 'dot') why.push(`algorithm lookup has int8 keys in rows of 64 channels; head dim ${c.headDim} is not a multiple`);
  if (c.gain !== 'none' && c.gain !== 'k') why.push(`algorithm lookup has no gain on values (gain ${c.gain})`);
  if (c.columns !== 4 && c.columns !== 8) why.push(`algorithm lookup takes 4 or 8 columns, not ${c.columns}`);
  return why;
}

/** Every reason why the algorithm that adds weights up per centroid cannot compute `c`; empty if it can. Whether shared memory holds its tables is a tile's business. */
export function tallyMisfit(c: Contract): string[] {
  if (c.op !== 'decode' || !isCacheContract(c)) return [`algorithm tally is one of decode, not of ${c.op}`];
  const why: string[] = [];
  for (const side of ['k', 'v'] as const) if (codecOf(c[side]).kind === 'exact') why.push(`algorithm tally needs codes, ${side} is ${c[side]}`);
  if (c.softcap) why.push('algorithm tally does not cap scores');
  if (c.headDim > 128) why.push(`algorithm tally keeps exact rows of up to 128 channels in registers, not ${c.headDim}`);
  if (c.key === 'pre') why.push('algorithm tally adds up scores of centroids: keys coded before RoPE have none');
  if (c.dtype !== 'f16') why.push(`algorithm tally is f16, not ${c.dtype}`);
  if (c.gain !== 'none' && c.gain !== 'k') why.push(`algorithm tally has no gain on values (gain ${c.gain})`);
  if (c.columns !== 4 && c.columns !== 8) why.push(`algorithm tally takes 4 or 8 columns, not ${c.columns}`);
  return why;
}
