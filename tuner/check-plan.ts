// A few checks that go before every measurement: a kernel that answers wrongly has no speed. `gen verify` and the test suite go much further.
import { isCacheContract, isCoded } from '../generator/contract.ts';
import { kernelName, type Kernel } from '../generator/name.ts';
import { combineOf } from './bench-plan.ts';
import type { CheckRequest, KernelRef, Shape } from './problem.ts';

export interface Check {
  readonly kernel: Kernel;
  readonly combine?: Kernel;
  readonly shape: Shape<'decode'>;
}

/**
 * Small checks of the decode kernels: empty, odd and whole pages, ring and anchors; alone, with splits that combine merges and that the last CTA merges, spread over
 * the batch; scores of standard deviation 8, one score far above the rest, many small weights. Other ops are checked by the measurement itself.
 */
export function checksOf(kernels: readonly Kernel[]): Check[] {
  return kernels
    .filter(({ contract }) => contract.op === 'decode')
    .flatMap((kernel) => {
      const { contract } = kernel;
      const cache = isCacheContract(contract) && !isCoded(contract) ? { coded_len: [0, 1, 65, 300] } : { coded_len: [0, 16, 128, 256], kv_len: [5, 17, 256, 300], ring_rows: 272, anchor_permille: 50 };
      const heads = { q_heads: 8, kv_heads: 2, page_size: 64 };
      return [
        { kernel, shape: { ...cache, ...heads, splits: 1 } },
        { kernel, combine: combineOf(kernel), shape: { ...cache, ...heads, splits: 3 } },
        { kernel, shape: { ...cache, ...heads, splits: 5, spread: true, merge: 'last', score_std: 8 } },
        { kernel, shape: { ...cache, ...heads, splits: 3, merge: 'last', peak: true } },
        { kernel, shape: { coded_len: [4097], q_heads: 4, splits: 1, score_std: 0.05, sink: 8 } },
      ];
    });
}

export const checkRequest = ({ kernel, combine, shape }: Check, ref: (name: string) => KernelRef): CheckRequest<'decode'> => ({
  cmd: 'check', op: 'decode', kernel: ref(kernelName(kernel)), seed: 1, shape, ...(combine ? { combine: ref(kernelName(combine)) } : {}),
});
