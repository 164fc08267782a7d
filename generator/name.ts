// Names of contracts and kernels, and their inverse. Left of `__` what is computed, right of it how.
import { ARCHS, findArch, type Arch } from './arch.ts';
import { AXES, AXES_OF, AXIS_DEFAULTS, OPS, type Axis, type Contract, type Op } from './contract.ts';
import { ALGORITHMS, TILE_LETTERS, tileFields, type Tile } from './tile.ts';

/** Contract + tile + arch: one source file, one symbol. */
export interface Kernel {
  readonly contract: Contract;
  readonly arch: Arch;
  readonly tile: Tile;
}

/** The longest name that is allowed anywhere. */
export const NAME_LIMIT = 100;

const GAIN_WORDS = { k: 'gain', v: 'gainv', kv: 'gainkv' } as const;

/** The word that an axis puts into a name; undefined for values that names omit. */
function wordOf(axis: Axis, value: Contract[Axis]): string | undefined {
  if (value === (AXIS_DEFAULTS as Partial<Record<Axis, unknown>>)[axis]) return undefined;
  switch (axis) {
    case 'headDim': return `d${String(value)}`;
    case 'k': return `k${String(value)}`;
    case 'v': return `v${String(value)}`;
    case 'columns': return `n${String(value)}`;
    case 'gain': return GAIN_WORDS[value as keyof typeof GAIN_WORDS];
    case 'softcap': case 'sink': return axis;
    case 'dtype': case 'key': case 'form': case 'numerics': return String(value);
  }
}

/** The name of a contract: its op, then one word per axis that is not at its default, in the order of {@link AXES}. */
export function contractName(c: Contract): string {
  const axes = (Object.keys(AXES) as Axis[]).filter((axis) => AXES_OF[c.op].includes(axis));
  return ['antkv', c.op, ...axes.map((axis) => wordOf(axis, c[axis])).filter((word) => word !== undefined)].join('_');
}

/** The name of a kernel: file, symbol, manifest key and table value. */
export function kernelName({ contract, arch, tile }: Kernel): string {
  const fields = tileFields(contract.op, tile.algorithm).map((field) => `${TILE_LETTERS[field]}${tile[field]}`);
  return `${contractName(contract)}__${[arch.name, ...(tile.algorithm ? [tile.algorithm] : []), ...fields].join('_')}`;
}

/** The path of a kernel's source below the output folder. */
export const sourcePath = (kernel: Kernel): string => `${kernel.arch.name}/${kernelName(kernel)}.cu`;

/** The path of what it is compiled to. */
export const fatbinPath = (kernel: Kernel): string => `${kernel.arch.name}/${kernelName(kernel)}.fatbin`;

/** The inverse of {@link contractName}. Throws on a name that it did not write. */
export function parseContractName(name: string): Contract {
  const [prefix, op, ...words] = name.split('_');
  const fail = (why: string) => new Error(`"${name}" is not a contract's name: ${why}`);
  if (prefix !== 'antkv') throw fail('names begin with antkv_');
  if (!(OPS as readonly string[]).includes(op ?? '')) throw fail(`"${op}" is not an op (${OPS.join(', ')})`);
  const contract: Record<string, unknown> = { op };
  for (const axis of (Object.keys(AXES) as Axis[]).filter((a) => AXES_OF[op as Op].includes(a))) {
    const value = (AXES[axis] as readonly Contract[Axis][]).find((v) => words.length > 0 && wordOf(axis, v) === words[0]);
    if (value !== undefined) words.shift();
    contract[axis] = value ?? (AXIS_DEFAULTS as Partial<Record<Axis, unknown>>)[axis];
    if (contract[axis] === undefined) throw fail(`${words[0] === undefined ? 'it ends' : `"${words[0]}" stands`} where ${axis} is expected`);
  }
  if (words.length > 0) throw fail(`"${words[0]}" does not belong there`);
  return contract as Contract;
}

/** The inverse of {@link kernelName}. Throws on a name that it did not write. */
export function parseKernelName(name: string): Kernel {
  const [left, right, ...rest] = name.split('__');
  const fail = (why: string) => new Error(`"${name}" is not a kernel's name: ${why}`);
  if (left === undefined || right === undefined || rest.length > 0) throw fail('one "__" parts contract and tile');
  const contract = parseContractName(left);
  const [archName, ...words] = right.split('_');
  const arch = findArch(archName ?? '');
  if (!arch) throw fail(`"${archName}" is not an architecture (${ARCHS.map((a) => a.name).join(', ')})`);
  const tile: Record<string, number | string> = {};
  const algorithm = ALGORITHMS[contract.op]?.find((word) => word === words[0]);
  if (algorithm !== undefined) tile['algorithm'] = words.shift()!;
  for (const field of tileFields(contract.op, algorithm)) {
    const digits = new RegExp(`^${TILE_LETTERS[field]}([1-9][0-9]{0,4})$`).exec(words.shift() ?? '')?.[1];
    if (digits === undefined) throw fail(`${field} is written ${TILE_LETTERS[field]}<number>`);
    tile[field] = Number(digits);
  }
  if (words.length > 0) throw fail(`"${words[0]}" does not belong there`);
  return { contract, arch, tile: tile as unknown as Tile };
}
