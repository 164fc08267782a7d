// Runs the test files, each uvu suite in a process of its own, as many at once as there are cores.
//   node --import tsx test/run.ts [--all] [part of a path ...]      without --all: *.test.ts only
// uvu alone is serial and has no time-outs. What a file prints is shown when it fails, or when it says why it skipped something.
import { execa } from 'execa';
import { readdir } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { basename, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import PQueue from 'p-queue';

const ROOT = fileURLToPath(new URL('../', import.meta.url));
const TIMEOUT_MINUTES = 40;

const args = process.argv.slice(2);
const wanted = args.includes('--all') ? /\.(test|all)\.ts$/ : /\.test\.ts$/;
const parts = args.filter((arg) => arg !== '--all');

/** Files that compile or emulate take longest: they start first, so that none is left running alone at the end. */
const weight = (path: string): number => (path.endsWith('.all.ts') ? 0 : path.includes('harness/') ? 1 : path.includes('cli/') ? 2 : 3);

const files = (await readdir(join(ROOT, 'test'), { recursive: true }))
  .map((path) => join('test', path))
  .filter((path) => wanted.test(path) && (parts.length === 0 || parts.some((part) => path.includes(part))))
  .sort((a, b) => weight(a) - weight(b) || (a < b ? -1 : 1));
if (files.length === 0) {
  console.error(`no test file matches ${parts.join(' ') || wanted.source}`);
  process.exit(2);
}

interface Tally {
  passed: number;
  failed: number;
  skipped: number;
}
const tally: Tally = { passed: 0, failed: 0, skipped: 0 };
const count = (text: string, label: string): number => Number(new RegExp(`${label}:\\s+(\\d+)`).exec(text)?.[1] ?? 0);

async function runFile(file: string): Promise<void> {
  const started = performance.now();
  const { all = '', exitCode, timedOut } = await execa('node', ['--import', 'tsx', file], {
    cwd: ROOT, all: true, reject: false, timeout: TIMEOUT_MINUTES * 60_000, env: { NO_COLOR: '1', FORCE_COLOR: '0' },
  });
  const [total, passed, skipped] = [count(all, 'Total'), count(all, 'Passed'), count(all, 'Skipped')];
  // A file that fails before its first test, or without a word, still counts as a failure.
  const failed = Math.max(total - passed, exitCode === 0 && total + skipped > 0 ? 0 : 1);
  tally.passed += passed;
  tally.skipped += skipped;
  tally.failed += failed;
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  console.log(`${failed > 0 ? 'FAIL' : 'ok  '} ${relative(ROOT, join(ROOT, file))}  ${passed}/${total}${skipped > 0 ? `, ${skipped} skipped` : ''}  ${seconds} s`);
  if (timedOut) console.log(`  no end after ${TIMEOUT_MINUTES} minutes`);
  const said = all.split('\n').filter((line) => /^(# |skipped:|note:)/i.test(line));
  if (failed > 0) console.log(all.replace(/^/gm, '  '));
  else if (said.length > 0) console.log(said.map((line) => `  ${basename(file)}: ${line}`).join('\n'));
}

const queue = new PQueue({ concurrency: availableParallelism() });
const started = performance.now();
await Promise.all(files.map((file) => queue.add(() => runFile(file))));
console.log(`${files.length} files in ${((performance.now() - started) / 1000).toFixed(0)} s`);
console.log(`${tally.passed} passed, ${tally.failed} failed, ${tally.skipped} skipped`);
process.exitCode = tally.failed > 0 ? 1 : 0;
