// Spaces for tests of searches: a grid with a known landscape, and what a search asks on it.
import type { Cost, Space, Strategy } from '../../../tuner/tune/strategy.ts';

/** A grid of two fields; a candidate's id is `x,y`. */
export function gridSpace(width: number, height: number, seeds: readonly string[] = ['0,0']): Space {
  const candidates = Array.from({ length: width * height }, (_, i) => ({ x: i % width, y: Math.floor(i / width) }));
  return { candidates: candidates.map((fields) => ({ id: `${fields.x},${fields.y}`, fields })), seeds };
}

/** One valley: the farther from (x, y), the dearer. */
export const valley = (space: Space, x: number, y: number): Map<string, Cost> =>
  new Map(space.candidates.map(({ id, fields }) => [id, 1 + 0.1 * (Math.abs(Number(fields['x']) - x) + Math.abs(Number(fields['y']) - y))]));

/** Everything that `search` asks, one at a time. */
export function walk(search: Strategy, costs: ReadonlyMap<string, Cost>, most = Infinity): string[] {
  const ids: string[] = [];
  while (!search.done && ids.length < most) {
    const [id] = search.ask(1);
    if (id === undefined) break;
    ids.push(id);
    search.tell(id, costs.get(id));
  }
  return ids;
}
