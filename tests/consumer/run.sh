#!/bin/bash
# Installs the build in BUILD_DIR somewhere else, moves it, builds the project in this folder against
# it in both ways, and runs what came out: run.sh BUILD_DIR COMPILER
set -euo pipefail
build=$1 compiler=$2
here=$(cd "$(dirname "$0")" && pwd)
source_dir=$(dirname "$(dirname "$here")")
work=$(mktemp -d)
daemon=
trap '[[ -z $daemon ]] || kill "$daemon" 2>/dev/null || true; wait; rm -rf "$work"' EXIT

fail() { echo "consumer: $*" >&2; exit 1; }

cmake --install "$build" --prefix "$work/first" --strip >/dev/null
mv "$work/first" "$work/prefix"  # what was installed does not know where it is
# Debug information and messages of a debug build name its files.
text_only=I
! grep -q '^CMAKE_BUILD_TYPE:STRING=Release' "$build/CMakeCache.txt" || text_only=
if grep -rl${text_only}F -e "$build" -e "$source_dir" -e "$work" "$work/prefix"; then
  fail "the files above name a folder of this machine"
fi
mkdir "$work/project"
cp "$here"/{CMakeLists.txt,build.sh,client.cc,worker.cc} "$work/project"
cd "$work/project"

# Talks to a worker built in folder $1.
try() {
  : >"$work/ready"  # what the one before said is not an answer
  "$1/my_worker" --store memory: --listen 127.0.0.1:0 --admin 127.0.0.1:0 >"$work/ready" 2>"$work/log" &
  daemon=$!
  for _ in $(seq 600); do
    grep -q '^weftd ready' "$work/ready" && break
    kill -0 "$daemon" 2>/dev/null || fail "$1/my_worker ended: $(cat "$work/log")"
    sleep 0.1
  done
  local address
  address=$(sed -n 's/^weftd ready grpc=\([^ ]*\).*/\1/p' "$work/ready")
  "$1/my_client" "$address" >"$work/seen" || fail "$1/my_client failed: $(cat "$work/seen")"
  kill "$daemon"
  wait "$daemon" || fail "$1/my_worker did not end well: $(cat "$work/log")"
  daemon=
  printf '%s\n' 'number 1' 'number 2' 'number 3' 'sum 6' 'chunk {"n":1}' 'chunk {"n":2}' |
    diff - "$work/seen" || fail "$1/my_client printed something else"
}

cmake -B by-cmake -G Ninja -DCMAKE_CXX_COMPILER="$compiler" -DCMAKE_BUILD_TYPE=Debug \
  -DCMAKE_PREFIX_PATH="$work/prefix" >cmake.log || fail "find_package: $(cat cmake.log)"
ninja -C by-cmake >ninja.log || fail "$(cat ninja.log)"
try ./by-cmake

pc=$(dirname "$(find "$work/prefix" -name weft-worker.pc)")
launcher=$(command -v ccache || true)
PKG_CONFIG_PATH=$pc sh build.sh $launcher "$compiler" || fail "build.sh with pkg-config"
try .
echo "built and run with find_package and with pkg-config"
