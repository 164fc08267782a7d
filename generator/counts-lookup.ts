// What decode by look-up does per tile of 32 coded tokens and per table, counted from templates/lookup*.cuh. Emulated kernels hold the counts against what ran. Pure.
import { chunksOf, codecOf, type VqCodec } from './codec.ts';
import type { CacheContract } from './contract.ts';
import { codeOrder, unitLayout, type Side } from './layout.ts';
import { keyMethod } from './lookup.ts';
import { sumSlices } from './shared.ts';
import type { Tile } from './tile.ts';
import { NONE, total, work, type Work } from './work.ts';

const vq = (name: string): VqCodec => {
  const codec = codecOf(name);
  if (codec.kind !== 'vq') throw new Error(`${name} has no codes`);
  return codec;
};

/**
 * Keys of 32 tokens by look-up. Each look-up takes one dp4a (128 code + lane's offset) and one load; a lane makes one per chunk.
 * - `sum` (lookup_sum.cuh): entries of `columns` 14-bit numbers; up to 4 added, two columns to a word (4 words: 2 additions, one of them of three, which is one of 3 words). Sparse mma adds the
 *   rest up: one takes 16 tokens' words of 4 columns, or 8 tokens' of 8. A lane has one score per column: two bytes joined, converted, one fma.
 * - `turn` (lookup_turn.cuh): see {@link turnedKeys}.
 * - `dot` (lookup_dot.cuh): 2-byte entries, two joined by a PRMT, put in order by two selects; exact int32 sums, two bytes of q.
 */
function keysOf(c: CacheContract, { warps }: Tile): Work {
  const { headDim: d, columns = 8 } = c;
  const { channels } = vq(c.k);
  const chunks = d / channels;
  const scores = work({ dot: columns, alu: columns, float: columns });
  switch (keyMethod(c)) {
    case 'sum': {
      const perToken = chunks / 4;
      const sums = Math.ceil(perToken / 4);
      const added = perToken / sums;
      const all = 4 * sums; // 4 groups of 8 tokens
      const found = work({ dot: chunks, memory: chunks, wavefronts: chunks * (columns / 2), alu: all * Math.floor(added / 2) * (columns / 2), matrix: all * (columns / 8) });
      return total([[1, found], [1, scores]]);
    }
    case 'turn':
      // Entries of 16 channels are looked up in halves; lanes trade the codes of each unit by 2 shuffles and 2 PRMT.
      return total([[1, turnedKeys(d, Math.min(channels, 8), columns, warps)], [channels > 8 ? 2 : 0, work({ memory: 2, wavefronts: 2, alu: 2 })]]);
    case 'dot':
      return total([[1, work({ dot: chunks, memory: chunks, wavefronts: chunks, alu: chunks / 2 + chunks, matrix: (d / 16) * (columns / 4) })], [1, scores]]);
    default:
      throw new Error(`k ${c.k} has no look-ups`);
  }
}

/**
 * Keys before RoPE. A lane owns d / 16 words (pairs of channels) of each half of a token's key. 4 of them are fast: turned in registers by 2 multiplies and 2 fmas of
 * halves per word and token, coefficients from shared memory (one row of 128 B per place), which up to 8 warps keep in registers. The others are slow: centroids as they
 * are, times three operands.
 * - Queries, once per tile (slow ones once per two where tiles come in pairs; counted is once) and once more where 64 tiles begin: turned on in fp32 (8 operations per pair,
 *   cosines and sines from shared memory), made two halves each (2 packs, 2 conversions, 2 subtractions per word). With 4 columns lanes in twos turn one half each and trade
 *   words by shuffles. Slow words are then multiplied by the powers of the frequency.
 * - Each word pair of a unit: of fast pairs an mma for either half of the channels, of slow ones one more for the powers, whose odd rows 2 selects per register put in
 *   order. 4 columns hold a query's halves and their rests in one mma, 8 take two.
 * Head dim 64 has fast words only; their operands unturned, in order too, take an mma more, with the columns of those pairs whose turns are corrections (a mask per word).
 */
function turnedKeys(d: number, channels: number, columns: number, warps: number): Work {
  const chunks = d / channels;
  const [fast, slow] = [4, d / 16 - 4];
  const [kinds, shares] = [slow > 0 ? 2 : 1, columns === 4];
  const own = shares ? 2 : 4; // words that a lane turns, of each kind
  const found = work({ dot: chunks, memory: chunks, wavefronts: (chunks * channels) / 2, alu: channels === 4 ? d / 2 : 0 }); // 8-byte entries trade places
  const advanced = work({ memory: own, wavefronts: 4 * own, float: 8 * own });
  const halved = work({ alu: 2 * own * 4, float: 2 * own * 2 });
  const traded = shares ? work({ memory: 2 * own, wavefronts: 2 * own, alu: 2 * own * 2 }) : NONE;
  // Words come from the lane beside where columns share: 6 selects for each of them, a sign; 2 products per word.
  const powers = slow === 0 ? NONE : shares ? work({ memory: 2 * own, wavefronts: 2 * own, alu: own * 6 + slow, half: slow * 2 }) : work({ half: slow * 4 });
  const queries = total([[kinds, advanced], [kinds, halved], [kinds, traded], [1, powers]]);
  // Each lane has one angle of a kind worked out, and 2 shuffles for each pair.
  const anew = work({ memory: 6 * own + 1, wavefronts: 4 * own, mufu: 2, float: 8 * own + 10, alu: 4 * own });
  const places = warps > 8 ? work({ memory: 8, wavefronts: 32 }) : NONE;
  // 8 tokens of a lane are 4 groups of a word pair's 2 x 2 registers in each of 2 units.
  const corrected = slow === 0 ? fast : 0;
  const turned = work({ half: 4 * (fast / 2) * 8, alu: 2 * ((slow + corrected) / 2) * 8 + (columns / 4) * 2 * corrected });
  const products = work({ matrix: (columns / 4) * 2 * (fast + corrected + 2 * slow) });
  const sums = work({ float: columns * ((shares ? 3 : 1) + (slow > 0 ? 2 : 0) + 1) + (slow > 0 ? 4 : 0) });
  return total([...[found, places, turned, products, sums, work({ alu: 2, control: 2 })].map((part) => [1, part] as const), [1 + 1 / TILES_ANEW, queries], [kinds / TILES_ANEW, anew]]);
}
/** Tiles after which queries of turned keys start anew (lookup.cuh). */
const TILES_ANEW = 64;

/** Scores to weights: a comparison, ex2 and fixed point by adding 2^23 each, an addition of three per two; one vote. Anchors are masked in a quarter of the tiles. */
function weightsOf(c: CacheContract): Work {
  const { columns = 8, gain } = c;
  const sum = keyMethod(c) === 'sum';
  const scores = columns; // of a lane: 8 tokens of half as many columns, or of 2 or 1 in four
  // A score's gain: a conversion and an fma. Of `sum` each score has its own, off the middle of the table first, and of 4 columns half of the lanes want the other half
  // of its word; else two columns share a multiplication.
  const gained = gain !== 'k' ? NONE : sum ? work({ float: 2 * scores, alu: scores * (columns === 4 ? 3 : 1), memory: 2, wavefronts: 2 }) : work({ float: 4, alu: 4, memory: 2, wavefronts: 2 });
  // To where the values' mma wants them, two to a word. Rows of tokens are transposed first; of `sum`, half warps of 4 columns trade theirs by 2 shuffles per unit. Then bytes
  // are parted by 2 PRMT per unit; of 8 columns, for each of the two bytes, 2 shuffles between 2 PRMT.
  const traded = sum ? (columns === 4 ? 4 : 0) : 4;
  const parted = columns === 4 ? work({ alu: 4 }) : work({ alu: 8, memory: 8, wavefronts: 8 });
  const moved = total([[1, parted], [1, work({ alu: sum ? columns / 2 : 4, memory: traded, wavefronts: traded })]]);
  const masks = work({ alu: 2 * scores });
  return total([[1, work({ mufu: scores, float: scores, alu: 1.5 * scores + 1, control: 4 })], [1, gained], [1, moved], [0.28, masks]]);
}

/**
 * Values of 32 tokens (lookup_values.cuh): look-ups of 4 to 16 bytes, or 2 (of which 8 columns join two by a PRMT). 4 columns: a PRMT per word puts two channels of two
 * tokens side by side, and sparse mma skip the channel that a row is not for. 8 columns: transposed by 2 PRMT per word for dense mma, in two sets. Of the last four of an odd
 * number of fours of chunks each entry is looked up in two halves.
 */
function valuesOf(c: CacheContract, copies: number): Work {
  const { headDim: d, columns = 8 } = c;
  const { channels } = vq(c.v);
  const chunks = d / channels;
  const words = d / 4; // of a lane
  const phases = channels === 2 ? 1 : channels / 4;
  const found = chunks + (chunks % 8);
  // Fewer copies: 2 or 4 lanes meet in each bank, with different entries.
  return work({ dot: found, memory: found, wavefronts: chunks * phases * (4 / copies), alu: (columns / 4) * words + (columns === 8 && channels === 2 ? words : 0), matrix: (d / 16) * (columns / 4) });
}

/**
 * Codes of 32 tokens to registers, a tile or two ahead, by places in shared memory (found for 16 tiles at once), one of which says what nobody sees.
 * With one stage only keys are ahead, by one tile and then moved, and lines are prefetched to L2 two tiles ahead.
 */
function loadsOf(c: CacheContract, tile: Tile): Work {
  const { headDim: d } = c;
  const bytes = 2 * unitLayout(c).bytes + 4;
  const words = (name: string): number => chunksOf(codecOf(name), d) / 8; // of a lane and unit
  const halved = words(c.v) % 1 === 0 ? 0 : 1; // codes that two rows of lanes share: a load of their own
  const piece = (side: Side): number => codeOrder(side, c).piece;
  const loads = 2 * ((4 * words(c.k)) / piece('k') + (4 * Math.floor(words(c.v))) / piece('v') + halved);
  const early = tile.stages === 1;
  const sides = (words(c.k) === words(c.v) && halved === 0 ? 1 : 2) + halved + (c.gain === 'k' ? 1 : 0); // whose addresses differ: a wide multiply-add each, per unit
  return work({ bytes, wavefronts: bytes / 128 + 4 + (early ? 3 : 0), memory: loads + 2 + (early ? 2 : 0), alu: early ? 26 : 12, dot: 2 * sides + (early ? 10 + 2 * words(c.k) : 3), control: 6 });
}

/** Whether products of queries and centroids wait in registers until the largest is known: where they have room in those of what they are made of (lookup_sum.cuh). */
function keepsProducts(c: CacheContract, { warps }: Tile): boolean {
  const turns = Math.ceil(16 / warps);
  const slabs = c.headDim / 16;
  return turns * sumSlices(c).length * 8 * 4 <= (4 * turns + 2) * slabs;
}

/**
 * The table of `sum`, all warps together: q times centroids, 16 entries by 16 channels in an mma, again unless they are kept, as the largest must be known before entries
 * are rounded. Two selects keep other chunks out; then 4 maxima, or 4 fmas, 2 PRMT, 6 selects that turn the stores of 8 products so that rows meet in no bank, and 2 stores.
 * A slice of the table has 8 places for products, which hold two chunks of 4 columns where the slice is full, else one, for two copies; a slice of fewer chunks has each
 * again.
 */
export function sumTable(c: CacheContract, tile: Tile): Work {
  const { headDim: d, columns = 8 } = c;
  const { warps } = tile;
  const again = keepsProducts(c, tile) ? 0 : 1;
  const { channels } = vq(c.k);
  const tried = warps * Math.ceil(16 / warps); // warps without entries of their own try others' once more
  const slots = 64 / columns;
  const parts = sumSlices(c).map((chunks): readonly [number, Work] => {
    const abreast = columns === 4 && chunks === slots ? 2 : 1;
    const products = chunks / abreast; // of 16 entries
    const matrix = products * (abreast === 2 && channels === 16 ? 2 : 1); // chunks abreast that are of different slabs
    return [1, total([[tried, work({ matrix, alu: 6 * products })], [16, work({ matrix: again * matrix, alu: (10 + 2 * again) * products, float: 4 * products, memory: 16, wavefronts: 16 })]])];
  });
  return total([[tried, work({ memory: d / 8, wavefronts: d / 4 })], ...parts]);
}

/** The parts of 32 coded tokens, by name. */
export const lookupParts = (c: CacheContract, tile: Tile): Readonly<Record<string, Work>> =>
  ({ [`keys (${keyMethod(c)})`]: keysOf(c, tile), weights: weightsOf(c), values: valuesOf(c, tile.copies ?? 4), 'loads, loop': loadsOf(c, tile) });
