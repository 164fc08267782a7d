// The second half of a task: who came near the best of a problem races there until the times tell them apart, then winners meet the default in a fresh process.
import { reproOf } from './arms.ts';
import { bring } from './bring.ts';
import { confirmed, CONFIRM_ROUNDS, type Confirmation } from './confirm.ts';
import { armWord, type Arm, type Problem } from './problem.ts';
import { ratiosOf, standingsOf, type Standings } from './race.ts';
import { racersOf } from './screen.ts';
import type { TaskSession } from './session.ts';

/** Rounds between two looks at a race: the fewest that give a 95 % interval, so that who is clearly slower leaves after one block. */
const BLOCK = 6;
/** Times that a winner is confirmed before it is given up. */
const TRIES = 2;

const equal = (a: Arm, b: Arm): boolean => armWord(a) === armWord(b);

/** Who wins where the clock does not tell: the choice that a table made before, then the default. */
function winnerOf({ leader, ties }: Standings, usual: Arm, incumbents: readonly Arm[]): Arm {
  const tied = (arm: Arm): boolean => ties.some((other) => equal(other, arm));
  return incumbents.find(tied) ?? (tied(usual) ? usual : leader);
}

export interface Raced {
  readonly problem: Problem;
  readonly arms: readonly Arm[];
  readonly winner: Arm;
  readonly why: 'interval' | 'rounds' | 'alone' | 'budget';
}

/** Races at one problem to its end. Undefined: the signal came, or the problem does not fit the device. */
export async function raceAt(session: TaskSession, problem: Problem): Promise<Raced | undefined> {
  const { state, run: { measurer, signal, rounds: most } } = session;
  const usual = session.arm0(problem);
  const incumbents = state.incumbents(problem);
  for (;;) {
    const all = racersOf(problem, state.screened(problem), usual, incumbents, measurer.device.sms).filter((arm) => equal(arm, usual) || !state.isLost(problem, arm));
    const arms: Arm[] = [];
    // An earlier sweep may have seen kernels that this one's search did not name.
    for (const arm of all) if ((await bring(session, arm.kernel)) && (await session.verify(arm.kernel)) && (await session.mayBegin(arm.kernel, 'race', problem))) arms.push(arm);
    const standings = standingsOf(arms, state.rounds(problem, 'race'), most, incumbents);
    const winner = winnerOf(standings, usual, incumbents);
    if (standings.settled) return { problem, arms: standings.alive, winner, why: session.cut ? 'budget' : standings.settled };
    if (signal.aborted) return undefined;
    if (session.late) return { problem, arms: standings.alive, winner, why: 'budget' };
    if (!(await session.measure(problem, standings.alive, 'race', Math.min(BLOCK, most)))) return undefined;
  }
}

/**
 * Confirms a race's winner against the default in a process that has raced nothing, and settles the problem. All of a task share that process: one for each would take
 * longer than the races. What it does not show again is raced once more in a fresh one, and then the default stays. False: not settled, for the signal came.
 */
export async function confirmAt(session: TaskSession, { problem, winner, why, arms }: Raced): Promise<boolean> {
  const { state, run: { environment, label, signal } } = session;
  const usual = session.arm0(problem);
  const settle = (arm: Arm): Promise<void> => session.emit({ event: 'settled', environment, problem, arm, why });
  const look = (): Confirmation | undefined => {
    const again = state.rounds(problem, 'confirm', true);
    return ratiosOf(again, winner, usual).length > 0 ? confirmed(winner, usual, state.rounds(problem, 'race'), again) : undefined;
  };
  // A budget that is spent leaves no rounds of a race to compare with.
  if (equal(winner, usual) || ratiosOf(state.rounds(problem, 'race'), winner, usual).length === 0) return settle(usual).then(() => true);
  for (;;) {
    const seen = look();
    if (seen?.ok) return settle(winner).then(() => true);
    if (signal.aborted) return false;
    const tries = state.blocksOf(problem, 'confirm');
    if (seen && tries >= TRIES) {
      await session.emit({ event: 'failed', environment, kernel: winner.kernel, stage: 'confirm', kind: 'error', problem, arm: winner, why: seen.why, repro: reproOf(label, winner.kernel, problem, winner.launch) });
      return settle(usual).then(() => true);
    }
    if (seen && !(await session.measure(problem, [usual, ...arms.filter((arm) => !equal(arm, usual))], 'race', BLOCK, true))) return false;
    if (state.isLost(problem, winner)) return settle(usual).then(() => true);
    const fresh = !session.confirming || seen !== undefined;
    session.confirming = true;
    if (!(await session.measure(problem, [usual, winner], 'confirm', CONFIRM_ROUNDS, fresh))) return false;
    if (state.isLost(problem, winner)) return settle(usual).then(() => true);
  }
}
