// A fake nvcc: a shell script that answers --version and then does what a test wants.
import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { temporaryFolder } from '../folder.ts';

/** A folder whose `nvcc` runs `body` on every compile, with the output path in $out and the source in $src. */
export function fakeNvcc(body: string, version = '12.4.131'): string {
  const dir = temporaryFolder();
  const script = `#!/bin/sh
if [ "$1" = --version ]; then echo "Cuda compilation tools, release 12.4, V${version}"; exit 0; fi
previous=
for word in "$@"; do
  if [ "$previous" = -o ]; then out=$word; fi
  previous=$word
  src=$word
done
${body}
`;
  writeFileSync(join(dir, 'nvcc'), script);
  chmodSync(join(dir, 'nvcc'), 0o755);
  return dir;
}

/** What a compile that works leaves and says. */
export const WORKS = `echo "ptxas info    : Used 40 registers, used 1 barriers, 728 bytes cmem[0]" >&2
echo "    0 bytes stack frame, 4 bytes spill stores, 8 bytes spill loads" >&2
cat "$src" > "$out"`;
