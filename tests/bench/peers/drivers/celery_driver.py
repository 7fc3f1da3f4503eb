"""Drives Celery's client: submit single|bulk N, latency N. Bulk: all by one producer."""

import json
import sys
import time

from celery_jobs import app, echo, noop

PAYLOAD = "x" * 100
WARM_UP = 100


def submit(mode, count):
    with app.producer_pool.acquire(block=True) as producer:
        producer.connection.ensure_connection()
        begin = time.monotonic()
        if mode == "bulk":
            for _ in range(count):
                noop.apply_async((PAYLOAD,), producer=producer)
    if mode == "single":
        for _ in range(count):
            noop.delay(PAYLOAD)
    print(json.dumps({"seconds": time.monotonic() - begin}))


def latency(count):
    micros = []
    for i in range(-WARM_UP, count):
        begin = time.monotonic()
        echo.delay(PAYLOAD).get(timeout=10)
        if i >= 0:
            micros.append((time.monotonic() - begin) * 1e6)
    print(json.dumps({"micros": micros}))


if sys.argv[1] == "latency":
    latency(int(sys.argv[2]))
else:
    submit(sys.argv[2], int(sys.argv[3]))
