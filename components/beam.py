"""`python -m components.beam`: images drawn by the workers of an Apache Beam runner, a part of the files by each.

python -m components.beam --model=RUN --num=50000 --output_dir=SHARED/samples --beam_runner=DirectRunner

Model, data and output_dir are paths that every worker must see, e.g. on a disk that they all mount.
"""

from collections.abc import Iterator
from typing import Any

from components.settings import BeamConfig
from jeat_tf import cli
from jeat_tf.artifacts import writable_folder
from jeat_tf.config import replace
from jeat_tf.sample import sample
from jeat_tf.stored_samples import file_batches, files_of_shard


def draw(config: BeamConfig) -> dict[str, Any]:
    """Draws the samples on workers, and then writes `samples.json` and the pictures here.

    All workers write into the same folder. A worker that is started again goes on at the file it was at, so that
    what it ends with is bit for bit what one machine draws.

    Args:
      config: samples, parts, runner.

    Returns:
      report: as of `jeat_tf.sample.sample`; the seconds of the workers are in their `shard-*.json`.

    Raises:
      ValueError: Apache Beam is not installed, or bad settings.
    """
    beam, options = _beam()
    settings = config.sample
    writable_folder(settings.output_dir, "output_dir")
    if settings.shard or not settings.resume:
        raise ValueError(
            "--shard and --resume=false are not for workers that share a folder; use --shards, and an empty one"
        )
    files = file_batches(settings.num, settings.batch_size, settings.shard_size)
    count = config.shards or len(files)
    shards = [f"{i}/{count}" for i in range(count)]
    for shard in shards:
        files_of_shard(shard, len(files))

    class Draw(beam.DoFn):  # type: ignore[name-defined]
        """A shard in words -> the report of having drawn it."""

        def process(self, shard: str) -> Iterator[dict[str, Any]]:
            yield sample(replace(settings, shard=shard))

    chosen = options.PipelineOptions(config.beam_options.split(), runner=config.beam_runner)
    with beam.Pipeline(options=chosen) as pipeline:
        _ = pipeline | beam.Create(shards) | beam.Reshuffle() | beam.ParDo(Draw())
    return sample(settings)


def _beam() -> tuple[Any, Any]:
    try:
        import apache_beam as beam
        from apache_beam.options import pipeline_options
    except ImportError as error:
        raise ValueError(
            f"cannot run on workers without Apache Beam ({error}); install the extra: pip install 'jeat_tf[beam]'"
        ) from error
    return beam, pipeline_options


def _main(config: BeamConfig) -> None:
    report = draw(config)
    print(f"{report['num']} images; written: {config.sample.output_dir}")


if __name__ == "__main__":
    cli.run(BeamConfig, _main)
