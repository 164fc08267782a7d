// Searches that know their order from the start: they ask down a line and learn nothing on the way. Pure.
import type { Space, Strategy } from '../tune/strategy.ts';

/** Ids without repetition, those first that the space seeds. Seeds that the space does not have are left out. */
export function seedsFirst({ candidates, seeds }: Space, rest: readonly string[]): string[] {
  const known = new Set(candidates.map(({ id }) => id));
  return [...new Set([...seeds.filter((id) => known.has(id)), ...rest])];
}

/** A search that asks for `order`, each once. */
export function lineSearch(order: readonly string[]): Strategy {
  let next = 0;
  const waiting = new Set<string>();
  return {
    ask(count) {
      const ids = order.slice(next, next + count);
      next += ids.length;
      ids.forEach((id) => waiting.add(id));
      return ids;
    },
    tell: (id) => void waiting.delete(id),
    get done() {
      return next >= order.length && waiting.size === 0;
    },
  };
}
