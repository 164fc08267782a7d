// How the line of a spread launch falls on its CTAs, for sequences of one length: templates/work.cuh in numbers. Pure.
import { codecOf } from '../../generator/codec.ts';
import { isCacheContract, isCoded } from '../../generator/contract.ts';
import { keyMethod } from '../../generator/lookup.ts';
import type { Kernel } from '../../generator/name.ts';

/** What a sequence costs on the line: `lookup_cost`, `rows_cost` and `tally_cost` there. */
interface Prices {
  /** Of a piece, and how much of it lies on either side of the tokens. */
  readonly piece: number;
  readonly side: number;
  readonly coded32: number;
  readonly exact16: number;
}

const ROWS: Prices = { piece: 8, side: 0, coded32: 2, exact16: 1 };

function pricesOf({ contract, tile }: Kernel): Prices {
  // A tally's prices hang on its tables; it is never cut for speed as finely as the others, and the rows' are near.
  if (tile.algorithm !== 'lookup' || !isCacheContract(contract)) return ROWS;
  const key = codecOf(contract.k);
  const piece = keyMethod(contract) === 'sum' && key.kind === 'vq' ? Math.floor(15_500 / (70 + (2 * contract.headDim) / key.channels)) : 32;
  return { piece, side: Math.floor((piece - 1) / 2), coded32: 1, exact16: 4 };
}

/** Tokens that leave the window together (generator/CACHE.md). */
const FLUSH_BLOCK = 128;

/** What a CTA has of the line: pieces of sequences, and how many whole sequences' tokens they come to. */
export interface Share {
  readonly pieces: number;
  readonly sequences: number;
}

/** The shares of `splits` CTAs of a line of `batch` sequences, each of `tokens` tokens with the newest `window` of them exact. */
export function sharesOf(kernel: Kernel, { batch, tokens, window }: { readonly batch: number; readonly tokens: number; readonly window: number }, splits: number): Share[] {
  const { piece, side, coded32, exact16 } = pricesOf(kernel);
  const coded = isCacheContract(kernel.contract) && !isCoded(kernel.contract) ? tokens : Math.floor(Math.max(0, tokens - window) / FLUSH_BLOCK) * FLUSH_BLOCK;
  const exact = tokens - coded;
  const each = piece + Math.ceil(coded / 32) * coded32 + Math.ceil(exact / 16) * exact16;
  const ctas = Math.min(splits, batch * each);
  const share = Math.floor((batch * each) / ctas);
  const longer = batch * each - ctas * share;
  return Array.from({ length: ctas }, (_, x): Share => {
    const begin = x * share + Math.min(x, longer);
    const end = begin + share + (x < longer ? 1 : 0);
    const whole = each - 2 * side;
    let pieces = 0;
    let units = 0;
    for (let b = Math.floor(begin / each); b < batch && b * each + side < end; b++) {
      const first = b * each + side;
      const held = Math.min(whole, end - first) - Math.max(0, begin - first);
      if (held > 0) [pieces, units] = [pieces + 1, units + held];
    }
    return { pieces, sequences: units / whole };
  });
}
