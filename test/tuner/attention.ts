// Attention over quantised keys and values in plain TypeScript: what a recipe costs in accuracy, computed without kernels and without their references.
import { product, type Basis } from '../../generator/basis.ts';
import type { VqCodec } from '../../generator/codec.ts';
import { centroidsOf, type CodebookTensor } from '../../generator/pack.ts';
import { fromF16, toF16 } from '../../generator/f16.ts';
import type { Recipe } from '../../generator/recipe.ts';
import type { CodebookLayer } from '../../generator/codebook.ts';
import { keysOf } from '../../tuner/calibrate/prepare.ts';
import type { DumpFile } from '../../tuner/calibrate/file.ts';
import { centroids, nearest } from '../../tuner/calibrate/nearest.ts';
import { rotate } from '../../tuner/calibrate/rope.ts';
import { gather } from '../../tuner/calibrate/rows.ts';
import { sensitivity, softmax } from '../../tuner/calibrate/weights.ts';

/** Each row of `x` `[tokens, d]` replaced by its nearest centroids, of one KV head. */
function coded(x: Float32Array, d: number, head: number, codec: VqCodec, tensor: CodebookTensor): Float32Array {
  const { channels, bits } = codec;
  const tokens = x.length / d;
  const perChunk = 2 ** bits * channels;
  const all = centroidsOf(codec, d, tensor);
  const out = new Float32Array(x.length);
  const code = new Uint16Array(tokens);
  for (let chunk = 0; chunk < d / channels; chunk++) {
    const from = ((head * d) / channels + chunk) * perChunk;
    const book = all.subarray(from, from + perChunk);
    const rows = Float32Array.from({ length: tokens * channels }, (_, i) => x[Math.floor(i / channels) * d + chunk * channels + (i % channels)]!);
    nearest(rows, centroids(book, channels), code, new Float64Array(tokens));
    for (let i = 0; i < tokens; i++) out.set(book.subarray(code[i]! * channels, (code[i]! + 1) * channels), i * d + chunk * channels);
  }
  return out;
}

/** Each row of `x` `[tokens, d]` by the matrix of its head. */
function turned(x: Float32Array, d: number, head: number, matrices: Float32Array): Float32Array {
  const out = new Float32Array(x.length);
  for (let at = 0; at < x.length; at += d) out.set(product(matrices, head, x.subarray(at, at + d)), at);
  return out;
}

/** Values as they come back from their codes, and from their basis where they have one. */
function codedValues(v: Float32Array, d: number, head: number, { codec, tensor }: NonNullable<CodebookLayer['v']>, basis: Basis | undefined): Float32Array {
  if (!basis) return coded(v, d, head, codec, tensor);
  return turned(coded(turned(v, d, head, basis.to), d, head, codec, tensor), d, head, basis.back);
}

/** |k| / |k̂| of each row, as a half. */
function gains(k: Float32Array, hat: Float32Array, d: number): Float64Array {
  const size = (x: Float32Array, i: number): number => Math.hypot(...x.subarray(i * d, (i + 1) * d));
  return Float64Array.from({ length: k.length / d }, (_, i) => (size(hat, i) === 0 ? 1 : fromF16(toF16(size(k, i) / size(hat, i)))));
}

/** Every so many query rows count: errors of neighbours are alike. */
const STRIDE = 3;

export interface Errors {
  /** ‖o - exact‖ / ‖exact‖ over every third query row of all heads. */
  readonly plain: number;
  /** The same with the recipe's budget of anchors, picked by column sums over all rows. */
  readonly anchors: number;
}

/** The error of attention over every token of layer 0 of `file`, with no window: all keys and values are coded. */
export function errorsOf(file: DumpFile, recipe: Recipe, { k: kBook, v: vBook, basis }: Required<Pick<CodebookLayer, 'k' | 'v'>> & CodebookLayer): Errors {
  const { dump } = file;
  const [layer] = dump.layers;
  const { tokens, kvHeads } = layer!;
  const d = dump.headDim;
  const ratio = layer!.q!.shape[0]! / kvHeads;
  const [pre, post, values, queries] = [keysOf(file, layer!, tokens, 'pre'), keysOf(file, layer!, tokens, 'post'), file.rows(layer!.v, tokens), file.rows(layer!.q!, tokens)];
  const sums = { plain: 0, anchors: 0, exact: 0 };
  for (let head = 0; head < kvHeads; head++) {
    const [k, v] = [gather(post, head, 0, d), gather(values, head, 0, d)];
    const input = recipe.key === 'pre' ? gather(pre, head, 0, d) : k;
    const kHat = coded(input, d, head, kBook.codec, kBook.tensor);
    const gain = recipe.gain === 'k' ? gains(input, kHat, d) : undefined;
    if (recipe.key === 'pre') rotate(kHat, d, dump.rope!, dump.window, 1);
    if (gain) kHat.forEach((x, i) => (kHat[i] = x * gain[Math.floor(i / d)]!));
    const vHat = codedValues(v, d, head, vBook, basis);
    const q = new Float32Array(ratio * tokens * d);
    for (let r = 0; r < ratio; r++) q.set(gather(queries, head * ratio + r, 0, d), r * tokens * d);

    const { column } = sensitivity({ tokens, headDim: d, ratio, q, k, v, window: dump.window }, false);
    const kept = [...column.keys()].sort((a, b) => column[b]! - column[a]! || a - b).slice(0, Math.floor((tokens * recipe.budget_permille) / 1000));
    const [kKept, vKept] = [kHat.slice(), vHat.slice()];
    for (const token of kept) {
      kKept.set(k.subarray(token * d, (token + 1) * d), token * d);
      vKept.set(v.subarray(token * d, (token + 1) * d), token * d);
    }
    for (let row = 0; row < ratio * tokens; row += STRIDE) {
      const exact = output(q, row, k, v, tokens, d);
      const [plain, anchors] = [output(q, row, kHat, vHat, tokens, d), output(q, row, kKept, vKept, tokens, d)];
      for (let c = 0; c < d; c++) {
        sums.exact += exact[c]! ** 2;
        sums.plain += (exact[c]! - plain[c]!) ** 2;
        sums.anchors += (exact[c]! - anchors[c]!) ** 2;
      }
    }
  }
  return { plain: Math.sqrt(sums.plain / sums.exact), anchors: Math.sqrt(sums.anchors / sums.exact) };
}

/** Causal attention of query row `row` `[ratio * tokens]`. */
function output(q: Float32Array, row: number, k: Float32Array, v: Float32Array, tokens: number, d: number): Float64Array {
  const seen = (row % tokens) + 1;
  const p = new Float64Array(seen);
  softmax(p, q, row * d, k, 0, seen, d);
  const out = new Float64Array(d);
  for (let j = 0; j < seen; j++) for (let c = 0; c < d; c++) out[c]! += p[j]! * v[j * d + c]!;
  return out;
}
