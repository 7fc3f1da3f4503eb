#!/bin/bash
# Installs the Debian packages that building and testing Weft needs. Safe to repeat: it asks apt for
# nothing that is there already.
#   deploy/install-deps.sh           install what is missing (as root, or through sudo)
#   deploy/install-deps.sh --print   print the package names, one a line, and do nothing
#   deploy/install-deps.sh --these PACKAGE...   install what is missing of these instead
set -euo pipefail

packages=(
  clang-19                # the compiler; g++ 12 breaks coroutines
  libclang-rt-19-dev      # AddressSanitizer, UndefinedBehaviorSanitizer, ThreadSanitizer
  llvm-19                 # llvm-symbolizer: names in sanitizer reports
  clang-format-19         # the format check
  cmake
  ninja-build
  mold                    # the linker
  ccache                  # builds again only what changed
  pkg-config
  git
  python3                 # the checks of include direction, headers and README
  libgrpc++-dev           # the API: server and client
  protobuf-compiler
  protobuf-compiler-grpc
  libprotobuf-dev
  libabsl-dev             # Status, StatusOr, flat_hash_map
  tzdata                  # time zones of schedules, at run time
  libsqlite3-dev          # the embedded store
  libhiredis-dev          # the store that daemons share
  redis-server            # …which the tests start
  libjemalloc-dev         # malloc of weftd
  libspdlog-dev           # logs
  libssl-dev              # SHA-256 of the digest handler
  libcli11-dev            # command lines
  libcurl4-openssl-dev    # the http handler
  libmicrohttpd-dev       # the admin pages
  prometheus-cpp-dev      # metrics and their text form
  libsystemd-dev          # notification, watchdog, socket activation
  nlohmann-json3-dev      # JSON payloads
  python3-grpcio          # a test's client in Python, and…
  python3-protobuf        # …the messages it sends
  libgtest-dev
  libgmock-dev
  libbenchmark-dev
  libasio-dev             # yardsticks of the runtime's benchmark
  libuv1-dev
)
# A test's client in JavaScript. A Node.js that is there already stays: Debian's npm conflicts with
# one of another origin.
if ! command -v node >/dev/null || ! command -v npm >/dev/null; then
  packages+=(nodejs npm)
fi

case "${1:-}" in
  "") ;;
  --print)
    printf '%s\n' "${packages[@]}"
    exit 0
    ;;
  --these)
    shift
    packages=("$@")
    ;;
  *)
    echo "install-deps: unknown argument '$1'; run it without one, or with --print or --these" >&2
    exit 2
    ;;
esac

if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
  echo "install-deps: this is not a Debian system; install these by your own package manager:" \
    "${packages[*]}" >&2
  exit 1
fi

missing=()
for package in "${packages[@]}"; do
  status=$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null || true)
  [ "$status" = installed ] || missing+=("$package")
done
if [ ${#missing[@]} -eq 0 ]; then
  echo "install-deps: all ${#packages[@]} packages are installed"
  exit 0
fi

as_root=()
if [ "$(id -u)" -ne 0 ]; then
  if ! command -v sudo >/dev/null; then
    echo "install-deps: run this as root: ${#missing[@]} packages are missing: ${missing[*]}" >&2
    exit 1
  fi
  as_root=(sudo)
fi
echo "install-deps: installing ${#missing[@]} of ${#packages[@]} packages: ${missing[*]}"
apt() { "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q "$@"; }
apt update
apt install -y --no-install-recommends "${missing[@]}"
echo "install-deps: done"
