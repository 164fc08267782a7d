#!/bin/sh
# Measures the kernels of this folder on this machine's GPU. Needs g++ and an NVIDIA driver; Python with PyTorch adds the FP16 baseline. Made by "gen pack --measure".
#
#   sh measure.sh               writes records.jsonl here; read it elsewhere with "gen bench --records records.jsonl"
#
# OUT=FILE      where the records go; the runner is built beside it, so that this folder may be read-only
# LIMIT=N       start nothing new after N seconds; what matters most comes first
# REQUEST_S=N   seconds that one request may take on average (45); eight share one process
# ANTKV_DRIVER  another libcuda.so.1, for example an emulated one
# CXX, PYTHON   other programs than g++ and python3
set -u
here=$(cd "$(dirname "$0")" && pwd)
out=${OUT:-$here/records.jsonl}
mkdir -p "$(dirname "$out")" || exit 3
work=$(cd "$(dirname "$out")" && pwd)
out=$work/$(basename "$out")
cd "$here" || exit 3
began=$(date +%s)
elapsed() { echo $(($(date +%s) - began)); }
say() { echo "measure: $*" >&2; }

runner=$work/antkv-runner
if [ ! -x "$runner" ]; then
  say "building the runner"
  objects=$work/objects.$$
  mkdir -p "$objects"
  ls harness/runner/*.cc harness/reference/*.cc | xargs -P "$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)" -I '{}' sh -c \
    "exec ${CXX:-g++} -std=c++17 -O2 -ffp-contract=off -I generated -c '{}' -o '$objects'/\$(echo '{}' | tr / -).o" &&
    ${CXX:-g++} "$objects"/*.o -ldl -pthread -o "$runner" || { say "the runner could not be built; fix: install g++ 9 or newer, or set CXX"; rm -rf "$objects"; exit 3; }
  rm -rf "$objects"
fi
driver=${ANTKV_DRIVER:-libcuda.so.1}

part=$work/part.$$
trap 'rm -f "$part"' EXIT
cat pack.json >"$out"
total=$(wc -l <requests.jsonl)
next=1
# Requests go to one process until it is lost (a crash, a hang, a fatal error of the driver); then the next process goes on behind the lost request.
while [ "$next" -le "$total" ]; do
  if [ -n "${LIMIT:-}" ] && [ "$(elapsed)" -ge "$LIMIT" ]; then say "LIMIT reached: requests $next to $total were not run"; break; fi
  last=$((next + 7))
  sed -n "$next,${last}p" requests.jsonl | timeout -k 5 "$((8 * ${REQUEST_S:-45}))" "$runner" --driver "$driver" | awk '{ print } /"fatal":true/ { exit }' >"$part"
  answered=$(wc -l <"$part")
  cat "$part" >>"$out"
  asked=$(sed -n "$next,${last}p" requests.jsonl | wc -l)
  next=$((next + answered))
  if [ "$answered" -lt "$asked" ] && ! grep -q '"fatal":true' "$part"; then
    # The runner says on stderr what it misses; without an answer to its very first request nothing else will work.
    if [ "$next" -eq 1 ]; then say "the runner does not start; fix: install the NVIDIA driver, or set ANTKV_DRIVER"; exit 3; fi
    echo "{\"id\":$(sed -n "${next}p" requests.jsonl | sed 's/.*"id":\([0-9]*\).*/\1/'),\"error\":\"the runner crashed or hung\",\"kind\":\"runner\",\"fatal\":true}" >>"$out"
    next=$((next + 1))
  fi
  say "$((next - 1)) of $total, $(elapsed) s"
  # The baseline early, right after the first chunk (ceilings and checks): LIMIT must not cut it off.
  if [ -z "${baseline:-}" ]; then
    baseline=done
    timeout -k 5 240 "${PYTHON:-python3}" baseline.py >"$part" || say "no FP16 baseline from PyTorch (no Python, or it failed)"
    cat "$part" >>"$out"
  fi
done
say "$(wc -l <"$out") records in $out, $(elapsed) s"
