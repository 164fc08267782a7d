#!/bin/sh
# Compiles the sources of a pack into images/ of the folder $1, as many at a time as there are processors; a kernel that fails is said and left out. Called by measure.sh and checks.sh.
# NVCC: another compiler than nvcc, or the one of /usr/local/cuda.
set -u
to=$1/images
mkdir -p "$to" || exit 3
to=$(cd "$to" && pwd)
cd "$(dirname "$0")/sources" || exit 3
NVCC=${NVCC:-$(command -v nvcc || echo /usr/local/cuda/bin/nvcc)}
[ -x "$NVCC" ] || { echo "compile: no nvcc; fix: set NVCC" >&2; exit 3; }
export NVCC to
# The image's name is what follows -o; it is written beside and moved, so that one that is there is whole.
sed 's/.* -o \([^ ]*\) .*/\1 &/' compile.txt | xargs -P "$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)" -I '{}' sh -c '
  set -- {}
  image=$1; shift
  [ -s "$to/$image" ] && exit 0
  log=$to/$image.log
  "$NVCC" $(printf "%s\n" "$@" | sed "s|^$image\$|$to/$image.part|") >"$log" 2>&1 && mv "$to/$image.part" "$to/$image" || { echo "compile: $image failed: $(grep -m 1 error "$log")" >&2; exit 0; }'
echo "compile: $(ls "$to" | grep -c "fatbin$") of $(grep -c . compile.txt) kernels" >&2
