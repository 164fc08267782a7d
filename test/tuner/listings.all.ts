// What bench --keep, bench --profile and the ceilings make of nvcc; skipped where there is none.
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { parseKernelName } from '../../generator/name.ts';
import { benchRequestSchema } from '../../tuner/bench-schema.ts';
import { compileCeilings } from '../../tuner/ceilings.ts';
import { keepListings, profileCommand } from '../../tuner/listings.ts';
import { findNvcc } from '../../tuner/nvcc.ts';
import { temporaryFolder } from '../folder.ts';
import { EXACT } from './rows.ts';

const nvcc = await findNvcc();
if (!nvcc) console.log('skipped: nvcc was not found');
const it = nvcc ? test : test.skip;
const kernel = parseKernelName(EXACT);

it('--keep leaves source, PTX and machine code', async () => {
  const paths = await keepListings([kernel], temporaryFolder());
  for (const path of paths) assert.ok(existsSync(path), path);
  const ptx = paths.find((path) => path.endsWith('.ptx'))!;
  assert.match(readFileSync(ptx, 'utf8'), new RegExp(`\\.target sm_80[\\s\\S]*\\.entry ${EXACT}`));
  assert.equal(paths.map((path) => /\.(\w+)$/.exec(path)![1]).slice(0, 3), ['cu', 'ptx', 'cubin']);
});

it('--profile writes an image with line numbers and a request that the runner takes', async () => {
  const dir = temporaryFolder();
  const command = await profileCommand(kernel, { batch: 1, tokens: 256, splits: 2 }, dir);
  const file = /< (\S+)$/.exec(command)![1]!;
  const { id: _, ...request } = JSON.parse(readFileSync(file, 'utf8')) as Record<string, unknown>;
  const parsed = benchRequestSchema.parse(request);
  assert.ok(existsSync(parsed.kernel.image));
});

it('the ceilings compile', async () => {
  const out = join(temporaryFolder(), 'ceilings.fatbin');
  await compileCeilings(nvcc!, out);
  assert.ok(readFileSync(out).includes('antkv_ceiling_read'));
});

test.run();
