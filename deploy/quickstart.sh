#!/bin/bash
# From nothing to a running job: installs what is needed, builds weftd and weft, runs two real jobs
# on a daemon of its own, and stops it. Safe to repeat; keeps nothing but the build folder.
set -euo pipefail
cd -P "$(dirname "$0")/.."

say() { printf '\n== %s\n' "$*"; }
fail() {
  echo "quickstart: $*" >&2
  exit 1
}

say "1/5 packages"
deploy/install-deps.sh

say "2/5 build weftd and weft in build/"
cmake --preset release --log-level=WARNING >/dev/null
cmake --build build -j "$(nproc)" --target weftd weft

state=$(mktemp -d "${TMPDIR:-/tmp}/weft-quickstart.XXXXXX")
daemon=
attached_pid=
cleanup() {
  for pid in $attached_pid $daemon; do kill -KILL "$pid" 2>/dev/null || true; done
  rm -rf "$state"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

say "3/5 start weftd on its embedded store"
mkfifo "$state/ready"
build/bin/weftd --listen 127.0.0.1:0 --admin 127.0.0.1:0 --store "sqlite:$state/weft.db" \
  --allow-root "$(pwd -P)" \
  >"$state/ready" 2>"$state/log" &
daemon=$!
exec 3<"$state/ready"
if ! read -r -t 30 ready <&3; then
  cat "$state/log" >&2
  fail "weftd did not start"
fi
echo "$ready"
WEFT_SERVER=$(sed 's/.* grpc=\([^ ]*\).*/\1/' <<<"$ready")
export WEFT_SERVER
weft() { build/bin/weft "$@"; }

say "4/5 weft run digest: the SHA-256 of every file here, each line as soon as it is known"
git ls-files -z | xargs -0 sha256sum | LC_ALL=C sort >"$state/expected"
weft run digest --payload "{\"path\":\"$(pwd -P)\"}" | tee "$state/digest" |
  grep --line-buffered -v '  \.git/' | sed -u '11,$d'
echo "… $(wc -l <"$state/digest") files in all"
LC_ALL=C sort "$state/digest" >"$state/got"
if [ -n "$(LC_ALL=C comm -23 "$state/expected" "$state/got")" ]; then
  LC_ALL=C comm -23 "$state/expected" "$state/got" >&2
  fail "sha256sum says otherwise about the files above"
fi
echo "the $(wc -l <"$state/expected") files tracked by git have the sums that sha256sum gives them"

say "5/5 weft attach: a running count is steered by what is typed"
id=$(weft submit count --payload '{"to":1000000000,"delay_ms":50}' --stream-policy pause)
coproc attached { exec build/bin/weft attach "$id" 2>"$state/attach.log"; }
attached_pid=$attached_PID
fail_attached() {
  cat "$state/attach.log" >&2
  fail "$*"
}
exec 4<&"${attached[0]}" 5>&"${attached[1]}"
steered=
for ((i = 0; i < 100; i++)); do
  read -r -t 30 number <&4 || fail_attached "the job stopped counting"
  echo "$number"
  if [ "$number" -eq 5 ]; then
    echo '  > {"step":1000}'
    echo '{"step":1000}' >&5
  fi
  if [ "$number" -gt 3000 ]; then
    steered=yes
    break
  fi
done
[ -n "$steered" ] || fail_attached "the send did not reach the job"
echo "weft cancel $id: $(weft cancel "$id")"
exec 4<&- 5>&-
code=0
wait "$attached_pid" || code=$?
was_attached=$attached_pid
attached_pid=
[ "$code" -eq 11 ] || fail_attached "weft attach ended with $code instead of 11 (cancelled)"

kill -TERM "$daemon"
code=0
wait "$daemon" || code=$?
stopped=$daemon
daemon=
if [ "$code" -ne 0 ]; then
  cat "$state/log" >&2
  fail "weftd ended with $code"
fi
for pid in $was_attached $stopped; do
  if kill -0 "$pid" 2>/dev/null; then fail "process $pid is still running"; fi
done
echo "weftd (process $stopped) has stopped; nothing that this started is left running"

say "done. Try it yourself:"
cat <<'TEXT'
  build/bin/weftd --allow-root "$PWD" &
  build/bin/weft run digest --payload "{\"path\":\"$PWD/scheduler\"}"
  build/bin/weft run count --payload '{"to":5}'
TEXT
