// Centroids as they are stored: halves, or int8 with one scale per channel. What comes out is what kernels, references and evaluation use.
import type { VqCodec } from '../../generator/codec.ts';
import { fromF16, toF16Array } from '../../generator/f16.ts';

/** The codebook of one chunk as stored, and its centroids as everyone reads them. */
export interface Rounded {
  readonly stored: Uint16Array | Int8Array;
  /** `[channels]`, int8 codebooks only. */
  readonly scale?: Float32Array;
  /** `[entries, channels]` */
  readonly values: Float32Array;
}

/** Rounds centroids `[entries, channels]`, of codes in stages `[stages, entries, channels]`, as the codebooks of `codec` are stored. */
export const round = ({ codebook, channels, stages }: VqCodec, centroids: ArrayLike<number>): Rounded =>
  codebook === 'q8' ? roundInt8(centroids, channels) : roundF16(stages > 1 ? onGrid(centroids, channels, stages) : centroids);

/** Rounds centroids `[entries, channels]` to halves. */
export function roundF16(centroids: ArrayLike<number>): Rounded {
  const stored = toF16Array(centroids);
  return { stored, values: Float32Array.from(stored, fromF16) };
}

/** Steps of a half's grid: whole numbers up to this are halves. */
const GRID = 2048;

/**
 * Rounds entries `[stages, entries, channels]` to whole steps, a power of two for each channel, the finest with which all sums of one entry of each stage are halves: no
 * entry moves by more than half a step, which is at most 1/2048 of the largest sum.
 */
export function onGrid(entries: ArrayLike<number>, channels: number, stages: number): Float64Array {
  const most = new Float64Array(stages * channels);
  const place = (i: number): number => Math.floor((i * stages) / entries.length) * channels + (i % channels);
  for (let i = 0; i < entries.length; i++) most[place(i)] = Math.max(most[place(i)]!, Math.abs(entries[i]!));
  return Float64Array.from(entries, (value, i) => {
    let sum = 0;
    for (let stage = 0; stage < stages; stage++) sum += most[stage * channels + (i % channels)]!;
    // Half a step of each stage comes on top.
    const step = Math.max(2 ** -24, 2 ** Math.ceil(Math.log2(sum / (GRID - stages))));
    return Math.round(value / step) * step;
  });
}

/** Rounds centroids `[entries, channels]` to int8 steps of max|c| / 127 per channel: no centroid moves by more than half a step. */
export function roundInt8(centroids: ArrayLike<number>, channels: number): Rounded {
  const scale = new Float32Array(channels);
  for (let i = 0; i < centroids.length; i++) scale[i % channels] = Math.max(scale[i % channels]!, Math.abs(centroids[i]!) / 127);
  // A channel of zeros may have any scale; 1 keeps the division below finite, and steps near the smallest float are too coarse to divide by.
  for (let i = 0; i < channels; i++) if (scale[i]! < 2 ** -120) scale[i] = 1;
  const stored = new Int8Array(centroids.length);
  for (let i = 0; i < stored.length; i++) stored[i] = Math.max(-127, Math.min(127, Math.round(centroids[i]! / scale[i % channels]!)));
  return { stored, scale, values: Float32Array.from(stored, (step, i) => step * scale[i % channels]!) };
}
