#!/bin/sh
# Makes the checks of a pack (gen verify --sample N --pack DIR) with nothing but this folder, a driver and, if the pack has sources, nvcc. Answers: $OUT/answers.jsonl, or answers.jsonl here.
# Ends with 0 if all agreed. A check that crashes, hangs or is refused is an answer like others. ANTKV_DRIVER: another libcuda.so.1; LIMIT: seconds (100); REQUEST_S: that 25 checks may take (60).
set -u
here=$(cd "$(dirname "$0")" && pwd)
out=${OUT:-$here}
mkdir -p "$out" && out=$(cd "$out" && pwd) || exit 3
began=$(date +%s)
# The folder may be one from which nothing can be started.
runner=$out/antkv-runner.run
cp "$here/antkv-runner" "$runner" && chmod 755 "$runner" || exit 3
images=$here
if [ -d "$here/sources" ]; then images=$out; sh "$here/compile.sh" "$images" || exit 3; fi
cd "$images" || exit 3
part=$out/part.$$
trap 'rm -f "$runner" "$part"' EXIT
: >"$out/answers.jsonl"
total=$(grep -c . "$here/requests.jsonl")
next=1
# A process has 25 checks, until it is lost: the next one goes on behind the check that it was lost with.
while [ "$next" -le "$total" ]; do
  left=$((${LIMIT:-100} - $(date +%s) + began))
  if [ "$left" -le 0 ]; then echo "LIMIT reached: $((total - next + 1)) requests of $total were not made" >&2; break; fi
  [ "$left" -gt "${REQUEST_S:-60}" ] && left=${REQUEST_S:-60}
  last=$((next + 24))
  sed -n "$next,${last}p" "$here/requests.jsonl" | timeout -k 5 "$left" "$runner" --driver "${ANTKV_DRIVER:-libcuda.so.1}" | awk '{ print } /"fatal":true/ { exit }' >"$part"
  cat "$part" >>"$out/answers.jsonl"
  answered=$(grep -c . "$part")
  [ "$last" -gt "$total" ] && last=$total
  next=$((next + answered))
  if [ "$next" -le "$last" ] && ! grep -q '"fatal":true' "$part"; then
    [ "$next" -eq 1 ] && { echo "the runner does not start" >&2; exit 3; }
    echo "{\"id\":$(sed -n "${next}s/.*\"id\":\([0-9]*\).*/\1/p" "$here/requests.jsonl"),\"error\":\"the runner crashed or hung\",\"kind\":\"runner\",\"fatal\":true}" >>"$out/answers.jsonl"
    next=$((next + 1))
  fi
done
asked=$(grep -c '"cmd":"check"' "$here/requests.jsonl")
passed=$(grep '"bit_equal"' "$out/answers.jsonl" | grep -c '"ok":true')
echo "$passed of $asked checks agree with the reference"
grep -v '"ok":true\|"multiprocessors"' "$out/answers.jsonl" | cut -c1-400 | while read -r line; do
  echo "FAILED $line"
  id=$(echo "$line" | sed -n 's/.*"id":\([0-9]*\).*/\1/p')
  [ -n "$id" ] && grep "^$id " "$here/again.txt"
done
[ "$passed" -eq "$asked" ]
