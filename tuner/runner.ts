// The runner as a child process: requests and records as JSON lines, a time-out per request, a new process after a crash.
import { createInterface } from 'node:readline';
import { execa } from 'execa';
import { z } from 'zod';
import { AntkvError, EnvironmentError, EXIT, InputError } from '../generator/errors.ts';
import { attendRecordSchema, type AttendRecord, type AttendRequest } from './attend-schema.ts';
import { lifeRecordSchema, type LifeRecord, type LifeRequest } from './life-schema.ts';
import { checkRecordSchema, infoRecordSchema, type CheckRecord, type CheckRequest, type InfoRecord } from './problem.ts';

export interface RunnerOptions {
  /** Path of the binary, from `buildRunner`. */
  readonly binary: string;
  /** Path or soname of the driver; absent: the system's libcuda.so.1. */
  readonly driver?: string;
  /** Milliseconds that one request may take; 120,000 unless given. */
  readonly timeoutMs?: number;
  readonly env?: NodeJS.ProcessEnv;
  /** A command that runs the binary: the binary and its arguments follow these words. */
  readonly under?: readonly string[];
}

/** How a request was lost: `driver`: a driver call failed; `runner`: the program refused, for example for want of host memory. */
export type Loss = 'timeout' | 'crash' | 'driver' | 'runner';

/** A kernel or the driver failed, the process crashed, or a request took too long. */
export class RunnerError extends AntkvError {
  readonly loss: Loss;
  /** Of a race: the arm that was at work. */
  readonly arm: number | undefined;

  constructor(message: string, fix?: string, loss: Loss = 'runner', arm?: number) {
    super(EXIT.wrong, message, fix);
    this.loss = loss;
    this.arm = arm;
  }
}

const lineSchema = z.looseObject({ id: z.number().nullable(), error: z.string().optional(), kind: z.enum(['driver', 'request', 'runner']).optional(), fatal: z.boolean().optional(), arm: z.int().optional() });
type Line = z.infer<typeof lineSchema>;

interface Waiting {
  readonly resolve: (line: Line) => void;
  readonly reject: (error: Error) => void;
  readonly timer: NodeJS.Timeout;
}

function start({ binary, driver, env, under = [] }: RunnerOptions) {
  const [program, ...words] = [...under, binary, ...(driver === undefined ? [] : ['--driver', driver])];
  return execa(program!, words, { stdin: 'pipe', stdout: 'pipe', stderr: 'pipe', buffer: false, reject: false, ...(env ? { env } : {}) });
}

/** One child process at a time; requests are answered in order. Close it, or the process stays. */
export class Runner {
  private child: ReturnType<typeof start> | undefined;
  private readonly waiting = new Map<number, Waiting>();
  private next = 1;
  private count = 0;
  private readonly options: RunnerOptions;

  constructor(options: RunnerOptions) {
    this.options = options;
  }

  info = async (): Promise<InfoRecord> => infoRecordSchema.parse(await this.request({ cmd: 'info' }));
  check = async (request: CheckRequest): Promise<CheckRecord> => checkRecordSchema.parse(await this.request(request));
  attend = async (request: AttendRequest): Promise<AttendRecord> => attendRecordSchema.parse(await this.request(request));
  life = async (request: LifeRequest): Promise<LifeRecord> => lifeRecordSchema.parse(await this.request(request));

  /**
   * Sends one request and waits for its record. Throws InputError if the runner refuses the request or a file that it names, RunnerError if a kernel, the driver or
   * the process fails or the time is up, EnvironmentError if the process cannot start. The next request finds a new process where the old one was lost.
   */
  async request(body: object, timeoutMs = this.options.timeoutMs ?? 120_000): Promise<unknown> {
    const child = (this.child ??= this.launch());
    const id = this.next++;
    const line = await new Promise<Line>((resolve, reject) => {
      const timer = setTimeout(() => this.drop(child, new RunnerError(`the runner gave no answer within ${timeoutMs / 1000} s to ${JSON.stringify(body).slice(0, 200)}`, 'a kernel hangs, or the shape is too large for the time given', 'timeout')), timeoutMs);
      this.waiting.set(id, { resolve, reject, timer });
      child.stdin.write(`${JSON.stringify({ ...body, id })}\n`);
    });
    if (line.error === undefined) return line;
    if (line.fatal) this.drop(child, new RunnerError('the runner was restarted after a fatal error of the driver', undefined, 'driver'));
    throw line.kind === 'request' ? new InputError(line.error) : new RunnerError(line.error, undefined, line.kind === 'driver' ? 'driver' : 'runner', line.arm);
  }

  /** How many processes were started so far: what was measured in two of them is no pair. */
  get starts(): number {
    return this.count;
  }

  /** Ends the process, waiting or not; the next request finds a new one. */
  kill(): void {
    if (this.child) this.drop(this.child, new RunnerError('the runner was ended', undefined, 'crash'));
  }

  /** Ends the process when it has answered all. */
  async close(): Promise<void> {
    const child = this.child;
    this.child = undefined;
    child?.stdin.end();
    await child;
  }

  private launch(): ReturnType<typeof start> {
    const child = start(this.options);
    this.count++;
    let stderr = '';
    child.stderr.on('data', (chunk: Buffer) => (stderr = (stderr + chunk.toString()).slice(-8000)));
    child.stdin.on('error', () => {}); // a dead child is reported below, by its end
    createInterface({ input: child.stdout }).on('line', (text) => this.hear(child, text));
    void child.then((result) => {
      if (this.child !== child) return;
      const message = stderr.trim() || result.shortMessage || 'no message';
      // 3 is the runner's own "cannot start"; a program that is not there has no exit code.
      if (result.exitCode === 3 || (result.exitCode === undefined && result.signal === undefined)) {
        this.drop(child, new EnvironmentError(message, 'install the NVIDIA driver, or use --device emulated'));
      } else this.drop(child, new RunnerError(`the runner ended (${result.signal ?? `exit code ${result.exitCode}`}): ${message}`, undefined, 'crash'));
    });
    return child;
  }

  private hear(child: ReturnType<typeof start>, text: string): void {
    const parsed = lineSchema.safeParse(JSON.parse(text));
    const waiting = parsed.success && parsed.data.id !== null ? this.waiting.get(parsed.data.id) : undefined;
    if (!parsed.success || !waiting) return this.drop(child, new RunnerError(`the runner wrote a line that answers nothing: ${text.slice(0, 500)}`));
    clearTimeout(waiting.timer);
    this.waiting.delete(parsed.data.id!);
    waiting.resolve(parsed.data);
  }

  /** Kills a child that is of no more use; whoever waits for it gets `error`. */
  private drop(child: ReturnType<typeof start>, error: Error): void {
    if (this.child !== child) return;
    this.child = undefined;
    child.kill('SIGKILL');
    for (const { reject, timer } of this.waiting.values()) {
      clearTimeout(timer);
      reject(error);
    }
    this.waiting.clear();
  }
}
