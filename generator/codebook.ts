// Reads and writes codebook files; their tensor names and metadata are specified in format.ts.
import { checkBasis, type Basis } from './basis.ts';
import { chunksOf, findCodec, stageEntries, vqName, type VqCodec } from './codec.ts';
import { InputError } from './errors.ts';
import { codebookMetadata, parseMetadata, recipeOfLayer, ropeOf, type CalibrationRecord, type CodebookMetadata, type RecipeOfBook, type Rope } from './format.ts';
import { checkCodebook, type CodebookTensor } from './pack.ts';
import { parseHeader, readTensor, writeSafetensors, type Header, type Tensor } from './safetensors.ts';
import { VERSIONS } from './versions.ts';

/** The codebooks of one layer; an exact side is undefined. */
export interface CodebookLayer {
  readonly k?: { readonly codec: VqCodec; readonly tensor: CodebookTensor };
  readonly v?: { readonly codec: VqCodec; readonly tensor: CodebookTensor };
  /** Of the values: the centroids of `v` are of T v. Absent: of v itself. */
  readonly basis?: Basis;
}

export interface Codebook {
  readonly metadata: CodebookMetadata;
  readonly headDim: number;
  readonly layers: ReadonlyMap<number, CodebookLayer>;
  readonly rope: Rope | undefined;
}

/** Reads a codebook file. Throws InputError on anything that does not fit this specification, NaN included. */
export function readCodebook(bytes: Uint8Array, source: string): Codebook {
  const header = parseHeader(bytes, source);
  const metadata = parseMetadata(codebookMetadata, header, 'a codebook file');
  const headDim = metadata.head_dim;
  const layers = new Map<number, CodebookLayer>();
  for (const name of header.tensors.keys()) {
    const match = /^layers\.(\d+)\.([kv])$/.exec(name);
    if (match) layers.set(Number(match[1]), { ...layers.get(Number(match[1])), [match[2]!]: readSide(bytes, header, name, headDim) });
  }
  for (const [layer, { v }] of layers) {
    const { transform } = recipeOfLayer(metadata, layer, source);
    const basis = v && readBasis(bytes, header, `layers.${layer}.v`, [v.tensor.kvHeads, headDim, headDim], transform);
    if (basis) layers.set(layer, { ...layers.get(layer), basis });
  }
  if (layers.size === 0) throw new InputError(`${source}: no tensor is called layers.N.k or layers.N.v`, 'calibrate again: gen calibrate DUMP --out FILE');
  return { metadata, headDim, layers, rope: ropeOf(metadata, headDim, source) };
}

const AXES = '[kv_heads, chunks, entries, channels], or [kv_heads, chunks, stages, entries, channels]';

/** The axes of a tensor; one stage has no axis of its own. */
const shapeOf = (codec: VqCodec, headDim: number, kvHeads: number): number[] =>
  [kvHeads, chunksOf(codec, headDim), ...(codec.stages > 1 ? [codec.stages] : []), stageEntries(codec), codec.channels];

function readSide(bytes: Uint8Array, header: Header, name: string, headDim: number): NonNullable<CodebookLayer['k']> {
  const { dtype, shape } = header.tensors.get(name)!;
  const [kvHeads = 0] = shape;
  const [entries, channels] = [shape.at(-2) ?? 0, shape.at(-1) ?? 0];
  const codec = findCodec(vqName(channels, Math.log2(entries), shape.length > 4 ? shape[2]! : 1, dtype === 'I8' ? 'q8' : 'f16'));
  if (codec?.kind !== 'vq') {
    throw new InputError(`${header.source}: wrong shape: no codec has codebooks like tensor "${name}", ${dtype} [${shape.join(', ')}]`, `its axes are ${AXES}, F16 or I8`);
  }
  const want = { dtype: codec.codebook === 'q8' ? 'I8' : 'F16', shape: shapeOf(codec, headDim, kvHeads), axes: AXES } as const;
  const { data } = readTensor(bytes, header, name, want);
  const tensor: CodebookTensor =
    codec.codebook === 'q8'
      ? {
          kvHeads,
          values: new Int8Array(data.buffer as ArrayBuffer),
          scale: new Float32Array(readTensor(bytes, header, `${name}.scale`, { dtype: 'F32', shape: [kvHeads, headDim], axes: '[kv_heads, head_dim]' }).data.buffer as ArrayBuffer),
        }
      : { kvHeads, values: new Uint16Array(data.buffer as ArrayBuffer) };
  return { codec, tensor };
}

/** The basis of one layer's values, if the recipe says that they have one. A file whose tensors and recipe disagree is refused: outputs would be wrong without a word. */
function readBasis(bytes: Uint8Array, header: Header, name: string, shape: [number, number, number], transform: RecipeOfBook['transform']): Basis | undefined {
  if (transform === 'none') {
    if (header.tensors.has(`${name}.basis`)) throw new InputError(`${header.source}: tensor "${name}.basis" beside a recipe of transform "none"`, 'calibrate again: gen calibrate DUMP --out FILE');
    return undefined;
  }
  const [to, back] = ['basis', 'basis_inverse'].map((which) => new Float32Array(readTensor(bytes, header, `${name}.${which}`, { dtype: 'F32', shape, axes: '[kv_heads, head_dim, head_dim]' }).data.buffer as ArrayBuffer));
  const basis = { kvHeads: shape[0], headDim: shape[1], to: to!, back: back! };
  checkBasis(basis, `${header.source}: tensor "${name}.basis"`);
  return basis;
}

/** What {@link writeCodebook} needs beside the tensors; RoPE keys are copied from the dump's metadata. */
export interface CodebookDescription {
  readonly model: string;
  readonly headDim: number;
  readonly recipe: { readonly k: string; readonly v: string; readonly key: string; readonly transform?: string };
  readonly recipeHash: string;
  readonly calibration: CalibrationRecord;
  /** Metadata of the dump as they stand in its file. */
  readonly dump: Readonly<Record<string, string>>;
}

const bytesOf = (array: Uint16Array | Int8Array | Float32Array): Uint8Array => new Uint8Array(array.buffer, array.byteOffset, array.byteLength);

function basisTensors(name: string, basis: Basis): Tensor[] {
  checkBasis(basis, `${name}.basis`);
  const shape = [basis.kvHeads, basis.headDim, basis.headDim];
  return [{ name: `${name}.basis`, dtype: 'F32', shape, data: bytesOf(basis.to) }, { name: `${name}.basis_inverse`, dtype: 'F32', shape, data: bytesOf(basis.back) }];
}

const INHERITED = ['kv_heads', 'rope_theta', 'rope_inv_freq', 'rope_dim', 'rope_pairing', 'attention_factor'] as const;

/** The bytes of a codebook file. Throws InputError if a tensor does not fit its codec, or a basis its inverse or the recipe. */
export function writeCodebook(layers: ReadonlyMap<number, CodebookLayer>, about: CodebookDescription): Uint8Array {
  const tensors: Tensor[] = [];
  for (const [layer, sides] of layers) {
    if (sides.v && (sides.basis !== undefined) !== (about.recipe.transform === 'basis')) throw new InputError(`layer ${layer} has ${sides.basis ? 'a' : 'no'} basis, the recipe's transform is "${about.recipe.transform ?? 'none'}"`, 'give bases with transform "basis", and only then');
    for (const side of ['k', 'v'] as const) {
      const { codec, tensor } = sides[side] ?? {};
      if (!codec || !tensor) continue;
      checkCodebook(codec, about.headDim, tensor);
      const name = `layers.${layer}.${side}`;
      const shape = shapeOf(codec, about.headDim, tensor.kvHeads);
      tensors.push({ name, dtype: tensor.scale ? 'I8' : 'F16', shape, data: bytesOf(tensor.values) });
      if (tensor.scale) tensors.push({ name: `${name}.scale`, dtype: 'F32', shape: [tensor.kvHeads, about.headDim], data: bytesOf(tensor.scale) });
    }
    if (sides.basis) tensors.push(...basisTensors(`layers.${layer}.v`, sides.basis));
  }
  const inherited = Object.fromEntries(INHERITED.flatMap((key) => (about.dump[key] === undefined ? [] : [[key, about.dump[key]]])));
  return writeSafetensors(tensors, {
    format: 'antkv-codebook',
    version: '2', // of one recipe, not of a plan: readers of version 2 take it
    layout: String(VERSIONS.layout),
    model: about.model,
    head_dim: String(about.headDim),
    recipe: JSON.stringify(about.recipe),
    recipe_hash: about.recipeHash,
    calibration: JSON.stringify(about.calibration),
    ...inherited,
  });
}
