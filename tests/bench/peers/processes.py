"""Servers, workers and clients of a measurement: started on given CPUs, timed, and ended for sure."""

import ctypes
import os
import signal
import socket
import subprocess
import time
from pathlib import Path

_libc = ctypes.CDLL(None, use_errno=True)
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_TICKS = os.sysconf("SC_CLK_TCK")

STOP_SECONDS = 5


def adopt_orphans():
    """Processes whose parents end become this one's children, so that none is out of reach."""
    _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def end_with_parent(how=signal.SIGTERM):
    """For a process that has just been started."""
    _libc.prctl(_PR_SET_PDEATHSIG, how, 0, 0, 0)


def _stat(pid):
    """Fields of /proc/PID/stat after the name, which may hold spaces; None: it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None


def descendants(pid):
    """Of process `pid`, without it."""
    children = {}
    for name in os.listdir("/proc"):
        fields = _stat(name) if name.isdigit() else None
        if fields:
            children.setdefault(int(fields[1]), []).append(int(name))
    found = []
    open_ = [pid]
    while open_:
        below = children.get(open_.pop(), [])
        found += below
        open_ += below
    return found


def kill_descendants():
    """Ends all that this process has started, itself or by others, and waits for it."""
    end = time.monotonic() + STOP_SECONDS
    while time.monotonic() < end:
        left = descendants(os.getpid())
        if not left:
            return
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        try:
            while os.waitpid(-1, os.WNOHANG)[0] > 0:
                pass
        except ChildProcessError:
            pass
        time.sleep(0.01)


def cpu_seconds(pid):
    """Of `pid`, its descendants, and those among them that have ended."""
    total = 0.0
    for one in [pid, *descendants(pid)]:
        clock = ctypes.c_int()
        if _libc.clock_getcpuclockid(one, ctypes.byref(clock)) == 0:
            try:
                total += time.clock_gettime(clock.value)
            except OSError:
                continue  # gone
        fields = _stat(one)
        if fields:
            total += (int(fields[13]) + int(fields[14])) / _TICKS  # children waited for
    return total


def connections(port):
    """How many clients a server on `port` has."""
    local = f":{port:04X}"
    lines = [line.split() for name in ("tcp", "tcp6")
             for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]]
    return sum(1 for line in lines if line[1].endswith(local) and line[3] == "01")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for_port(port, process):
    end = time.monotonic() + 10
    while time.monotonic() < end:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            pass
        if process.poll() is not None:
            break
        time.sleep(0.01)
    raise RuntimeError("the server does not start")


def start(command, cpus, folder, environment=None, **how):
    """A process that ends with this one, at the latest. Its words are in `folder`/log."""

    def before_exec():
        end_with_parent(signal.SIGKILL)
        os.sched_setaffinity(0, cpus)

    with open(folder / "log", "ab") as log:
        return subprocess.Popen(command, cwd=folder, env=os.environ | (environment or {}),
                                stdin=subprocess.DEVNULL, stderr=log,
                                **({"stdout": log} | how), preexec_fn=before_exec)


def stop(process):
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def run(command, cpus, folder, environment, seconds):
    """What the command prints. Raises with the end of its log when it fails or takes too long."""
    process = start(command, cpus, folder, environment, stdout=subprocess.PIPE, text=True)
    try:
        text, _ = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise RuntimeError(f"no end within {seconds} s") from None
    if process.returncode == 0:
        return text
    said = (folder / "log").read_text(errors="replace").strip().splitlines()
    raise RuntimeError(f"exit code {process.returncode}: " + (said[-1] if said else "no words"))
