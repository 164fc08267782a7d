// Whether the SM clock was what it usually is in a session: rounds in which it was not are repeated.
import { median } from '../space/numbers.ts';

/** Of a round's clock from the session's median. */
const DRIFT = 0.03;
/** Rounds that the median is of, the latest. */
const MOST = 2000;

export class Clocks {
  private session = '';
  private mhz: number[] = [];

  /** The rounds whose clock is within 3 % of the median of all that this session has seen, these too; all of them where the device tells no clock. */
  steady<Round extends { readonly mhz: number | null }>(session: string, rounds: readonly Round[]): Round[] {
    if (this.session !== session) this.mhz = [];
    this.session = session;
    this.mhz = [...this.mhz, ...rounds.flatMap(({ mhz }) => mhz ?? [])].slice(-MOST);
    const usual = median(this.mhz);
    return rounds.filter(({ mhz }) => mhz === null || Math.abs(mhz / usual - 1) <= DRIFT);
  }
}
