// What compile nodes leave for nodes with GPUs: PTX and machine code of each kernel, in a folder named by the hash of its PTX, beside what the compilers said of it.
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { parseKernelName } from '../../generator/name.ts';
import { renderKernel } from '../../generator/source.ts';
import { inputsOfSource } from '../../generator/table/inputs.ts';
import { writeWhole } from '../../generator/write.ts';
import type { Nvcc } from '../nvcc.ts';
import { isLost, toCubin, toPtx } from '../space/ptx.ts';
import { runsNatively, type Built, type Compiler, type Outcome } from '../tune/compile-pool.ts';
import type { EventOf, TuneEvent } from '../tune/events.ts';

const factsSchema = z.object({
  kernel: z.string(), nvcc: z.string(), ptx: z.string(), inputs: z.string(), registers: z.number(), spillBytes: z.number(), stackBytes: z.number(),
  seconds: z.object({ ptx: z.number().nullable(), ptxas: z.number().nullable() }),
});
export type ObjectFacts = z.infer<typeof factsSchema>;

/** Path of an object without its ending. Kernels with equal PTX have a folder in common and their own files: the name of a kernel is in its machine code. */
const placeOf = (objects: string, { kernel, ptx }: Pick<ObjectFacts, 'kernel' | 'ptx'>): string => join(objects, ptx.slice(0, 16), kernel);

/** nvcc in two steps; both outputs go to `objects`, the facts last, so that what has facts is whole. The image of an outcome is the machine code. */
export const storingCompiler = (nvcc: Nvcc, objects: string): Compiler => ({
  nvcc: nvcc.version,
  async compile(kernel): Promise<Outcome> {
    const ptx = await toPtx(parseKernelName(kernel), { nvcc });
    if (isLost(ptx)) return { lost: { ...ptx, stage: 'compile' } };
    const cubin = await toCubin(ptx, parseKernelName(kernel).arch, { nvcc });
    if (isLost(cubin)) return { lost: { ...cubin, stage: 'ptxas' } };
    const { registers, spillStores, spillLoads, stack } = cubin.resources;
    const facts: ObjectFacts = { kernel, nvcc: nvcc.version, ptx: ptx.ptx, inputs: ptx.inputs, registers, spillBytes: spillStores + spillLoads, stackBytes: stack, seconds: { ptx: ptx.seconds, ptxas: cubin.seconds } };
    const place = placeOf(objects, facts);
    writeWhole(`${place}.ptx`, readFileSync(ptx.path));
    writeWhole(`${place}.cubin`, readFileSync(cubin.path));
    writeWhole(`${place}.json`, `${JSON.stringify(facts)}\n`);
    return { built: { ...facts, path: `${place}.cubin` } };
  },
});

function factsAt(place: string): ObjectFacts | undefined {
  try {
    return factsSchema.parse(JSON.parse(readFileSync(`${place}.json`, 'utf8')));
  } catch {
    return undefined; // not there, or not whole: it is compiled again
  }
}

/** The object of a `compiled` event for a device of capability `cc`, if it is there and made of the code as it is now. */
export function objectOf(objects: string, { kernel, ptx, inputs }: Pick<EventOf<'compiled'>, 'kernel' | 'ptx' | 'inputs'>, cc: number): Built | undefined {
  const parsed = parseKernelName(kernel);
  if (inputsOfSource(renderKernel(parsed)) !== inputs) return undefined;
  const place = placeOf(objects, { kernel, ptx });
  const facts = factsAt(place);
  const path = `${place}.${runsNatively(parsed.arch, cc) ? 'cubin' : 'ptx'}`;
  if (!facts || !existsSync(path)) return undefined;
  const { nvcc: _, ...built } = facts;
  return { ...built, path };
}

/** Takes what compile nodes left; the rest is compiled here, by `local`, or lost where there is no nvcc either. `past`: events of the task. */
export function objectCompiler(objects: string, past: readonly TuneEvent[], cc: number, local: Compiler | undefined): Compiler {
  const compiled = new Map(past.flatMap((event): [string, EventOf<'compiled'>][] => (event.event === 'compiled' ? [[event.kernel, event]] : [])));
  return {
    nvcc: local?.nvcc ?? [...compiled.values()].at(-1)?.nvcc ?? 'none',
    async compile(kernel) {
      const known = compiled.get(kernel);
      const built = known && objectOf(objects, known, cc);
      if (built) return { built };
      if (local) return local.compile(kernel);
      return { lost: { kernel, stage: 'compile', kind: 'error', why: 'no compile node has made it, and there is no nvcc here', repro: `gen --only ${kernel} --out DIR` } };
    },
  };
}
