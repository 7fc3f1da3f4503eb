#!/bin/bash
# The package list of deploy/install-deps.sh resolves on a machine that has no package at all.
set -euo pipefail
cd "$(dirname "$0")/../.."
if ! ls /var/lib/apt/lists/*_Packages* >/dev/null 2>&1; then
  echo "apt has no package lists here: run apt-get update to have this checked"
  exit 77
fi
mapfile -t packages < <(deploy/install-deps.sh --print)
[ ${#packages[@]} -gt 10 ]
apt-get -s -o Dir::State::status=/dev/null --no-install-recommends install "${packages[@]}" |
  grep -c '^Inst '
