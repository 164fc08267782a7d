// The one list of integers that version what others depend on. The Python package, which reads folders without Node, repeats them (antkv/folder.py, pack.py; a test holds them equal).
export const VERSIONS = {
  /** Parameter structs of antkv.h: rises when a field moves, changes or goes. */
  abi: 3,
  /** Coded pages, anchor pages, ring and packed codebooks: rises when a byte moves. */
  layout: 4,
  /** Schema of generated/manifest.json. */
  manifest: 1,
  /** Schema of the tuning table. */
  table: 1,
  /** What antkv_tables.h and antkv_tables.py hold, which antkv_table.h and antkv_table.py look up in: rises when a field or the meaning of one changes. 2: squares of tokens. */
  tableArrays: 2,
  /** Schema of codebook files. 2: values may have a basis, which a reader of version 1 would not undo; files of version 1 are read too. 3: recipes by layer; files of one recipe stay at 2. */
  codebook: 3,
} as const;
