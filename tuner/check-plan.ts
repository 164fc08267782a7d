// A few checks that go before every measurement: a kernel that answers wrongly has no speed. `gen verify` and the test suite go much further.
import { kernelName, type Kernel } from '../generator/name.ts';
import { combineOf } from './bench-plan.ts';
import type { CheckRequest, KernelRef } from './problem.ts';

/** Small checks of the decode kernels: empty, odd and whole pages, ring and anchors, with and without splits. Other ops are checked by the measurement itself. */
export function checksOf(kernels: readonly Kernel[], ref: (name: string) => KernelRef): CheckRequest<'decode'>[] {
  return kernels
    .filter(({ contract }) => contract.op === 'decode')
    .flatMap((kernel) => {
      const common = { cmd: 'check', op: 'decode', kernel: ref(kernelName(kernel)), seed: 1 } as const;
      const combine = ref(kernelName(combineOf(kernel)));
      const exact = [kernel.contract.k, kernel.contract.v].every((codec) => codec === 'f16' || codec === 'bf16');
      const cache = exact ? { coded_len: [0, 1, 65, 300] } : { coded_len: [0, 16, 128, 256], kv_len: [5, 17, 256, 300], ring_rows: 272, anchor_permille: 50 };
      return [1, 3].map((splits) => ({ ...common, shape: { ...cache, q_heads: 8, kv_heads: 2, page_size: 64, splits }, ...(splits > 1 ? { combine } : {}) }));
    });
}
