// Python for tests: programs of this folder, with harness/python on the path; and which Python has PyTorch.
import { execa } from 'execa';
import { join } from 'node:path';
import { ROOT } from '../load/build.ts';

const here = join(ROOT, 'test/harness/python');
const env = { PYTHONPATH: [join(ROOT, 'harness/python'), here].join(':') };

/** What `program` of this folder prints; undefined where there is no such Python. Throws if it fails. */
export async function python(command: string, program: string, ...words: string[]): Promise<string | undefined> {
  const ran = await execa(command, ['-B', join(here, program), ...words], { env, reject: false, timeout: 300_000 });
  if (ran.code === 'ENOENT') return undefined;
  if (ran.exitCode !== 0) throw new Error(`${program} failed:\n${ran.stderr}`);
  return ran.stdout;
}

/** The Python that has PyTorch: $ANTKV_PYTHON, that on PATH, or the system's. */
export async function withTorch(): Promise<string | undefined> {
  for (const command of [process.env['ANTKV_PYTHON'], 'python3', '/usr/bin/python3']) {
    if (command && (await execa(command, ['-c', 'import torch, numpy'], { reject: false, timeout: 60_000 })).exitCode === 0) return command;
  }
  return undefined;
}
