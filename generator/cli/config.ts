// antkv.config.json: options of `gen` for a folder. Flags win over it; --print-config shows what holds.
import { readFileSync } from 'node:fs';
import { z } from 'zod';
import { InputError } from '../errors.ts';

export const CONFIG_FILE = 'antkv.config.json';

const list = z.union([z.string(), z.array(z.string())]);

/** The options that the file may hold, as on the command line. */
export const Config = z.strictObject({
  $schema: z.string().optional(),
  arch: z.string().optional(),
  preset: list.optional(),
  recipe: list.optional(),
  set: list.optional(),
  'head-dim': z.union([z.int(), z.array(z.int())]).optional(),
  dtype: z.string().optional(),
  only: z.string().optional(),
  out: z.string().optional(),
  jobs: z.int().min(1).optional(),
  timeout: z.number().positive().optional(),
  compile: z.boolean().optional(),
  quiet: z.boolean().optional(),
  verbose: z.boolean().optional(),
});

/** The options in the config file of the working folder; none if there is no file. Throws InputError if it is broken. */
export function readConfig(path = CONFIG_FILE): Record<string, unknown> {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return {};
    throw new InputError(`cannot read ${path} (${(error as NodeJS.ErrnoException).code})`, 'make it readable, or remove it');
  }
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    throw new InputError(`${path} is not JSON: ${(error as Error).message}`, 'mend or remove it');
  }
  const parsed = Config.safeParse(json);
  if (!parsed.success) throw new InputError(`${path}:\n${z.prettifyError(parsed.error)}`, `members: ${Object.keys(Config.shape).join(', ')}`);
  const { $schema: _, ...options } = parsed.data;
  return options;
}
