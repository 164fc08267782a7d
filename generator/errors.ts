// Errors that a user can do something about: each has an exit code and names its fix. Everything else is a bug and keeps its stack.

/** Exit codes of every command. */
export const EXIT = {
  ok: 0,
  /** `--check` found stale files, or a check failed. */
  stale: 1,
  /** The command line or a file that it names is wrong. */
  usage: 2,
  /** Something on this machine is missing: compiler, GPU, disk space, write access. */
  environment: 3,
  /** Some kernels did not compile; the others did. */
  compile: 4,
  /** A kernel answered wrongly. */
  wrong: 5,
  /** A worker was told to end before its task was done: run it again (EX_TEMPFAIL of sysexits.h). */
  again: 75,
  interrupted: 130,
} as const;

export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

/** An error with an exit code and, where there is one, the command or change that mends it. */
export class AntkvError extends Error {
  readonly exitCode: ExitCode;
  readonly fix: string | undefined;

  constructor(exitCode: ExitCode, message: string, fix?: string) {
    super(message);
    this.name = new.target.name;
    this.exitCode = exitCode;
    this.fix = fix;
  }
}

/** The command line is wrong: unknown name, bad value, something that is not built yet. */
export class UsageError extends AntkvError {
  constructor(message: string, fix?: string) {
    super(EXIT.usage, message, fix);
  }
}

/** A file that the user gave is broken: truncated, wrong type, wrong shape, not valid. */
export class InputError extends AntkvError {
  constructor(message: string, fix?: string) {
    super(EXIT.usage, message, fix);
  }
}

/** This machine lacks something. The fix is required: without it the message is of no use. */
export class EnvironmentError extends AntkvError {
  constructor(message: string, fix: string) {
    super(EXIT.environment, message, fix);
  }
}

/** One or more kernels did not compile. */
export class CompileError extends AntkvError {
  constructor(message: string, fix?: string) {
    super(EXIT.compile, message, fix);
  }
}

/** A kernel's answer is outside its tolerance. */
export class WrongResultError extends AntkvError {
  constructor(message: string, fix?: string) {
    super(EXIT.wrong, message, fix);
  }
}

/** Steps of insertion, deletion or replacement from `a` to `b`. */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      next[j] = Math.min(row[j]! + 1, next[j - 1]! + 1, row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1));
    }
    row = next;
  }
  return row[b.length]!;
}

/** The known names closest to `name`, best first, at most three; only such that a typing slip could explain. */
export function nearest(name: string, known: readonly string[]): string[] {
  const far = Math.max(2, Math.ceil(name.length / 3));
  return [...new Set(known)]
    .map((candidate) => ({ candidate, steps: distance(name.toLowerCase(), candidate.toLowerCase()) }))
    .filter(({ candidate, steps }) => steps <= far || candidate.startsWith(name))
    .sort((a, b) => a.steps - b.steps)
    .slice(0, 3)
    .map(({ candidate }) => candidate);
}

/** A usage error for a name that is not among `known`, with the nearest names, or all of them if none is near. */
export function unknownName(what: string, name: string, known: readonly string[]): UsageError {
  const near = nearest(name, known);
  return new UsageError(`unknown ${what} "${name}"`, near.length > 0 ? `did you mean ${near.join(' or ')}?` : `known: ${known.join(', ')}`);
}
