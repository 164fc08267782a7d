// Fills the holes of a shell template, strictly. The only user of handlebars, and the only reader of templates/.
import { readFileSync } from 'node:fs';
import Handlebars from 'handlebars';
import type { View } from './view.ts';

const TEMPLATES = new URL('../templates/', import.meta.url);
const texts = new Map<string, string>();

/** The text of a file in templates/. */
export function readTemplate(file: string): string {
  const known = texts.get(file);
  if (known !== undefined) return known;
  const text = readFileSync(new URL(file, TEMPLATES), 'utf8');
  texts.set(file, text);
  return text;
}

/** What a template asks for: names with the line of their first use, the files that it inlines, and the names whose values are such files. */
export interface Holes {
  readonly names: ReadonlyMap<string, number>;
  readonly files: readonly string[];
  readonly chosen: readonly string[];
}

const HOLE = /^[a-zA-Z][a-zA-Z0-9]*$/;

/** The files that the value of a chosen hole names, separated by spaces. */
export const filesOf = (value: unknown): string[] => String(value).split(' ');

/**
 * The holes of a template. Throws, with file and line, on anything but `{{name}}`, `{{inline "file"}}` and `{{inline name}}`, whose value is a list of files: logic belongs into the .cuh bodies, and a doubled brace of
 * C++ (`= {{0}}`) would vanish silently.
 */
export function holesOf(source: string, file: string): Holes {
  const names = new Map<string, number>();
  const files: string[] = [];
  const chosen: string[] = [];
  const refuse = (loc: hbs.AST.SourceLocation, what: string): never => {
    throw new Error(`${file}:${loc.start.line}: ${what}`);
  };
  let program: hbs.AST.Program;
  try {
    program = Handlebars.parse(source);
  } catch (error) {
    const line = /line (\d+)/.exec((error as Error).message)?.[1] ?? '1';
    throw new Error(`${file}:${line}: not a template; write the doubled brace of C++ as "{ {"\n${(error as Error).message}`);
  }
  for (const node of program.body) {
    if (node.type === 'ContentStatement') continue;
    if (node.type !== 'MustacheStatement') refuse(node.loc, `${node.type}: a shell has {{name}}, {{inline "file"}} and {{inline name}} only`);
    const { path, params, hash, escaped, loc } = node as hbs.AST.MustacheStatement;
    if (!escaped) refuse(loc, 'a tripled brace opens a hole; write "{ { {"');
    if (path.type !== 'PathExpression') refuse(loc, `"{{${String((path as unknown as hbs.AST.Literal & { value: unknown }).value)}}}" is a hole; write the doubled brace of C++ as "{ {"`);
    const name = (path as hbs.AST.PathExpression).original;
    const note = (hole: string): unknown => names.has(hole) || names.set(hole, loc.start.line);
    const [what] = hash === undefined && params.length === 1 && name === 'inline' ? params : [];
    if (what?.type === 'StringLiteral') files.push((what as hbs.AST.StringLiteral).value);
    else if (what?.type === 'PathExpression' && HOLE.test((what as hbs.AST.PathExpression).original)) {
      const hole = (what as hbs.AST.PathExpression).original;
      chosen.push(hole);
      note(hole);
    } else if (params.length > 0 || hash !== undefined || !HOLE.test(name)) refuse(loc, `"${name}" is not a hole; only {{inline "file"}} and {{inline name}} take an argument`);
    else note(name);
  }
  return { names, files, chosen };
}

/** Fills `source`'s holes from `view`. Throws if a hole has no value, or a value no hole: both mean that shell and view have drifted apart. */
export function renderTemplate(source: string, file: string, view: View, inline: (file: string) => string = readTemplate): string {
  const { names } = holesOf(source, file);
  const missing = [...names].filter(([name]) => !Object.hasOwn(view, name));
  if (missing.length > 0) throw new Error(missing.map(([name, line]) => `${file}:${line}: the view has no "${name}" (generator/view.ts)`).join('\n'));
  const unused = Object.keys(view).filter((name) => !names.has(name));
  if (unused.length > 0) throw new Error(`${file}: reads no ${unused.map((name) => `"${name}"`).join(', ')}, which the view offers (generator/view.ts)`);
  const fill = Handlebars.compile(source, { noEscape: true, strict: true, knownHelpersOnly: true, knownHelpers: { inline: true } });
  return fill(view, { helpers: { inline: (inlined: string) => filesOf(inlined).map(inline).join('\n') } });
}
