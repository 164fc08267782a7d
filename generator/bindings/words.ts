// Words that the bindings share.
import type { ParamStruct } from '../abi.ts';

/** `DecodeParams` for the struct of decode. */
export const className = ({ op }: ParamStruct): string => `${op[0]!.toUpperCase()}${op.slice(1)}Params`;
