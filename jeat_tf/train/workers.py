"""Several processes, on one machine or on many, that train one net: who they are, and what keeps them together."""

import faulthandler
import hashlib
import json
import os
import re
import shutil
import socket
import time
from typing import Any, NamedTuple

import tensorflow as tf

from jeat_tf.config.train import TrainConfig
from jeat_tf.core.files import read_json
from jeat_tf.train.devices import check_divisible

_EXAMPLE = '{"cluster": {"worker": ["host1:2222", "host2:2222"]}, "task": {"type": "worker", "index": 0}}'
_ADDRESS = re.compile(r"(?:[\w.-]+|\[[0-9a-fA-F:]+\]):(\d{1,5})")
_PATIENCE = 300.0  # seconds that a worker waits for the others at the start
_LOST = (
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
    tf.errors.InternalError,
)
"""What TensorFlow raises when another worker is gone."""


class WorkerLost(ValueError):
    """Another worker has stopped or never came, so that the job cannot continue."""


class Cluster(NamedTuple):
    """The processes of a job.

    Attributes:
      addresses: "host:port" of each.
      number: of this one. The first writes the run's folder.
    """

    addresses: tuple[str, ...]
    number: int


def cluster_of(config: TrainConfig) -> Cluster | None:
    """The cluster of `--workers`; None without.

    Raises:
      ValueError: it is malformed, this process does not belong to it, or the settings do not work in it.
    """
    run = config.run
    if not run.workers:
        if run.worker >= 0:
            raise ValueError(f"--worker={run.worker} has no effect without --workers. Remove it")
        return None
    where, found = run.workers, _found(run.workers)
    addresses = _addresses(where, found)
    index = run.worker if run.worker >= 0 else _index(where, found)
    if not 0 <= index < len(addresses):
        raise ValueError(f"expected a worker in 0..{len(addresses) - 1} of {where}, received {index}; set --worker")
    check_divisible(config, len(addresses), "workers")
    if run.devices != "1":
        raise ValueError(f"--devices={run.devices} does not work with --workers; list one worker for each device")
    if config.stream.pseudo_labels == "self":
        raise ValueError("--pseudo_labels=self does not work with --workers; train the teacher first, give its folder")
    return Cluster(addresses, index)


def _found(workers: str) -> dict[str, Any]:
    if workers != "TF_CONFIG":
        return read_json(workers, dict, remedy=f"expected {_EXAMPLE}")
    text = os.environ.get("TF_CONFIG", "")
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise ValueError(f"expected TF_CONFIG={_EXAMPLE}, received {text!r:.80}; set it, or give a file to --workers")
    return found


def _addresses(where: str, found: dict[str, Any]) -> tuple[str, ...]:
    cluster = found.get("cluster")
    if not isinstance(cluster, dict) or set(cluster) != {"worker"} or not isinstance(cluster["worker"], list):
        raise ValueError(f"expected workers alone in the cluster of {where}, as {_EXAMPLE}, received {cluster!r:.80}")
    addresses = cluster["worker"]
    for address in addresses:
        match = _ADDRESS.fullmatch(address) if isinstance(address, str) else None
        if match is None or not 0 < int(match[1]) < 2**16:
            raise ValueError(f"expected workers host:port in {where}, received {address!r:.80}; correct it")
    if len(addresses) < 2 or len(set(addresses)) < len(addresses):
        raise ValueError(f"expected two or more different workers in {where}, received {addresses!r:.80}; correct it")
    return tuple(addresses)


def _index(where: str, found: dict[str, Any]) -> int:
    task: Any = found.get("task")
    try:
        if task["type"] == "worker":
            return int(task["index"])
    except (TypeError, LookupError, ValueError):
        pass
    raise ValueError(f"expected a task of {where}, as {_EXAMPLE}, received {task!r:.80}; or set --worker")


class Workers:
    """This process among the others of its cluster.

    Attributes:
      strategy: under which all compute.
      first: whether this process writes the run's folder.
    """

    def __init__(self, cluster: Cluster):
        """Waits until all are there.

        Raises:
          WorkerLost: they are not, after minutes.
          ValueError: this process cannot serve at its address.
        """
        self.first = cluster.number == 0
        self.strategy = _connected(cluster)

        @tf.function(input_signature=[tf.TensorSpec([], tf.int64)], autograph=False)
        def gathered(number: tf.Tensor) -> tf.Tensor:
            def own() -> tf.Tensor:
                return tf.distribute.get_replica_context().all_gather(number[None], axis=0)

            return self.strategy.experimental_local_results(self.strategy.run(own))[0]

        self._gathered = gathered

    def numbers(self, number: int) -> list[int]:
        """The number that each worker gives, in order; all must call this together."""
        return self._gathered(tf.constant(number, tf.int64)).numpy().tolist()

    def meet(self) -> None:
        """Waits for all."""
        self.numbers(0)

    def any_signal(self, number: int) -> int:
        """The number of a signal that any worker has received; 0 if none."""
        return max(self.numbers(number))

    def agree(self, what: str, value: str) -> None:
        """Raises ValueError unless all workers give the same.

        Args:
          what: plural noun for the message, e.g. "settings and images".
          value: this worker's value.
        """
        number = int(hashlib.sha256(value.encode()).hexdigest()[:15], 16)
        found = self.numbers(number)
        if len(set(found)) > 1:
            others = ", ".join(str(i) for i, each in enumerate(found) if each != found[0])
            raise ValueError(
                f"expected the same {what} in all workers, received others in worker {others} than in worker 0; give "
                "all the same command, and a --model_dir that all see"
            )


def copy_state(folder: str, into: str) -> None:
    """Copies the files that a run resumes from, so that a worker has its own."""
    for entry in os.scandir(folder):
        kept = entry.name.startswith(("last.", "previous.", "guard"))
        if entry.is_file() and (kept or entry.name in ("history.json", "energy_changes.npz", "overfitting.npz")):
            shutil.copyfile(entry.path, os.path.join(into, entry.name))


def lost(error: Exception, cluster: Cluster) -> Exception:
    """A `WorkerLost` in place of an error that says that another worker is gone; any other error itself."""
    if not isinstance(error, _LOST):
        return error
    others = ", ".join(address for i, address in enumerate(cluster.addresses) if i != cluster.number)
    reason = str(error).splitlines()[0].rpartition("}} ")[2].rstrip(":")
    return WorkerLost(
        f"another worker ({others}) has stopped ({reason:.150}). Start all workers again with the same commands: the "
        "run resumes from its last state"
    )


def _connected(cluster: Cluster) -> tf.distribute.Strategy:
    own = cluster.addresses[cluster.number]
    _meet(cluster, own)
    try:
        tf.config.set_visible_devices(tf.config.list_physical_devices("GPU")[:1], "GPU")
        resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
            tf.train.ClusterSpec({"worker": list(cluster.addresses)}),
            task_type="worker",
            task_id=cluster.number,
            rpc_layer="grpc",
        )
        # Where another worker dies just now, TensorFlow waits for ever, and lets no other thread and no signal in.
        faulthandler.dump_traceback_later(_PATIENCE, exit=True)
        return tf.distribute.MultiWorkerMirroredStrategy(cluster_resolver=resolver)
    except (RuntimeError, tf.errors.OpError) as error:
        raise ValueError(
            f"cannot serve as worker {cluster.number} at {own}: {str(error).splitlines()[0]}; start a new process"
        ) from error
    finally:
        faulthandler.cancel_dump_traceback_later()


def _meet(cluster: Cluster, own: str) -> None:
    """Waits until each of the others listens at its address, and listens at the own one meanwhile."""
    host_and_port = {address: address.rsplit(":", 1) for address in cluster.addresses}
    others = [address for address in cluster.addresses if address != own]
    try:
        listening = socket.create_server(("", int(host_and_port[own][1])))
    except OSError as error:
        reason = str(error.strerror).partition(" (")[0]
        raise ValueError(
            f"cannot serve as worker {cluster.number} at {own}: {reason}; give it a free port of this machine"
        ) from error
    print(f"worker {cluster.number} at {own} waits for {', '.join(others)}", flush=True)
    with listening:
        until = time.monotonic() + _PATIENCE
        for address in others:
            host, port = host_and_port[address]
            while not _listens(host.strip("[]"), int(port)):
                if time.monotonic() > until:
                    raise WorkerLost(
                        f"worker {address} did not come within {_PATIENCE:.0f} s. Nothing was written. Start all "
                        "workers, and see that they reach each other"
                    )
                time.sleep(0.2)


def _listens(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=2.0).close()
    except OSError:
        return False
    return True
