// The spaces of the journals in harness/bench/records: every problem of a sweep with the arms that were timed there, as searches could have met it.
// `node --import tsx test/tuner/search/measured.ts` prints how many evaluations each search takes on them.
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { gunzipSync } from 'node:zlib';
import { eventsOf, parseJournal } from '../../../tuner/journal/read.ts';
import { exportSpaces } from '../../../tuner/search/export.ts';
import { costsOf, spaceOfRecorded, type RecordedSpace } from '../../../tuner/search/recorded.ts';
import { contest } from '../../../tuner/search/replay.ts';
import { mean } from '../../../tuner/space/numbers.ts';

const RECORDS = fileURLToPath(new URL('../../../harness/bench/records/', import.meta.url));

/** Journals of sweeps (`sweep`, `held-out`: the likeliest kernels of each contract) and of whole spaces (`spaces`: all of them); what is added to the folder takes part. */
export const JOURNALS = readdirSync(RECORDS).filter((name) => /-(sweep|held-out|spaces)-.*\.jsonl\.gz$/.test(name)).sort();

export const armsIn = ({ rows }: RecordedSpace): number => rows.filter(({ us }) => us[0] !== null).length;

/** Spaces of arms at one problem, of at least `least` arms with times: fewer are found at once by whatever search. */
export function spacesOf(journal: string, least = 12): RecordedSpace[] {
  const { lines } = parseJournal(gunzipSync(readFileSync(`${RECORDS}${journal}`)).toString('utf8'), journal);
  return exportSpaces(eventsOf(lines)).filter((space) => armsIn(space) >= least);
}

/** Means over spaces: evaluations to come within 2 % of the best, in the median and the 90th percentile of a space's runs; where a search ends by itself, and after how many. */
export interface Mean {
  readonly median: number;
  readonly p90: number;
  readonly ended: number;
  readonly evaluations: number;
}

export function standingsOver(spaces: readonly RecordedSpace[], seeds: number): Map<string, Mean> {
  const rows = spaces.flatMap((space) => contest(spaceOfRecorded(space), costsOf(space), { seeds }));
  return new Map([...new Set(rows.map(({ strategy }) => strategy))].map((name) => {
    const own = rows.filter(({ strategy }) => strategy === name);
    return [name, { median: mean(own.map(({ median }) => median)), p90: mean(own.map(({ p90 }) => p90)), ended: mean(own.map(({ ended }) => ended.median)), evaluations: mean(own.map(({ ended }) => ended.evaluations)) }];
  }));
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  for (const journal of JOURNALS) {
    const spaces = spacesOf(journal);
    process.stdout.write(`${journal}: ${spaces.length} spaces, ${spaces.reduce((sum, space) => sum + armsIn(space), 0)} arms with times\n`);
    for (const [name, { median, p90, ended, evaluations }] of standingsOver(spaces, 30)) {
      process.stdout.write(`  ${name.padEnd(10)} ${median.toFixed(1)} evaluations to within 2 % (90 %: ${p90.toFixed(1)}); ends ${(100 * (ended - 1)).toFixed(1)} % above the best after ${evaluations.toFixed(1)}\n`);
    }
  }
}
