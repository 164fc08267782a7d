#!/bin/sh
# Measures the kernels of this folder on this machine's GPU. Needs g++ and an NVIDIA driver; Python with PyTorch adds the FP16 baseline. Made by "gen pack --measure".
#
#   sh measure.sh               writes records.jsonl here; read it elsewhere with "gen bench --records records.jsonl"
#
# Run again, it goes on with what records.jsonl has no answer for, after ceilings and baseline, which each run measures itself.
# OUT=FILE      where the records go, or a folder for records.jsonl; the runner is built beside it, so that this folder may be read-only
# LIMIT=N       start nothing new after N seconds; what matters most comes first
# ONLY=REGEX    only checks and measurements whose request matches (awk): a kernel, a tile, a shape
# CHECKS=0      no checks before the measurements
# REQUEST_S=N   seconds that one request may take on average (45); eight share one process
# ANTKV_DRIVER  another libcuda.so.1, for example an emulated one
# CXX, PYTHON, NVCC  other programs than g++, python3 and nvcc (of packs with sources)
set -u
here=$(cd "$(dirname "$0")" && pwd)
out=${OUT:-$here/records.jsonl}
if [ -d "$out" ]; then out=$out/records.jsonl; fi
mkdir -p "$(dirname "$out")" || exit 3
work=$(cd "$(dirname "$out")" && pwd)
out=$work/$(basename "$out")
cd "$here" || exit 3
began=$(date +%s)
elapsed() { echo $(($(date +%s) - began)); }
say() { echo "measure: $*" >&2; }

runner=$work/antkv-runner
# Built before this pack was: not of its sources.
if [ ! -x "$runner" ] || [ -n "$(find harness generated -newer "$runner" -print | head -n 1)" ]; then
  say "building the runner"
  objects=$work/objects.$$
  mkdir -p "$objects"
  ls harness/runner/*.cc harness/reference/*.cc | xargs -P "$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)" -I '{}' sh -c \
    "exec ${CXX:-g++} -std=c++17 -O2 -ffp-contract=off -I generated -c '{}' -o '$objects'/\$(echo '{}' | tr / -).o" &&
    ${CXX:-g++} "$objects"/*.o -ldl -pthread -o "$runner" || { say "the runner could not be built; fix: install g++ 9 or newer, or set CXX"; rm -rf "$objects"; exit 3; }
  rm -rf "$objects"
fi
driver=${ANTKV_DRIVER:-libcuda.so.1}

# Where requests find images/: here, or, of a pack with sources, where those were compiled.
images=$here
if [ -d sources ]; then
  images=$work
  sh compile.sh "$work" || exit 3
  [ -f "$work/images/ceilings.fatbin" ] || cp images/ceilings.fatbin "$work/images" || exit 3
  say "compiled, $(elapsed) s"
fi

part=$work/part.$$
todo=$work/todo.$$
trap 'rm -f "$part" "$todo"' EXIT
if [ -f "$out" ] && [ "$(head -n 1 "$out")" = "$(cat pack.json)" ]; then say "going on with $out"; else cat pack.json >"$out"; fi
# Info and ceilings always; of the rest what has no answer yet and is wanted.
awk -v only="${ONLY:-}" -v checks="${CHECKS:-1}" '
  NR == FNR { if (match($0, /^."id":[0-9]+/)) done[substr($0, 7, RLENGTH - 6)] = 1; next }
  /"cmd":"(info|ceilings)"/ { print; next }
  /"cmd":"check"/ && checks == "0" { next }
  { match($0, /^."id":[0-9]+/); if (!(substr($0, 7, RLENGTH - 6) in done) && $0 ~ only) print }' "$out" requests.jsonl >"$todo"
total=$(wc -l <"$todo")
next=1
# Requests go to one process until it is lost (a crash, a hang, a fatal error of the driver); then the next process goes on behind the lost request.
while [ "$next" -le "$total" ]; do
  if [ -n "${LIMIT:-}" ] && [ "$(elapsed)" -ge "$LIMIT" ]; then say "LIMIT reached: $((total - next + 1)) requests of $total were not run; run again for them"; break; fi
  last=$((next + 7))
  sed -n "$next,${last}p" "$todo" | (cd "$images" && exec timeout -k 5 "$((8 * ${REQUEST_S:-45}))" "$runner" --driver "$driver") | awk '{ print } /"fatal":true/ { exit }' >"$part"
  answered=$(wc -l <"$part")
  cat "$part" >>"$out"
  asked=$(sed -n "$next,${last}p" "$todo" | wc -l)
  first=$next
  next=$((next + answered))
  if [ "$answered" -lt "$asked" ] && ! grep -q '"fatal":true' "$part"; then
    # The runner says on stderr what it misses; without an answer to its very first request nothing else will work.
    if [ "$next" -eq 1 ]; then say "the runner does not start; fix: install the NVIDIA driver, or set ANTKV_DRIVER"; exit 3; fi
    echo "{\"id\":$(sed -n "${next}p" "$todo" | sed 's/.*"id":\([0-9]*\).*/\1/'),\"error\":\"the runner crashed or hung\",\"kind\":\"runner\",\"fatal\":true}" >>"$out"
    next=$((next + 1))
  fi
  say "$((next - 1)) of $total, $(elapsed) s"
  # The baseline early, right after the first chunk (ceilings and checks): LIMIT must not cut it off.
  if [ "$first" -eq 1 ]; then
    timeout -k 5 300 "${PYTHON:-python3}" baseline.py --shapes @baseline.json --limit 240 >"$part" || say "no FP16 baseline from PyTorch (no Python, or it failed)"
    cat "$part" >>"$out"
    say "baseline: $(wc -l <"$part") rows, $(elapsed) s"
  fi
done
say "$(wc -l <"$out") records in $out, $(elapsed) s"
