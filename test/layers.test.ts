// The layer rule: cli > tuner > generator > templates. Read from the sources, not from what happens to run.
import { Project, SyntaxKind, type SourceFile } from 'ts-morph';
import { relative, sep } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { ROOT } from '../generator/cli/select.ts';

const project = new Project({ skipAddingFilesFromTsConfig: true, compilerOptions: { allowJs: true } });
project.addSourceFilesAtPaths(['generator', 'tuner', 'test'].flatMap((dir) => [`${ROOT}/${dir}/**/*.ts`, `${ROOT}/${dir}/**/*.mjs`]));
const pathOf = (file: SourceFile): string => relative(ROOT, file.getFilePath()).split(sep).join('/');
const sources = new Map(project.getSourceFiles().map((file) => [pathOf(file), file]));

/** `generator`, `cli`, `tuner` or `test`. */
const layerOf = (path: string): string => (path.startsWith('generator/cli/') || path === 'generator/gen.mjs' ? 'cli' : path.split('/')[0]!);

/** What a file imports, statically, lazily or by type; files of ours as paths below the root. */
function importsOf(path: string, file: SourceFile): { from: string; names: string[]; typeOnly: boolean }[] {
  const place = (from: string): string => (from.startsWith('.') ? new URL(from, `file:///${path}`).pathname.slice(1) : from);
  const fixed = [...file.getImportDeclarations(), ...file.getExportDeclarations().filter((d) => d.getModuleSpecifier())].map((d) => ({
    from: place(d.getModuleSpecifierValue()!),
    names: 'getNamedImports' in d ? [...d.getNamedImports().map((n) => n.getName()), ...(d.getNamespaceImport() ? ['*'] : []), ...(d.getDefaultImport() ? ['default'] : [])] : ['*'],
    typeOnly: d.isTypeOnly(),
  }));
  const lazy = file.getDescendantsOfKind(SyntaxKind.CallExpression).filter((call) => call.getExpression().getKind() === SyntaxKind.ImportKeyword).flatMap((call) => {
    const argument = call.getArguments()[0];
    return argument?.isKind(SyntaxKind.StringLiteral) ? [{ from: place(argument.getLiteralValue()), names: ['*'], typeOnly: false }] : [];
  });
  return [...fixed, ...lazy];
}

const all = [...sources].flatMap(([path, file]) => importsOf(path, file).map((row) => ({ path, layer: layerOf(path), ...row })));
const bad = (rule: (row: (typeof all)[number]) => boolean): string[] => all.filter(rule).map(({ path, from, names }) => `${path} imports ${names.join(', ')} from ${from}`);

test('all sources are read', () => assert.ok(sources.size > 60 && all.length > 200, `${sources.size} files, ${all.length} imports`));

const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = { generator: ['generator'], tuner: ['tuner', 'generator'], cli: ['cli', 'tuner', 'generator'], test: ['test', 'cli', 'tuner', 'generator'] };

test('each layer imports only what lies below it', () => {
  assert.equal(bad(({ layer, from }) => /^(generator|tuner|test|harness|templates|generated)\//.test(from) && !MAY_IMPORT[layer]!.includes(layerOf(from))), []);
});

test('packages are used where they belong', () => {
  const homes: [name: string, home: RegExp][] = [
    ['handlebars', /^generator\/render\.ts$/],
    ['yargs', /^generator\/cli\//],
    ['ts-morph', /^generator\/bindings\/typescript\.ts$/],
    ['execa', /^(tuner|generator\/cli)\//],
    ['p-queue', /^tuner\//],
  ];
  for (const [name, home] of homes) assert.equal(bad(({ path, layer, from }) => from === name && layer !== 'test' && !home.test(path)), [], name);
});

test('in the generator only write.ts writes files; others may read', () => {
  const reads = ['readFileSync', 'readFile', 'readdirSync', 'existsSync', 'openSync', 'readSync', 'closeSync', 'statSync', 'fstatSync'];
  assert.equal(bad(({ path, layer, from, names }) => layer === 'generator' && /^node:fs/.test(from) && path !== 'generator/write.ts' && !names.every((name) => reads.includes(name))), []);
});

test('only render.ts reads templates/', () => {
  const readers = [...sources].filter(([path, file]) => layerOf(path) !== 'test' && /new URL\([^)]*templates\//.test(file.getText())).map(([path]) => path);
  assert.equal(readers, ['generator/render.ts']);
});

test('the generator has no clock, no chance, no network and no processes', () => {
  assert.equal(bad(({ layer, from }) => layer === 'generator' && /^node:(http|https|net|dgram|tls|child_process|worker_threads|os)$/.test(from)), []);
  for (const [path, file] of sources) {
    if (layerOf(path) !== 'generator') continue;
    const words = file.getDescendantsOfKind(SyntaxKind.Identifier).map((word) => word.getText());
    for (const word of ['Date', 'performance', 'fetch', 'setTimeout']) assert.not(words.includes(word), `${path} uses ${word}`);
    assert.not.match(file.getText(), /Math\.random/, path);
  }
});

test('modules are short', () => {
  const long = [...sources].filter(([path, file]) => layerOf(path) !== 'test' && file.getEndLineNumber() > 250).map(([path]) => path);
  // One line per field of the ABI: a table, not logic.
  assert.equal(long, ['generator/abi.ts']);
});

test('every module says what it is for', () => {
  const silent = [...sources].filter(([, file]) => !/^(#!.*\n)?\/\/ \S/.test(file.getFullText())).map(([path]) => path);
  assert.equal(silent, []);
});

test('every test file ends by running: uvu passes silently without it', () => {
  const tests = [...sources].filter(([path]) => /\.(test|all)\.ts$/.test(path));
  assert.ok(tests.length > 15);
  assert.equal(tests.filter(([, file]) => !/\n(\w+\.)?(test|\w+)\.run\(\);\n$/.test(file.getFullText())).map(([path]) => path), []);
});

test.run();
