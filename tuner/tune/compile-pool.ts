// Compile workers of a sweep: kernels by name become images, several at once; whoever asks twice waits for the same one. A kernel that fails is an answer.
import { createHash } from 'node:crypto';
import PQueue from 'p-queue';
import type { Arch } from '../../generator/arch.ts';
import { CompileError } from '../../generator/errors.ts';
import { parseKernelName } from '../../generator/name.ts';
import { renderKernel } from '../../generator/source.ts';
import { inputsOfSource } from '../../generator/table/inputs.ts';
import { buildEmulatedKernel } from '../host.ts';
import type { Nvcc, Resources } from '../nvcc.ts';
import { isLost, toCubin, toPtx, type Lost } from '../space/ptx.ts';
import type { EventOf } from './events.ts';

/** A kernel that can be loaded, with what its compilers said. */
export interface Built {
  readonly kernel: string;
  readonly path: string;
  readonly ptx: string;
  readonly inputs: string;
  readonly registers: number;
  readonly spillBytes: number;
  readonly stackBytes: number;
  readonly seconds: EventOf<'compiled'>['seconds'];
}
export interface Unbuilt extends Lost {
  readonly stage: 'compile' | 'ptxas';
}
export type Outcome = { readonly built: Built } | { readonly lost: Unbuilt };

/** Compiles one kernel. Rejects only for faults of the machine. */
export interface Compiler {
  /** In journals: its version. */
  readonly nvcc: string;
  compile(kernel: string): Promise<Outcome>;
}

const resourcesOf = ({ registers, spillStores, spillLoads, stack }: Resources) => ({ registers, spillBytes: spillStores + spillLoads, stackBytes: stack });

/** The image that users of a device of capability `cc` run: machine code where it is of the same major version and not newer, else PTX, which the driver compiles. */
export const runsNatively = (arch: Arch, cc: number): boolean => Math.floor(Number(arch.name.slice(2)) / 10) === Math.floor(cc / 10) && Number(arch.name.slice(2)) <= cc;

/** nvcc in two steps, for a device of capability `cc` (times 10). */
export function nvccCompiler(nvcc: Nvcc, cc: number, timeoutMs?: number): Compiler {
  const options = { nvcc, ...(timeoutMs === undefined ? {} : { timeoutMs }) };
  return {
    nvcc: nvcc.version,
    async compile(kernel) {
      const parsed = parseKernelName(kernel);
      const ptx = await toPtx(parsed, options);
      if (isLost(ptx)) return { lost: { ...ptx, stage: 'compile' } };
      const cubin = await toCubin(ptx, parsed.arch, options);
      if (isLost(cubin)) return { lost: { ...cubin, stage: 'ptxas' } };
      const path = runsNatively(parsed.arch, cc) ? cubin.path : ptx.path;
      return { built: { kernel, path, ptx: ptx.ptx, inputs: ptx.inputs, ...resourcesOf(cubin.resources), seconds: { ptx: ptx.seconds, ptxas: cubin.seconds } } };
    },
  };
}

/** g++ builds for the emulated driver; the hash of the code stands in for that of PTX. */
export const emulatedCompiler = (): Compiler => ({
  nvcc: 'emulated',
  async compile(kernel) {
    const source = renderKernel(parseKernelName(kernel));
    try {
      const path = await buildEmulatedKernel(kernel, source);
      const ptx = createHash('sha256').update(inputsOfSource(source.replaceAll(kernel, 'kernel'))).digest('hex');
      return { built: { kernel, path, ptx, inputs: inputsOfSource(source), registers: 1, spillBytes: 0, stackBytes: 0, seconds: { ptx: null, ptxas: null } } };
    } catch (error) {
      if (!(error instanceof CompileError)) throw error;
      return { lost: { kernel, stage: 'compile', kind: 'error', why: error.message, repro: error.fix ?? `gen verify --device emulated --only ${kernel}` } };
    }
  },
});

/** Up to `jobs` compilers at once. What somebody waits for is compiled first, then what was asked for ahead, each in the order in which it was asked. */
export class CompilePool {
  readonly jobs: number;
  readonly nvcc: string;
  private readonly queue: PQueue;
  private readonly known = new Map<string, Promise<Outcome>>();
  /** Asked for ahead and not begun. */
  private readonly waiting = new Set<string>();
  private readonly compiler: Compiler;

  constructor(compiler: Compiler, jobs: number) {
    this.compiler = compiler;
    this.jobs = jobs;
    this.nvcc = compiler.nvcc;
    this.queue = new PQueue({ concurrency: jobs });
  }

  /** `ahead`: nobody waits for it yet. */
  get(kernel: string, ahead = false): Promise<Outcome> {
    const known = this.known.get(kernel);
    if (known) {
      if (!ahead && this.waiting.delete(kernel)) this.queue.setPriority(kernel, 1);
      return known;
    }
    if (ahead) this.waiting.add(kernel);
    const made = this.queue.add(() => {
      this.waiting.delete(kernel);
      return this.compiler.compile(kernel);
    }, { id: kernel, priority: ahead ? 0 : 1 });
    made.catch(() => {}); // whoever waits hears of it; nobody may
    this.known.set(kernel, made);
    return made;
  }

  /** Nothing that has not begun will. */
  drop(): void {
    this.queue.clear();
    this.waiting.clear();
  }
}
