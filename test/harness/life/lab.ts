// What the suites of a cache's life share: the kernels of a recipe on the emulated driver, and lives that must be without fault.
import type { Contract } from '../../../generator/contract.ts';
import type { LifeKernels, LifeRecord, LifeRequest } from '../../../tuner/life-schema.ts';
import type { Runner } from '../../../tuner/runner.ts';
import { cacheAxes, emulated } from '../ops/lab.ts';

/** Every kernel that a life of this recipe needs, in the words of {@link cacheAxes}; `rank`: the form of score that ranks prompts, if not column sums. */
export async function lifeKernels(words: string, rank?: Contract['form']): Promise<LifeKernels> {
  const axes = cacheAxes(words);
  const { headDim, dtype } = axes as Required<Contract>;
  const [append, decode, score, select, encode, combine, unpack] = await Promise.all([
    emulated('append', axes), emulated('decode', axes), emulated('score', { headDim, dtype }), emulated('select', {}), emulated('encode', axes), emulated('combine', { headDim, dtype }), emulated('unpack', axes),
  ]);
  return { append, decode, score, select, encode, combine, unpack, ...(rank && { rank: await emulated('score', { headDim, dtype, form: rank }) }) };
}

export type Life = Omit<LifeRequest, 'cmd' | 'kernels'>;

/** Lives once. A fault becomes an error with the request that repeats it and no step beyond it. */
export async function mustLive(runner: Runner, kernels: LifeKernels, life: Life): Promise<LifeRecord> {
  const request: LifeRequest = { cmd: 'life', kernels, ...life };
  const record = await runner.life(request);
  if (record.ok) return record;
  throw new Error(`${record.faults.slice(0, 5).join('\n')}\n${record.faults.length} faults; ${said(await shrink(runner, { ...request, steps: record.steps }))}`);
}

/** A request without the paths of its kernels: {@link lifeKernels} makes them again. */
const said = ({ kernels, ...life }: LifeRequest): string => `${kernels.append.name}, ${JSON.stringify(life)}`;

/** The same life with every kind of event left out without which it still fails. Events draw from one stream, so that the failure may move: it is then looked for anew. */
async function shrink(runner: Runner, failing: LifeRequest): Promise<LifeRequest> {
  let smallest = failing;
  for (const event of ['fork', 'prefix', 'truncate', 'turn', 'pause', 'end', 'draft', 'start'] as const) {
    const without = { ...smallest, events: { ...smallest.events, [event]: 0 } };
    const record = await runner.life(without).catch(() => undefined);
    if (record && !record.ok) smallest = { ...without, steps: record.steps };
  }
  return smallest;
}

/** By sequence: what `digests` has of it. */
export const digestsOf = (record: LifeRecord): Map<number, LifeRecord['digests'][number]> => new Map(record.digests.map((row) => [row.sequence, row]));
