// Tests generator/render.ts.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { holesOf, readTemplate, renderTemplate } from '../../generator/render.ts';

const SHELL = 'namespace {{name}}_ {\nconstexpr int kWarps = {{warps}};\n{{inline "body.cuh"}}\n}  // {{name}}_\n';
const BODY = 'float a[2][2] = {{0}};  // a < b && c > "d"\n';
const inline = (file: string): string => {
  assert.is(file, 'body.cuh');
  return BODY;
};

test('holes are filled, bodies are pasted as they are', () => {
  assert.is(renderTemplate(SHELL, 's', { name: 'x', warps: 4 }, inline), `namespace x_ {\nconstexpr int kWarps = 4;\n${BODY}\n}  // x_\n`);
});

test('a list of files is pasted in its order, and a name that holds one is a hole', () => {
  const shell = 'a\n{{inline chosen}}\nz\n';
  assert.is(renderTemplate(shell, 's', { chosen: 'one.cuh two.cuh' }, (file) => `// ${file}`), 'a\n// one.cuh\n// two.cuh\nz\n');
  const { names, files, chosen } = holesOf(shell, 's');
  assert.equal([[...names], files, chosen], [[['chosen', 2]], [], ['chosen']]);
});

test('zero and false are values, and nothing is escaped', () => {
  assert.is(renderTemplate('{{a}} {{b}} {{c}}', 's', { a: 0, b: false, c: '<"&' }), '0 false <"&');
});

test('the holes of a shell come with their first line and its files', () => {
  const { names, files } = holesOf(SHELL, 's');
  assert.equal([[...names], files], [[['name', 1], ['warps', 2]], ['body.cuh']]);
});

const REFUSED: [what: string, source: string, want: RegExp][] = [
  ['a missing value', 'x\n{{warps}} {{tokens}}', /^s:2: the view has no "tokens"/],
  ['an unused value', 'x\n', /^s: reads no "warps"/],
  ['a doubled brace of C++', '{{warps}}\nfloat a[2] = {{0}};', /^s:2: "\{\{0\}\}" is a hole; write the doubled brace/],
  ['a doubled brace with a list', '{{warps}}\n\nfloat a[2][2] = {{1, 2}, {3, 4}};', /^s:3: not a template/],
  ['an empty doubled brace', '{{warps}}\nfloat a[2] = {{}};', /^s:2: not a template/],
  ['a doubled brace with a name in it', '{{warps}}\nS s = {{x}};', /^s:2: the view has no "x"/],
  ['a tripled brace', '{{warps}}\n{{{warps}}}', /^s:2: a tripled brace/],
  ['a condition', '{{#if warps}}x{{/if}}', /^s:1: BlockStatement/],
  ['a partial', '{{warps}}{{> other}}', /^s:1: PartialStatement/],
  ['a comment, which would vanish', '{{warps}}\n{{! note }}', /^s:2: CommentStatement/],
  ['an unknown helper', '{{warps}}{{lookup warps 1}}', /^s:1: "lookup" is not a hole/],
  ['a path', '{{warps.x}}', /^s:1: "warps.x" is not a hole/],
  ['inline of two files', '{{warps}}{{inline "a.cuh" "b.cuh"}}', /^s:1: "inline" is not a hole/],
  ['inline of a path', '{{warps}}{{inline warps.x}}', /^s:1: "inline" is not a hole/],
  ['inline of a number', '{{warps}}{{inline 4}}', /^s:1: "inline" is not a hole/],
  ['inline of a list that the view lacks', '{{warps}}\n{{inline files}}', /^s:2: the view has no "files"/],
  ['a member of the prototype', '{{toString}}{{warps}}', /s:1: .*toString/],
];
for (const [what, source, want] of REFUSED) test(`refuses ${what}`, () => assert.throws(() => renderTemplate(source, 's', { warps: 4 }), want));

test('templates are read from templates/', () => assert.match(readTemplate('antkv_device.cuh'), /namespace antkv/));

test.run();
