// Everything in random order, seeds first: what any cleverer search is compared with. Pure.
import type { MakeStrategy } from '../tune/strategy.ts';
import { drawOf, shuffled } from './chance.ts';
import { lineSearch, seedsFirst } from './line.ts';

export const random: MakeStrategy = (space, seed) => lineSearch(seedsFirst(space, shuffled(space.candidates.map(({ id }) => id), drawOf(seed))));
