// What a task knows so far, as a function of its events: the same whether they were just written or are read from a journal, so that a sweep goes on where it ended. Pure.
import { byAge, type Draft, type EventOf, type TuneEvent } from './events.ts';
import { armWord, problemKey, type Arm, type Problem, type Task } from './problem.ts';
import { roundsByArm, type Round } from './race.ts';
import { screenRatios, type Screened } from './screen.ts';

/**
 * Times that a candidate may be found running where a process ended, before it is held to be the reason. Some may be chance, a job that was killed for example; where
 * the machine itself went down meanwhile it counts twice.
 */
export const MOST_ENDS = 4;

/** How a candidate was lost everywhere. */
export type Loss = Pick<EventOf<'failed'>, 'stage' | 'kind' | 'why'>;

type Raced = Omit<EventOf<'raced'>, 'id' | 'at' | 'writer'>;
const started = (kernel: string, stage: string, problem?: Problem): string => `${kernel} ${stage} ${problem ? problemKey(problem) : ''}`;

export class TaskState {
  /** By kernel. */
  readonly compiled = new Map<string, Omit<EventOf<'compiled'>, 'id' | 'at' | 'writer'>>();
  readonly pruned = new Map<string, { readonly why: string; readonly same?: string | undefined }>();
  readonly lost = new Map<string, Loss>();
  /** Times that each candidate was begun and not ended, by kernel, stage and problem. */
  private readonly open = new Map<string, number>();
  private readonly verifiedPtx = new Set<string>();
  private readonly lostArms = new Map<string, Set<string>>();
  private readonly blocks = new Map<string, Raced[]>();
  private readonly settledArms = new Map<string, Arm>();
  private readonly chosen = new Map<string, Arm[]>();
  private readonly environment: string;
  private readonly booted: number;

  /** `environment`: digest of the one that is measured in; what other ones measured is not mixed in. `booted`: when this machine started, in ms since 1970. */
  constructor(environment: string, booted = -Infinity) {
    this.environment = environment;
    this.booted = booted;
  }

  take(event: Draft | TuneEvent): void {
    if ('environment' in event && event.environment !== undefined && event.environment !== this.environment) return;
    switch (event.event) {
      case 'incumbent': {
        const key = problemKey(event.problem);
        this.chosen.set(key, [...(this.chosen.get(key) ?? []), event.arm]);
        return;
      }
      case 'compiled': {
        const before = this.compiled.get(event.kernel);
        // Other code is another candidate under an old name.
        if (before && before.ptx !== event.ptx) this.forget(event.kernel);
        this.compiled.set(event.kernel, event);
        return;
      }
      case 'pruned':
        return void this.pruned.set(event.kernel, event);
      case 'started': {
        const key = started(event.kernel, event.stage, event.problem);
        const down = 'at' in event && Date.parse(event.at) < this.booted;
        return void this.open.set(key, (this.open.get(key) ?? 0) + (down ? 2 : 1));
      }
      case 'verified':
        this.open.delete(started(event.kernel, 'verify'));
        return void this.verifiedPtx.add(`${event.kernel} ${event.ptx}`);
      case 'raced': {
        for (const { kernel } of event.arms) this.open.delete(started(kernel, event.phase, event.problem));
        const key = problemKey(event.problem);
        // Somebody new: what was settled without them is open again.
        if (event.phase === 'screen') this.settledArms.delete(key);
        return void this.blocks.set(key, [...(this.blocks.get(key) ?? []), event]);
      }
      case 'failed':
        return this.fail(event);
      case 'settled':
        // Where the time ran out the next sweep goes on.
        if (event.why !== 'budget') this.settledArms.set(problemKey(event.problem), event.arm);
        return;
      default:
    }
  }

  isVerified = (kernel: string): boolean => this.verifiedPtx.has(`${kernel} ${this.compiled.get(kernel)?.ptx}`);
  settled = (problem: Problem): Arm | undefined => this.settledArms.get(problemKey(problem));
  incumbents = (problem: Problem): readonly Arm[] => this.chosen.get(problemKey(problem)) ?? [];
  isLost = (problem: Problem, arm: Arm): boolean => this.lost.has(arm.kernel) || (this.lostArms.get(problemKey(problem))?.has(armWord(arm)) ?? false);

  /** Ends without an answer of a candidate at a step. */
  ends = (kernel: string, stage: string, problem?: Problem): number => this.open.get(started(kernel, stage, problem)) ?? 0;

  /** What the screens of a problem found of the code as it is now: the later block of an arm counts. */
  screened(problem: Problem): Screened {
    const found = new Map<string, number>();
    for (const { arms, rounds, ptx } of this.phase(problem, 'screen')) {
      const ratios = rounds.length > 0 ? screenRatios(arms, rounds) : new Map<string, number>();
      arms.forEach((arm, i) => {
        const ratio = ratios.get(armWord(arm));
        if (ratio !== undefined && ptx[i] === this.compiled.get(arm.kernel)?.ptx && !this.isLost(problem, arm)) found.set(armWord(arm), ratio);
      });
    }
    return found;
  }

  /** Rounds of a phase at a problem, of the arms whose code is as it is now. `last`: of the last block alone. */
  rounds(problem: Problem, phase: Raced['phase'], last = false): Round[] {
    const blocks = this.phase(problem, phase);
    return (last ? blocks.slice(-1) : blocks).flatMap(({ arms, rounds, ptx }) => {
      const valid = new Set(arms.filter((arm, i) => ptx[i] === this.compiled.get(arm.kernel)?.ptx).map(armWord));
      return roundsByArm(arms, rounds).map((round) => new Map([...round].filter(([word]) => valid.has(word))));
    });
  }

  /** How many blocks a phase has. */
  blocksOf = (problem: Problem, phase: Raced['phase']): number => this.phase(problem, phase).length;

  private phase = (problem: Problem, phase: Raced['phase']): Raced[] => (this.blocks.get(problemKey(problem)) ?? []).filter((block) => block.phase === phase);

  private fail({ kernel, stage, kind, why, problem, arm }: Omit<EventOf<'failed'>, 'id' | 'at' | 'writer'>): void {
    for (const key of this.open.keys()) if (key.startsWith(`${kernel} `)) this.open.delete(key);
    if (!problem) return void this.lost.set(kernel, { stage, kind, why });
    const key = problemKey(problem);
    const words = this.lostArms.get(key) ?? new Set();
    this.lostArms.set(key, words.add(arm ? armWord(arm) : kernel));
  }

  private forget(kernel: string): void {
    this.lost.delete(kernel);
    this.pruned.delete(kernel);
    for (const key of this.open.keys()) if (key.startsWith(`${kernel} `)) this.open.delete(key);
    for (const words of this.lostArms.values()) for (const word of words) if (word === kernel || word.startsWith(`${kernel} `)) words.delete(word);
  }
}

/** Whether an event speaks of this task. */
function concerns({ contract, arch }: Task, event: TuneEvent): boolean {
  if ('problem' in event && event.problem && event.problem.contract !== contract) return false;
  const ours = (kernel: string): boolean => kernel.startsWith(`${contract}__${arch}_`) || kernel.endsWith(`__${arch}`);
  if ('kernel' in event) return ours(event.kernel);
  if (event.event === 'raced') return ours(event.arms[0]!.kernel);
  // Other architectures have the same problems.
  return (event.event === 'incumbent' || event.event === 'settled') && ours(event.arm.kernel);
}

/** The state of a task after `events`, which may be of many tasks and in any order. `retry`: what was lost is tried again. `booted` as in {@link TaskState}. */
export function resume(task: Task, events: readonly TuneEvent[], environment: string, { retry = false, booted }: { readonly retry?: boolean; readonly booted?: number } = {}): TaskState {
  const state = new TaskState(environment, booted);
  const own = events.filter((event) => concerns(task, event));
  // What is tried again is checked again too, so that the later fact is that it is right.
  const again = new Set(retry ? own.flatMap((event) => (event.event === 'failed' && !event.problem ? [event.kernel] : [])) : []);
  const mine = own.filter((event) => !(retry && (event.event === 'failed' || event.event === 'started')) && !(event.event === 'verified' && again.has(event.kernel)));
  mine.toSorted(byAge).forEach((event) => state.take(event));
  return state;
}
