#!/bin/bash
# Compares two builds in one run: each bench alternates between them, and the ratio of the medians
# is printed, since figures of different runs say nothing about each other on a shared machine.
#   tests/bench/compare.sh OLD_BUILD NEW_BUILD [names]     folders as made by cmake, like build
#   ROUNDS=5 tests/bench/compare.sh …                      default 3
# Names: runtime, store, stream-hub, submit, drain, latency, stream, waiting (default: all); one that a
# build does not have is left out and named.
set -euo pipefail
if [ $# -lt 2 ]; then
  sed -n '2,7s/^# \{0,1\}//p' "$0" >&2
  exit 2
fi
exec python3 - "$@" <<'PYTHON'
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile

old, new = (os.path.abspath(folder) for folder in sys.argv[1:3])
benches = {
    "runtime": (["runtime_bench", "--benchmark_format=json", "--benchmark_min_time=0.2",
                 "--benchmark_filter=-(asio|libuv|parked).*"], "runtime"),
    "store": (["store_bench", "sqlite"], "lines"),
    "stream-hub": (["stream_bench"], "lines"),
    "submit": (["weft", "bench", "submit", "--seconds", "2", "-o", "jsonl"], "weft"),
    "drain": (["weft", "bench", "drain", "--jobs", "100000", "-o", "jsonl"], "weft"),
    "latency": (["weft", "bench", "latency", "-o", "jsonl"], "weft"),
    "stream": (["weft", "bench", "stream", "-o", "jsonl"], "weft"),
    "waiting": (["weft", "bench", "waiting", "--jobs", "50000", "-o", "jsonl"], "weft"),
}
names = sys.argv[3:] or list(benches)
for name in names:
    if name not in benches:
        sys.exit(f"compare.sh: no bench named '{name}'; there are: {' '.join(benches)}")
rounds = int(os.environ.get("ROUNDS", "3"))


def read_runtime(text):
    # Lines before the document are the library's remarks.
    for run in json.loads(text[text.index("{"):])["benchmarks"]:
        yield run["name"] + " ns", run["cpu_time"]


def read_lines(text):
    for line in text.splitlines():
        for at, found in enumerate(re.finditer(r"(\d+) ?(?:chunks|jobs)?/s", line)):
            label = re.split(r"[:;]|  ", line.strip())[0]
            size = re.match(r".{28}\s+(\d+) ", line)
            yield f"{label} {size.group(1) if size else ''} [{at}] /s", float(found.group(1))


def read_weft(text):
    for line in text.splitlines():
        report = json.loads(line)
        for row in report["rows"]:
            for figure, value in row["figures"].items():
                store = report["settings"]["store"]
                yield f"{report['bench']} {store} {row['what']}: {figure}", value


readers = {"runtime": read_runtime, "lines": read_lines, "weft": read_weft}
print(f"old: {old}\nnew: {new}\n{rounds} rounds, alternating; medians; ratio new/old")
for name in names:
    command, form = benches[name]
    missing = [b for b in (old, new) if not os.access(f"{b}/bin/{command[0]}", os.X_OK)]
    if missing:
        print(f"{name}: left out, no {command[0]} in {' '.join(missing)}/bin")
        continue
    values = {}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(rounds):
            for side, build in enumerate((old, new)):
                done = subprocess.run([f"{build}/bin/{command[0]}"] + command[1:], cwd=folder,
                                      capture_output=True, text=True)
                if done.returncode != 0:
                    sys.exit(f"compare.sh: {build}/bin/{' '.join(command)}: {done.stderr}")
                for label, value in readers[form](done.stdout):
                    values.setdefault(label, ([], []))[side].append(value)
    for label, (before, after) in values.items():
        if not before or not after:
            continue
        a, b = statistics.median(before), statistics.median(after)
        ratio = f"{b / a:6.2f}" if a else "     -"
        print(f"  {name:10} {label:72} {a:14.2f} {b:14.2f} {ratio}", flush=True)
PYTHON
