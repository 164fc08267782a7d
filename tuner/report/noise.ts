// Section of the report: how steady the device was. Spread of repeated times, clock and temperature under way, and the probe.
import { median, quantile } from '../space/numbers.ts';
import { of, type EventOf } from '../tune/events.ts';
import type { ReportData } from './data.ts';
import { figures, gridHtml, paragraph, percent, sectionHtml, tableHtml } from './html.ts';
import { escape, linePlot } from './svg.ts';

const minutes = (at: string, start: number): number => (Date.parse(at) - start) / 60_000;

/** Of the default arm of a block: the middle 80 % of its times, over their median. Null with too few rounds. */
function spreadOf({ rounds }: EventOf<'raced'>): number | null {
  const us = rounds.map((round) => round.us[0]!);
  return us.length < 5 ? null : (quantile(us, 0.9) - quantile(us, 0.1)) / median(us);
}

export function noiseSection({ events }: ReportData): string {
  const environments = of(events, 'environment');
  const known = [...new Map(environments.map((event) => [event.environment, event])).values()];
  const parts = known.flatMap(({ environment, facts }) => {
    const races = of(events, 'raced').filter((event) => event.environment === environment);
    const probes = of(events, 'probe').filter((event) => event.environment === environment);
    if (races.length === 0) return [];
    const start = Date.parse(races[0]!.at);
    const word = (x: number): string => `${Number(x.toFixed(1))} min`;
    const trace = (value: 'mhz' | 'celsius'): [number, number][] => races.flatMap(({ at, rounds }) => {
      const own = rounds.flatMap((round) => round[value] ?? []);
      return own.length > 0 ? [[minutes(at, start), median(own)] as [number, number]] : [];
    });
    const probe = probes.map(({ at, us }): [number, number] => [minutes(at, start), us]);
    const spreads = races.flatMap((event) => spreadOf(event) ?? []);
    const rounds = races.reduce((sum, event) => sum + event.rounds.length, 0);
    const repeated = races.reduce((sum, { discarded }) => sum + discarded, 0);
    const jumps = probes.slice(1).filter(({ us }, i) => Math.abs(us / probes[i]!.us - 1) > 0.02).length;
    const row = [
      facts.device.name, String(new Set(races.map(({ session }) => session)).size), String(races.length), String(rounds), String(repeated),
      spreads.length > 0 ? percent(median(spreads)) : '-', spreads.length > 0 ? percent(quantile(spreads, 0.9)) : '-',
      probes.length > 0 ? `${figures(median(probes.map(({ us }) => us)))} µs, ${jumps} jumps` : '-',
    ];
    const drawn = [
      { title: 'SM clock, MHz', body: linePlot('SM clock over time', [{ name: 'MHz', points: trace('mhz') }], word, (y) => y.toFixed(0)) },
      { title: 'temperature, °C', body: linePlot('temperature over time', [{ name: '°C', points: trace('celsius') }], word, (y) => y.toFixed(0)) },
      { title: 'probe, µs', body: linePlot('time of the probe over time', [{ name: 'probe', points: probe }], word, figures) },
    ].filter(({ body }) => body !== '');
    return [{ row, drawn, name: facts.device.name }];
  });
  return sectionHtml('noise', 'Noise, clock and probe', parts.length === 0 ? [] : [
    paragraph('Spread: of the default within one block of rounds, 90th less 10th percentile over the median. Repeated: rounds whose SM clock was off by more than 3 %. Jumps: probes off by more than 2 % from the one before.', true),
    tableHtml(['device', 'processes', 'blocks', 'rounds', 'repeated', 'spread, median', 'spread, p90', 'probe'], parts.map(({ row }) => row)),
    ...parts.flatMap(({ drawn, name }) => (drawn.length > 0 ? [`<h3>${escape(name)}</h3>`, gridHtml(drawn)] : [])),
  ]);
}
