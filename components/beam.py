"""Shards done by the workers of an Apache Beam runner."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from .given import flag_words
from .settings import Workers


def on_workers(work: Callable[[str], Any], shards: Sequence[str], workers: Workers) -> None:
    """Calls `work` with each shard "i/m", on workers that see the same files; returns when all are done.

    A worker that fails is started again by most runners, so that `work` has to resume where it was.

    Raises:
      ValueError: Apache Beam is not installed.
    """
    beam, options = _beam()

    class Work(beam.DoFn):  # type: ignore[name-defined]
        """A shard "i/m" -> what its verb reports."""

        def process(self, shard: str) -> Iterator[Any]:
            yield work(shard)

    chosen = options.PipelineOptions(flag_words(workers.beam_options), runner=workers.beam_runner)
    with beam.Pipeline(options=chosen) as pipeline:
        _ = pipeline | beam.Create(shards) | beam.Reshuffle() | beam.ParDo(Work())


def check_shared(shard: str, resume: bool) -> None:
    """Raises ValueError for settings that workers who write into one folder cannot have."""
    if shard or not resume:
        raise ValueError(
            "--shard and --resume=false are not for workers that share a folder; use --shards, and an empty one"
        )


def _beam() -> tuple[Any, Any]:
    try:
        import apache_beam as beam
        from apache_beam.options import pipeline_options
    except ImportError as error:
        raise ValueError(
            f"cannot run on workers without Apache Beam ({error}); install the extra: pip install 'jeat_tf[beam]'"
        ) from error
    return beam, pipeline_options
