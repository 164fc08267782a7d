// Headers of a generated folder, C programs and a driver that only writes down what it is asked, for tests of the loader and the examples.
import { copyFileSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { FIELD_BYTES, paramStruct, structLayout } from '../../../generator/abi.ts';
import { printHeader } from '../../../generator/bindings/c.ts';
import { printKernels } from '../../../generator/bindings/kernels.ts';
import { printTables } from '../../../generator/bindings/table.ts';
import type { Op } from '../../../generator/contract.ts';
import { kernelName, type Kernel } from '../../../generator/name.ts';
import { readTemplate } from '../../../generator/render.ts';
import { shippedKernels } from '../../../generator/ship.ts';
import { renderKernel } from '../../../generator/source.ts';
import { flatten, type Flat } from '../../../generator/table/flat.ts';
import { VERSIONS } from '../../../generator/versions.ts';
import { buildEmulatedKernel, hostCompiler } from '../../../tuner/host.ts';
import { temporaryFolder } from '../../folder.ts';

export const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
export const WARNINGS = ['-Wall', '-Wextra', '-Werror'];

/** Writes the headers that the loader includes, for `kernels`, into a new folder; the kernels' own files are empty, or absent with `images` false. */
export function generatedFolder(kernels: readonly Kernel[] = shippedKernels(), images = true, tables: Flat = flatten([], kernels)): string {
  const dir = temporaryFolder();
  writeFileSync(join(dir, 'antkv.h'), printHeader([]));
  writeFileSync(join(dir, 'antkv_kernels.h'), printKernels(kernels));
  writeFileSync(join(dir, 'antkv_tables.h'), printTables(tables, kernels));
  for (const name of ['antkv_launch.h', 'antkv_format.h']) writeFileSync(join(dir, name), readTemplate(name));
  for (const kernel of kernels) {
    mkdirSync(join(dir, kernel.arch.name), { recursive: true });
    if (images) writeFileSync(join(dir, kernel.arch.name, `${kernelName(kernel)}.fatbin`), '');
  }
  return dir;
}

/** {@link generatedFolder} with images that the emulated driver loads in place of fatbins. */
export async function emulatedFolder(kernels: readonly Kernel[]): Promise<string> {
  const dir = generatedFolder(kernels);
  for (const kernel of kernels) {
    const image = await buildEmulatedKernel(kernelName(kernel), renderKernel(kernel));
    copyFileSync(image, join(dir, kernel.arch.name, `${kernelName(kernel)}.fatbin`));
  }
  return dir;
}

/** Compiles C11 with $CC or cc, or C++17 (`c++20`: C++20); returns the path of the result in a new folder. Throws with the compiler's words. */
export async function compile(sources: readonly string[], args: readonly string[], language: 'c' | 'c++' | 'c++20' = 'c'): Promise<string> {
  const output = join(temporaryFolder(), 'built');
  const compiler = language === 'c' ? process.env['CC'] || 'cc' : (await hostCompiler()).path;
  const [kind, standard] = { c: ['c', 'c11'], 'c++': ['c++', 'c++17'], 'c++20': ['c++', 'c++20'] }[language] as [string, string];
  await execa(compiler, ['-x', kind, `-std=${standard}`, ...WARNINGS, ...args, ...sources, '-o', output, '-ldl', '-lm'], { timeout: 60_000 });
  return output;
}

/** The hex bytes of an op's params with struct_size and abi_version filled in; fields that are not given are 0. */
export function paramsHex(op: Op, values: Readonly<Record<string, number>>): string {
  const struct = paramStruct(op);
  const { offsets, bytes } = structLayout(struct);
  const view = new DataView(new ArrayBuffer(bytes));
  const all: Record<string, number> = { struct_size: bytes, abi_version: VERSIONS.abi, ...values };
  for (const name of Object.keys(all)) if (!struct.fields.some((field) => field.name === name)) throw new Error(`${struct.name} has no field ${name}`);
  struct.fields.forEach(({ name, type }, i) => {
    const value = all[name] ?? 0;
    if (type === 'f32') view.setFloat32(offsets[i]!, value, true);
    else if (FIELD_BYTES[type] === 8) view.setBigInt64(offsets[i]!, BigInt(value), true);
    else view.setInt32(offsets[i]!, value, true);
  });
  return Buffer.from(view.buffer).toString('hex');
}

const POINTER = 0x7f0000000000;
const CACHE = { batch: 3, kv_heads: 8, page_size: 64, max_pages: 40, page_stride: 8 * 2192, page_head_stride: 2192, rotary_dim: 128, attention_factor: 1 };
const cache = (...pointers: string[]): Record<string, number> => Object.fromEntries([...pointers, 'pages', 'block_table', 'k_codebook', 'v_codebook', 'inv_freq'].map((name) => [name, POINTER]));

const KV_ROWS = { k_row_stride: 2048, k_head_stride: 256, v_row_stride: 2048, v_head_stride: 256 };

/** Params that each op accepts, for contracts of antkv-1 at head dim 128: three sequences, GQA ratio 4. */
export const GOOD: Readonly<Record<'encode' | 'append' | 'decode' | 'combine' | 'score' | 'select' | 'unpack' | 'kmeans', Readonly<Record<string, number>>>> = {
  encode: { ...CACHE, ...cache('k', 'v', 'cu_tokens'), ...KV_ROWS, max_tokens: 2500, max_anchors: 25 },
  append: {
    ...CACHE, ...cache('k', 'v', 'seq_len', 'ring_k', 'ring_v', 'ring_score', 'ring_count'), q_heads: 32, ring_rows: 272, window: 128, flush_block: 128, budget_permille: 10,
    ...KV_ROWS, ring_row_stride: 256, ring_head_stride: 272 * 256, ring_slot_stride: 8 * 272 * 256,
  },
  decode: {
    ...CACHE, ...cache('q', 'out', 'coded_len', 'kv_len', 'ring_k', 'ring_v'), q_heads: 32, rows: 3, max_q_len: 1, splits: 1, segments: 7, ring_rows: 272, scale: 0.088,
    q_row_stride: 1 << 15, q_head_stride: 256, out_row_stride: 1 << 15, out_head_stride: 256, ring_row_stride: 256, ring_head_stride: 272 * 256, ring_slot_stride: 8 * 272 * 256,
  },
  combine: { out: POINTER, partial_o: POINTER, partial_lse: POINTER, rows: 3, q_heads: 32, splits: 5, out_row_stride: 8192, out_head_stride: 256 },
  score: { scores: POINTER, q: POINTER, k: POINTER, lse: POINTER, cu_q: POINTER, cu_k: POINTER, batch: 3, q_heads: 32, kv_heads: 8, max_tokens: 1000, score_stride: 1024, scale: 0.088, ...KV_ROWS, q_row_stride: 8192, q_head_stride: 256, o_row_stride: 8192, o_head_stride: 256 },
  select: { scores: POINTER, keep_bitmap: POINTER, keep_indices: POINTER, token_count: POINTER, batch: 3, kv_heads: 8, score_stride: 1024, keep_words: 32, max_anchors: 16, budget_permille: 10, budget_tokens: -1 },
  unpack: { ...CACHE, ...cache('k', 'v', 'cu_tokens'), ...KV_ROWS, max_tokens: 2500 },
  kmeans: {
    ...Object.fromEntries(['x', 'centroids', 'codebook', 'row_loss', 'sums', 'loss', 'energy', 'status'].map((name) => [name, POINTER])),
    heads: 8, chunks: 16, tokens: 5000, splits: 3, step: 1, max_steps: 25, tolerance: 5e-4, value_scale: 1024, weight_scale: 1024, loss_scale: 64, x_row_stride: 256, x_head_stride: 5000 * 256,
  },
};
export { POINTER };
