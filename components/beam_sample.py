"""`python -m components.beam_sample`: images drawn by workers of Apache Beam, a part of the files by each.

python -m components.beam_sample --model=RUN --num=50000 --output_dir=SHARED/samples --beam_runner=DirectRunner

Model, data and output_dir are paths that every worker must see, e.g. on a disk that they all mount.
"""

from jeat_tf.config import cli
from jeat_tf.core.files import writable_folder
from jeat_tf.core.flat import replace
from jeat_tf.runs.parts import part_of
from jeat_tf.runs.sample_results import SampleResults
from jeat_tf.runs.samples import FILES, file_batches
from jeat_tf.sample.run import sample

from .beam import check_shared, on_workers
from .settings import BeamSampleConfig


def draw(config: BeamSampleConfig) -> SampleResults:
    """Draws the samples on workers, and then writes `samples.json` and the pictures here.

    All workers write into the same folder. A worker that is started again resumes at the file it was at, so that the
    result is bit for bit what one machine draws.

    Args:
      config: samples, parts, runner.

    Returns:
      report: as of `jeat_tf.sample.sample`, the seconds of the workers added up.

    Raises:
      ValueError: Apache Beam is not installed, or bad settings.
    """
    settings = config.sample
    writable_folder(settings.output_dir, "output_dir")
    check_shared(settings.shard, settings.resume)
    files = file_batches(settings.num, settings.batch_size, settings.shard_size)
    count = config.workers.shards or len(files)
    part_of(f"0/{count}", len(files), FILES)
    shards = [f"{i}/{count}" for i in range(count)]
    on_workers(lambda shard: sample(replace(settings, shard=shard)), shards, config.workers)
    report = sample(settings)
    assert isinstance(report, SampleResults)  # of all images
    return report


def _main(config: BeamSampleConfig) -> None:
    report = draw(config)
    print(f"{report.num} images; written: {config.sample.output_dir}")


if __name__ == "__main__":
    cli.run(BeamSampleConfig, _main, name="components.beam_sample")
