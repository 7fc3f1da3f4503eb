#!/bin/bash
# The package list of deploy/install-deps.sh resolves on a machine that has no package at all, from
# Debian 12 alone: other sources of this machine must not hide a package that Debian lacks.
set -euo pipefail
cd "$(dirname "$0")/../.."
lists=/var/lib/apt/lists
if ! ls "$lists"/deb.debian.org_debian_dists_bookworm_main_*_Packages* >/dev/null 2>&1; then
  echo "apt has no lists of deb.debian.org here: run apt-get update to have this checked"
  exit 77
fi
sources=$(mktemp)
trap 'rm -f "$sources"' EXIT
cat >"$sources" <<'SOURCES'
deb http://deb.debian.org/debian bookworm main
deb http://deb.debian.org/debian bookworm-updates main
deb http://deb.debian.org/debian-security bookworm-security main
SOURCES
mapfile -t packages < <(deploy/install-deps.sh --print)
[ ${#packages[@]} -gt 10 ]
apt-get -s -o Dir::State::status=/dev/null -o Dir::Etc::sourcelist="$sources" \
  -o Dir::Etc::sourceparts=- -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= \
  --no-install-recommends install "${packages[@]}" | grep -c '^Inst '
