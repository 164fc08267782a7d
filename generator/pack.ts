// From a logical codebook to the bytes that kernels read. The C twin is antkv_pack_codebook in templates/antkv_format.h; test/golden/pack.json holds for both.
import { chunksOf, entriesOf, stageBits, stageEntries, storedOf, type VqCodec } from './codec.ts';
import { InputError } from './errors.ts';
import { fromF16, toF16 } from './f16.ts';
import { codebookLayout } from './layout.ts';

/** The codebook of one side of one layer, as a codebook file stores it. */
export interface CodebookTensor {
  readonly kvHeads: number;
  /** `[kv_heads, chunks, stages, entries, channels]`: bits of halves, or int8 steps for `q8` codecs. */
  readonly values: Uint16Array | Int8Array;
  /** `[kv_heads, head_dim]`, the value of one step of each channel; `q8` codecs only. */
  readonly scale?: Float32Array;
}

/** Throws InputError if `tensor` does not hold what `codec` needs at this head dim. */
export function checkCodebook(codec: VqCodec, headDim: number, { kvHeads, values, scale }: CodebookTensor): void {
  const want = kvHeads * headDim * storedOf(codec);
  const quantised = codec.codebook === 'q8';
  if (values.length !== want) throw new InputError(`a codebook of ${codec.name} for ${kvHeads} heads of ${headDim} has ${want} elements, not ${values.length}`, 'calibrate it again');
  if (values instanceof Int8Array !== quantised) throw new InputError(`a codebook of ${codec.name} is stored as ${quantised ? 'I8' : 'F16'}`, `calibrate for ${codec.name}`);
  if (quantised && scale?.length !== kvHeads * headDim) throw new InputError(`a codebook of ${codec.name} needs ${kvHeads * headDim} scales, one per head and channel`, 'calibrate it again');
}

/** Where the entry lies that `code` names in stage `stage`, counted in entries from the chunk's first. */
export const stageEntry = (codec: VqCodec, code: number, stage: number): number => stage * stageEntries(codec) + (Math.floor(code / 2 ** (stage * stageBits(codec))) % stageEntries(codec));

/**
 * The centroids that codes mean, as kernels, references and evaluation use them, fp32 `[kv_heads, chunks, 2^bits, channels]`: the sum of the stages' halves,
 * itself a half, or `fround(sum of steps * scale)` for `q8` codecs. Throws InputError if tensor and codec do not fit, or a sum of halves is none.
 */
export function centroidsOf(codec: VqCodec, headDim: number, tensor: CodebookTensor): Float32Array {
  checkCodebook(codec, headDim, tensor);
  const { values, scale, kvHeads } = tensor;
  const { channels, stages } = codec;
  const [chunks, entries, stored] = [chunksOf(codec, headDim), entriesOf(codec), storedOf(codec)];
  const out = new Float32Array(kvHeads * headDim * entries); // storing rounds to fp32
  const value = scale ? (at: number): number => values[at]! : (at: number): number => fromF16(values[at]!);
  for (let row = 0, to = 0; row < kvHeads * chunks * entries; row++) {
    const chunk = Math.floor(row / entries); // of all heads
    const from = Array.from({ length: stages }, (_, stage) => (chunk * stored + stageEntry(codec, row % entries, stage)) * channels);
    for (let i = 0; i < channels; i++, to++) {
      let sum = 0;
      for (const first of from) sum += value(first + i);
      if (stages > 1 && !scale && fromF16(toF16(sum)) !== sum) throw new InputError(`a codebook of ${codec.name} has stages that add up to ${sum}, which is no half`, 'round entries to a common grid (CACHE.md, "Codes in stages")');
      out[to] = scale ? sum * scale[chunk * channels + i]! : sum;
    }
  }
  return out;
}

/**
 * The packed codebook of one side: `[kv_heads]` blobs of {@link codebookLayout}, little endian. Half norms are ‖c‖²/2 of the centroids of
 * {@link centroidsOf}, summed over channels in ascending order in double, halved, rounded once to fp32. Throws InputError if tensor and codec do not fit.
 */
export function packCodebook(codec: VqCodec, headDim: number, tensor: CodebookTensor): Uint8Array {
  const centroids = centroidsOf(codec, headDim, tensor);
  const { values, scale, kvHeads } = tensor;
  const layout = codebookLayout(codec, headDim);
  const [perHead, centroidsPerHead] = [headDim * storedOf(codec), headDim * entriesOf(codec)];
  const out = new Uint8Array(kvHeads * layout.bytes);
  const bytesOf = (array: Uint16Array | Int8Array | Float32Array): Uint8Array => new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
  for (let head = 0; head < kvHeads; head++) {
    const at = head * layout.bytes;
    out.set(bytesOf(values.subarray(head * perHead, (head + 1) * perHead)), at + layout.entries);
    if (scale) out.set(bytesOf(scale.subarray(head * headDim, (head + 1) * headDim)), at + layout.scale);
    out.set(bytesOf(halfNorms(centroids.subarray(head * centroidsPerHead, (head + 1) * centroidsPerHead), codec.channels)), at + layout.halfNorm);
  }
  return out;
}

/** ‖c‖²/2 of each row of `centroids` `[rows, channels]`. */
export function halfNorms(centroids: Float32Array, channels: number): Float32Array {
  const out = new Float32Array(centroids.length / channels);
  for (let row = 0; row < out.length; row++) {
    let sum = 0;
    for (let i = row * channels; i < (row + 1) * channels; i++) sum += centroids[i]! * centroids[i]!;
    out[row] = 0.5 * sum;
  }
  return out;
}
