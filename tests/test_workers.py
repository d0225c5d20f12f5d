"""Two processes train as one: what is refused, what becomes of a worker that dies, and that nothing is lost."""

import contextlib
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

import pytest
import tensorflow as tf

from jeat_tf.config.train import TrainConfig
from jeat_tf.core.failures import STATED, STOPPED
from jeat_tf.core.flat import replace
from jeat_tf.train import workers
from jeat_tf.train.workers import Cluster, WorkerLost, Workers, cluster_of, copy_state

ROOT = pathlib.Path(__file__).parents[1]
TWO = {"cluster": {"worker": ["a:2222", "b:2222"]}, "task": {"type": "worker", "index": 1}}


def settings(where, **more):
    return replace(TrainConfig(), **{"method": "jeat", "workers": where, "buffer_size": 64} | more)


@pytest.fixture
def file(tmp_path):
    def write(content):
        path = tmp_path / "cluster.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return str(path)

    return write


def test_a_cluster_is_read_from_a_file_or_from_the_environment(file, monkeypatch):
    assert cluster_of(settings(file(TWO))) == Cluster(("a:2222", "b:2222"), 1)
    assert cluster_of(settings(file(TWO), worker=0)).number == 0
    monkeypatch.setenv("TF_CONFIG", json.dumps(TWO))
    assert cluster_of(settings("TF_CONFIG")) == Cluster(("a:2222", "b:2222"), 1)
    assert cluster_of(settings("")) is None


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "cannot read .*cluster.json: Expecting value.*host1:2222"),
        ("[1]", "expected a JSON object in .*cluster.json, received"),
        ({}, "expected workers alone in the cluster of .*received None"),
        ({"cluster": {"worker": "a:1"}}, "expected workers alone in the cluster"),
        ({"cluster": {"worker": ["a:1", "b:2"], "ps": ["c:3"]}}, "expected workers alone in the cluster"),
        ({"cluster": {"worker": ["a:1", "b"]}}, "expected workers host:port in .*received 'b'"),
        ({"cluster": {"worker": ["a:1", "b:99999"]}}, "expected workers host:port in .*received 'b:99999'"),
        ({"cluster": {"worker": ["a:1", 2]}}, "expected workers host:port in .*received 2"),
        ({"cluster": {"worker": ["a:1"]}}, "expected two or more different workers"),
        ({"cluster": {"worker": ["a:1", "a:1"]}}, "expected two or more different workers"),
        ({"cluster": {"worker": ["a:1", "b:2"]}}, "expected a task of .*or set --worker"),
        ({**TWO, "task": {"type": "chief", "index": 0}}, "expected a task of"),
        ({**TWO, "task": {"type": "worker", "index": 2}}, r"expected a worker in 0\.\.1 of .*received 2"),
    ],
)
def test_a_malformed_cluster_is_refused(content, words, file):
    with pytest.raises(ValueError, match=words):
        cluster_of(settings(file(content)))


def test_a_malformed_variable_is_refused(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    with pytest.raises(ValueError, match="expected TF_CONFIG=.*received ''; set it, or give a file"):
        cluster_of(settings("TF_CONFIG"))


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"batch_size": 1}, "expected --batch_size divisible by 2 workers, received 1; write --batch_size=2"),
        ({"buffer_size": 65}, "expected --buffer_size divisible by 2 workers, received 65"),
        ({"accumulate_steps": 2}, "--accumulate_steps does not work on several workers"),
        ({"devices": "2"}, "--devices=2 does not work with --workers"),
        ({"worker": 2}, r"expected a worker in 0\.\.1"),
    ],
)
def test_settings_that_workers_cannot_have_are_refused(more, words, file):
    with pytest.raises(ValueError, match=words):
        cluster_of(settings(file(TWO), **more))


def test_a_worker_of_nothing_is_refused():
    with pytest.raises(ValueError, match="--worker=1 has no effect without --workers"):
        cluster_of(settings("", worker=1))


def test_a_worker_takes_the_state_and_nothing_else(tmp_path):
    (tmp_path / "run" / "logs").mkdir(parents=True)
    (tmp_path / "own").mkdir()
    state = {"last.json", "last.weights.h5", "previous.json", "guard-6.npz", "history.json", "energy_changes.npz"}
    for name in state | {"net.keras", "config.json", ".jeat_tf.lock"}:
        (tmp_path / "run" / name).write_text(name)
    copy_state(str(tmp_path / "run"), str(tmp_path / "own"))
    assert set(os.listdir(tmp_path / "own")) == state


def test_a_worker_that_is_gone_is_told_from_other_errors():
    cluster = Cluster(("a:1", "b:2"), 1)
    words = "{{function_node __wrapped__}} Collective ops is aborted by: Socket closed\nmore"
    gone = tf.errors.UnavailableError(None, None, words)
    words = r"another worker \(a:1\) has stopped \(Collective ops is aborted by: Socket closed\). Start all"
    with pytest.raises(WorkerLost, match=words):
        raise workers.lost(gone, cluster)
    memory = tf.errors.ResourceExhaustedError(None, None, "OOM")
    assert workers.lost(memory, cluster) is memory


TRAIN = (
    "--method=jeat --epochs=2 --batch_size=100 --chain_steps=2 --buffer_size=200 --images_every=0 --robust_every=0 "
    "--checkpoint_steps=3"
)


class Job:
    """Two workers on this machine."""

    def __init__(self, folder, number=2):
        with contextlib.ExitStack() as stack:
            sockets = [stack.enter_context(socket.socket()) for _ in range(2)]
            for each in sockets:
                each.bind(("127.0.0.1", 0))
            ports = [each.getsockname()[1] for each in sockets]
        path = folder.parent / "cluster.json"
        path.write_text(json.dumps({"cluster": {"worker": [f"127.0.0.1:{port}" for port in ports]}}))
        words = [sys.executable, "-m", "jeat_tf.train", *TRAIN.split(), f"--model_dir={folder}", f"--workers={path}"]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True, "cwd": ROOT}
        self.folder = folder
        self.processes = [subprocess.Popen([*words, f"--worker={i}"], **quiet) for i in range(number)]

    def until(self, step):
        """Waits for a state of that step or a later one."""
        for _ in range(6000):
            with contextlib.suppress(OSError, ValueError):
                if json.loads((self.folder / "last.json").read_text())["step"] >= step:
                    return
            for process in self.processes:
                assert process.poll() is None, process.stderr.read()[-2000:]
            time.sleep(0.05)
        raise AssertionError("no state came")

    def end(self, timeout=900):
        """(exit status, last line on standard error) of each."""
        errors = [process.communicate(timeout=timeout)[1] for process in self.processes]
        return [
            (process.returncode, (error.strip().splitlines() or [""])[-1])
            for process, error in zip(self.processes, errors, strict=True)
        ]


@pytest.mark.slow
def test_workers_that_are_killed_and_stopped_end_as_two_devices_do(tmp_path):
    folder = tmp_path / "run"
    job = Job(folder)
    job.until(3)
    job.processes[1].kill()
    (status, words), _ = job.end(timeout=60)
    assert status == STATED
    assert "another worker (127.0.0.1:" in words
    assert "the run resumes from its last state" in words

    job = Job(folder)
    job.until(9)
    job.processes[0].send_signal(signal.SIGTERM)
    stopped = job.end()
    assert [status for status, _ in stopped] == [STOPPED, STOPPED], stopped
    assert all("the same command resumes it" in words for _, words in stopped)

    assert [status for status, _ in Job(folder).end()] == [0, 0]
    alone = [sys.executable, "-m", "jeat_tf.train", *TRAIN.split(), f"--model_dir={tmp_path / 'two'}", "--devices=2"]
    subprocess.run(alone, check=True, capture_output=True, cwd=ROOT)
    results = [json.loads((path / "train.json").read_text()) for path in (folder, tmp_path / "two")]
    assert results[0]["weights_sha256"] == results[1]["weights_sha256"]
    assert results[0]["logs"] == results[1]["logs"]
    # Means over an epoch are sums of all workers. A stop in between changes the order of their terms.
    histories = [json.loads((path / "history.json").read_text()) for path in (folder, tmp_path / "two")]
    for left, right in zip(*histories, strict=True):
        assert left == pytest.approx(right, rel=1e-6)
    assert not list(folder.glob(".partial-*"))


def test_a_worker_whose_others_never_come_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(workers, "_PATIENCE", 0.5)
    with contextlib.closing(socket.create_server(("", 0))) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(
            ValueError, match=f"as worker 0 at 127.0.0.1:{port}: Address already in use; give it a free"
        ):
            Workers(Cluster((f"127.0.0.1:{port}", "127.0.0.1:1"), 0))
    with pytest.raises(WorkerLost, match="worker 127.0.0.1:1 did not come within 0 s. Nothing was written. Start all"):
        Workers(Cluster((f"127.0.0.1:{port}", "127.0.0.1:1"), 0))
