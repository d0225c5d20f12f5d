"""What has to be known about a generative score before it can be compared with another one."""

import dataclasses
import platform

import keras
import numpy as np
import scipy
import tensorflow as tf

from jeat_tf.core.version import __version__

SAMPLES = ("fresh chains", "start alone", "replay buffer", "given")


def versions() -> dict[str, str]:
    """Versions of the software that a score depends on."""
    return {
        "jeat_tf": __version__,
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "scipy": scipy.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
    }


@dataclasses.dataclass(frozen=True, kw_only=True)
class Protocol:
    """How a generative score came about, stored with each number.

    Scores of one net differ by half and more with the samples, the reference and the feature net, so no field has a
    default that could be wrong. What is not known is written as "unknown", not left empty.

    Attributes:
      n: number of images scored.
      classes: their balance, e.g. "balanced, in turn".
      samples: "fresh chains", "start alone" (where chains would begin), "replay buffer" or "given" (by someone else).
      selection: which of the images drawn were kept; "none" is all of them.
      start: where the chains started, e.g. "class Gaussians"; "none" for images that no chain made.
      stages: samplers in the order in which they ran, with their settings; empty for images that no chain made.
      steps: steps of a chain, all stages together.
      seed: of the chains, or of what drew the images.
      generator_sha256: digest of the weights of the net that generated the images.
      reference_data: data set of the real images.
      reference_split: its split, e.g. "train".
      reference_count: number of real images.
      feature_net: name of the feature net, `FeatureNet.name`.
      feature_kind: `FeatureNet.kind`, on which the names of the scores depend.
      feature_sha256: `FeatureNet.sha256`.
      resize: `FeatureNet.resize`, what was done to the images before the net.
      splits: of the inception score.
      software: versions.

    Raises:
      ValueError: an empty text, a count below 1, or a negative number of steps or seed.
    """

    n: int
    classes: str
    samples: str
    selection: str = "none"
    start: str
    stages: tuple[str, ...]
    steps: int
    seed: int
    generator_sha256: str
    reference_data: str
    reference_split: str
    reference_count: int
    feature_net: str
    feature_kind: str
    feature_sha256: str
    resize: str
    splits: int
    software: dict[str, str] = dataclasses.field(default_factory=versions)

    def __post_init__(self) -> None:
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        empty = [name for name, value in values.items() if isinstance(value, str) and not value.strip()]
        empty += [] if self.software else ["software"]
        if empty:
            raise ValueError(f"expected a text in each field of a protocol, received none in {', '.join(empty)}")
        if self.samples not in SAMPLES:
            raise ValueError(f"expected samples as one of {', '.join(SAMPLES)}, received {self.samples!r}")
        if isinstance(self.stages, str) or not all(isinstance(stage, str) and stage for stage in self.stages):
            raise ValueError(f"expected stages as a tuple of texts, received {self.stages!r}")
        if self.samples == "fresh chains" and not self.stages:
            raise ValueError("expected the stages of the chains that made the samples, received none")
        for name, least in {"n": 1, "reference_count": 1, "splits": 1, "steps": 0, "seed": 0}.items():
            if values[name] < least:
                raise ValueError(f"expected {name} >= {least}, received {values[name]}")
