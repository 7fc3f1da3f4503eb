#!/bin/bash
# Runs node_client.js with the packages that package-lock.json names, installed in WORK_FOLDER.
#   node_client.sh WEFTD PROTO_FOLDER WORK_FOLDER
# Exits with 77 when there is no Node.js, or when the packages cannot be had.
set -euo pipefail
here=$(cd -P "$(dirname "$0")" && pwd)
weftd=$1
protos=$(cd -P "$2" && pwd)
work=$3

skip() {
  echo "skipped: $1"
  exit 77
}
for command in node npm; do
  command -v "$command" >/dev/null || skip "there is no $command; deploy/install-deps.sh installs it"
done

mkdir -p "$work"
cp "$here/package.json" "$here/package-lock.json" "$here/node_client.js" "$work/"
cd "$work"
# Installed completely, and from this very list.
if ! cmp -s package-lock.json installed-lock.json; then
  code=0
  timeout 180 npm ci --ignore-scripts --no-audit --no-fund --prefer-offline --fetch-retries=1 \
    --fetch-timeout=30000 >npm.log 2>&1 || code=$?
  if [ "$code" -ne 0 ]; then
    cat npm.log
    unreachable='ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ENETUNREACH|EHOSTUNREACH|ERR_SOCKET|E401|E403|E407|E429|E5[0-9][0-9]'
    if [ "$code" -eq 124 ] || grep -qE "code ($unreachable)" npm.log; then
      skip "the npm registry cannot be reached, and the packages are not here"
    fi
    exit 1
  fi
  cp package-lock.json installed-lock.json
fi
exec node node_client.js "$weftd" "$protos"
