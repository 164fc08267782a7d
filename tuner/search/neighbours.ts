// Who is near whom in a space: candidates that differ in so many fields, the nearest values first. Pure.
import type { Candidate } from '../tune/strategy.ts';

export interface Neighbourhood {
  /** Ids that differ from `id` in one field, nearest values first, then in the order of the space. */
  readonly near: (id: string) => readonly string[];
  /** Fields in which two candidates differ; one that only either has counts too. */
  readonly distance: (a: string, b: string) => number;
}

/** The neighbourhood of all candidates. Distances of values are counted in ranks among the values that the space has: 4, 8, 12 are one apart each. */
export function neighbourhoodOf(candidates: readonly Candidate[]): Neighbourhood {
  const byId = new Map(candidates.map((candidate) => [candidate.id, candidate]));
  const names = [...new Set(candidates.flatMap(({ fields }) => Object.keys(fields)))];
  const ranks = new Map(names.map((name) => {
    const values = [...new Set(candidates.flatMap(({ fields }) => fields[name] ?? []))];
    // Numbers by size; words in the order in which the space has them.
    const sorted = values.every((value) => typeof value === 'number') ? values.toSorted((a, b) => a - b) : values;
    return [name, new Map(sorted.map((value, rank) => [value, rank]))] as const;
  }));
  const differing = (a: Candidate, b: Candidate): string[] => names.filter((name) => a.fields[name] !== b.fields[name]);
  const steps = (a: Candidate, b: Candidate, name: string): number => {
    const [from, to] = [a.fields[name], b.fields[name]];
    return from === undefined || to === undefined ? 1 : Math.abs(ranks.get(name)!.get(from)! - ranks.get(name)!.get(to)!);
  };
  return {
    near(id) {
      const at = byId.get(id)!;
      const found = candidates.flatMap((other) => {
        const fields = differing(at, other);
        return fields.length === 1 ? [{ id: other.id, steps: steps(at, other, fields[0]!) }] : [];
      });
      return found.toSorted((a, b) => a.steps - b.steps).map((one) => one.id);
    },
    distance: (a, b) => differing(byId.get(a)!, byId.get(b)!).length,
  };
}
