#!/bin/bash
# run.sh refuses what it cannot use, names what is not installed, and leaves nothing behind.
set -euo pipefail
here=$(cd -P "$(dirname "$0")" && pwd)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

fail() {
  echo "run_test.sh: $1" >&2
  exit 1
}
# refused TEXT arguments...: exit code 2, and TEXT among the words.
refused() {
  local text=$1 code=0
  shift
  "$here/run.sh" "$@" >"$folder/out" 2>"$folder/err" || code=$?
  [ "$code" -eq 2 ] || fail "'$*' ended with $code"
  grep -qF -- "$text" "$folder/err" || fail "'$*' said: $(cat "$folder/err")"
  [ ! -s "$folder/out" ] || fail "'$*' began to measure"
}
refused "there is no 'rabbit'" rabbit
refused "from 100 to 900000" --jobs 99
refused "from 100 to 900000" --jobs 900001
refused "give one or none" --same --split
refused "--aof" --aof sometimes
refused "--build" --build

XDG_CACHE_HOME=$folder "$here/run.sh" --same bullmq bee-queue >"$folder/out"
[ "$(grep -c 'not installed: tests/bench/peers/install.sh' "$folder/out")" -eq 2 ] ||
  fail "what is not installed is not named: $(cat "$folder/out")"
"$here/run.sh" --same --build "$folder" weft-memory >"$folder/out"
grep -q 'weft-memory *not built' "$folder/out" || fail "a build that is missing is not named"

# Interrupted, it stops what it has started; by the example of one that takes its time.
if ! /usr/bin/python3 -c 'import rq, redis' 2>/dev/null; then exit 0; fi
mkdir "$folder/tmp"
TMPDIR=$folder/tmp "$here/run.sh" --same --jobs 900000 rq >"$folder/out" &
run=$!
for _ in $(seq 300); do
  [ -n "$(compgen -G "$folder/tmp/*/broker1" || true)" ] && break
  sleep 0.1
done
[ -n "$(compgen -G "$folder/tmp/*/broker1" || true)" ] || fail "nothing has started in 30 s"
kill -TERM "$run"
code=0
wait "$run" || code=$?
[ "$code" -eq 143 ] || fail "interrupted, it ended with $code"
[ -z "$(ls "$folder/tmp")" ] || fail "it has left $(ls "$folder/tmp")"
for process in /proc/[0-9]*; do
  case $(readlink "$process/cwd" 2>/dev/null || true) in
    "$folder/tmp"/*) fail "a process of it still runs: $(tr '\0' ' ' <"$process/cmdline")" ;;
  esac
done
