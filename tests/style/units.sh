#!/bin/bash
# systemd can read the units in deploy/systemd; the program they start need not be installed.
set -euo pipefail
cd "$(dirname "$0")/../.."
if ! command -v systemd-analyze >/dev/null; then
  echo "systemd-analyze is not installed: install systemd to have this checked"
  exit 77
fi
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cp deploy/systemd/weftd.service deploy/systemd/weftd.socket "$folder"
sed -i 's|^ExecStart=/usr/bin/weftd|ExecStart=/bin/true|' "$folder/weftd.service"
said=$(SYSTEMD_UNIT_PATH="$folder:" systemd-analyze verify --man=no "$folder/weftd.service" \
  "$folder/weftd.socket" 2>&1) || { echo "$said"; exit 1; }
if grep -F "$folder/weftd" <<<"$said"; then exit 1; fi
