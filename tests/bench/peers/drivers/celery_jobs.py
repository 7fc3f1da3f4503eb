"""Celery's application. The progress file grows by a byte a job; the pool's processes inherit it."""

import os

from celery import Celery

_done = os.open(os.environ.get("PEERS_DONE", os.devnull), os.O_WRONLY | os.O_APPEND | os.O_CREAT)
_redis = "redis://127.0.0.1:" + os.environ["PEERS_PORT"]

app = Celery("celery_jobs", broker=_redis + "/0", backend=_redis + "/1")
app.conf.task_ignore_result = True
app.conf.worker_hijack_root_logger = False


@app.task
def noop(_payload):
    os.write(_done, b".")


@app.task(ignore_result=False)
def echo(payload):
    return payload
