"""Measures one system; the figures of a row, by name. A figure that could not be had is absent."""

import contextlib
import json
import os
import statistics
import time
from pathlib import Path

import processes
from systems import DRIVERS, Weft, broker_command

CLIENT_SECONDS = 60   # one call of a driver
DRAIN_SECONDS = 20    # the rate is that of the jobs done by then
WEFT_SECONDS = 100    # one weft bench
WEFT_DRAIN_JOBS = 200_000
WEFT_LATENCY_JOBS = 2000
WARM_PART = 0.1       # of the jobs: the worker's start is no part of the rate
C_DRIVERS = {"./gearman": ["-lgearman", "-lpthread"], "./beanstalkd": ["-lpthread"]}


class Bench:
    """placement: "same" puts all on CPU 0, "split" the broker on CPU 1."""

    def __init__(self, system, placement, jobs, aof, build, folder):
        self.system = system
        self.jobs = jobs
        self.aof = aof
        self.build = build
        self.folder = folder
        self.client_cpus = {0}
        self.broker_cpus = {1 if placement == "split" else 0}
        self.row = {}
        self.brokers = 0

    @contextlib.contextmanager
    def broker(self, kind, options=()):
        """A fresh one; its process and port."""
        self.brokers += 1
        folder = self.folder / f"broker{self.brokers}"
        folder.mkdir()
        port = processes.free_port()
        process = processes.start(broker_command(kind, port, folder, options, self.aof),
                                  self.broker_cpus, folder)
        try:
            processes.wait_for_port(port, process)
            yield process, port
        finally:
            processes.stop(process)

    def measure(self):
        if isinstance(self.system, Weft):
            self.measure_weft()
        else:
            self.measure_peer()
        return self.row

    # Task queues of others.

    def driver(self, environment, *words):
        command = [*self.system.driver, *map(str, words)]
        return json.loads(processes.run(command, self.client_cpus, self.folder, environment,
                                        CLIENT_SECONDS).splitlines()[-1])

    def peer(self):
        """A fresh broker of the system, and what its drivers have to know."""
        return self.broker(self.system.broker, self.system.broker_options)

    def environment(self, port):
        return self.system.environment | {
            "PEERS_PORT": str(port), "PEERS_DONE": str(self.folder / "done"),
            "REDIS_URL": f"redis://127.0.0.1:{port}/0"}

    def start_worker(self, environment):
        return processes.start(self.system.worker or [*self.system.driver, "work"],
                               self.client_cpus, self.folder, environment)

    def measure_peer(self):
        system = self.system
        libraries = C_DRIVERS.get(system.driver[0])
        if libraries:
            processes.run([os.environ.get("CC", "clang-19"), "-O2",
                           str(DRIVERS / (Path(system.driver[0]).name + ".c")), "-o",
                           system.driver[0], *libraries],
                          self.client_cpus, self.folder, {}, CLIENT_SECONDS)
        count = self.jobs or system.jobs.single
        with self.peer() as (_, port):
            took = self.driver(self.environment(port), "submit", "single", count)
            self.row["single"] = count / took["seconds"]
        count = self.jobs or system.jobs.bulk
        with self.peer() as (broker, port):
            environment = self.environment(port)
            took = self.driver(environment, "submit", "bulk", count)
            if system.has_bulk:
                self.row["bulk"] = count / took["seconds"]
            self.drain(broker, port, environment, min(count, self.jobs or system.jobs.drain))
        if system.jobs.latency:
            count = min(system.jobs.latency, self.jobs or system.jobs.latency)
            with self.peer() as (_, port):
                self.latency(self.environment(port), count)

    def drain(self, broker, port, environment, count):
        """Runs the jobs that wait; the worker's progress file is as long as jobs are done."""
        progress = self.folder / "done"
        progress.write_bytes(b"")
        worker = self.start_worker(environment)

        def look():
            # The jobs last: what they took is then counted in any case.
            cpu = processes.cpu_seconds(worker.pid), processes.cpu_seconds(broker.pid)
            return time.monotonic(), *cpu, progress.stat().st_size

        try:
            first = None
            end = time.monotonic() + DRAIN_SECONDS
            while True:
                done = progress.stat().st_size
                if first is None and done >= count * WARM_PART:
                    first = look()
                    self.row["connections"] = processes.connections(port)
                if done >= count or time.monotonic() > end:
                    break
                if worker.poll() is not None:
                    raise RuntimeError("the worker has ended")
                time.sleep(0.005)
            last = look()
        finally:
            processes.stop(worker)
        if first is None or last[3] == first[3]:
            raise RuntimeError(f"only {last[3]} of {count} jobs run in {DRAIN_SECONDS} s"
                               if last[3] < count else "over before it was seen: more --jobs")
        seconds, worker_cpu, broker_cpu, done = (b - a for a, b in zip(first, last))
        self.row |= {"drain": done / seconds, "worker_us": worker_cpu / done * 1e6,
                     "broker_us": broker_cpu / done * 1e6,
                     "per_cpu_second": done / (worker_cpu + broker_cpu)}

    def latency(self, environment, count):
        worker = self.start_worker(environment)
        try:
            micros = self.driver(environment, "latency", count)["micros"]
        finally:
            processes.stop(worker)
        if len(micros) < count:
            self.row["note"] = f"{count - len(micros)} of {count} results never came to the client"
        if micros:
            self.row |= {"p50_us": statistics.median(micros),
                         "p99_us": sorted(micros)[int(len(micros) * 0.99)]}

    # Weft: all by weft bench, which starts a weftd of its own.

    def measure_weft(self):
        if self.system.store != "redis":
            self.weft_benches(self.system.store, None, self.broker_cpus)
            return
        with self.broker("redis") as (_, port):
            self.weft_benches(f"redis://127.0.0.1:{port}/0", port, self.client_cpus)

    def weft_benches(self, store, port, daemon_cpus):
        kept = self.system.retention
        jobs = ["--jobs", str(self.jobs)] if self.jobs else []
        bench = ["--type", "sleep", "--payload", '{"ms":0}', "--store", store,
                 "--daemon-cpu", str(min(daemon_cpus))]
        submit = self.weft("submit", *bench, *kept, *(jobs or ["--seconds", "2"]))
        self.row["single"] = submit[0]["jobs/s"]
        self.row["bulk"] = submit[-1]["jobs/s"]
        # The first row is that of a backlog, where the store can have one.
        drain = self.weft("drain", *bench, *kept, *(jobs or ["--jobs", str(WEFT_DRAIN_JOBS)]),
                          port=port)[0]
        self.row |= {"drain": drain["jobs/s"], "worker_us": drain["daemon CPU us/job"],
                     "broker_us": drain.get("redis CPU us/job"),
                     "per_cpu_second": drain["jobs per CPU-second"]}
        # A client has to find the result, so the jobs are kept.
        latency_jobs = min(WEFT_LATENCY_JOBS, self.jobs or WEFT_LATENCY_JOBS)
        latency = self.weft("latency", *bench, "--jobs", str(latency_jobs))[0]
        self.row |= {"p50_us": latency["p50 us"], "p99_us": latency["p99 us"]}

    def weft(self, *words, port=None):
        """The figures of each row. `port`: of the Redis whose connections are counted meanwhile."""
        command = [str(self.build / "bin/weft"), "bench", *words, "-o", "jsonl"]
        with open(self.folder / "weft.out", "wb") as out:
            process = processes.start(command, self.client_cpus, self.folder,
                                      {"TMPDIR": str(self.folder)}, stdout=out)
        end = time.monotonic() + WEFT_SECONDS
        try:
            while process.poll() is None:
                if time.monotonic() > end:
                    raise RuntimeError(f"weft bench {words[0]}: no end within {WEFT_SECONDS} s")
                if port is not None:
                    # One is weft bench's own.
                    seen = processes.connections(port) - 1
                    self.row["connections"] = max(self.row.get("connections", 0), seen)
                time.sleep(0.05)
        finally:
            if process.poll() is None:
                processes.stop(process)
        if process.returncode != 0:
            said = (self.folder / "log").read_text(errors="replace").strip().splitlines()
            raise RuntimeError(f"weft bench {words[0]}: " + (" / ".join(said[-2:]) or "no words"))
        report = json.loads((self.folder / "weft.out").read_text())
        return [row["figures"] for row in report["rows"]]
