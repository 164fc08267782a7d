// From a logical codebook to the bytes that kernels read. The C twin is antkv_pack_codebook in templates/antkv_format.h; test/golden/pack.json holds for both.
import { chunksOf, entriesOf, type VqCodec } from './codec.ts';
import { InputError } from './errors.ts';
import { fromF16 } from './f16.ts';
import { codebookLayout } from './layout.ts';

/** The codebook of one side of one layer, as a codebook file stores it. */
export interface CodebookTensor {
  readonly kvHeads: number;
  /** `[kv_heads, chunks, entries, channels]`: bits of halves, or int8 steps for `q8` codecs. */
  readonly values: Uint16Array | Int8Array;
  /** `[kv_heads, head_dim]`, the value of one step of each channel; `q8` codecs only. */
  readonly scale?: Float32Array;
}

/** Throws InputError if `tensor` does not hold what `codec` needs at this head dim. */
export function checkCodebook(codec: VqCodec, headDim: number, { kvHeads, values, scale }: CodebookTensor): void {
  const want = kvHeads * headDim * entriesOf(codec);
  const quantised = codec.codebook === 'q8';
  if (values.length !== want) throw new InputError(`a codebook of ${codec.name} for ${kvHeads} heads of ${headDim} has ${want} elements, not ${values.length}`, 'calibrate it again');
  if (values instanceof Int8Array !== quantised) throw new InputError(`a codebook of ${codec.name} is stored as ${quantised ? 'I8' : 'F16'}`, `calibrate for ${codec.name}`);
  if (quantised && scale?.length !== kvHeads * headDim) throw new InputError(`a codebook of ${codec.name} needs ${kvHeads * headDim} scales, one per head and channel`, 'calibrate it again');
}

/**
 * The centroids as kernels, references and evaluation use them, fp32 `[kv_heads, chunks, entries, channels]`: the half itself, or
 * `fround(int8 * scale)` for `q8` codecs. Throws InputError if tensor and codec do not fit.
 */
export function centroidsOf(codec: VqCodec, headDim: number, tensor: CodebookTensor): Float32Array {
  checkCodebook(codec, headDim, tensor);
  const { values, scale } = tensor;
  const out = new Float32Array(values.length); // storing rounds to fp32
  if (!scale) {
    for (let i = 0; i < out.length; i++) out[i] = fromF16(values[i]!);
    return out;
  }
  const chunks = chunksOf(codec, headDim);
  const perChunk = entriesOf(codec) * codec.channels;
  for (let i = 0; i < out.length; i++) {
    const chunk = Math.floor(i / perChunk); // of all heads
    const head = Math.floor(chunk / chunks);
    out[i] = values[i]! * scale[head * headDim + (chunk % chunks) * codec.channels + (i % codec.channels)]!;
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
  const perHead = headDim * entriesOf(codec);
  const out = new Uint8Array(kvHeads * layout.bytes);
  const bytesOf = (array: Uint16Array | Int8Array | Float32Array): Uint8Array => new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
  for (let head = 0; head < kvHeads; head++) {
    const at = head * layout.bytes;
    out.set(bytesOf(values.subarray(head * perHead, (head + 1) * perHead)), at + layout.entries);
    if (scale) out.set(bytesOf(scale.subarray(head * headDim, (head + 1) * headDim)), at + layout.scale);
    out.set(bytesOf(halfNorms(centroids.subarray(head * perHead, (head + 1) * perHead), codec.channels)), at + layout.halfNorm);
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
