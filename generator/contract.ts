// What a kernel computes and how its inputs lie in memory; the one pruner of contracts.
import { chunksOf, codecOf, findCodec, storedOf, type Codec } from './codec.ts';

export const OPS = ['encode', 'append', 'decode', 'combine', 'score', 'select', 'unpack', 'kmeans'] as const;
export type Op = (typeof OPS)[number];

/** The axes of a contract and the values that have a name. An axis is here only if it changes an inner loop. */
export const AXES = {
  headDim: [64, 96, 128, 256],
  /** Key codec and value codec are independent; values are names of {@link CODECS}. */
  k: ['f16', 'bf16', '2c8b', '2c8bq8', '4c8b', '4c8bq8', '8c8b', '8c8bq8', '8c10b', '8c10bq8', '16c8b', '16c8bq8', '16c12b', '16c12bq8', '16c6b6b', '16c6b6bq8', '32c12b', '32c12bq8'],
  v: ['f16', 'bf16', '2c8b', '2c8bq8', '4c8b', '4c8bq8', '8c8b', '8c8bq8', '8c10b', '8c10bq8', '16c8b', '16c8bq8', '16c12b', '16c12bq8', '16c6b6b', '16c6b6bq8', '32c12b', '32c12bq8'],
  /** Type of q, of the exact rows and of the output. */
  dtype: ['f16', 'bf16'],
  /** `post`: keys are coded after RoPE. `pre`: before it, and the kernel rotates. */
  key: ['post', 'pre'],
  /** One fp16 factor per token and KV head: on K it scales the score, on V the weight. */
  gain: ['none', 'k', 'v', 'kv'],
  /** Query rows x query heads per KV head that one CTA holds on the N side of the matrix unit. */
  columns: [4, 8, 16, 32],
  /** What `score` says of a key: a sensitivity summed over rows, the mean of one, or its norm; CACHE.md defines each. */
  form: ['column', 'mass', 'massq', 'exact', 'saliency', 'norm'],
  softcap: [false, true],
  sink: [false, true],
  /** `exact`: the codebooks as stored. `adc8`: look-up sums rounded to int8, an approximation. */
  numerics: ['exact', 'adc8'],
} as const satisfies Record<string, readonly (string | number | boolean)[]>;

export type Axis = keyof typeof AXES;
type AxisValues = { readonly [A in Axis]: (typeof AXES)[A][number] };

/** Two kernels with equal contracts are interchangeable. Axes that the op does not have are undefined. */
export type Contract = { readonly op: Op } & Partial<AxisValues>;

/** A contract that has the axes of a page format: encode, append, decode, unpack. */
export type CacheContract = Contract & Pick<AxisValues, 'headDim' | 'k' | 'v' | 'dtype' | 'key' | 'gain'>;

const CACHE_AXES = ['headDim', 'k', 'v', 'dtype', 'key', 'gain'] as const;

/** The axes that each op has; all others stay undefined, so that no kernel is made twice. */
export const AXES_OF: Readonly<Record<Op, readonly Axis[]>> = {
  encode: CACHE_AXES,
  append: CACHE_AXES,
  unpack: CACHE_AXES,
  decode: [...CACHE_AXES, 'columns', 'softcap', 'sink', 'numerics'],
  combine: ['headDim', 'dtype'],
  score: ['headDim', 'dtype', 'form', 'softcap'],
  select: [],
  // Of a head only its chunks count, and those are a field: each is clustered alone.
  kmeans: ['k', 'dtype'],
};

/** Values that a name omits. */
export const AXIS_DEFAULTS = { key: 'post', gain: 'none', columns: 8, form: 'column', softcap: false, sink: false, numerics: 'exact' } as const;

/** A contract of `op` with defaults filled in and axes that the op does not have left out. */
export function contractOf(op: Op, axes: Partial<AxisValues>): Contract {
  const contract: Record<string, unknown> = { op };
  for (const axis of AXES_OF[op]) {
    const value = axes[axis] ?? (AXIS_DEFAULTS as Partial<AxisValues>)[axis];
    if (value === undefined) throw new Error(`a contract of ${op} needs the axis "${axis}"`);
    contract[axis] = value;
  }
  return contract as Contract;
}

/** True for ops whose kernels read or write coded pages. */
export const isCacheContract = (c: Contract): c is CacheContract => c.k !== undefined && c.v !== undefined;

/** True if a side of the cache is coded, so that there are a window, anchors and a bitmap (CACHE.md, exact recipes). */
export const isCoded = (c: Pick<CacheContract, 'k' | 'v'>): boolean =>
  codecOf(c.k).kind === 'vq' || codecOf(c.v).kind === 'vq';

/** What has a body today: every codec, and of the other axes these. Everything else that {@link AXES} names is refused as "not built yet" and added here, with its body. */
const BUILT = {
  op: OPS,
  headDim: [64, 96, 128, 256],
  dtype: ['f16', 'bf16'],
  gain: ['none', 'k'],
  columns: [4, 8, 16, 32],
  form: ['column', 'mass', 'massq', 'exact', 'saliency', 'norm'],
  softcap: [false, true],
  sink: [false, true],
  numerics: ['exact'],
} as const;

/** Of an op whose bodies lag behind the others', what they have instead. */
const BUILT_OF: Readonly<Partial<Record<Op, Readonly<Partial<Record<Axis, readonly unknown[]>>>>>> = {
  kmeans: { dtype: ['f16'] },
};

const built = <T>(list: readonly unknown[], value: T | undefined): boolean => value === undefined || list.includes(value);

/** Why `codec` cannot code a head of `headDim` channels, or undefined: mathematics only, not what is built. */
function codecMisfit(codec: Codec, headDim: number, dtype: string): string | undefined {
  if (codec.kind === 'exact') return codec.name === dtype ? undefined : `exact rows are ${codec.name} but the dtype is ${dtype}`;
  if (headDim % codec.channels !== 0) return `${codec.channels}-channel codes do not divide head dim ${headDim}`;
  if ((chunksOf(codec, headDim) * codec.bits) % 8 !== 0) return `${chunksOf(codec, headDim)} codes of ${codec.bits} bits do not fill whole bytes`;
  return undefined;
}

/** Every reason why a contract is not offered; empty if it is. Nothing else prunes the product of axes. */
export function reject(c: Contract): string[] {
  const why: string[] = [];
  for (const axis of AXES_OF[c.op]) {
    const value = c[axis];
    if (!(AXES[axis] as readonly unknown[]).includes(value)) why.push(`${axis} ${String(value)} is not one of ${AXES[axis].join(', ')}`);
  }
  if (why.length > 0) return why;

  if (isCacheContract(c)) {
    for (const side of ['k', 'v'] as const) {
      const misfit = codecMisfit(codecOf(c[side]), c.headDim, c.dtype);
      if (misfit) why.push(`${side}: ${misfit}`);
    }
    if (c.key === 'pre' && codecOf(c.k).kind === 'exact') why.push('exact keys are stored after RoPE: "pre" needs a coded key');
    for (const side of ['k', 'v'] as const) {
      if (c.gain.includes(side) && c.gain !== 'none' && codecOf(c[side]).kind === 'exact') why.push(`a gain on ${side} needs a coded ${side}`);
    }
    if (c.numerics === 'adc8' && c.key === 'pre') why.push('look-up sums need keys coded after RoPE');
  }
  if (c.form === 'norm' && c.softcap) why.push('form norm asks no score that could be capped');
  if (c.op === 'kmeans' && c.k) {
    const codec = codecOf(c.k);
    if (codec.kind === 'exact') why.push(`${c.k} has no codebook: there is nothing to cluster`);
    else if (codec.codebook === 'q8') why.push(`k-means finds centroids in halves; those of ${c.k} are rounded from ${c.k.replace('q8', '')}'s`);
    else if (codec.stages > 1) why.push(`k-means moves the centroids of one stage; ${c.k} has ${codec.stages}, each fitted to what the others leave`);
  }
  if (why.length > 0) return why;

  const notBuilt = (what: string) => why.push(`${what}: not built yet`);
  if (!built(BUILT.op, c.op)) notBuilt(`op ${c.op}`);
  for (const axis of ['headDim', 'dtype', 'gain', 'columns', 'form', 'softcap', 'sink', 'numerics'] as const) {
    if (!built(BUILT[axis], c[axis])) notBuilt(`${axis} ${String(c[axis])}`);
    else if (!built(BUILT_OF[c.op]?.[axis] ?? BUILT[axis], c[axis])) notBuilt(`${axis} ${String(c[axis])} of ${c.op}`);
  }
  return why;
}

/** Vectors per codebook entry below which a codebook is labelled `undertrained` (rule of thumb of 16 samples per mean). */
export const VECTORS_PER_ENTRY = 16;

/** True if `vectors` training vectors are too few for the codebook of `codecName`. */
export const isUndertrained = (codecName: string, vectors: number): boolean => {
  const codec = findCodec(codecName);
  return codec !== undefined && vectors < VECTORS_PER_ENTRY * storedOf(codec);
};
