"""The task queues that are measured: how each is started, and with which settings."""

import os
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
DRIVERS = HERE / "drivers"
PYTHON = "/usr/bin/python3"  # the one that has Debian's packages
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
NODE = CACHE / "weft/peers/node"
HOW_TO_INSTALL = "tests/bench/peers/install.sh"


@dataclass
class Jobs:
    """How many jobs, as suits a system's speed: each measurement takes seconds at most."""
    single: int
    bulk: int
    drain: int       # at most those submitted in bulk
    latency: int = 0  # 0: the system has no results to wait for


@dataclass
class System:
    name: str
    broker: str       # gearmand, beanstalkd or redis
    settings: str     # of client and worker
    driver: list      # takes submit, latency and, unless `worker` is there, work
    jobs: Jobs
    worker: list = None
    environment: dict = field(default_factory=dict)
    broker_options: tuple = ()
    durability: str = "none"  # of those on Redis: Redis'
    has_bulk: bool = True
    needs: tuple = ()  # commands that succeed where the system is installed


def _node(name):
    return ["node", str(DRIVERS / name)]


def _has_node(package):
    return ["test", "-d", str(NODE / "node_modules" / package)]


_PYTHON_DRIVERS = {"PYTHONPATH": str(DRIVERS), "PYTHONDONTWRITEBYTECODE": "1"}
_BEANSTALKD = dict(broker="beanstalkd", settings="64 commands ahead", driver=["./beanstalkd"],
                   jobs=Jobs(40_000, 200_000, 200_000), needs=(["beanstalkd", "-v"],))
_RQ = dict(broker="redis", driver=[PYTHON, str(DRIVERS / "rq_driver.py")],
           needs=([PYTHON, "-c", "import rq, redis"], ["redis-server", "-v"]))

PEERS = [
    System("gearmand", "gearmand", "4 threads, batches of 100", ["./gearman"],
           Jobs(30_000, 100_000, 100_000, 3000),
           needs=(["gearmand", "--version"],
                  ["test", "-f", "/usr/include/libgearman/gearman.h"])),
    System("beanstalkd", **_BEANSTALKD),
    System("beanstalkd-log", **_BEANSTALKD, durability="log, fsync 50 ms",
           broker_options=("-b", ".")),
    System("bullmq", "redis", "100 at once, bulk of 1000", _node("bullmq.mjs"),
           Jobs(10_000, 40_000, 30_000, 1000),
           environment={"PEERS_NODE": str(NODE), "PEERS_CONCURRENCY": "100",
                        "NODE_NO_WARNINGS": "1"},
           needs=(["node", "--version"], _has_node("bullmq"), _has_node("ioredis"),
                  ["redis-server", "-v"])),
    System("bee-queue", "redis", "100 at once, bulk of 1000", _node("bee_queue.mjs"),
           Jobs(20_000, 80_000, 60_000, 1000),
           environment={"PEERS_NODE": str(NODE), "PEERS_CONCURRENCY": "100",
                        "NODE_NO_WARNINGS": "1"},
           needs=(["node", "--version"], _has_node("bee-queue"), ["redis-server", "-v"])),
    System("sidekiq", "redis", "10 threads, bulk of 1000", ["ruby", str(DRIVERS / "sidekiq.rb")],
           Jobs(10_000, 60_000, 30_000),
           worker=["sidekiq", "-r", str(DRIVERS / "sidekiq_jobs.rb"), "-c", "10"],
           needs=(["ruby", "-e", "require 'sidekiq'"], ["redis-server", "-v"])),
    System("rq", **_RQ, settings="a fork a job (its default)", jobs=Jobs(5000, 10_000, 400),
           environment=_PYTHON_DRIVERS | {"PEERS_WORKER": "fork"}),
    System("rq-simple", **_RQ, settings="SimpleWorker, bulk of 1000",
           jobs=Jobs(5000, 10_000, 2000),
           environment=_PYTHON_DRIVERS | {"PEERS_WORKER": "simple"}),
    System("celery", "redis", "prefork 2, prefetch 4",
           [PYTHON, str(DRIVERS / "celery_driver.py")], Jobs(5000, 5000, 4000, 500), has_bulk=False,
           worker=[PYTHON, "-m", "celery", "-A", "celery_jobs", "worker", "-P", "prefork", "-c",
                   "2", "-l", "WARNING", "--without-gossip", "--without-mingle",
                   "--without-heartbeat"],
           environment=_PYTHON_DRIVERS,
           needs=([PYTHON, "-c", "import celery, redis"], ["redis-server", "-v"])),
]


@dataclass
class Weft:
    name: str
    store: str        # redis, sqlite: or memory:
    retention: tuple  # options of weft bench
    settings: str
    durability: str

    @property
    def needs(self):
        return (["redis-server", "-v"],) if self.store == "redis" else ()


WEFT = [
    Weft("weft-redis", "redis", ("--retention", "0"), "1000 slots, batches of 100", ""),
    Weft("weft-redis-kept", "redis", (), "as above, jobs kept 24 h", ""),
    Weft("weft-sqlite", "sqlite:", ("--retention", "0"), "1000 slots, batches of 100",
         "SQLite FULL"),
    Weft("weft-memory", "memory:", ("--retention", "0"), "drain while submitting", "none"),
]

SYSTEMS = {system.name: system for system in PEERS + WEFT}


def is_installed(system):
    return all(shutil.which(command[0]) and
               subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                              stdin=subprocess.DEVNULL, timeout=30).returncode == 0
               for command in system.needs)


def broker_command(system_broker, port, folder, options, aof):
    if system_broker == "gearmand":
        return ["gearmand", "--port", str(port), "--listen", "127.0.0.1", "--log-file", "stderr",
                "--verbose", "ERROR", "--pid-file", str(folder / "pid"), *options]
    if system_broker == "beanstalkd":
        return ["beanstalkd", "-l", "127.0.0.1", "-p", str(port), *options]
    append = ["no", "everysec"] if aof == "off" else ["yes", aof]
    return ["redis-server", "--bind", "127.0.0.1", "--port", str(port), "--dir", str(folder),
            "--save", "", "--appendonly", append[0], "--appendfsync", append[1], *options]
