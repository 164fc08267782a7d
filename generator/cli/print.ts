// How commands speak: data on stdout, talk on stderr, one progress line on a terminal.

export interface Talk {
  readonly quiet: boolean;
  readonly verbose: boolean;
}

/** Prints data. */
export const out = (text: string): void => void process.stdout.write(text.endsWith('\n') ? text : `${text}\n`);

/** Prints one JSON value on one line. */
export const outJson = (value: unknown): void => out(JSON.stringify(value));

/** Says something beside the data; silent with -q. */
export const note = (talk: Talk, text: string): void => {
  if (!talk.quiet) process.stderr.write(`${text}\n`);
};

/** Says something that only -v wants to hear. */
export const detail = (talk: Talk, text: string): void => {
  if (talk.verbose) process.stderr.write(`${text}\n`);
};

const COLOURS = { red: 31, green: 32, yellow: 33, dim: 2 } as const;

/** Colours `text` where `stream` is a terminal and NO_COLOR is not set (no-color.org). */
export const colour = (text: string, name: keyof typeof COLOURS, stream: NodeJS.WriteStream = process.stdout): string =>
  stream.isTTY && !process.env['NO_COLOR'] ? `\x1b[${COLOURS[name]}m${text}\x1b[0m` : text;

/** One line that replaces itself on a terminal, and a line every 30 s otherwise; cleared by {@link Progress.end}. */
export interface Progress {
  step(done: number, total: number, what: string): void;
  end(): void;
}

export function progress(talk: Talk, verb: string): Progress {
  const { stderr } = process;
  let last = performance.now();
  return {
    step(done, total, what) {
      if (talk.quiet) return;
      if (stderr.isTTY) stderr.write(`\r\x1b[2K${`${verb} ${done}/${total}  ${what}`.slice(0, (stderr.columns || 80) - 1)}`);
      else if (performance.now() - last > 30_000) {
        last = performance.now();
        stderr.write(`${verb} ${done}/${total}\n`);
      }
    },
    end() {
      if (stderr.isTTY && !talk.quiet) stderr.write('\r\x1b[2K');
    },
  };
}

/** Rows as aligned columns; numbers to the right. The first row is the head. */
export function table(rows: readonly (readonly (string | number)[])[]): string {
  const widths = rows[0]!.map((_, i) => Math.max(...rows.map((row) => String(row[i]).length)));
  const right = rows[0]!.map((_, i) => rows.slice(1).every((row) => typeof row[i] === 'number' || row[i] === '-' || /^[\d.]+$/.test(String(row[i]))));
  return rows.map((row) => row.map((cell, i) => (right[i] ? String(cell).padStart(widths[i]!) : String(cell).padEnd(widths[i]!))).join('  ').trimEnd()).join('\n');
}
