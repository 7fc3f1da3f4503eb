#!/bin/bash
# What a Redis script gets of common.lua: what it needs, and nothing when that cannot be told.
set -eu
embed=$(cd "$(dirname "$0")/../.." && pwd)/cmake/embed_scripts.cmake
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

# embed COMMON: the script "return LIMIT" with that common.lua, on the standard output.
embed() {
  printf '%s\n' "$1" > "$folder/common.lua"
  printf '#!lua flags=allow-oom\n-- named in a comment: unused\nreturn LIMIT\n' > "$folder/one.lua"
  rm -f "$folder/out.cc"
  cmake -DFOLDER="$folder" -DOUTPUT="$folder/out" -P "$embed" 2> "$folder/errors" &&
    cat "$folder/out.cc"
}
fail() {
  echo "$1" >&2
  exit 1
}

script=$(embed '-- A comment.
local function ten() return 10 end
local LIMIT = ten()
  -- Another, of a function that nothing names but comments: unused.
local function unused()
  return 1
end
local LAST = 1')
grep -q '(#!lua flags=allow-oom$' <<< "$script" || fail "the first line is not the script's own"
grep -q 'local function ten()' <<< "$script" || fail "what stands between functions names ten()"
grep -q 'local LAST = 1' <<< "$script" || fail "what stands between functions is left out"
! grep -q 'unused' <<< "$script" || fail "comments, or what only they name, are embedded"

embed 'local function first()
  return 1
  end
local LIMIT = 1' > /dev/null && fail "a function without an end in column 1 is taken"
grep -q 'first needs an' "$folder/errors" || fail "the function is not named: $(cat "$folder/errors")"
embed 'local function first()
  return 1
  end
local function second()
  return 2
end
local LIMIT = 1' > /dev/null && fail "a function gets the end of the next one"
exit 0
