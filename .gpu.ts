import { writeFileSync, mkdirSync } from 'node:fs';
import { findArch } from './generator/arch.ts';
import { contractOf, type Contract } from './generator/contract.ts';
import { emitAll } from './generator/emit.ts';
import { kernelName, type Kernel } from './generator/name.ts';
import { defaultTile } from './generator/tile.ts';
import { compileAll } from './tuner/compile.ts';
import { findNvcc } from './tuner/nvcc.ts';
import { kernelRef } from './tuner/problem.ts';
import { cacheAxes } from './test/harness/ops/lab.ts';
const arch = findArch('sm80')!;
const kernels = new Map<string, Kernel>();
const ref = (op: any, axes: any, tile: any = defaultTile(op)) => { const kernel = { contract: contractOf(op, axes as Partial<Contract>), arch, tile }; kernels.set(kernelName(kernel), kernel); return kernelRef(kernelName(kernel), `gpu.tmp/sm80/${kernelName(kernel)}.fatbin`); };
const lines: string[] = [JSON.stringify({ id: 0, cmd: 'info' })]; let id = 1;
const ask = (op: any, kernel: any, shape: any, more: any = {}) => lines.push(JSON.stringify({ id: id++, cmd: 'check', op, kernel, shape, ...more }));
const CODED = ['d128 8c8b/8c8bq8 pre gain', 'd128 8c8b/8c8bq8 post gain', 'd128 4c8b/4c8b pre gain', 'd64 8c8b/8c8bq8 pre gain', 'd64 4c8b/f16 post', 'd64 8c8bq8/4c8b pre'];
const L = [0, 1, 15, 16, 17, 63, 64, 65, 127, 129];
for (const w of [...CODED, 'd128 f16/f16']) {
  const ax = cacheAxes(w), exact = w.includes('f16/f16'), k = ref('decode', ax), combine = ref('combine', { headDim: Number(w.slice(1).split(' ')[0]), dtype: 'f16' });
  ask('decode', k, { coded_len: L }); ask('decode', k, { coded_len: L, splits: 3, page_size: 16, index: 'csr' }, { combine });
  for (const r of [1, 5, 8, 16]) ask('decode', k, { coded_len: [40, 200], q_len: [1, 3], q_heads: 2 * r, kv_heads: 2, splits: 2, peak: true }, { combine });
  ask('decode', k, { coded_len: [131072], q_heads: 4, splits: 32, index: 'csr', ...(exact ? {} : { anchor_permille: 10, kv_len: [131300], ring_rows: 272 }) }, { combine });
  ask('decode', k, { coded_len: Array.from({ length: 16 }, (_, i) => 1000 + 517 * i), q_heads: 8, kv_heads: 2, splits: 8 }, { combine });
  const e = ref('encode', ax), u = ref('unpack', ax);
  ask('encode', e, { end: L, kv_heads: 2, ...(exact ? {} : { anchor_permille: 100 }) });
  ask('encode', e, { end: [3000], first_token: [1024], kv_heads: 2, ...(exact ? {} : { anchor_permille: 10 }) });
  ask('unpack', u, { coded_len: L, kv_heads: 2, ...(exact ? {} : { anchor_permille: 100 }) });
  ask('unpack', u, { coded_len: [20000, 333], kv_heads: 2, ...(exact ? {} : { anchor_permille: 10 }) });
  if (exact) continue;
  for (const a of [0, 80, 1000]) ask('decode', k, { coded_len: [33, 64, 1, 0, 100], kv_heads: 2, anchor_permille: a });
  ask('decode', k, { coded_len: [64, 0, 128, 16], kv_len: [70, 5, 140, 50], q_len: [16, 1, 2, 5], ring_rows: 40, q_heads: 4, kv_heads: 2, anchor_permille: 60, splits: 3, page_size: 16, ring_scores: true, pad: 32 }, { combine });
  ask('decode', k, { coded_len: [70, 33], kv_len: [75, 40], first_pos: [1000000, 4000000], ring_rows: 16, anchor_permille: 50 });
  ask('decode', k, { coded_len: [32, 0], kv_len: [50, 16], q_len: [16, 16], ring_rows: 40, q_heads: 2, tree_mask: true });
  ask('decode', k, { coded_len: [128, 128, 64], kv_heads: 2, anchor_permille: 300, frozen_len: [64, 0, 64], frozen_anchor_pages: [1, 2, 100] });
  ask('decode', k, { coded_len: [70], first_pos: [1000], rope: { rotary_dim: 48, interleaved: true, factor: 0.8 } });
  ask('encode', e, { end: [40, 17], first_pos: [1000000, 4000000], rope: { theta: 500000 } });
  ask('unpack', u, { coded_len: [40, 17], first_pos: [1000000, 4000000], rope: { theta: 500000 } });
}
for (const form of ['column', 'exact']) for (const headDim of [64, 128]) { const k = ref('score', { headDim, dtype: 'f16', form }); ask('score', k, { keys: [0, 1, 15, 17, 64, 65, 129], q_heads: 10, kv_heads: 2 }); ask('score', k, { keys: [4096], rows: [512], q_heads: 4 }); ask('score', k, { keys: [100], rows: [40], score_std: 6 }); }
const sel = ref('select', {});
for (const pattern of ['random', 'ties', 'constant', 'special', 'ascending']) { ask('select', sel, { token_count: [0, 1, 31, 33, 256, 257, 700, 100000], kv_heads: 2, pattern, budget_permille: 10, first_tokens: 4, pad: 3 }); ask('select', sel, { token_count: [70000], pattern, budget_permille: 333 }); }
for (const headDim of [64, 128]) ask('combine', ref('combine', { headDim, dtype: 'f16' }), { rows: 300, q_heads: 13, splits: 33, ring_rows: 45, empty_permille: 200 });
mkdirSync('gpu.tmp', { recursive: true });
const all = [...kernels.values()];
const compiled = await compileAll(all, emitAll(all), { nvcc: (await findNvcc())!, out: 'gpu.tmp' });
console.log(all.length, 'kernels', lines.length, 'requests', compiled.filter((c) => c.failure));
writeFileSync('gpu.tmp/requests.jsonl', lines.join('\n') + '\n');
