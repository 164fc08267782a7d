// Section of the report: on what and with what it was measured, and the commands that make it again.
import type { DeviceFacts, TuneEnvironment } from '../../generator/table/schema.ts';
import { quote } from '../compile.ts';
import { of } from '../tune/events.ts';
import type { ReportData } from './data.ts';
import { code, paragraph, sectionHtml, tableHtml } from './html.ts';

const deviceWords = ({ name, cc, sms, memoryBytes, l2Bytes, busBits, memoryMhz, powerW }: DeviceFacts): string =>
  [name, `compute capability ${cc / 10}`, `${sms} SMs`, `${(memoryBytes / 2 ** 30).toFixed(0)} GiB`, `L2 ${(l2Bytes / 2 ** 20).toFixed(0)} MiB`, `bus ${busBits} bits at ${memoryMhz} MHz`, ...(powerW === null ? [] : [`${powerW} W`])].join(', ');

const CLOCKS: Readonly<Record<TuneEnvironment['clock'], string>> = { gpu: 'measured', emulated: 'emulated: times mean nothing', model: 'modelled: computed, never measured' };

export function environmentSection({ tables, events }: ReportData): string {
  const facts = new Map<string, TuneEnvironment>([...tables.flatMap(({ table }) => Object.entries(table.environments)), ...of(events, 'environment').map(({ environment, facts: own }): [string, TuneEnvironment] => [environment, own])]);
  const ceilings = new Map(of(events, 'ceilings').map((event) => [event.environment, event]));
  const rows = [...facts].map(([digest, { device, driver, nvcc, clock, policy }]) => {
    const most = ceilings.get(digest);
    const speed = most ? [most.read_gbps && `${most.read_gbps.toFixed(0)} GB/s read`, most.copy_gbps && `${most.copy_gbps.toFixed(0)} GB/s copied`, most.mma_tflops && `${most.mma_tflops.toFixed(0)} TFLOP/s FP16`].filter(Boolean).join(', ') : '-';
    return [deviceWords(device), CLOCKS[clock], driver ?? '-', nvcc ?? '-', `${policy.launch} launches, ${policy.l2} L2`, speed || '-'];
  });
  const headers = of(events, 'header');
  const commands = [...new Map(headers.map(({ command, seed, version, tunedFor }) => [JSON.stringify([command, seed, version]), { command, seed, version, tunedFor }])).values()];
  const tasks = of(events, 'task');
  const made = tables.map(({ file, table }) => [file, table.arch, table.device.name, table.tunedFor, `${table.setting.qHeads}/${table.setting.kvHeads} heads, ${table.setting.qLen} query row${table.setting.qLen > 1 ? 's' : ''}, ${table.setting.anchorPermille / 10} % anchors, window ${table.setting.window}, pages of ${table.setting.pageSize}, ${table.setting.codes} codes`, String(Object.keys(table.contracts).length)]);
  return sectionHtml('environment', 'Environment', [
    ...(rows.length > 0 ? [tableHtml(['device', 'times', 'driver', 'nvcc', 'policy', 'at most'], rows)] : []),
    ...(made.length > 0 ? [tableHtml(['table', 'arch', 'device', 'tuned for', 'setting', 'contracts'], made)] : []),
    ...(events.length > 0 ? [paragraph(`${events.length} events by ${new Set(events.map(({ writer }) => writer)).size} writers, ${new Set(tasks.map(({ task }) => `${task.arch} ${task.contract}`)).size} tasks, from ${events[0]!.at} to ${events.at(-1)!.at}.`, true)] : []),
    ...(commands.length > 0 ? ['<h3>To make it again</h3>', ...commands.slice(0, 20).map(({ command, seed, version, tunedFor }) => `<p>${code(command.map(quote).join(' '))}</p>${paragraph(`antkv ${version}, seed ${seed}, tuned for ${tunedFor}`, true)}`)] : []),
  ]);
}
