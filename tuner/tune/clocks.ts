// Whether the SM clock was what it usually is: rounds in which it was not are repeated.
import { median } from '../space/numbers.ts';

/** Of a round's clock from the usual one. */
const DRIFT = 0.03;
/** Rounds that the median is of, the latest. */
const MOST = 2000;

export class Clocks {
  private session = '';
  private mhz: number[] = [];
  /** Clocks of problems that do not run at the session's: their own load draws so much power, and no repetition changes that. */
  private readonly own = new Map<string, number>();

  /**
   * The rounds whose clock is within 3 % of what is usual: of the problem where that is known ({@link accept}), else the median of all that this session has seen, these
   * too. All of them where the device tells no clock.
   */
  steady<Round extends { readonly mhz: number | null }>(session: string, problem: string, rounds: readonly Round[]): Round[] {
    if (this.session !== session) {
      this.mhz = [];
      this.own.clear();
    }
    this.session = session;
    const usual = this.own.get(problem);
    if (usual === undefined) this.mhz = [...this.mhz, ...rounds.flatMap(({ mhz }) => mhz ?? [])].slice(-MOST);
    const clock = usual ?? median(this.mhz);
    return rounds.filter(({ mhz }) => mhz === null || Math.abs(mhz / clock - 1) <= DRIFT);
  }

  /** What a problem's rounds have even when they are repeated is its clock from here on. */
  accept(problem: string, rounds: readonly { readonly mhz: number | null }[]): void {
    const mhz = rounds.flatMap((round) => round.mhz ?? []);
    if (mhz.length > 0) this.own.set(problem, median(mhz));
  }
}
