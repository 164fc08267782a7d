// antkv_params.ts: offsets of the parameter structs and the registry of contracts, for Node and Deno. Printed by ts-morph.
import { Project, VariableDeclarationKind } from 'ts-morph';
import { PARAM_STRUCTS, structLayout } from '../abi.ts';
import { parseContractName } from '../name.ts';
import { VERSIONS } from '../versions.ts';

/** The TypeScript module; its registry holds the contracts of `names`. */
export function printTypeScript(names: readonly string[]): string {
  const sorted = [...names].sort();
  const file = new Project({ useInMemoryFileSystem: true }).createSourceFile('antkv_params.ts');
  const constant = (name: string, initializer: string, doc: string): void => {
    file.addVariableStatement({ isExported: true, declarationKind: VariableDeclarationKind.Const, declarations: [{ name, initializer }], docs: [doc] });
  };
  const alias = (name: string, type: string, doc: string): void => {
    file.addTypeAlias({ name, type, isExported: true, docs: [doc] });
  };

  constant('ABI_VERSION', String(VERSIONS.abi), 'Goes into abi_version of every struct.');
  constant('LAYOUT_VERSION', String(VERSIONS.layout), 'Version of coded pages, anchor pages, ring and packed codebooks.');
  alias('FieldType', "'u32' | 'i32' | 'i64' | 'f32' | 'ptr'", 'How a field is written; a ptr is a 64-bit device pointer.');
  file.addInterface({
    name: 'Field',
    isExported: true,
    docs: ['Where a field lies in its struct, in bytes.'],
    properties: [{ name: 'offset', type: 'number', isReadonly: true }, { name: 'type', type: 'FieldType', isReadonly: true }],
  });
  const structs = PARAM_STRUCTS.map((s) => {
    const { offsets, bytes } = structLayout(s);
    const fields = s.fields.map(({ name, type, doc }, i) => `${doc === '' ? '' : `      /** ${doc} */\n`}      ${name}: { offset: ${offsets[i]}, type: '${type}' },`);
    return `  /** ${s.doc} */\n  ${s.op}: {\n    bytes: ${bytes},\n    fields: {\n${fields.join('\n')}\n    },\n  },`;
  });
  constant('PARAMS', `{\n${structs.join('\n')}\n} as const satisfies Record<string, { bytes: number; fields: Record<string, Field> }>`, 'Parameter struct of each op. Little-endian; strides count bytes.');
  alias('Op', 'keyof typeof PARAMS', 'An op with a parameter struct.');
  constant('CONTRACTS', `{\n${sorted.map((name) => `  ${name}: '${parseContractName(name).op}',`).join('\n')}\n} as const satisfies Record<string, Op>`, 'The contracts of this release, and the op of each. Names are stable; kernels behind them are not.');
  alias('Contract', 'keyof typeof CONTRACTS', 'The name of a contract.');
  alias('OpOf<C extends Contract>', '(typeof CONTRACTS)[C]', 'The op of a contract, from its name.');
  alias('FieldOf<O extends Op>', 'Extract<keyof (typeof PARAMS)[O]["fields"], string>', "The fields of an op's struct.");
  file.formatText({ indentSize: 2 });
  return file.getFullText();
}
