// Every generated file as text: a function of names and templates, nothing else.
import { printHeader } from './bindings/c.ts';
import { printPython } from './bindings/python.ts';
import { printRust } from './bindings/rust.ts';
import { printTypeScript } from './bindings/typescript.ts';
import { isCacheContract } from './contract.ts';
import { buildManifest, manifestSchema, printJson } from './manifest.ts';
import { contractName, kernelName, type Kernel } from './name.ts';
import { recipeSchema } from './recipe.ts';
import { holesOf, readTemplate, renderTemplate } from './render.ts';
import { digest, stamp } from './stamp.ts';
import { viewOf } from './view.ts';

/** Path below the output folder to text. */
export type Files = ReadonlyMap<string, string>;

/** The command that makes a shipped file again. */
export const remake = (kernel?: Kernel): string => (kernel ? `npx gen --arch ${kernel.arch.name} --only ${kernelName(kernel)}` : 'npx gen --arch sm80');

/** The path of a kernel's source below the output folder. */
export const sourcePath = (kernel: Kernel): string => `${kernel.arch.name}/${kernelName(kernel)}.cu`;

/** The source of one kernel. Throws if its shell and its view have drifted apart. */
export function renderKernel(kernel: Kernel): string {
  const file = `templates/${kernel.contract.op}.cu.hbs`;
  const shell = readTemplate(`${kernel.contract.op}.cu.hbs`);
  const { names, files } = holesOf(shell, file);
  const view = viewOf(kernel, names.keys());
  const text = renderTemplate(shell, file, view);
  const inputs = digest([shell, ...files.map(readTemplate), JSON.stringify(view)]);
  return stamp({ template: file, kernel: kernelName(kernel), inputs, remake: remake(kernel) }) + text;
}

/** Files that every kernel includes, copied as they are. */
const COPIED = ['antkv_device.cuh', 'antkv_format.h'];

/** Everything that is written for `kernels`: their sources, header, bindings, manifest, schemas. */
export function emitAll(kernels: readonly Kernel[]): Files {
  const files = new Map<string, string>();
  const stamped = (template: string, comment = '//') => stamp({ template, remake: remake() }, comment);
  const sources = kernels.map((kernel) => ({ kernel, text: renderKernel(kernel) }));
  for (const { kernel, text } of sources) files.set(sourcePath(kernel), text);
  for (const name of COPIED) files.set(name, stamped(`templates/${name}`) + readTemplate(name));
  const contracts = new Map(kernels.map(({ contract }) => [contractName(contract), contract]));
  files.set('antkv.h', stamped('generator/bindings/c.ts') + printHeader([...contracts.values()].filter(isCacheContract)));
  files.set('antkv_params.py', stamped('generator/bindings/python.ts', '#') + printPython());
  files.set('antkv_params.rs', stamped('generator/bindings/rust.ts') + printRust());
  files.set('antkv_params.ts', stamped('generator/bindings/typescript.ts') + printTypeScript([...contracts.keys()]));
  files.set('manifest.json', printJson(buildManifest(sources)));
  files.set('manifest.schema.json', printJson(manifestSchema()));
  files.set('recipe.schema.json', printJson(recipeSchema()));
  return files;
}
