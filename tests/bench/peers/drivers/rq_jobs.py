"""What an RQ worker runs. The progress file grows by a byte a job; forked processes inherit it."""

import os

_done = os.open(os.environ.get("PEERS_DONE", os.devnull), os.O_WRONLY | os.O_APPEND | os.O_CREAT)


def noop(_payload):
    os.write(_done, b".")
