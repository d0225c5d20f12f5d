"""What flows between components: artifact types, and the annotations that say what a component takes and makes.

The annotations have the names that TFX gives them.
"""

from typing import Annotated, Any, ClassVar, Generic, NamedTuple, TypeAlias, TypeVar

_PARAMETER = "parameter"
T = TypeVar("T")

Parameter: TypeAlias = Annotated[T, _PARAMETER]
"""A setting of a component, `Parameter[int]`; to a type checker the value itself."""


class Artifact:
    """A folder with a manifest.

    Attributes:
      SCHEMA_VERSION: of what the folder holds; it is in the manifest, and another one is refused.
      KFP_SCHEMA: how Kubeflow Pipelines knows it.
      RECORDS: JSON files; later steps depend on their content without dates, durations and paths (`PASSING`).
      VOLATILE: files whose content may differ between equal runs, e.g. by a date inside; later steps do not depend on
        them, and their digests are checked all the same.
    """

    PASSING: ClassVar[frozenset[str]] = frozenset(
        {
            *("date", "provenance", "seconds", "cpu_seconds", "seconds_per_image", "seconds_per_step"),
            # Paths, and the digest of a .keras file, which holds its date; weights and data have digests of their own.
            *("model", "model_sha256", "model_dir", "dataset", "data_dir"),
        }
    )

    SCHEMA_VERSION: ClassVar[int] = 1
    KFP_SCHEMA: ClassVar[str] = "system.Artifact"
    RECORDS: ClassVar[tuple[str, ...]] = ()
    VOLATILE: ClassVar[tuple[str, ...]] = ()


class Examples(Artifact):
    """`tfds/`: a prepared TFDS folder; `summary.json`: its schema, statistics and anomalies; `classes.npz`."""

    KFP_SCHEMA = "system.Dataset"
    VOLATILE = ("summary.json",)  # the digest of the images is among the properties of the manifest


class Model(Artifact):
    """A run's folder: `net.keras`, `config.json`, `train.json`, `history.json`, checkpoint, TensorBoard events."""

    KFP_SCHEMA = "system.Model"
    # A .keras file holds its date; the digest of its weights is among the properties of the manifest.
    RECORDS = ("train.json", "config.json", "history.json")
    VOLATILE = ("net.keras", "best.keras", "logs/", "last.", "previous.", "broken-", "teacher/")


class Samples(Artifact):
    """What `jeat_tf.sample` writes: files of images, traces, pictures, `samples.json`."""

    KFP_SCHEMA = "system.Dataset"
    RECORDS = ("samples.json",)
    VOLATILE = ("shard-", "spent-")


class Evaluation(Artifact):
    """What `jeat_tf.evaluate` writes: `results.json`, `verdicts.npz`, and the other measures with their figures."""

    KFP_SCHEMA = "system.Metrics"
    RECORDS = ("results.json", "calibration.json", "ood.json", "fisher.json", "corruptions.json", "generation.json")


class Report(Artifact):
    """`report.html` and the same as JSON, Markdown and LaTeX; TensorBoard events of all runs with their results."""

    KFP_SCHEMA = "system.HTML"
    VOLATILE = ("report.html", "report.json", "report.md", "report.tex", "tensorboard/")


class InputArtifact(Generic[T]):
    """An artifact that a component reads; `path` is its folder."""

    def __init__(self, path: str):
        self.path = path


class InputArtifacts(Generic[T]):
    """Any number of artifacts of one type, by name; `missing` says why others that were wanted are not there."""

    def __init__(self, paths: dict[str, str], missing: dict[str, str] | None = None):
        self.paths = paths
        self.missing = missing or {}

    def all(self) -> list[str]:
        """The folders.

        Raises:
          ValueError: some that were wanted are not there.
        """
        if self.missing:
            why = "; ".join(f"{name}: {reason}" for name, reason in self.missing.items())
            raise ValueError(
                f"expected all of {len(self.paths) + len(self.missing)} artifacts, but some were not made: {why}"
            )
        return list(self.paths.values())


class OutputArtifact(Generic[T]):
    """An artifact that a component makes: it writes into the folder `path`, and may set `properties`."""

    def __init__(self, path: str):
        self.path = path
        self.properties: dict[str, Any] = {}


class Port(NamedTuple):
    """An input or an output of a component.

    Attributes:
      type: of its artifact.
      many: whether it takes any number of them.
      optional: whether it may be left out.
    """

    type: type[Artifact]
    many: bool = False
    optional: bool = False


def is_parameter(annotation: Any) -> bool:
    """Whether an annotation is `Parameter[...]`."""
    return _PARAMETER in getattr(annotation, "__metadata__", ())
