// Checks under NVIDIA's compute-sanitizer: one process per tool, all small requests in it.
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import type { Loaded } from './images.ts';
import { verifyRecordSchema, type CheckRequest, type VerifyRecord } from './problem.ts';
import { Runner, RunnerError } from './runner.ts';

export const TOOLS = ['memcheck', 'racecheck', 'initcheck', 'synccheck'] as const;
export type Tool = (typeof TOOLS)[number];

const PROGRAM = 'compute-sanitizer';
/** The sanitizer slows kernels down by a factor of 10 to 100. */
const TIMEOUT_MS = 600_000;

/** What a log says: `clean`, or its first reports and the kernels named there; undefined if it has no summary, because the tool did not run to its end. */
export function readLog(text: string): { clean: true } | { clean: false; says: string; kernels: string[] } | undefined {
  const summaries = [...text.matchAll(/(?:ERROR|RACECHECK) SUMMARY: (\d+) (?:error|hazard)/g)];
  if (summaries.length === 0) return undefined;
  if (summaries.every(([, count]) => count === '0')) return { clean: true };
  const lines = text.split('\n').map((line) => line.replace(/^=+ ?/, '').trimEnd()).filter((line) => line !== '');
  return { clean: false, says: lines.slice(0, 40).join('\n'), kernels: [...new Set(text.match(/antkv_\w+__sm\d+\w*/g) ?? [])] };
}

async function runTool(tool: Tool, { binary, env, info }: Loaded, requests: readonly CheckRequest[]): Promise<VerifyRecord | string> {
  const folder = await mkdtemp(join(tmpdir(), 'antkv-sanitize-'));
  const log = join(folder, 'log');
  const runner = new Runner({ binary, ...(env ? { env } : {}), timeoutMs: TIMEOUT_MS, under: [PROGRAM, '--tool', tool, '--log-file', log] });
  const faults: string[] = [];
  const started = performance.now();
  try {
    try {
      await runner.info();
    } catch (error) {
      const says = await readFile(log, 'utf8').catch(() => '');
      return `${PROGRAM} --tool ${tool} cannot run the runner here: ${(error as Error).message} ${says}`.trim();
    }
    for (const request of requests) {
      try {
        // Workspaces stay uninitialised for initcheck: poison would count as written.
        const record = await runner.check({ ...request, ...(tool === 'initcheck' ? { poison: false } : {}) });
        if (!record.ok) faults.push(`${request.kernel.name}: ${record.faults.join('; ')}; shape ${JSON.stringify(request.shape)}`);
      } catch (error) {
        if (!(error instanceof RunnerError)) throw error;
        faults.push(`${request.kernel.name}: ${error.message}; shape ${JSON.stringify(request.shape)}`);
      }
    }
    await runner.close();
    const said = readLog(await readFile(log, 'utf8').catch(() => ''));
    if (said === undefined) faults.push(`${PROGRAM} wrote no summary`);
    else if (!said.clean) faults.push(`${said.kernels.join(', ')}\n${said.says}`);
  } finally {
    await runner.close();
    await rm(folder, { recursive: true, force: true });
  }
  const { device, emulated, cc, driver_version } = info;
  return verifyRecordSchema.parse({
    kind: 'verify', tool, kernel: '*', contract: '*', arch: '*', op: '*', group: tool, shape: { requests: requests.length }, seed: requests[0]?.seed ?? 1, device, emulated, cc, driver_version,
    ok: faults.length === 0, faults, rel_l2: null, max_abs: null, lse_err: null, bit_equal: null, tolerance: null, ms: performance.now() - started, request: null,
  });
}

/** Runs `requests` under every tool: one record each, and notes on what could not run. */
export async function sanitize(loaded: Loaded, requests: readonly CheckRequest[], onTool: (tool: Tool) => void): Promise<{ records: VerifyRecord[]; notes: string[] }> {
  if (loaded.info.emulated) return { records: [], notes: [`${PROGRAM} was not run: it needs a GPU, and this is the emulated driver (which finds races, uninitialised reads and divergence itself)`] };
  const { failed, stdout } = await execa(PROGRAM, ['--version'], { reject: false, timeout: 30_000 });
  if (failed || !/Compute Sanitizer/i.test(stdout)) return { records: [], notes: [`${PROGRAM} was not run: it is not on PATH (it comes with the CUDA toolkit, bin/compute-sanitizer)`] };
  const records: VerifyRecord[] = [];
  const notes: string[] = [];
  for (const tool of TOOLS) {
    onTool(tool);
    const outcome = await runTool(tool, loaded, requests);
    if (typeof outcome === 'string') notes.push(outcome);
    else records.push(outcome);
  }
  return { records, notes };
}
