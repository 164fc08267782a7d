// Clustering on a GPU, or on the emulated driver: the runner reads the dump itself, and the generated kernel `kmeans` does all steps.
import { closeSync, openSync, readFileSync, rmSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { z } from 'zod';
import { findArch } from '../../generator/arch.ts';
import { chunksOf, codecOf, entriesOf, findCodec, type VqCodec } from '../../generator/codec.ts';
import { contractOf, reject, type Contract } from '../../generator/contract.ts';
import { UsageError } from '../../generator/errors.ts';
import { kernelName } from '../../generator/name.ts';
import { writeSafetensors } from '../../generator/safetensors.ts';
import { kernelsOf } from '../../generator/ship.ts';
import { defaultTile, misfit } from '../../generator/tile.ts';
import { loadKernels, type Device } from '../images.ts';
import { measure } from '../problem.ts';
import { removeTemporary, temporaryFolder } from '../temporary.ts';
import { drawsOf, seedOf, TOLERANCE } from './kmeans.ts';
import { round } from './round.ts';
import { sharesOf, type Scope, type Share } from './scope.ts';
import { restartStream, type ChunkResult, type Rows } from './task.ts';

/** Where the rows of a tensor are: in a dump, or (keys that were rotated) in memory. */
export type Source = { readonly file: string; readonly tensor: string } | Rows;

/** One side of one layer. */
export interface SideTask {
  readonly source: Source;
  readonly codec: string;
  readonly scope: Scope;
  readonly heads: number;
  readonly headDim: number;
  readonly tokens: number;
  /** [seed, layer, side (0 K, 1 V)], as in a ChunkTask. */
  readonly stream: readonly [number, number, number];
  readonly iterations: number;
  readonly restarts: number;
  /** `[heads, tokens]`; default: all equal. */
  readonly weights?: Float32Array | undefined;
  /** What comes after this: its file is read meanwhile, or written. */
  readonly next?: Source | undefined;
}

/** A device that clusters. Close it. */
export interface Clusterer {
  readonly device: string;
  readonly emulated: boolean;
  /** Results of all codebooks in order. Throws InputError for files that do not fit, RunnerError. */
  cluster(task: SideTask): Promise<ChunkResult[]>;
  close(): Promise<void>;
}

const list = z.array(measure);
const recordSchema = z.looseObject({ loss: list, energy: list, steps: z.array(z.int()), reseeded: z.array(z.int()), losses: z.array(list) });
type ClusterRecord = z.infer<typeof recordSchema>;

/** A big dump's tensor may come from a slow disk. */
const TIMEOUT_MS = 900_000;

/** k-means works on halves; int8 codebooks are rounded from those. */
const clustered = (codec: string): string => codec.replace(/q8$/, '');

const ARCH = findArch('sm80')!;

function contractFor(codec: string): Contract {
  const contract = contractOf('kmeans', { k: clustered(codec) as NonNullable<Contract['k']>, dtype: 'f16' });
  const refused = reject(contract);
  const why = refused.length > 0 ? refused : misfit(contract, defaultTile(contract, ARCH), ARCH);
  if (why.length > 0) throw new UsageError(`no device clusters for ${codec}: ${why.join('; ')}`, 'leave --device out: the CPU takes every codec');
  return contract;
}

/** Kernels for `codecs` (names of VQ codecs), loaded on a device; `auto` is a GPU or an error. Throws what loadKernels throws, and UsageError for a codec without kernel. */
export async function openClusterer(codecs: readonly string[], device: Device): Promise<Clusterer> {
  const names = [...new Set(codecs.map(clustered))];
  const kernels = kernelsOf(names.map(contractFor), [ARCH]);
  const loaded = await loadKernels(kernels, device, () => {}, false);
  const refs = new Map(kernels.map((kernel) => [kernel.contract.k as string, loaded.kernels.get(kernelName(kernel))!]));
  const folder = temporaryFolder('antkv-clusters-');
  const at = (name: string): string => join(folder, name);

  /** Runs all codebooks from one start; centroids are left in the file `out`. */
  async function run(task: SideTask, data: object, more: object): Promise<ClusterRecord> {
    const body = { cmd: 'kmeans', kernel: refs.get(clustered(task.codec)), data, scope: task.scope, ...(task.weights && { weights: at('weights') }), tolerance: TOLERANCE, ...more };
    return recordSchema.parse(await loaded.runner.request(body, TIMEOUT_MS));
  }

  async function cluster(task: SideTask): Promise<ChunkResult[]> {
    const codec = vqCodec(task.codec);
    const data = { ...fileOf(task.source, task.heads), ...('file' in task.source && { tokens: task.tokens }) };
    if (task.weights) writeFileSync(at('weights'), bytesOf(task.weights));
    const next = task.next && 'file' in task.next && 'file' in task.source ? { next: task.next } : {};
    let best: ChunkResult[] = [];
    for (let restart = 0; restart < task.restarts; restart++) {
      writeDraws(at('draws'), codec, task, restart);
      const answer = run(task, data, { draws: at('draws'), steps: task.iterations, out: at('centroids'), ...next });
      answer.catch(() => {}); // thrown where it is awaited, unless writing fails before
      await setImmediate(); // the request leaves
      if (task.next) fileOf(task.next, task.heads);
      const found = await resultsOf(task, codec, data, await answer);
      best = restart === 0 ? found : best.map((old, i) => (found[i]!.loss < old.loss ? found[i]! : old));
    }
    // A runner that has a file open keeps it; the name is not used again.
    if (!('file' in task.source)) {
      written.delete(task.source);
      rmSync(data.file);
    }
    return best;
  }

  /** Where the runner finds rows: those in memory get a file, once. It takes as long as a part of a clustering, so what comes next is written while the device works. */
  function fileOf(source: Source, heads: number): { readonly file: string; readonly tensor: string } {
    if ('file' in source) return source;
    const file = written.get(source) ?? writeRows(at(`rows-${++files}.safetensors`), source, heads);
    written.set(source, file);
    return { file, tensor: 'rows' };
  }
  const written = new WeakMap<Rows, string>();
  let files = 0;

  async function resultsOf(task: SideTask, codec: VqCodec, data: object, record: ClusterRecord): Promise<ChunkResult[]> {
    const { channels } = codec;
    const size = entriesOf(codec) * channels;
    const centroids = floatsOf(at('centroids'));
    const rounded = record.steps.map((_, i) => round(codec, centroids.subarray(i * size, (i + 1) * size)));
    let { loss } = record;
    if (codec.codebook === 'q8') {
      writeFileSync(at('stored'), bytesOf(Float32Array.from(rounded.flatMap(({ values }) => [...values]))));
      ({ loss } = await run(task, data, { centroids: at('stored'), steps: 0 }));
    }
    const shares = sharesOfTask(task, codec);
    return rounded.map(({ stored, scale }, i) => ({
      ...shares[i]!,
      stored,
      ...(scale && { scale }),
      iterations: record.steps[i]!,
      reseeded: record.reseeded[i]!,
      losses: record.losses[i]!.map(Number),
      loss: loss[i] ?? NaN,
      energy: record.energy[i] ?? NaN,
    }));
  }

  return { device: loaded.info.device, emulated: loaded.info.emulated, cluster, close: async () => (await loaded.close(), removeTemporary(folder)) };
}

function vqCodec(name: string): VqCodec {
  const codec = findCodec(name) ?? codecOf(name);
  if (codec.kind !== 'vq') throw new Error(`${name} has no codebook`);
  return codec;
}

const bytesOf = (array: Float32Array | Float64Array | Uint16Array): Uint8Array => new Uint8Array(array.buffer, array.byteOffset, array.byteLength);

function floatsOf(path: string): Float32Array {
  const bytes = readFileSync(path);
  return new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength));
}

const sharesOfTask = ({ scope, heads, headDim }: SideTask, codec: VqCodec): Share[] => sharesOf(scope, heads, chunksOf(codec, headDim));

/** Writes what k-means++ draws with, the same numbers as on the CPU. */
function writeDraws(path: string, codec: VqCodec, task: SideTask, restart: number): void {
  const file = openSync(path, 'w');
  try {
    for (const { head, chunk } of sharesOfTask(task, codec)) writeSync(file, bytesOf(drawsOf(seedOf(...task.stream, head, chunk, ...restartStream(restart)), entriesOf(codec))));
  } finally {
    closeSync(file);
  }
}

function writeRows(path: string, { data, tokens, headDim }: Rows, heads: number): string {
  writeFileSync(path, writeSafetensors([{ name: 'rows', dtype: 'F16', shape: [heads, tokens, headDim], data: bytesOf(data) }], {}));
  return path;
}
