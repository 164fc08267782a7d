// Codecs: how the channels of one head become bytes, as data.

/**
 * A codec in the notation of CQ (arXiv 2405.03917): `8c8b` = 8 channels per code of 8 bits; `q8` = its codebook is stored as int8 with one scale per channel.
 * `16c6b6b` = 16 channels per code of 6 + 6 bits, in two stages: each part of the code names an entry of its own small codebook, and the centroid is their sum.
 */
export interface VqCodec {
  readonly kind: 'vq';
  readonly name: string;
  /** Channels of one chunk, that is, of one code. */
  readonly channels: number;
  /** Bits of one code: it means one of 2^bits centroids. */
  readonly bits: number;
  /** Codebooks of a chunk whose entries add up to a centroid; each has an equal share of the code's bits, the first the lowest. Most codecs have one. */
  readonly stages: number;
  /** Element type of the stored codebook. */
  readonly codebook: 'f16' | 'q8';
}

/** Rows kept as they are. */
export interface ExactCodec {
  readonly kind: 'exact';
  readonly name: 'f16' | 'bf16';
}

export type Codec = VqCodec | ExactCodec;

/** The name of a codec: its bits are written once for each stage. */
export const vqName = (channels: number, stageBits: number, stages: number, codebook: VqCodec['codebook']): string =>
  `${channels}c${`${stageBits}b`.repeat(stages)}${codebook === 'q8' ? 'q8' : ''}`;

const vq = (channels: number, stageBits: number, stages = 1): VqCodec[] =>
  (['f16', 'q8'] as const).map((codebook) => ({ kind: 'vq', name: vqName(channels, stageBits, stages, codebook), channels, bits: stageBits * stages, stages, codebook }));

/** Every codec that has a name. */
export const CODECS: readonly Codec[] = [
  ...vq(2, 8), // 4 bit per channel
  ...vq(4, 8), // 2
  ...vq(8, 10), // 1.25
  ...vq(8, 8), // 1
  ...vq(16, 12), // 0.75
  ...vq(16, 6, 2), // 0.75, and a codebook of 1/32 of the bytes
  ...vq(16, 8), // 0.5
  ...vq(32, 12), // 0.375
  { kind: 'exact', name: 'f16' },
  { kind: 'exact', name: 'bf16' },
];

const BY_NAME = new Map(CODECS.map((codec) => [codec.name as string, codec]));

/** The codec called `name`, or undefined. */
export const findCodec = (name: string): Codec | undefined => BY_NAME.get(name);

/** The codec called `name`. Throws on a name that is not in {@link CODECS}: names from users go through {@link findCodec}. */
export function codecOf(name: string): Codec {
  const codec = BY_NAME.get(name);
  if (!codec) throw new Error(`no codec is called "${name}"; known: ${CODECS.map((c) => c.name).join(', ')}`);
  return codec;
}

/** Codes per head vector, or 0 for an exact codec. */
export const chunksOf = (codec: Codec, headDim: number): number => (codec.kind === 'vq' ? headDim / codec.channels : 0);

/** Centroids that the code of one chunk can mean, or 0 for an exact codec. */
export const entriesOf = (codec: Codec): number => (codec.kind === 'vq' ? 2 ** codec.bits : 0);

/** Bits of a code that name an entry of one stage. */
export const stageBits = (codec: VqCodec): number => codec.bits / codec.stages;

/** Entries of one stage of one chunk. */
export const stageEntries = (codec: VqCodec): number => 2 ** stageBits(codec);

/** Entries that the codebook of one chunk stores, all stages together, or 0 for an exact codec. With one stage they are the centroids. */
export const storedOf = (codec: Codec): number => (codec.kind === 'vq' ? codec.stages * stageEntries(codec) : 0);

/** Stored bits per channel, codebook and side data not counted. */
export const bitsPerChannel = (codec: Codec): number => (codec.kind === 'vq' ? codec.bits / codec.channels : 16);

/** Bytes that one token's row takes in a coded page (codes packed tightly, or the exact row). */
export const rowBytes = (codec: Codec, headDim: number): number =>
  codec.kind === 'vq' ? (chunksOf(codec, headDim) * codec.bits) / 8 : headDim * 2;
