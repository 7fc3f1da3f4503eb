#!/bin/bash
# The same no-op job on Weft and on other task queues, one after the other in one run, as one table
# for each placement. README.md beside this file says what is measured, and what cannot be compared.
#   tests/bench/peers/run.sh                      all of them, about ten minutes
#   tests/bench/peers/run.sh weft-redis bullmq    only those named
#   tests/bench/peers/run.sh --same --jobs 1000   one placement; that many jobs a measurement
# --help lists names and options. A system that is not installed is named and left out;
# tests/bench/peers/install.sh installs them all. Run it on an idle machine.
set -euo pipefail
here=$(cd -P "$(dirname "$0")" && pwd)
export PYTHONDONTWRITEBYTECODE=1
exec python3 "$here/peers.py" "$@"
