#!/bin/sh
# Makes the checks of a pack (gen verify --sample N --pack DIR) with nothing but this folder and a driver. Answers: $OUT/answers.jsonl, or answers.jsonl here.
# Ends with 0 if all agreed. ANTKV_DRIVER: another libcuda.so.1; LIMIT: seconds (100).
set -u
here=$(cd "$(dirname "$0")" && pwd)
out=${OUT:-$here}
mkdir -p "$out"
# The folder may be one from which nothing can be started.
cp "$here/antkv-runner" "$out/antkv-runner.run" && chmod 755 "$out/antkv-runner.run" || exit 3
cd "$here" || exit 3
timeout "${LIMIT:-100}" "$out/antkv-runner.run" --driver "${ANTKV_DRIVER:-libcuda.so.1}" <requests.jsonl >"$out/answers.jsonl" || echo "the runner ended with $?" >&2
rm -f "$out/antkv-runner.run"
asked=$(grep -c '"cmd":"check"' requests.jsonl)
passed=$(grep '"bit_equal"' "$out/answers.jsonl" | grep -c '"ok":true')
echo "$passed of $asked checks agree with the reference"
grep -v '"ok":true\|"multiprocessors"' "$out/answers.jsonl" | cut -c1-400 | while read -r line; do
  echo "FAILED $line"
  id=$(echo "$line" | sed -n 's/.*"id":\([0-9]*\).*/\1/p')
  [ -n "$id" ] && grep "^$id " again.txt
done
[ "$passed" -eq "$asked" ]
