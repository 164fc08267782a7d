// gen show --cost: the analytic cost of a decode kernel, as text and as JSON.
import { ARCHS, type Machine } from '../arch.ts';
import { COST_SETTING, COST_SHAPES, PIPES, shapeCost, tileCost, type CostShape } from '../cost.ts';
import type { Work } from '../counts.ts';
import { UsageError } from '../errors.ts';
import { kernelName, type Kernel } from '../name.ts';
import { table } from './print.ts';

/** Shapes as users write them: `16x131072` or `16x128K`, batch times tokens. */
export function parseShapes(texts: readonly string[]): readonly CostShape[] {
  if (texts.length === 0) return COST_SHAPES;
  return texts.flatMap((text) => text.split(',')).map((text) => {
    const [, batch, tokens, kilo] = /^(\d{1,5})x(\d{1,9})([kK]?)$/.exec(text.trim()) ?? [];
    const shape = { batch: Number(batch), tokens: Number(tokens) * (kilo ? 1024 : 1) };
    if (!(shape.batch > 0 && shape.tokens > 0)) throw new UsageError(`--shape takes BATCHxTOKENS, not "${text}"`, 'for example --shape 16x32K');
    return shape;
  });
}

function machineOf({ contract, arch }: Kernel): Machine {
  if (contract.op !== 'decode') throw new UsageError(`--cost knows decode, not ${contract.op}`, 'name a decode kernel; "gen list" names them');
  if (arch.machine) return arch.machine;
  const known = ARCHS.flatMap(({ name, machine }) => (machine ? [`${name} (${machine.name})`] : []));
  throw new UsageError(`--cost has no device of ${arch.name}`, `known: ${known.join(', ')}; others go into generator/arch.ts`);
}

/** All that --cost says. */
export function costFacts(kernel: Kernel, shapes: readonly CostShape[]) {
  const machine = machineOf(kernel);
  return { kernel: kernelName(kernel), machine, modelled: !machine.measured, setting: COST_SETTING, tile: tileCost(kernel, machine), shapes: shapes.map((shape) => shapeCost(kernel, machine, shape)) };
}

const thousands = (tokens: number): string => (tokens % 1024 === 0 ? `${tokens / 1024}K` : String(tokens));
const FIELDS = ['bytes', 'wavefronts', 'alu', 'dot', 'half', 'float', 'mufu', 'matrix', 'memory', 'control'] as const satisfies readonly (keyof Work)[];

/** The facts as tables. */
export function printCost({ kernel, machine, modelled, tile, shapes }: ReturnType<typeof costFacts>): string {
  const row = (name: string, work: Work): (string | number)[] => [name, ...FIELDS.map((field) => work[field].toFixed(work[field] % 1 === 0 ? 0 : 1))];
  const speed = modelled ? 'modelled' : 'at best';
  return [
    kernel,
    `${machine.name}${modelled ? ', modelled' : ''}: ${machine.sms} SMs x ${machine.ghz} GHz, ${machine.memory} GB/s`,
    '',
    'Work per 32 tokens of one KV head: bytes, wavefronts of shared memory and L1, warp instructions',
    table([['part', ...FIELDS], ...Object.entries(tile.parts).map(([name, work]) => row(name, work)), row('all', tile.work)]),
    '',
    'Clocks of an SM that each pipe needs for it, and of a loop that keeps the busiest one at work',
    table([[...PIPES, 'at best'], [...PIPES.map((pipe) => tile.floors[pipe].toFixed(1)), tile.expected.toFixed(1)]]),
    `bound by ${tile.bound}`,
    '',
    `${COST_SETTING.queryHeads}/${COST_SETTING.kvHeads} heads, one query, ${COST_SETTING.anchors * 100} % anchors, window ${COST_SETTING.window}; us of one graph launch, clocks of a CTA`,
    table([
      ['shape', 'splits', 'start', 'loop', 'merge', `us ${speed}`, 'us by bytes', 'us f16 by bytes', 'over f16'],
      ...shapes.map((s) => [`B${s.batch} ${thousands(s.tokens)}`, s.splits, Math.round(s.start), Math.round(s.loop), Math.round(s.merge), s.us.toFixed(1), s.floorUs.toFixed(1), s.f16Us.toFixed(1), `${s.overF16.toFixed(2)}x`]),
    ]),
    'A model from counts: it knows no stalls. What kernels took is in bench records (gen report).',
  ].join('\n');
}
