// Made-up measurements for tests.
import { rowSchema, type Row } from '../../tuner/bench-row.ts';

export const ONE_BIT = 'antkv_decode_d128_k8c8b_v8c8bq8_f16_pre_gain__sm80_w4_t64_s2';
export const EXACT = 'antkv_decode_d128_kf16_vf16_f16__sm80_w4_t64_s2';
export const COMBINE = 'antkv_combine_d128_f16__sm80_w4';

export const ENVIRONMENT = { device: 'Test GPU', cc: 90, multiprocessors: 132, l2_bytes: 5e7, memory_bytes: 8e10, driver: '580.1', nvcc: '13.0.88', emulated: false, read_gbps: 4000, copy_gbps: 3900, mma_tflops: 600, launch_us: 4, idle_mhz: 345, busy_mhz: 1980 };

/** A row; `us` is the median. */
export const row = (kernel: string, us: number, more: Partial<Row> = {}): Row =>
  rowSchema.parse({
    record: 'bench', source: 'antkv', op: 'decode', kernel, code: 'sm_80 through PTX', head_dim: 128, shape: { batch: 1, tokens: 4096, q_heads: 32, kv_heads: 8 }, splits: 16,
    us: { median: us, p10: us - 1, p90: us + 2, min: us - 1 }, b2b_us: us, samples: 30, bytes: 16_000_000, gbps: 16_000 / us, ok: true, faults: [], clock_mhz: { begin: null, end: null }, environment: ENVIRONMENT, ...more,
  });
