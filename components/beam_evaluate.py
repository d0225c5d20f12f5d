"""`python -m components.beam_evaluate`: a net attacked by workers of Apache Beam, by each on a part of the images.

python -m components.beam_evaluate --model=RUN --attacks=autoattack --shards=8 --output_dir=SHARED/evaluation

Model, data and output_dir are paths that every worker must see, e.g. on a disk that they all mount.
"""

from jeat_tf.config import cli
from jeat_tf.core.files import writable_folder
from jeat_tf.core.flat import replace
from jeat_tf.evaluate.command import print_results
from jeat_tf.evaluate.density import asked
from jeat_tf.evaluate.robustness import evaluate
from jeat_tf.runs.results import AttackResults

from .beam import check_shared, on_workers
from .settings import BeamEvaluateConfig


def attack(config: BeamEvaluateConfig) -> AttackResults:
    """Attacks the net on workers, and then writes `results.json` and `verdicts.npz` here.

    All workers write into the same folder. A worker that is started again resumes at the batch it was at.

    Args:
      config: evaluation, parts, runner.

    Returns:
      report: as of `jeat_tf.evaluate.evaluate`.

    Raises:
      ValueError: Apache Beam is not installed, or bad settings.
    """
    settings, count = config.evaluate, config.workers.shards
    writable_folder(settings.output_dir, "output_dir")
    check_shared(settings.shard, settings.resume)
    if others := asked(settings):
        raise ValueError(f"workers share attacks alone; measure {', '.join(others)} with jeat_tf.evaluate")
    if count < 1:
        raise ValueError(f"expected --shards >= 1, parts of the images for workers, received {count}")
    shards = [f"{i}/{count}" for i in range(count)]
    on_workers(lambda shard: evaluate(replace(settings, shard=shard)), shards, config.workers)
    report = evaluate(settings)
    assert isinstance(report, AttackResults)  # of all images
    return report


def _main(config: BeamEvaluateConfig) -> None:
    print_results(attack(config))
    print(f"written: {config.evaluate.output_dir}")


if __name__ == "__main__":
    cli.run(BeamEvaluateConfig, _main, name="components.beam_evaluate")
