#!/usr/bin/python3
"""A client made of Debian's grpcio and nothing of ours but proto/, against a real weftd.

python_client.py WEFTD PROTO_FOLDER WORK_FOLDER: makes the stubs in WORK_FOLDER; exits with 77 when
grpcio is not installed.
"""

import os
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

PATIENCE_S = 120  # longer than anything takes on a loaded machine under a sanitizer


def skip(reason):
    print(f"skipped: {reason}")
    sys.exit(77)


try:
    import grpc
except ImportError:
    skip("python3-grpcio is not installed; deploy/install-deps.sh installs it")


def make_stubs(protos, folder):
    """Compiles every file of proto/ into `folder` and makes it importable."""
    plugin = shutil.which("grpc_python_plugin")
    if plugin is None or shutil.which("protoc") is None:
        skip("protobuf-compiler-grpc is not installed; deploy/install-deps.sh installs it")
    folder.mkdir(parents=True, exist_ok=True)
    files = [str(file.relative_to(protos)) for file in sorted(protos.rglob("*.proto"))
             if file.parts[-4:-1] != ("grpc", "health", "v1")]  # would hide the grpc package
    subprocess.run(["protoc", f"-I{protos}", f"--python_out={folder}", f"--grpc_python_out={folder}",
                    f"--plugin=protoc-gen-grpc_python={plugin}", *files], check=True)
    sys.path.insert(0, str(folder))


class Weftd:
    """A real daemon. The kernel kills it when this program ends."""

    def __init__(self, store="memory:", listen="127.0.0.1:0"):
        environment = {name: value for name, value in os.environ.items()
                       if not name.startswith("WEFT_")}
        self.process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", WEFTD, "--listen", listen, "--admin", "127.0.0.1:0",
             "--store", store], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True,
            env=environment)
        ready = self.process.stdout.readline()
        assert ready.startswith("weftd ready grpc="), ready
        self.address = ready.split("grpc=")[1].split()[0]

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


class Reading:
    """What came down one or several streams of one job, checked for gaps and repeats."""

    def __init__(self):
        self.next_sequence = 1
        self.values = []
        self.attempts = 0
        self.accepted_sends = 0
        self.finished = None

    def take(self, event):
        kind = event.WhichOneof("event")
        if kind == "chunks":
            for i, data in enumerate(event.chunks.data):
                self._expect(event.chunks.first_sequence + i)
                self.values.append(int(data))
        elif kind == "attempt_started":
            self._expect(event.attempt_started.sequence)
            self.attempts += 1
            self.values.clear()
        elif kind == "sends_accepted":
            self.accepted_sends = event.sends_accepted.number
        elif kind == "finished":
            self.finished = event.finished

    def _expect(self, sequence):
        assert sequence == self.next_sequence, f"{sequence} came, {self.next_sequence} was next"
        self.next_sequence += 1


class Requests:
    """The sending side of an attach: an iterator that ends when told to."""

    def __init__(self):
        self._queue = queue.SimpleQueue()

    def send(self, **request):
        self._queue.put(pb.AttachRequest(**request))

    def close(self):
        self._queue.put(None)

    def __iter__(self):
        return iter(self._queue.get, None)


class PythonClient(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory(prefix="weft-test-")
        self.store = f"sqlite:{self.folder.name}/weft.db"
        self.daemon = Weftd(self.store)
        self.connect()

    def tearDown(self):
        self.channel.close()
        self.daemon.kill()
        self.folder.cleanup()

    def connect(self):
        self.channel = grpc.insecure_channel(self.daemon.address)
        self.jobs = rpc.JobServiceStub(self.channel)

    def submit(self, kind, payload, **more):
        spec = job_pb.JobSpec(type=kind, payload=payload.encode(), **more)
        answer = self.jobs.Submit(pb.SubmitRequest(spec=spec), timeout=PATIENCE_S)
        self.assertGreaterEqual(len(answer.id), 10)
        return answer.id

    def watch(self, job_id, reading, timeout=PATIENCE_S):
        request = pb.WatchRequest(id=job_id, from_sequence=reading.next_sequence, all_attempts=True)
        for event in self.jobs.Watch(request, timeout=timeout):
            reading.take(event)

    def state(self, job_id):
        return self.jobs.Get(pb.GetRequest(id=job_id), timeout=PATIENCE_S).state

    def test_submit_and_watch_to_the_end(self):
        job_id = self.submit("count", '{"to":5000}', metadata={"team": "ink"})
        reading = Reading()
        self.watch(job_id, reading)
        self.assertEqual(reading.values, list(range(1, 5001)))
        self.assertEqual(reading.finished.state, job_pb.JOB_STATE_SUCCEEDED)
        self.assertEqual(reading.finished.last_sequence, 5000)
        job = self.jobs.Get(pb.GetRequest(id=job_id), timeout=PATIENCE_S)
        self.assertEqual(job.spec.metadata["team"], "ink")
        # A stored stream is read again from anywhere.
        again = Reading()
        again.next_sequence = 4991
        self.watch(job_id, again)
        self.assertEqual(again.values, list(range(4991, 5001)))

    def test_the_same_submission_twice_is_one_job(self):
        first = self.submit("echo", "hello", id="python-says-hello")
        spec = job_pb.JobSpec(type="echo", payload=b"hello", id=first)
        again = self.jobs.Submit(pb.SubmitRequest(spec=spec), timeout=PATIENCE_S)
        self.assertTrue(again.existing)
        spec.payload = b"good bye"
        with self.assertRaises(grpc.RpcError) as refused:
            self.jobs.Submit(pb.SubmitRequest(spec=spec), timeout=PATIENCE_S)
        self.assertEqual(refused.exception.code(), grpc.StatusCode.INVALID_ARGUMENT)

    def test_attach_steers_and_cancels(self):
        job_id = self.submit("count", '{"to":1000000000,"delay_ms":1}',
                             stream_policy=job_pb.STREAM_POLICY_PAUSE)
        requests = Requests()
        requests.send(open=pb.AttachRequest.Open(id=job_id, credit=20, sender="python"))
        events = self.jobs.Attach(iter(requests), timeout=PATIENCE_S)
        reading = Reading()
        for event in events:
            reading.take(event)
            if len(reading.values) >= 20:
                break
        self.assertEqual(reading.values[:20], list(range(1, 21)))
        requests.send(send=pb.AttachRequest.Send(number=1, value=b'{"step":1000}'))
        requests.send(credit=1_000_000)
        for event in events:
            reading.take(event)
            steps = [b - a for a, b in zip(reading.values, reading.values[1:])]
            if reading.accepted_sends == 1 and 1000 in steps:
                break
        self.assertEqual(set(steps), {1, 1000})
        self.assertEqual(steps, sorted(steps))
        requests.send(cancel=pb.AttachRequest.Cancel(reason="seen enough"))
        for event in events:
            reading.take(event)
        requests.close()
        self.assertEqual(reading.finished.state, job_pb.JOB_STATE_CANCELLED)
        self.assertEqual(self.state(job_id), job_pb.JOB_STATE_CANCELLED)

    def test_cancel_and_send_from_outside(self):
        job_id = self.submit("sleep", '{"ms":3600000}')
        self.jobs.Send(pb.SendRequest(id=job_id, value=b"unread"), timeout=PATIENCE_S)
        answer = self.jobs.Cancel(pb.CancelRequest(id=job_id, reason="no"), timeout=PATIENCE_S)
        self.assertIn(answer.result, (pb.CancelResponse.CANCELLED, pb.CancelResponse.REQUESTED))
        reading = Reading()
        self.watch(job_id, reading)
        self.assertEqual(reading.finished.state, job_pb.JOB_STATE_CANCELLED)

    def test_a_deadline_ends_a_call_and_not_its_job(self):
        job_id = self.submit("sleep", '{"ms":3600000}')
        with self.assertRaises(grpc.RpcError) as late:
            self.watch(job_id, Reading(), timeout=0.3)
        self.assertEqual(late.exception.code(), grpc.StatusCode.DEADLINE_EXCEEDED)
        self.assertIn(self.state(job_id), (job_pb.JOB_STATE_QUEUED, job_pb.JOB_STATE_RUNNING))

    def test_errors_have_codes_and_say_what_to_do(self):
        with self.assertRaises(grpc.RpcError) as unknown:
            self.jobs.Get(pb.GetRequest(id="nosuchjob-0000"), timeout=PATIENCE_S)
        self.assertEqual(unknown.exception.code(), grpc.StatusCode.NOT_FOUND)
        with self.assertRaises(grpc.RpcError) as no_type:
            self.submit("cuont", "{}")
        self.assertEqual(no_type.exception.code(), grpc.StatusCode.INVALID_ARGUMENT)
        self.assertIn("count", no_type.exception.details())

    def test_a_watch_goes_on_after_a_kill_with_no_gap_and_no_repeat(self):
        job_id = self.submit("count", '{"to":1500,"delay_ms":1}')
        reading = Reading()
        request = pb.WatchRequest(id=job_id, all_attempts=True)
        with self.assertRaises(grpc.RpcError) as lost:
            for event in self.jobs.Watch(request, timeout=PATIENCE_S):
                reading.take(event)
                if len(reading.values) >= 300 and self.daemon.process.poll() is None:
                    self.daemon.process.send_signal(signal.SIGKILL)
        self.assertEqual(lost.exception.code(), grpc.StatusCode.UNAVAILABLE)
        seen = reading.next_sequence - 1
        self.assertGreaterEqual(seen, 300)
        self.assertLess(seen, 1500)
        address = self.daemon.address
        self.channel.close()
        self.daemon.kill()
        self.daemon = Weftd(self.store, address)
        self.connect()
        self.watch(job_id, reading)  # from the next sequence; Reading checks each
        self.assertEqual(reading.attempts, 1)
        self.assertEqual(reading.values, list(range(1, 1501)))
        self.assertEqual(reading.finished.state, job_pb.JOB_STATE_SUCCEEDED)
        self.assertEqual(reading.finished.last_sequence, reading.next_sequence - 1)


if __name__ == "__main__":
    WEFTD = sys.argv[1]
    make_stubs(Path(sys.argv[2]).resolve(), Path(sys.argv[3]))
    from weft.v1 import job_pb2 as job_pb
    from weft.v1 import job_service_pb2 as pb
    from weft.v1 import job_service_pb2_grpc as rpc
    print(f"grpcio {grpc.__version__}")
    unittest.main(argv=sys.argv[:1], verbosity=2)
