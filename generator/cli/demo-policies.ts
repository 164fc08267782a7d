// gen demo --policies: the error by policy, anchors chosen over a whole prompt and as tokens leave the window.
import { UsageError } from '../errors.ts';
import { mustLiveOn } from './life-print.ts';
import { note, out, outJson, progress, table, type Talk } from './print.ts';
import { isCoded } from '../contract.ts';
import type { Variant } from '../../tuner/dumps.ts';
import type { PolicyOptions, PolicyRow } from '../../tuner/policies.ts';

const percent = (error: number | null | undefined): string => (error === null || error === undefined ? '-' : (100 * error).toFixed(2));
/** The demo's error with anchors, or without where a policy keeps none. */
const errorOf = ({ errorWithAnchors, error }: PolicyRow['prompt'][number]): number => errorWithAnchors ?? error;

function lines(rows: readonly PolicyRow[], window: number): string {
  const cells = rows.map(({ policy, prompt, online }) => {
    const [strict, own] = [0, window].map((at) => prompt.find((row) => row.window === at));
    const record = online.records.at(-1);
    return [policy, strict?.anchors ?? 0, percent(strict && errorOf(strict)), percent(own && errorOf(own)), percent(record?.error), record?.anchors ?? 0, record?.anchors_found ?? 0, record?.anchors_handed_back ?? 0];
  });
  return table([['policy', 'anchors', 'over the prompt: error %', `window ${window}`, `online, window ${window}: error %`, 'anchors', 'found', 'handed back'], ...cells]);
}

/** The one recipe that policies are compared on. Throws UsageError for several, or one without codes. */
export function policyRecipe(variants: readonly Variant[]): Variant {
  const coded = variants.filter(({ recipe }) => isCoded(recipe));
  if (coded.length !== 1) throw new UsageError(`policies are compared on one recipe with codes, ${coded.length} are named`, 'give one --preset or --recipe; antkv-1 is taken if there is none');
  return coded[0]!;
}

/** Runs the comparison and prints it. */
export async function runPolicies(argv: Talk & { json: boolean }, { name, recipe }: Variant, options: Omit<PolicyOptions, 'recipe' | 'onProgress'>): Promise<void> {
  const { comparePolicies } = await import('../../tuner/policies.ts');
  const { mustAgree } = await import('../../tuner/demo.ts');
  const start = performance.now();
  const line = progress(argv, 'policies');
  const { rows, device, emulated, why } = await comparePolicies({ ...options, recipe, onProgress: (done, total, what) => line.step(done, total, what) }).finally(() => line.end());
  if (argv.json) for (const { policy, prompt, online } of rows) outJson({ record: 'policy', policy, recipe: name, device, emulated, prompt, online: online.records.at(-1) });
  else out(lines(rows, recipe.window));
  const seconds = ((performance.now() - start) / 1000).toFixed(0);
  note(argv, `${name} at ${recipe.budget_permille} permille, ${device}${emulated ? ' (emulated; no GPU speed)' : ''}, ${seconds} s. Over the prompt: anchors picked over all ${options.tokens} tokens, ${options.queries} queries spread over them`);
  note(argv, `online: a prompt of ${options.prompt} tokens, then every token decoded, all rows; anchors are chosen as blocks leave the window, and counted at the end. Errors: attention output against exact attention, relative L2`);
  if (why !== undefined) note(argv, `no GPU was used: ${why}`);
  mustAgree(rows.flatMap(({ prompt }) => [...prompt]));
  for (const { policy, online } of rows) mustLiveOn(online, policy);
}
