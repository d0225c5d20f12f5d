"""Do Beam's workers on a real Dask cluster end as one process does, when one of them is killed at work?

PYTHONPATH=. python benchmarks/beam_cluster.py --model=RUN     needs Dask: pip install 'apache-beam[dask]'

It starts a scheduler and two worker processes on this machine, draws samples and attacks a net through Beam's
DaskRunner, kills one worker by SIGKILL in the middle of each, and compares all arrays with those of one process.
"""

import argparse
import os
import pathlib
import signal
import tempfile
import threading
import time
from collections.abc import Callable

import numpy as np
from dask.distributed import Client, LocalCluster

from components.beam_evaluate import attack
from components.beam_sample import draw
from components.settings import BeamEvaluateConfig, BeamSampleConfig
from jeat_tf.core.files import read_arrays
from jeat_tf.core.flat import replace
from jeat_tf.evaluate.robustness import evaluate
from jeat_tf.runs import verdicts
from jeat_tf.sample.run import sample

RUNNER = "apache_beam.runners.dask.dask_runner.DaskRunner"


def same(one: pathlib.Path, many: pathlib.Path, pattern: str) -> int:
    """How many files of arrays two folders have, all of them equal to the bit."""
    names = [sorted(path.name for path in folder.glob(pattern)) for folder in (one, many)]
    assert names[0] == names[1], names
    for name in names[0]:
        a, b = read_arrays(str(one / name)), read_arrays(str(many / name))
        assert a.keys() == b.keys(), name
        for key in a:
            np.testing.assert_array_equal(a[key], b[key], err_msg=f"{name} {key}")
    return len(names[0])


def killed(cluster: LocalCluster, begun: Callable[[], bool], work: Callable[[], object]) -> float:
    """Runs `work`, kills a worker once `begun`, and returns the seconds."""
    first = time.monotonic()
    numbers = [worker.pid for worker in cluster.workers.values()]

    def kill() -> None:
        while not begun():
            time.sleep(0.02)
        os.kill(numbers[0], signal.SIGKILL)
        print(f"killed worker {numbers[0]}", flush=True)

    thread = threading.Thread(target=kill, daemon=True)
    thread.start()
    work()
    assert not thread.is_alive(), "the work ended before a worker could be killed"
    return time.monotonic() - first


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True, help="folder of a run")
    parser.add_argument("--num", type=int, default=60, help="samples")
    parser.add_argument("--images", type=int, default=100, help="test images to attack")
    asked = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as made,
        LocalCluster(n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        client.run(lambda: setattr(verdicts, "_SAVE_EVERY", 0.0))  # the attacks are short
        work = pathlib.Path(made)
        options = f"--dask_client_address={cluster.scheduler_address} --dask_partition_size=1"
        shared = {"beam_runner": RUNNER, "beam_options": options, "model": asked.model}
        some = {"num": asked.num, "batch_size": 5, "shard_size": 5, "stages": "sgld:steps=300", "readings": 1}
        config = replace(BeamSampleConfig(), **shared | some)
        sample(replace(config.sample, output_dir=str(work / "one")))
        many = work / "many"
        seconds = killed(
            cluster,
            lambda: len(list(many.glob("samples-*.npz"))) >= 2,
            lambda: draw(replace(config, output_dir=str(many))),
        )
        print(f"samples: {same(work / 'one', many, '*.npz')} files equal, {seconds:.0f} s", flush=True)

        some = {"attacks": "clean,pgd50", "num_images": asked.images, "batch_size": 5, "audit_images": 0, "shards": 2}
        plan = replace(BeamEvaluateConfig(), **shared | some)
        evaluate(replace(plan.evaluate, output_dir=str(work / "attacked")))
        state = work / "attacked-by-many" / "state"
        seconds = killed(
            cluster,
            lambda: state.is_dir() and any(state.glob("pgd50*.npz")),
            lambda: attack(replace(plan, output_dir=str(state.parent))),
        )
        print(
            f"verdicts: {same(work / 'attacked', state.parent, 'verdicts.npz')} file equal, {seconds:.0f} s", flush=True
        )


if __name__ == "__main__":
    main()
