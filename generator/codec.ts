// Codecs: how the channels of one head become bytes, as data.

/** A codec in the notation of CQ (arXiv 2405.03917): `8c8b` = 8 channels per code of 8 bits; `q8` = its codebook is stored as int8 with one scale per channel. */
export interface VqCodec {
  readonly kind: 'vq';
  readonly name: string;
  /** Channels of one chunk, that is, of one code. */
  readonly channels: number;
  /** Bits of one code; the codebook of a chunk has 2^bits entries. */
  readonly bits: number;
  /** Element type of the stored codebook. */
  readonly codebook: 'f16' | 'q8';
}

/** Rows kept as they are. */
export interface ExactCodec {
  readonly kind: 'exact';
  readonly name: 'f16' | 'bf16';
}

export type Codec = VqCodec | ExactCodec;

const vq = (channels: number, bits: number): VqCodec[] => [
  { kind: 'vq', name: `${channels}c${bits}b`, channels, bits, codebook: 'f16' },
  { kind: 'vq', name: `${channels}c${bits}bq8`, channels, bits, codebook: 'q8' },
];

/** Every codec that has a name. */
export const CODECS: readonly Codec[] = [
  ...vq(2, 8), // 4 bit per channel
  ...vq(4, 8), // 2
  ...vq(8, 10), // 1.25
  ...vq(8, 8), // 1
  ...vq(16, 12), // 0.75
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

/** Entries of one chunk's codebook, or 0 for an exact codec. */
export const entriesOf = (codec: Codec): number => (codec.kind === 'vq' ? 2 ** codec.bits : 0);

/** Stored bits per channel, codebook and side data not counted. */
export const bitsPerChannel = (codec: Codec): number => (codec.kind === 'vq' ? codec.bits / codec.channels : 16);

/** Bytes that one token's row takes in a coded page (codes packed tightly, or the exact row). */
export const rowBytes = (codec: Codec, headDim: number): number =>
  codec.kind === 'vq' ? (chunksOf(codec, headDim) * codec.bits) / 8 : headDim * 2;
