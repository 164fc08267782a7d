// A generated folder as Python reads it, with kernels for the emulated driver.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { printPython } from '../../../generator/bindings/python.ts';
import { printTablesPython } from '../../../generator/bindings/table.ts';
import { buildManifest, printJson } from '../../../generator/manifest.ts';
import type { Kernel } from '../../../generator/name.ts';
import { renderKernel } from '../../../generator/source.ts';
import { flatten, type Flat } from '../../../generator/table/flat.ts';
import { emulatedFolder, generatedFolder } from '../load/build.ts';

function writePython(dir: string, kernels: readonly Kernel[], tables: Flat): string {
  writeFileSync(join(dir, 'antkv_params.py'), printPython());
  writeFileSync(join(dir, 'antkv_tables.py'), printTablesPython(tables, kernels));
  writeFileSync(join(dir, 'manifest.json'), printJson(buildManifest(kernels.map((kernel) => ({ kernel, text: renderKernel(kernel) })))));
  return dir;
}

/** With images that the emulated driver loads, built if need be. */
export const emulatedPythonFolder = async (kernels: readonly Kernel[]): Promise<string> => writePython(await emulatedFolder(kernels), kernels, flatten([], kernels));

/** With empty images, for a driver that only writes down what it is asked. */
export const pythonFolder = (kernels: readonly Kernel[], tables: Flat = flatten([], kernels)): string => writePython(generatedFolder(kernels, true, tables), kernels, tables);
