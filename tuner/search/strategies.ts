// The searches by name. Pure.
import type { MakeStrategy, StrategyName } from '../tune/strategy.ts';
import { exhaustive } from './exhaustive.ts';
import { ils } from './ils.ts';
import { random } from './random.ts';

export const STRATEGY: Readonly<Record<StrategyName, MakeStrategy>> = { exhaustive, ils, random };
