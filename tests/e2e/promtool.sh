#!/bin/bash
# promtool.sh BIN CACHE: promtool finds nothing wrong with the metrics of BIN/weftd. Debian's
# package would start a service, so it is only unpacked, into CACHE; without it: skipped (77).
set -euo pipefail
bin=$1
cache=$2
skip() {
  echo "$*: the metrics are not checked"
  exit 77
}

promtool=$(command -v promtool || echo "$cache/usr/bin/promtool")
if [ ! -x "$promtool" ]; then
  mkdir -p "$cache"
  part=$(mktemp -d "$cache/part.XXXXXX")
  trap 'rm -rf "$part"' EXIT
  (cd "$part" && timeout 120 apt-get download prometheus >/dev/null 2>&1) ||
    skip "there is no promtool here and apt cannot fetch it"
  dpkg-deb -x "$part"/prometheus_*.deb "$part/root"
  mkdir -p "$cache/usr/bin"
  mv "$part/root/usr/bin/promtool" "$promtool"
fi

work=$(mktemp -d)
daemon=
cleanup() {
  [ -z "$daemon" ] || kill "$daemon" 2>/dev/null || true
  wait
  rm -rf "$work" ${part:+"$part"}
}
trap cleanup EXIT
mkfifo "$work/ready"
"$bin/weftd" --listen 127.0.0.1:0 --admin 127.0.0.1:0 --store memory: >"$work/ready" 2>/dev/null &
daemon=$!
exec 3<"$work/ready"
read -r -t 60 ready <&3
WEFT_SERVER=$(sed 's/.* grpc=\([^ ]*\).*/\1/' <<<"$ready")
export WEFT_SERVER
"$bin/weft" run echo --payload x >/dev/null
"$bin/weft" run count --payload '{"to":3}' >/dev/null
url=http://$(sed 's/.* admin=\([^ ]*\).*/\1/' <<<"$ready")/metrics
python3 -c 'import sys, urllib.request as r; print(r.urlopen(sys.argv[1]).read().decode(), end="")' \
  "$url" >"$work/metrics"
[ "$(grep -c '^# TYPE' "$work/metrics")" -gt 30 ]
"$promtool" check metrics <"$work/metrics"
# The check can fail.
if echo 'weft_bad 1' | "$promtool" check metrics >/dev/null 2>&1; then
  echo "promtool accepts a metric without help"
  exit 1
fi
