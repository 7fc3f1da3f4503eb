"""Drives RQ: submit single|bulk N, work."""

import json
import os
import sys
import time

import rq
from redis import Redis
from rq_jobs import noop

BATCH = 1000
PAYLOAD = "x" * 100

redis = Redis(port=int(os.environ["PEERS_PORT"]))
queue = rq.Queue("default", connection=redis)


def submit(mode, count):
    redis.ping()
    begin = time.monotonic()
    if mode == "single":
        for _ in range(count):
            queue.enqueue(noop, PAYLOAD, result_ttl=0)
    else:
        for first in range(0, count, BATCH):
            queue.enqueue_many([rq.Queue.prepare_data(noop, (PAYLOAD,), result_ttl=0)
                                for _ in range(min(BATCH, count - first))])
    print(json.dumps({"seconds": time.monotonic() - begin}))


if sys.argv[1] == "work":
    kind = rq.Worker if os.environ["PEERS_WORKER"] == "fork" else rq.SimpleWorker
    kind([queue], connection=redis).work(logging_level="WARNING")
else:
    submit(sys.argv[2], int(sys.argv[3]))
