// Every generated file as text: sources, and what surrounds them.
import { printHeader } from './bindings/c.ts';
import { printKernels } from './bindings/kernels.ts';
import { printPython } from './bindings/python.ts';
import { printRust } from './bindings/rust.ts';
import { printTables, printTablesPython } from './bindings/table.ts';
import { printTypeScript } from './bindings/typescript.ts';
import { isCacheContract } from './contract.ts';
import { buildManifest, manifestSchema, printJson } from './manifest.ts';
import { contractName, kernelName, sourcePath, type Kernel } from './name.ts';
import { recipeSchema } from './recipe.ts';
import { readTemplate } from './render.ts';
import { remake, renderKernel } from './source.ts';
import { stamp } from './stamp.ts';
import { flatten } from './table/flat.ts';
import { inputsOfSource } from './table/inputs.ts';
import { committedTables, type NamedTable } from './table/read.ts';
import { tableJsonSchema } from './table/schema.ts';

/** Path below the output folder to text. */
export type Files = ReadonlyMap<string, string>;

/** Files that kernels and their callers include, copied as they are. */
const COPIED = ['antkv_device.cuh', 'antkv_format.h', 'antkv_launch.h'];

/** Everything that is written for `kernels`: their sources, header, bindings, manifest, schemas, and what `tables` say of them. */
export function emitAll(kernels: readonly Kernel[], tables: readonly NamedTable[] = committedTables()): Files {
  const files = new Map<string, string>();
  const stamped = (template: string, comment = '//') => stamp({ template, remake: remake() }, comment);
  const sources = kernels.map((kernel) => ({ kernel, text: renderKernel(kernel) }));
  for (const { kernel, text } of sources) files.set(sourcePath(kernel), text);
  for (const name of COPIED) files.set(name, stamped(`templates/${name}`) + readTemplate(name));
  const contracts = new Map(kernels.map(({ contract }) => [contractName(contract), contract]));
  files.set('antkv.h', stamped('generator/bindings/c.ts') + printHeader([...contracts.values()].filter(isCacheContract)));
  files.set('antkv_kernels.h', stamped('generator/bindings/kernels.ts') + printKernels(kernels));
  const texts = new Map(sources.map(({ kernel, text }) => [kernelName(kernel), text]));
  const flat = flatten(tables, kernels, (kernel) => inputsOfSource(texts.get(kernelName(kernel))!));
  files.set('antkv_tables.h', stamped('generator/bindings/table.ts') + printTables(flat, kernels));
  files.set('antkv_tables.py', stamped('generator/bindings/table.ts', '#') + printTablesPython(flat, kernels));
  files.set('antkv_params.py', stamped('generator/bindings/python.ts', '#') + printPython());
  files.set('antkv_params.rs', stamped('generator/bindings/rust.ts') + printRust());
  files.set('antkv_params.ts', stamped('generator/bindings/typescript.ts') + printTypeScript([...contracts.keys()]));
  files.set('manifest.json', printJson(buildManifest(sources)));
  files.set('manifest.schema.json', printJson(manifestSchema()));
  files.set('recipe.schema.json', printJson(recipeSchema()));
  files.set('table.schema.json', printJson(tableJsonSchema()));
  return files;
}
