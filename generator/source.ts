// The source of one kernel: a function of its name and the templates, nothing else.
import { kernelName, type Kernel } from './name.ts';
import { filesOf, holesOf, readTemplate, renderTemplate } from './render.ts';
import { digest, stamp } from './stamp.ts';
import { shellOf, viewOf } from './view.ts';

/** The command that makes a file again; what is not committed needs `--out DIR` too. */
export const remake = (kernel?: Kernel): string => (kernel ? `npx gen --only ${kernelName(kernel)}` : 'npx gen');

/** The source of one kernel. Throws if its shell and its view have drifted apart. */
export function renderKernel(kernel: Kernel): string {
  const name = `${shellOf(kernel)}.cu.hbs`;
  const file = `templates/${name}`;
  const shell = readTemplate(name);
  const { names, files, chosen } = holesOf(shell, file);
  const view = viewOf(kernel, names.keys());
  const text = renderTemplate(shell, file, view);
  const inputs = digest([shell, ...[...files, ...chosen.flatMap((hole) => filesOf(view[hole]))].map(readTemplate), JSON.stringify(view)]);
  return stamp({ template: file, kernel: kernelName(kernel), inputs, remake: remake(kernel) }) + text;
}
