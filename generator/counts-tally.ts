// What decode by tallies does per tile of 32 coded tokens, and per piece before and behind them, counted from templates/tally*.cuh. Pure.
import { chunksOf, codecOf, rowBytes, storedOf, type VqCodec } from './codec.ts';
import type { CacheContract } from './contract.ts';
import { isPowerOfTwo, unitLayout } from './layout.ts';
import type { Tile } from './tile.ts';
import { total, work, type Work } from './work.ts';

/** How often 32 lanes meet in the busiest of 32 banks, on average, where each looks for a word of its own at random: look-ups and additions of random codes. */
const MEETINGS = 3.5;
/** Whether a side's numbers lie entry by entry, and lanes go through the books from their own on (`tally_order`, tally_codes.cuh): no two additions meet then. */
function turned(codec: VqCodec, headDim: number, pass: number): boolean {
  const tables = chunksOf(codec, headDim) * codec.stages;
  return tables <= 32 && isPowerOfTwo(tables) && tables * pass >= 32 && rowBytes(codec, headDim) % 4 === 0;
}
/** Query columns that a step of decode has, of those that the kernel has room for: passes without a query are left out. */
const usedColumns = ({ columns = 8 }: CacheContract): number => Math.min(columns, 4);

const vq = (name: string): VqCodec => {
  const codec = codecOf(name);
  if (codec.kind !== 'vq') throw new Error(`${name} has no codes`);
  return codec;
};

/** Passes over the tokens of a piece. */
const passesOf = (c: CacheContract, { pass = 1 }: Tile): number => Math.ceil(usedColumns(c) / pass);
/** Loads that bring a token's row: it lies row by row, in words, or byte by byte if its length is odd. */
const piecesOf = (bytes: number): number => (bytes % 2 === 0 ? Math.ceil(bytes / 4) : bytes);

/** The parts of 32 coded tokens, by name, all passes together. Codes are read anew by each, from L2 as far as it holds them. */
export function tallyParts(c: CacheContract, tile: Tile): Readonly<Record<string, Work>> {
  const { pass = 1, warps, tokens = 0 } = tile;
  const [k, v] = [vq(c.k), vq(c.v)];
  // Codebooks of a row: each is looked up, or added to, for itself.
  const [kTables, vTables] = [k, v].map((codec) => chunksOf(codec, c.headDim) * codec.stages) as [number, number];
  const words = Math.ceil(pass / 2);
  // Look-ups of 8 bytes are made by half a warp at a time, which has a book each; of 4 bytes by a warp, in which two lanes share a book and may meet.
  const [kTurned, vTurned] = [k, v].map((codec) => turned(codec, c.headDim, pass)) as [boolean, boolean];
  const kMeetings = kTurned ? (pass === 4 ? 1 : 2) : MEETINGS;
  const turn = (codec: VqCodec): number => 3 * (rowBytes(codec, c.headDim) / 4);
  const passes = passesOf(c, tile);
  const bytes = 2 * unitLayout(c).bytes + 4;
  const loads = piecesOf(rowBytes(k, c.headDim)) + piecesOf(rowBytes(v, c.headDim)) + (c.gain === 'k' ? 1 : 0) + 2;
  // A row's pieces are joined; the page, the unit and the row's place are found by each lane.
  const loaded = work({ bytes, memory: loads, wavefronts: (loads * bytes) / 256, alu: 22 + loads + (kTurned ? turn(k) : 0) + (vTurned ? turn(v) + 2 * pass : 0), dot: 10, control: 4 });
  // A code is cut out and its place in the table found: three instructions, one of them a multiply-add.
  const keys = work({ memory: kTables, wavefronts: kTables * kMeetings * words, alu: kTables * (2 + words) + 3 * pass, dot: kTables, float: 3 * pass });
  const weights = work({ mufu: pass, float: 3 * pass, alu: 4 * pass, control: 2 });
  const values = work({ memory: vTables * pass, wavefronts: vTables * pass * (vTurned ? 1 : MEETINGS), alu: (vTurned ? 6 : 4) * vTables, control: 2 });
  // Per round: joins of a maximum and a sum in each warp, and of those of all warps, each an instruction that takes two turns.
  const round = work({ memory: 4 * pass, alu: 18 * pass, float: 8 * pass, wavefronts: 4 * pass, control: 10 });
  const rounds = (32 * warps) / Math.max(tokens, 32 * warps);
  const all = (one: Work): Work => total([[passes, one]]);
  return { 'keys (tally)': all(keys), weights: all(weights), values: all(values), 'loads, loop': all(total([[1, loaded], [rounds, round]])) };
}

/** Clocks of a piece's tables and last products, all passes, on a device whose multiprocessors get `l2` bytes per clock: codebooks are read once by each pass. */
export function tallyClocks(c: CacheContract, tile: Tile, l2: number): number {
  const bytes = (name: string): number => c.headDim * storedOf(codecOf(name)) * (vq(name).codebook === 'q8' ? 1 : 2);
  const rows = (name: string): number => chunksOf(codecOf(name), c.headDim) * storedOf(codecOf(name));
  const { pass = 1 } = tile;
  // Products to shared memory, twice read, rounded, tallies cleared and read; multiplied by 128 lanes.
  const shared = (pass * (4 * rows(c.k) + 2 * rows(c.v))) / 32;
  const products = (pass * c.headDim * storedOf(codecOf(c.v))) / 128;
  return passesOf(c, tile) * (Math.max(bytes(c.k) / l2, shared) + Math.max(bytes(c.v) / l2, 2 * products));
}
