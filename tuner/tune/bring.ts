// Kernels on their way to the device: compiled, told in the journal, pruned where another has the same code or ptxas speaks against it, and loaded.
import { prunedByFacts } from '../space/prune.ts';
import { helpersOf } from './arms.ts';
import type { Built } from './compile-pool.ts';
import { DefaultLost, type TaskSession } from './session.ts';

const factsOf = ({ registers, spillBytes, stackBytes }: Built) => ({ registers, spillStores: spillBytes, spillLoads: 0, stack: stackBytes });

/** Brings a kernel to the device. Undefined: it is lost or pruned, and the journal says why. */
export async function bring(session: TaskSession, kernel: string): Promise<Built | undefined> {
  const { run: { pool, measurer }, state, loaded, usual } = session;
  if (state.lost.has(kernel)) return undefined;
  const there = loaded.get(kernel);
  if (there) return there;
  const outcome = await pool.get(kernel);
  if ('lost' in outcome) {
    const { stage, kind, why, repro } = outcome.lost;
    await session.emit({ event: 'failed', kernel, stage, kind, why, repro });
    return undefined;
  }
  const { built } = outcome;
  const { path, ptx, inputs, registers, spillBytes, stackBytes, seconds } = built;
  if (state.compiled.get(kernel)?.ptx !== ptx) await session.emit({ event: 'compiled', kernel, nvcc: pool.nvcc, ptx, inputs, registers: Math.max(1, registers), spillBytes, stackBytes, seconds });
  const same = [...loaded.values()].find((other) => other.ptx === ptx)?.kernel;
  const first = loaded.get(usual);
  const pruned = same !== undefined
    ? { event: 'pruned' as const, kernel, stage: 'ptx' as const, why: `its PTX is that of ${same}`, same }
    : prunedByFacts(kernel, factsOf(built), { kernel: usual, facts: first && factsOf(first) });
  if (pruned) {
    if (!state.pruned.has(kernel)) await session.emit(pruned);
    return undefined;
  }
  loaded.set(kernel, built);
  measurer.add({ kernel, path, ptx });
  return built;
}

/** The default and what it needs, compiled, loaded and checked. Throws DefaultLost. */
export async function bringDefault(session: TaskSession): Promise<void> {
  const { usual, run: { pool, measurer } } = session;
  for (const helper of helpersOf(usual)) {
    const outcome = await pool.get(helper);
    if ('lost' in outcome) throw new DefaultLost(helper, outcome.lost);
    measurer.add(outcome.built);
  }
  // Without it nothing can be measured: whatever became of it before, it is tried again.
  session.state.lost.delete(usual);
  if (!(await bring(session, usual))) throw new DefaultLost(usual, session.state.lost.get(usual) ?? { kind: 'error', why: 'it was lost' });
  await session.verify(usual);
}
