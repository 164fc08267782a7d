// Digest of a kernel's code: equal digests mean equal code, without a compiler. Comments, white space and stamps do not count, so that they do not age a table. Pure.
import { printHeader } from '../bindings/c.ts';
import type { Kernel } from '../name.ts';
import { readTemplate } from '../render.ts';
import { renderKernel } from '../source.ts';
import { digest } from '../stamp.ts';

/** Comments, literals, words, runs of operators, single marks; a line of the preprocessor ends with its newline, which means something there. */
const TOKEN = /\/\/[^\n]*|\/\*[\s\S]*?\*\/|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|[\w$]+|[-+*/%&|^<>=!~?:.]+?(?=\/[/*])|[-+*/%&|^<>=!~?:.]+|\n|[^\s]/g;

/** The code of C++ text: its tokens with one blank between, directives on lines of their own. */
export function codeOf(text: string): string {
  const out: string[] = [];
  let directive = false;
  for (const [token] of text.replace(/\\\r?\n/g, ' ').matchAll(TOKEN)) {
    if (token === '\n') {
      if (directive) out.push(token);
      directive = false;
    } else if (!token.startsWith('//') && !token.startsWith('/*')) {
      if (token === '#' && !directive) {
        out.push('\n');
        directive = true;
      }
      out.push(token);
    }
  }
  return out.join(' ');
}

/** The text of a header that sources include, with nothing that depends on what lies beside it. */
const headerOf = (name: string): string => (name === 'antkv.h' ? printHeader([]) : readTemplate(name));
const headers = new Map<string, string>();

/** Digest of a source and of the headers that it includes; 16 hex digits. */
export function inputsOfSource(source: string): string {
  const included = [...source.matchAll(/^\s*#include "([^"]+)"/gm)].map(([, name]) => {
    let code = headers.get(name!);
    if (code === undefined) headers.set(name!, (code = codeOf(headerOf(name!))));
    return code;
  });
  return digest([codeOf(source), ...included]);
}

/** What `inputs` of a table and of a journal holds for this kernel today. */
export const kernelInputs = (kernel: Kernel): string => inputsOfSource(renderKernel(kernel));
