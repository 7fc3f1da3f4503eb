#!/bin/bash
# Measures Weft and prints every setting. One command:
#   tests/bench/run.sh                      everything, about ten minutes
#   tests/bench/run.sh runtime latency      only those named
# Names: runtime (with Asio and libuv in the same run), store, stream-hub; and by way of a real
# weftd: submit, drain, latency, stream, waiting.
#   WEFT_BENCH_WAITING=1000000 tests/bench/run.sh waiting    that many waiting jobs (default 100000)
# Figures of one run differ by 10 to 25 %: compare builds with tests/bench/compare.sh.
set -euo pipefail
cd -P "$(dirname "$0")/../.."

names=("$@")
all=(runtime store stream-hub submit drain latency stream waiting)
[ ${#names[@]} -gt 0 ] || names=("${all[@]}")
for name in "${names[@]}"; do
  if [[ " ${all[*]} " != *" $name "* ]]; then
    echo "run.sh: no bench named '$name'; there are: ${all[*]}" >&2
    exit 2
  fi
done

deploy/install-deps.sh
cmake --preset release --log-level=WARNING >/dev/null
cmake --build build -j "${WEFT_JOBS:-$(nproc)}" --target \
  runtime_bench store_bench stream_bench weft weftd

echo "== machine: $(nproc) cores of $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -1)," \
  "$(uname -sr), $(clang++-19 --version | head -1), release build, load $(cut -d' ' -f1 /proc/loadavg)"
echo "== tree: $(git describe --always --dirty 2>/dev/null || echo unknown)"
for name in "${names[@]}"; do
  echo "== $name"
  case $name in
    runtime) build/bin/runtime_bench ;;
    store) (cd build && bin/store_bench) ;;
    stream-hub) build/bin/stream_bench ;;
    waiting) build/bin/weft bench waiting --jobs "${WEFT_BENCH_WAITING:-100000}" ;;
    *) build/bin/weft bench "$name" ;;
  esac
done
