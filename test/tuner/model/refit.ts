// Fits the model to the bench records that are kept, and prints what tuner/model/fits.ts should hold: node --import tsx test/tuner/model/refit.ts [JOURNAL of an H200 …]
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { gunzipSync } from 'node:zlib';
import { findArch } from '../../../generator/arch.ts';
import { parseContractName } from '../../../generator/name.ts';
import { readRecords } from '../../../tuner/bench-row.ts';
import { eventsOf, parseJournal, readJournal, type Journal } from '../../../tuner/journal/read.ts';
import { fitModel } from '../../../tuner/model/fit.ts';
import { timedOfEvents, timedOfRows } from '../../../tuner/model/timed.ts';
import type { Timed } from '../../../tuner/tune/model.ts';

const folder = fileURLToPath(new URL('../../../harness/bench/records/', import.meta.url));

export const H200 = findArch('sm90')!.machine!;

/** Records of look-up kernels whose code has changed much since: what the model counts is no longer what they did. */
const OUTDATED = ['h200-goals-2026-11-22.jsonl', 'h200-goals-2026-11-22-second.jsonl'];

/** The decode times of a journal that were taken on an H200. */
const timesOf = (journal: Journal): Timed[] => {
  const events = eventsOf(journal.lines);
  const environments = events.flatMap((event) => (event.event === 'environment' && event.facts.clock === 'gpu' && event.facts.device.cc === 90 ? [event.environment] : []));
  return [...new Set(environments)].flatMap((environment) => timedOfEvents(events, environment)).filter(({ problem }) => parseContractName(problem.contract).op === 'decode');
};

/** Every decode time in the journals of an H200, and in the records of `gen bench` that lie there as text. */
export const recordedTimes = (): Timed[] =>
  readdirSync(folder).filter((file) => /^h200-(.*\.jsonl|(sweep|held-out|spaces)-.*\.gz)$/.test(file) && !OUTDATED.includes(file)).sort().flatMap((file) =>
    file.endsWith('.gz')
      ? timesOf(parseJournal(gunzipSync(readFileSync(`${folder}${file}`)).toString(), file))
      : timedOfRows(readRecords(readFileSync(`${folder}${file}`, 'utf8'), file).rows));

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const journals = process.argv.slice(2).flatMap((path) => timesOf(readJournal(path)));
  // Times of a sweep are many and of today's kernels: the records before it are of other ones.
  const { machine, factors, error } = fitModel(H200, journals.length > 0 ? journals : recordedTimes());
  const words = (numbers: Readonly<Record<string, number>>): string => Object.entries(numbers).map(([name, value]) => `${name.includes('.') ? `'${name}'` : name}: ${Number(value.toFixed(3))}`).join(', ');
  process.stdout.write(`  {\n    machine: '${machine}',\n    factors: { ${words(factors)} },\n    error: { ${words(error)} },\n  },\n`);
}
