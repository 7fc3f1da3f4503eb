#!/bin/bash
# Installs the task queues that run.sh compares Weft with. Safe to repeat.
#   tests/bench/peers/install.sh    Debian packages (as root, or through sudo), and packages of npm
# Debian starts the servers among them at once, on their usual ports; run.sh starts its own and needs
# none of those: systemctl disable --now gearman-job-server beanstalkd redis-server
set -euo pipefail

packages=(
  gearman-job-server
  libgearman-dev
  beanstalkd
  ruby-sidekiq
  python3-rq
  python3-celery
  python3-redis
  redis-server
  clang-19     # the drivers in C
)
# A Node.js that is there already stays: Debian's npm conflicts with one of another origin.
if ! command -v node >/dev/null || ! command -v npm >/dev/null; then
  packages+=(nodejs npm)
fi
node_packages=(bullmq@6.7.0 bee-queue@2.0.0 ioredis@6.0.0)
node_folder=${XDG_CACHE_HOME:-$HOME/.cache}/weft/peers/node

if [ $# -gt 0 ]; then
  echo "install.sh: it takes no arguments" >&2
  exit 2
fi
"$(dirname "$0")/../../../deploy/install-deps.sh" --these "${packages[@]}"

if [ "$(cat "$node_folder/installed" 2>/dev/null || true)" != "${node_packages[*]}" ]; then
  echo "install.sh: installing ${node_packages[*]} in $node_folder"
  mkdir -p "$node_folder"
  rm -rf "$node_folder/node_modules" "$node_folder/installed"
  # Nothing of a package is run while it is installed.
  npm install --prefix "$node_folder" --no-save --no-package-lock --ignore-scripts --no-audit \
    --no-fund "${node_packages[@]}"
  echo "${node_packages[*]}" >"$node_folder/installed"
fi
echo "install.sh: all is installed"
