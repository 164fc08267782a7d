// Least squares with gains: means of k-means shrink norms, and the gain |x| / |x̂| that encode stores stretches what is decoded again, beyond what a mean is for.
// A round codes every row as encode does, then moves each centroid to Σ w g x / Σ w g², the best for those codes and gains. Codes are still found without gains, so the
// error need not fall: rounds end when it does not, and the last that did counts.
import { chunksOf, codecOf, entriesOf, type VqCodec } from '../../generator/codec.ts';
import { fromF16, toF16 } from '../../generator/f16.ts';
import { squares } from './kmeans.ts';
import { centroids, nearest, type Centroids } from './nearest.ts';
import { round, type Rounded } from './round.ts';
import type { Pool } from './pool.ts';
import { gather } from './rows.ts';
import type { ChunkResult, Rows } from './task.ts';

/** The codebooks of one KV head, or of all heads where they share one. */
export interface RefineTask {
  readonly kind: 'refine';
  readonly rows: Rows;
  readonly codec: string;
  readonly heads: readonly number[];
  /** One for each chunk, or one for all. */
  readonly books: readonly ChunkResult[];
  /** Most rounds. */
  readonly rounds: number;
  /** `[heads of the rows, tokens]`; default: all equal. */
  readonly weights?: Float32Array | undefined;
}

export interface RefineResult {
  readonly books: readonly ChunkResult[];
  readonly rounds: number;
  /** Σ w‖x - g x̂‖² with the centroids as stored, before and after; Σ w‖x‖². */
  readonly before: number;
  readonly after: number;
  readonly energy: number;
}

/** What one look at all rows adds up. */
interface Sums {
  /** By book, `[entries, channels]`: Σ w g x. */
  readonly moments: readonly Float64Array[];
  /** By book, `[entries]`: Σ w g². */
  readonly mass: readonly Float64Array[];
  /** By book: Σ w‖x - c‖², as in a ChunkResult. */
  readonly loss: Float64Array;
  error: number;
  energy: number;
}

/** What the record of a tensor says of it: the most rounds of a task, and errors over Σ w‖x‖². */
export interface Refinement {
  readonly rounds: number;
  readonly before: number;
  readonly after: number;
}

/** Moves the centroids of all codebooks of a side, on a pool; `onDone` is called after each task. */
export async function refineBooks(pool: Pool, task: Omit<RefineTask, 'kind' | 'heads' | 'books'>, books: readonly ChunkResult[], onDone: (done: number, total: number) => void): Promise<{ books: ChunkResult[]; record: Refinement }> {
  const heads = Array.from({ length: task.rows.data.length / (task.rows.stride * task.rows.headDim) }, (_, head) => head);
  const groups = books[0]?.scope === 'layer' ? [heads] : heads.map((head) => [head]);
  const tasks = groups.map((group): RefineTask => ({ kind: 'refine', ...task, heads: group, books: books.filter(({ head }) => group.includes(head)) }));
  let done = 0;
  const results = await pool.run(tasks, () => onDone(++done, tasks.length));
  const sum = (of: (result: RefineResult) => number): number => results.reduce((total, result) => total + of(result), 0);
  const part = (error: number): number => (error > 0 ? error / sum((r) => r.energy) : 0);
  const record = { rounds: Math.max(...results.map(({ rounds }) => rounds)), before: part(sum((r) => r.before)), after: part(sum((r) => r.after)) };
  return { books: results.flatMap((result) => result.books), record };
}

/** Moves the centroids of `books`. */
export function refine(task: RefineTask): RefineResult {
  const codec = vqOf(task.codec);
  let books: readonly Rounded[] = task.books.map((book) => ({ ...book, values: valuesOf(codec, book) }));
  let sums = sumsOf(task, codec, books);
  const before = sums.error;
  let rounds = 0;
  for (; rounds < task.rounds; rounds++) {
    const moved = books.map(({ values }, i) => round(codec, fitted(values, sums.moments[i]!, sums.mass[i]!, codec.channels)));
    const next = sumsOf(task, codec, moved);
    if (!(next.error < sums.error)) break;
    [books, sums] = [moved, next];
  }
  const results = task.books.map((book, i): ChunkResult => ({ ...book, stored: books[i]!.stored, ...(books[i]!.scale && { scale: books[i]!.scale }), loss: rounds > 0 ? sums.loss[i]! : book.loss }));
  return { books: results, rounds, before, after: sums.error, energy: sums.energy };
}

function vqOf(name: string): VqCodec {
  const codec = codecOf(name as '8c8b');
  if (codec.kind !== 'vq') throw new Error(`${name} has no codebook`);
  return codec;
}

const valuesOf = ({ channels }: VqCodec, { stored, scale }: ChunkResult): Float32Array => Float32Array.from(stored as ArrayLike<number>, (value, i) => (scale ? value * scale[i % channels]! : fromF16(value)));

/** Centroids without a row stay where they are. */
const fitted = (values: Float32Array, moments: Float64Array, mass: Float64Array, channels: number): Float64Array =>
  Float64Array.from(values, (value, i) => (mass[Math.floor(i / channels)]! > 0 ? moments[i]! / mass[Math.floor(i / channels)]! : value));

function sumsOf({ rows, heads, weights }: RefineTask, codec: VqCodec, books: readonly Rounded[]): Sums {
  const size = entriesOf(codec);
  const sums: Sums = { moments: books.map(() => new Float64Array(size * codec.channels)), mass: books.map(() => new Float64Array(size)), loss: new Float64Array(books.length), error: 0, energy: 0 };
  const searched = books.map(({ values }) => centroids(values, codec.channels));
  for (const head of heads) {
    const mine = weights?.subarray(head * rows.tokens, (head + 1) * rows.tokens);
    const { codes, gains } = coded(rows, head, codec, searched);
    codes.forEach((code, chunk) => {
      const book = books.length === 1 ? 0 : chunk;
      addRows(sums, book, gather(rows, head, chunk * codec.channels, codec.channels), searched[book]!, code, gains, mine);
    });
  }
  return sums;
}

/** The codes of each chunk of a head, and the gain of each row, as encode finds them. */
function coded(rows: Rows, head: number, codec: VqCodec, books: readonly Centroids[]): { codes: Uint16Array[]; gains: Float64Array } {
  const [norm, estimate] = [new Float64Array(rows.tokens), new Float64Array(rows.tokens)];
  const codes = Array.from({ length: chunksOf(codec, rows.headDim) }, (_, chunk) => {
    const x = gather(rows, head, chunk * codec.channels, codec.channels);
    const book = books[books.length === 1 ? 0 : chunk]!;
    const code = new Uint16Array(rows.tokens);
    nearest(x, book, code, new Float64Array(rows.tokens));
    squares(x, codec.channels).forEach((square, token) => (norm[token]! += square));
    code.forEach((entry, token) => (estimate[token]! += 2 * book.halfNorms[entry]!));
    return code;
  });
  return { codes, gains: norm.map((square, token) => (estimate[token]! > 0 ? fromF16(toF16(Math.min(Math.sqrt(square / estimate[token]!), 65504))) : 1)) };
}

function addRows(sums: Sums, book: number, x: Float32Array, { values, channels }: Centroids, code: Uint16Array, gains: Float64Array, weights?: Float32Array): void {
  const [moments, mass] = [sums.moments[book]!, sums.mass[book]!];
  for (let token = 0, a = 0; token < code.length; token++) {
    const [w, g, entry] = [weights ? weights[token]! : 1, gains[token]!, code[token]!];
    mass[entry]! += w * g * g;
    for (let b = entry * channels, end = b + channels; b < end; a++, b++) {
      const value = x[a]!;
      moments[b]! += w * g * value;
      sums.loss[book]! += w * (value - values[b]!) ** 2;
      sums.error += w * (value - g * values[b]!) ** 2;
      sums.energy += w * value ** 2;
    }
  }
}
