"""The same no-op job on Weft and on other task queues, one after the other; run.sh says how."""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import measure
import processes
from systems import HOW_TO_INSTALL, SYSTEMS, Weft, is_installed

SYSTEM_SECONDS = 320  # for all that is measured of one
ROOT = Path(__file__).resolve().parents[3]
COLUMNS = ("single", "bulk", "drain", "worker_us", "broker_us", "per_cpu_second", "p50_us",
           "p99_us")
HEADS = ("single/s", "bulk/s", "drain/s", "worker", "broker", "jobs/CPU-s", "p50 us", "p99 us")
PLACEMENTS = {"same": "broker, worker and client on CPU 0",
              "split": "broker on CPU 1, worker and client on CPU 0"}


def parse():
    parser = argparse.ArgumentParser(prog="run.sh", allow_abbrev=False,
                                     description="Compares task queues; " + ", ".join(SYSTEMS))
    parser.add_argument("names", nargs="*", metavar="NAME", help="which ones (default: all)")
    parser.add_argument("--jobs", type=int, metavar="N",
                        help="in each measurement (default: as suits the speed of each system)")
    parser.add_argument("--same", action="store_true", help="only " + PLACEMENTS["same"])
    parser.add_argument("--split", action="store_true", help="only " + PLACEMENTS["split"])
    parser.add_argument("--aof", choices=("off", "everysec", "always"), default="everysec",
                        help="how every Redis writes its append-only file (default: everysec)")
    parser.add_argument("--build", type=Path, default=ROOT / "build", metavar="FOLDER",
                        help="the build of weft and weftd (default: build)")
    parser.add_argument("--measure-one", help=argparse.SUPPRESS)  # in a process of its own
    arguments = parser.parse_args()
    for name in arguments.names:
        if name not in SYSTEMS:
            parser.error(f"there is no '{name}'; there are: {' '.join(SYSTEMS)}")
    if arguments.jobs is not None and not 100 <= arguments.jobs <= 900_000:
        parser.error("--jobs takes a number from 100 to 900000")
    if arguments.same and arguments.split:
        parser.error("--same and --split are both made without either: give one or none")
    if arguments.split and os.cpu_count() < 2:
        parser.error("--split needs a second CPU")
    arguments.build = arguments.build.resolve()
    return arguments


def end_at_signals():
    """In the orderly way, which stops what runs; also where a shell has them ignored."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))


def measure_one(arguments):
    """In a child: prints the row, or says on standard error why there is none."""
    end_at_signals()
    processes.adopt_orphans()
    placement = "split" if arguments.split else "same"
    with tempfile.TemporaryDirectory(prefix="weft-peers-") as folder:
        bench = measure.Bench(SYSTEMS[arguments.measure_one], placement, arguments.jobs,
                              arguments.aof, arguments.build, Path(folder))
        try:
            bench.measure()
        except (RuntimeError, OSError) as error:
            bench.row["error"] = str(error)
        finally:
            processes.kill_descendants()
    print(json.dumps(bench.row))


def row_of(name, placement, arguments):
    """Measures in a process of its own, which is ended with all it has started."""
    command = [sys.executable, __file__, "--measure-one", name, "--" + placement, "--aof",
               arguments.aof, "--build", str(arguments.build)]
    if arguments.jobs:
        command += ["--jobs", str(arguments.jobs)]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True,
                             preexec_fn=processes.end_with_parent)
    try:
        text, _ = child.communicate(timeout=SYSTEM_SECONDS)
        return json.loads(text) if child.returncode == 0 else {"error": "the measurement failed"}
    except subprocess.TimeoutExpired:
        return {"error": f"no end within {SYSTEM_SECONDS} s"}
    finally:
        if child.poll() is None:
            processes.stop(child)  # it removes its folder
        processes.kill_descendants()


def number(value):
    if value is None:
        return "-"
    return f"{value:.1f}" if value < 100 else f"{value:,.0f}"


def print_table(placement, arguments):
    print(f"\n{placement}: {PLACEMENTS[placement]}"
          " (of weftd on SQLite or in memory: it is the broker)")
    form = "{:<16} {:<18} {:<27} {:>5}" + " {:>10}" * len(COLUMNS)
    print(form.format("", "", "", "", "", "", "", "CPU us/job", "", "", "submit to", "result"))
    print(form.format("system", "durable", "settings", "conns", *HEADS))
    for name in arguments.names or SYSTEMS:
        system = SYSTEMS[name]
        if not is_installed(system):
            print(f"{name:<16} not installed: {HOW_TO_INSTALL} installs it", flush=True)
            continue
        if isinstance(system, Weft) and not os.access(arguments.build / "bin/weft", os.X_OK):
            print(f"{name:<16} not built: cmake --preset release && cmake --build --preset release",
                  flush=True)
            continue
        row = row_of(name, placement, arguments)
        on_redis = "redis" in (getattr(system, "store", ""), getattr(system, "broker", ""))
        durable = f"Redis AOF {arguments.aof}" if on_redis else system.durability
        print(form.format(name, durable, system.settings, row.get("connections", "-"),
                          *(number(row.get(column)) for column in COLUMNS)), flush=True)
        for remark in (row[key] for key in ("note", "error") if key in row):
            print(f"{'':<16} {remark}", flush=True)


def print_machine(arguments):
    model = next((line.partition(": ")[2] for line in Path("/proc/cpuinfo").read_text().splitlines()
                  if line.startswith("model name")), "unknown")
    filesystem = subprocess.run(["df", "--output=fstype", tempfile.gettempdir()],
                                capture_output=True, text=True).stdout.split()[-1:]
    print(f"machine: {os.cpu_count()} CPUs, {model}, {os.uname().sysname} {os.uname().release}; "
          f"load {os.getloadavg()[0]:.2f}; files on {' '.join(filesystem) or 'unknown'}")
    cache = arguments.build / "CMakeCache.txt"
    kind = next((line.partition("=")[2] for line in cache.read_text().splitlines()
                 if line.startswith("CMAKE_BUILD_TYPE:")), "") if cache.exists() else ""
    tree = subprocess.run(["git", "-C", str(ROOT), "describe", "--always", "--dirty"],
                          capture_output=True, text=True).stdout.strip()
    print(f"weft: {tree or 'unknown'}, build {kind or 'unknown'}"
          + ("" if kind == "Release" else " - NOT A RELEASE BUILD, its figures mean nothing"))
    print(f"jobs: 100 bytes, no work; {arguments.jobs or 'as many as suit each system'}")


def main():
    arguments = parse()
    if arguments.measure_one:
        measure_one(arguments)
        return
    end_at_signals()
    processes.adopt_orphans()
    print_machine(arguments)
    for placement in PLACEMENTS:
        other = arguments.split if placement == "same" else arguments.same
        if not other and (placement == "same" or os.cpu_count() > 1):
            print_table(placement, arguments)


main()
