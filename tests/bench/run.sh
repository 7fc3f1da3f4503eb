#!/bin/bash
# Measures Weft and prints every setting. One command:
#   tests/bench/run.sh                      everything, about fifteen minutes
#   tests/bench/run.sh runtime latency      only those named
# Names: runtime (with Asio and libuv in the same run), store, stream-hub; and by way of a real
# weftd: submit, drain, latency, stream, waiting; and redis: those five on a redis-server of its own,
# with its append-only file off, everysec and always.
#   WEFT_BENCH_WAITING=1000000 tests/bench/run.sh waiting    that many waiting jobs (default 100000)
# Figures of one run differ by 10 to 25 %: compare builds with tests/bench/compare.sh.
set -euo pipefail
cd -P "$(dirname "$0")/../.."

names=("$@")
all=(runtime store stream-hub submit drain latency stream waiting redis)
[ ${#names[@]} -gt 0 ] || names=("${all[@]}")
for name in "${names[@]}"; do
  if [[ " ${all[*]} " != *" $name "* ]]; then
    echo "run.sh: no bench named '$name'; there are: ${all[*]}" >&2
    exit 2
  fi
done

waiting_jobs=${WEFT_BENCH_WAITING:-100000}
redis_pid=
redis_folder=
stop_redis() {
  [ -z "$redis_pid" ] || { kill "$redis_pid" && wait "$redis_pid"; } || true
  [ -z "$redis_folder" ] || rm -rf "$redis_folder"
  redis_pid=
  redis_folder=
}
trap stop_redis EXIT
trap 'exit 130' INT TERM

# on_redis no|yes everysec|always: a fresh server with this append-only file, and the five benches.
on_redis() {
  local port
  redis_folder=$(mktemp -d)
  port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
  redis-server --bind 127.0.0.1 --port "$port" --dir "$redis_folder" --save "" \
    --appendonly "$1" --appendfsync "$2" >"$redis_folder/log" &
  redis_pid=$!
  for _ in $(seq 100); do
    ! redis-cli -p "$port" ping >"$redis_folder/ping" 2>&1 || break
    sleep 0.1
  done
  if ! grep -q PONG "$redis_folder/ping"; then
    echo "run.sh: redis-server does not start: $(tail -1 "$redis_folder/log")" >&2
    exit 1
  fi
  local bench=(build/bin/weft bench) store=(--store "redis://127.0.0.1:$port/0")
  "${bench[@]}" submit "${store[@]}"
  "${bench[@]}" drain "${store[@]}" --workers 4
  "${bench[@]}" drain "${store[@]}" --retention 0
  "${bench[@]}" latency "${store[@]}"
  "${bench[@]}" stream "${store[@]}"
  "${bench[@]}" waiting "${store[@]}" --jobs "$waiting_jobs"
  stop_redis
}

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
    waiting) build/bin/weft bench waiting --jobs "$waiting_jobs" ;;
    redis)
      on_redis no everysec
      on_redis yes everysec
      on_redis yes always
      ;;
    *) build/bin/weft bench "$name" ;;
  esac
done
