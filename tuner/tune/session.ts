// One task at work on one device: every event is written before anything depends on it, every launch is announced before it happens, every fault costs one candidate.
import { resume, MOST_ENDS, type TaskState } from './resume.ts';
import { defaultArm, problemWord, reproOf } from './arms.ts';
import type { Built, CompilePool } from './compile-pool.ts';
import type { Draft, EventOf, Phase, TuneEvent, Write } from './events.ts';
import type { Clock, Fault, Measurer } from './measurer.ts';
import { armWord, type Arm, type Problem, type Task } from './problem.ts';
import { stableDigest } from '../../generator/stable.ts';
import type { Strategy } from './strategy.ts';

export interface TaskRun {
  readonly task: Task;
  readonly strategy: Strategy;
  readonly measurer: Measurer;
  /** Digest of the environment that the measurer measures in. */
  readonly environment: string;
  readonly pool: CompilePool;
  readonly write: Write;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  readonly past: readonly TuneEvent[];
  readonly seed: number;
  /** Rounds of a race at most. */
  readonly rounds: number;
  /** Milliseconds since 1970 when the task's part of the budget ends. */
  readonly deadline?: number;
  /** What was lost before is tried again. */
  readonly retry?: boolean;
  /** As `--device` has it. */
  readonly label: string;
  /** When this machine started, in ms since 1970: what ran before took it down. */
  readonly booted?: number;
}

/** The default kernel itself is lost: nothing can be compared. */
export class DefaultLost extends Error {
  readonly fault: EventOf<'failed'>['kind'];
  constructor(kernel: string, { kind, why }: Pick<Fault, 'kind' | 'why'>) {
    super(`the default kernel ${kernel}: ${why}`);
    this.fault = kind;
  }
}

/** Faults that speak of a kernel wherever it runs; others only of an arm at a problem. */
const EVERYWHERE: readonly Fault['kind'][] = ['timeout', 'crash', 'trap', 'wrong', 'ice'];
const PROBE_MS = 60_000;

export class TaskSession {
  readonly run: TaskRun;
  readonly state: TaskState;
  readonly usual: string;
  /** What the measurer knows, in the order in which it came. */
  readonly loaded = new Map<string, Built>();
  /** The time ran out before the search was over: nothing is settled for good. */
  cut = false;
  /** The process that confirms has begun. */
  confirming = false;
  /** When the phase at hand must end. */
  deadline: number | undefined;
  private probed = -Infinity;
  /** Of the last block. */
  private session = 'start';

  constructor(run: TaskRun) {
    this.run = run;
    const { retry = false, booted } = run;
    this.state = resume(run.task, run.past, run.environment, { retry, ...(booted === undefined ? {} : { booted }) });
    this.usual = run.task.kernels[0]!;
    this.deadline = run.deadline;
  }

  get late(): boolean {
    return this.deadline !== undefined && this.run.clock.now() >= this.deadline;
  }

  async emit(draft: Draft): Promise<void> {
    await this.run.write(draft);
    this.state.take(draft);
  }

  arm0 = (problem: Problem): Arm => defaultArm(problem, this.usual, this.run.measurer.device.sms);

  /** Whether a kernel may be launched at a step: one that was running whenever the process ended is lost. */
  async mayBegin(kernel: string, stage: 'verify' | Phase, problem?: Problem): Promise<boolean> {
    const { environment, label } = this.run;
    if (this.state.lost.has(kernel)) return false;
    if (kernel === this.usual || this.state.ends(kernel, stage, problem) < MOST_ENDS) return true;
    const why = `it ran whenever the process, or the machine, went down${problem ? `, at ${problemWord(problem)}` : ''}`;
    await this.emit({ event: 'failed', environment, kernel, stage, kind: 'crash', why, repro: reproOf(label, kernel, problem) });
    return false;
  }

  /** Checks a kernel unless its code was checked before; whether it is right. Throws DefaultLost. */
  async verify(kernel: string): Promise<boolean> {
    const { environment, measurer } = this.run;
    if (this.state.isVerified(kernel)) return true;
    if (!(await this.mayBegin(kernel, 'verify'))) return false;
    await this.emit({ event: 'started', environment, kernel, stage: 'verify' });
    const verdict = await measurer.verify(kernel);
    if (verdict.ok) {
      await this.emit({ event: 'verified', environment, kernel, ptx: this.ptxOf(kernel), checks: Math.max(1, verdict.checks), worst: verdict.worst });
      return true;
    }
    const { kind, why, repro } = verdict;
    await this.emit({ event: 'failed', environment, kernel, stage: 'verify', kind, why, repro });
    if (kernel === this.usual) throw new DefaultLost(kernel, verdict);
    return false;
  }

  /**
   * Races `arms`, the default's first, and writes what came of it. Candidates that were lost are in the state. False: the problem cannot be measured here, for the
   * default does not fit. Throws DefaultLost.
   */
  async measure(problem: Problem, arms: readonly Arm[], phase: Phase, rounds: number, fresh = false): Promise<boolean> {
    const { environment, measurer, seed } = this.run;
    await this.probe();
    const kernels = [...new Set(arms.map(({ kernel }) => kernel))];
    for (const kernel of kernels) if (kernel !== this.usual) await this.emit({ event: 'started', environment, kernel, problem, stage: phase });
    const order = parseInt(stableDigest([seed, problem, phase, this.state.blocksOf(problem, phase)]).slice(0, 8), 16);
    const block = await measurer.race({ problem, arms, rounds, seed: order, fresh });
    this.session = block.session;
    for (const { arm, kind, why, repro } of block.failed) {
      const combined = arm.launch.endsWith('c');
      const where = EVERYWHERE.includes(kind) && !combined ? {} : { problem, arm };
      await this.emit({ event: 'failed', environment, kernel: arm.kernel, stage: phase, kind, ...where, why, repro });
      if (armWord(arm) === armWord(arms[0]!)) {
        if (kind === 'memory') return false;
        throw new DefaultLost(arm.kernel, { kind, why });
      }
    }
    // Other launches of a kernel that was lost mean nothing.
    const kept = block.arms.flatMap((arm, i) => (this.state.lost.has(arm.kernel) ? [] : [i]));
    const own = kept.map((i) => block.arms[i]!);
    const { discarded, bytes, session } = block;
    const times = block.rounds.map((round) => ({ ...round, us: kept.map((i) => round.us[i]!) }));
    await this.emit({ event: 'raced', environment, session, phase, problem, arms: own, ptx: own.map(({ kernel }) => this.ptxOf(kernel)), rounds: times, discarded, bytes });
    return true;
  }

  /** Once a minute: whether the device is as fast as it was. */
  private async probe(): Promise<void> {
    const { measurer, clock, environment } = this.run;
    if (clock.now() - this.probed < PROBE_MS) return;
    this.probed = clock.now();
    const { us, mhz, celsius } = await measurer.probe();
    await this.emit({ event: 'probe', environment, session: this.session, us, mhz, celsius });
  }

  private ptxOf = (kernel: string): string => this.state.compiled.get(kernel)!.ptx;
}
