// Everything, the likeliest best first: a sweep that is cut off has tried the best guesses. Pure.
import type { MakeStrategy } from '../tune/strategy.ts';
import { lineSearch, seedsFirst } from './line.ts';

export const exhaustive: MakeStrategy = (space) => lineSearch(seedsFirst(space, space.candidates.map(({ id }) => id)));
