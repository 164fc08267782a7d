// Codebook files, K/V dumps and weights: the one specification of their tensor names and metadata. All are safetensors files.
//
// DUMP: K/V (and queries) of one or more layers, what `gen calibrate` and `gen demo` read.
//   [layers.N.]k_pre_rope  F16 [kv_heads, tokens, head_dim]  keys after any k-norm and bias, before RoPE
//   [layers.N.]k           F16 [kv_heads, tokens, head_dim]  keys after RoPE; either of the two is enough when RoPE is described
//   [layers.N.]v           F16 [kv_heads, tokens, head_dim]
//   [layers.N.]q           F16 [q_heads, tokens, head_dim]   queries after RoPE; optional: weights and evaluation need them
// WEIGHTS: how much each token of a dump counts, what `gen calibrate --weights FILE` reads. Prefixes, kv_heads and tokens are those of the dump.
//   [layers.N.]weights                        F32 [kv_heads, tokens]  of keys and values
//   [layers.N.]weights_k, [layers.N.]weights_v  F32 [kv_heads, tokens]  of one side; stands before `weights`, and a side that is exact needs none
//   finite, at least 0, above 0 somewhere in each head; only ratios within a head matter.
// CODEBOOK (generator/codebook.ts): centroids of one or more layers, what kernels, packers and loaders read through packCodebook.
//   layers.N.k, layers.N.v              F16 or I8 [kv_heads, chunks, entries, channels], of codes in stages [kv_heads, chunks, stages, entries, channels]; an exact side has none
//   layers.N.k.scale, layers.N.v.scale  F32 [kv_heads, head_dim]: one int8 step of each channel, of all stages alike; with I8 only
//   dtype and axes name the codec (`8c8bq8`: I8, 256 entries, 8 channels; `16c6b6b`: F16, 2 stages of 64 entries, 16 channels).
//   layers.N.v.basis          F32 [kv_heads, head_dim, head_dim]: T, row-major; with the recipe's transform `basis` only, and then for every layer with coded values:
//   layers.N.v.basis_inverse  F32 [kv_heads, head_dim, head_dim]: T⁻¹   the centroids are of T v, and outputs come back by T⁻¹ (CACHE.md, "Basis of values")
//   A file of version 3 has a plan, one recipe per layer in metadata `recipes`, where others have `recipe`; tensors are by the recipe of their layer. Files of one recipe stay at version 2.
// Metadata are strings, as safetensors demands; the schemas below say which. Unknown keys are kept and ignored.
import { z } from 'zod';
import { TRANSFORMS } from './basis.ts';
import { InputError } from './errors.ts';
import { expectTensor, type Header, type TensorInfo } from './safetensors.ts';
import { VERSIONS } from './versions.ts';

const number = (description: string) => z.string().refine((text) => text.trim() !== '' && Number.isFinite(Number(text)), `is not a number: ${description}`).transform(Number);
const whole = (description: string) => number(description).refine((n) => Number.isInteger(n) && n >= 0, `is not a whole number: ${description}`);
const json = <T extends z.ZodType>(schema: T) =>
  z.string().transform((text, context): unknown => {
    try {
      return JSON.parse(text);
    } catch {
      context.addIssue({ code: 'custom', message: 'is not JSON' });
      return z.NEVER;
    }
  }).pipe(schema);

/** RoPE is data. Without `rope_theta` and `rope_inv_freq` the file says nothing about it, and keys cannot be rotated. */
const ROPE = {
  rope_theta: number('base of the frequencies theta^(-2i/rope_dim)').optional(),
  /** Overrides rope_theta: the frequencies themselves, for Llama-3, YaRN and NTK scalings. */
  rope_inv_freq: json(z.array(z.number())).optional(),
  /** Channels that are rotated; default: all. */
  rope_dim: whole('rotated channels').optional(),
  rope_pairing: z.enum(['half-split', 'interleaved']).default('half-split'),
  attention_factor: number('factor on cos and sin').default(1),
};

export const dumpMetadata = z.looseObject({
  model: z.string().default('unknown'),
  /** Layer of the tensors without `layers.N.` prefix. */
  layer: whole('layer of the unprefixed tensors').default(0),
  /** Position of each token; tokens of one window see each other, tokens of different windows do not. */
  positions: z.string().regex(/^token index( modulo [1-9]\d*)?$/, 'must be "token index" or "token index modulo N"').default('token index'),
  /** Which KV heads of the model these are, where not all: JSON list. */
  kv_heads: json(z.array(z.number().int())).optional(),
  ...ROPE,
});

/** How one tensor of a codebook was made. */
export const tensorRecord = z.object({
  codec: z.string(),
  /** Which keys: `pre` or `post` RoPE; null for values. */
  position: z.enum(['pre', 'post']).nullable(),
  vectors: z.number().int(),
  vectors_per_entry: z.number(),
  /** Fewer than 16 vectors per entry: kept out of comparisons. */
  undertrained: z.boolean(),
  /** Largest number of Lloyd iterations of a chunk. */
  iterations: z.number().int(),
  /** Clusters that were empty at the end of an iteration and got another start. Files from before it was counted lack it. */
  reseeded: z.number().int().optional(),
  /** The distortion at each iteration, before centroids are rounded as stored; chunks that have settled keep their last one. */
  convergence: z.array(z.number()).optional(),
  /** Σ w‖x - c‖² / Σ w‖x‖² over all chunks, on the training tokens, with the centroids as stored. */
  distortion: z.number(),
  /** Least squares with gains: most rounds of a head, and Σ w‖x - g x̂‖² / Σ w‖x‖² before and after them. */
  refined: z.object({ rounds: z.number().int(), before: z.number(), after: z.number() }).optional(),
});

export const calibrationRecord = z.object({
  seed: z.number().int(),
  /** Bound on Lloyd iterations per chunk. */
  iterations: z.number().int(),
  /** `file`: given by the user. */
  weights: z.enum(['none', 'column', 'exact', 'file']),
  /** First 8 bytes of SHA-256 over the weights that were read, in order; with `file` only. */
  weights_digest: z.string().optional(),
  power: z.number(),
  /** Starts tried for each chunk, if more than one. */
  restarts: z.number().int().optional(),
  /** Bound on rounds of least squares with gains, if any. */
  refine: z.number().int().optional(),
  /** By tensor name: `layers.3.k`. */
  tensors: z.record(z.string(), tensorRecord),
});
export type CalibrationRecord = z.infer<typeof calibrationRecord>;

const recipeMembers = z.looseObject({ name: z.string().optional(), k: z.string(), v: z.string(), key: z.enum(['pre', 'post']), transform: z.enum(TRANSFORMS).default('none') });

export const codebookMetadata = z.looseObject({
  format: z.literal('antkv-codebook'),
  /** VERSIONS.codebook: this schema. */
  version: whole('schema version').refine((v) => v >= 1 && v <= VERSIONS.codebook, `is not 1 to ${VERSIONS.codebook}, the versions that this program reads`),
  /** VERSIONS.layout of the program that wrote the file; the tensors are logical, so a packer of another layout reads them too. */
  layout: whole('layout version'),
  model: z.string(),
  head_dim: whole('channels per head'),
  kv_heads: json(z.array(z.number().int())).optional(),
  /** The recipe as JSON. Codebooks depend on its codecs, key position and transform only. */
  recipe: json(recipeMembers).optional(),
  /** Instead of `recipe`: a plan, the list of the recipes of layers 0, 1 ... as JSON. */
  recipes: json(z.array(recipeMembers)).optional(),
  /** Of the recipe, or of the list. */
  recipe_hash: z.string(),
  calibration: json(calibrationRecord),
  ...ROPE,
}).refine(({ recipe, recipes }) => (recipe === undefined) !== (recipes === undefined), { path: ['recipe'], message: 'is missing, or stands beside "recipes": a file has one recipe, or one per layer' });
export type CodebookMetadata = z.infer<typeof codebookMetadata>;
export type RecipeOfBook = z.infer<typeof recipeMembers>;

/** What the codebooks of one layer are for. Throws InputError where a plan has no such layer. */
export function recipeOfLayer({ recipe, recipes = [] }: CodebookMetadata, layer: number, source: string): RecipeOfBook {
  const found = recipe ?? recipes[layer];
  if (!found) throw new InputError(`${source}: a codebook of layer ${layer}, and recipes for ${recipes.length} layers`, 'calibrate again');
  return found;
}

export interface Rope {
  /** Radians per position, `[dim / 2]`. */
  readonly invFreq: Float32Array;
  readonly dim: number;
  readonly interleaved: boolean;
  readonly attentionFactor: number;
}

/** The tensors of one layer of a dump. */
export interface DumpLayer {
  readonly layer: number;
  readonly kvHeads: number;
  readonly tokens: number;
  readonly q?: TensorInfo;
  readonly k?: TensorInfo;
  readonly k_pre_rope?: TensorInfo;
  readonly v: TensorInfo;
}

export interface Dump {
  readonly header: Header;
  readonly metadata: z.infer<typeof dumpMetadata>;
  readonly headDim: number;
  readonly layers: readonly DumpLayer[];
  /** Undefined if the file does not describe it. */
  readonly rope: Rope | undefined;
  /** Tokens of a window, positions 0 ... window - 1; Infinity if all tokens are one. */
  readonly window: number;
}

/** Metadata by one of the schemas above. Throws InputError that names the first key that does not fit; `what` says what the file should be. */
export function parseMetadata<T extends z.ZodType>(schema: T, header: Header, what: string): z.output<T> {
  const parsed = schema.safeParse(header.metadata);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0]!;
  throw new InputError(`${header.source}: not ${what}: metadata "${issue.path.join('.')}": ${issue.message}`, 'the keys are specified in generator/format.ts');
}

/** RoPE as the metadata describe it, or undefined if they do not. Throws InputError if it does not fit the head dim. */
export function ropeOf(metadata: z.infer<typeof dumpMetadata> | CodebookMetadata, headDim: number, source: string): Rope | undefined {
  const { rope_theta: theta, rope_inv_freq: given, rope_dim: dim = headDim } = metadata;
  if (theta === undefined && given === undefined) return undefined;
  if (dim % 2 !== 0 || dim > headDim || (given && given.length !== dim / 2)) {
    throw new InputError(`${source}: RoPE of ${dim} channels${given ? ` with ${given.length} frequencies` : ''} does not fit head dim ${headDim}`, 'rope_dim is even and at most the head dim; rope_inv_freq has rope_dim / 2 entries');
  }
  const invFreq = Float32Array.from({ length: dim / 2 }, (_, i) => given?.[i] ?? theta! ** ((-2 * i) / dim));
  return { invFreq, dim, interleaved: metadata.rope_pairing === 'interleaved', attentionFactor: metadata.attention_factor };
}

/** What a dump holds, from its header. Throws InputError on metadata, dtypes or shapes that do not fit this specification. */
export function parseDump(header: Header): Dump {
  const metadata = parseMetadata(dumpMetadata, header, 'a K/V dump');
  const { source } = header;
  const prefixes = new Map<string, number>();
  for (const name of header.tensors.keys()) {
    const match = /^(?:layers\.(\d+)\.)?(?:q|k|k_pre_rope|v)$/.exec(name);
    if (match) prefixes.set(match[1] === undefined ? '' : `layers.${match[1]}.`, match[1] === undefined ? metadata.layer : Number(match[1]));
  }
  if (prefixes.size === 0) {
    throw new InputError(`${source}: not a K/V dump: no tensor is called k_pre_rope, k or v`, `it has ${[...header.tensors.keys()].join(', ') || 'none'}; names are specified in generator/format.ts`);
  }
  const layers = [...prefixes].map(([prefix, layer]) => parseLayer(header, prefix, layer)).sort((a, b) => a.layer - b.layer);
  const headDim = layers[0]!.v.shape[2]!;
  const other = layers.find(({ v }) => v.shape[2] !== headDim);
  if (other) throw new InputError(`${source}: layer ${other.layer} has another head dim than layer ${layers[0]!.layer}`, 'write one file per head dim');
  const modulo = /modulo (\d+)$/.exec(metadata.positions);
  return { header, metadata, headDim, layers, rope: ropeOf(metadata, headDim, source), window: modulo ? Number(modulo[1]) : Infinity };
}

function parseLayer(header: Header, prefix: string, layer: number): DumpLayer {
  const axes = '[kv_heads, tokens, head_dim]';
  const v = expectTensor(header, `${prefix}v`, { dtype: 'F16', shape: [null, null, null], axes });
  const optional = (name: string, shape: (number | null)[], axes: string): TensorInfo | undefined =>
    header.tensors.has(prefix + name) ? expectTensor(header, prefix + name, { dtype: 'F16', shape, axes }) : undefined;
  const k = optional('k', [...v.shape], axes);
  const k_pre_rope = optional('k_pre_rope', [...v.shape], axes);
  if (!k && !k_pre_rope) throw new InputError(`${header.source}: layer ${layer} has no keys`, `add ${prefix}k_pre_rope (before RoPE) or ${prefix}k (after it)`);
  if (v.shape.includes(0)) throw new InputError(`${header.source}: layer ${layer} is empty: ${axes} is [${v.shape.join(', ')}]`, 'dump at least one token');
  const q = optional('q', [null, v.shape[1]!, v.shape[2]!], '[q_heads, tokens, head_dim]');
  if (q && (q.shape[0]! === 0 || q.shape[0]! % v.shape[0]! !== 0)) {
    throw new InputError(`${header.source}: ${q.shape[0]} query heads are no multiple of ${v.shape[0]} KV heads`, 'dump all query heads of each KV head');
  }
  return { layer, kvHeads: v.shape[0]!, tokens: v.shape[1]!, v, ...(k && { k }), ...(k_pre_rope && { k_pre_rope }), ...(q && { q }) };
}
