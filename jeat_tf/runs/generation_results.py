"""What `evaluate` leaves on disk of generated images: `generation.json`."""

from jeat_tf.core.records import Record, record
from jeat_tf.metrics.frechet import Extrapolation
from jeat_tf.metrics.neighbours import Memorisation
from jeat_tf.metrics.protocol import Protocol
from jeat_tf.runs.results import Subject
from jeat_tf.runs.second_nets import SecondNet


@record
class Score:
    """A score through a feature net, on which its name depends (`metrics.score_names`).

    Attributes:
      mean: the score; a mean where it has splits or subsets.
      std: over splits.
      standard_error: of the mean over subsets.
      subset_size: images of a subset.
      bias: note on the bias of a finite number of images; empty where there are enough.
      infinity: the score without that bias, or why there is none.
      of_class: the score of each class, or why there is none.
      of_class_bias: as `bias`.
    """

    mean: float
    std: float | None = None
    standard_error: float | None = None
    subset_size: int | None = None
    bias: str | None = None
    infinity: Extrapolation | str | None = None
    of_class: dict[str, float] | str | None = None
    of_class_bias: str | None = None


@record
class Compared:
    """What was compared image by image.

    Attributes:
      images: number of generated images.
      reference: number of real images.
      selection: description of how they were chosen.
    """

    images: int
    reference: int
    selection: str


@record
class Nearest:
    """The first images shown and their nearest training images.

    Attributes:
      among: which training images were searched.
      distances: from each image shown to its nearest training image.
    """

    among: str
    distances: tuple[float, ...]


@record
class NearestTrainingImages:
    """Whether generated images are copies.

    Attributes:
      generated, training, held_out: images of each kind.
      memorisation_l2: None without held-out images.
      nearest_l2, nearest_ssim, nearest_features: by each measure; None where none are shown.
    """

    generated: int
    training: int
    held_out: int | None = None
    memorisation_l2: Memorisation | None = None
    nearest_l2: Nearest | None = None
    nearest_ssim: Nearest | None = None
    nearest_features: Nearest | None = None


@record
class ImageScores:
    """Scores of one set of images.

    Scores that need requested classes, or a classifier of the same images, are None without them.

    Attributes:
      scores: by name, e.g. "fid" or "frechet_classifier_distance".
      predicted_classes: images of each class that the feature net sees.
    """

    scores: dict[str, Score]
    precision: float
    recall: float
    density: float
    coverage: float
    compared: Compared
    nearest_training_images: NearestTrainingImages
    protocol: Protocol
    agreement: float | None = None
    ssim_within_class: float | None = None
    feature_distance_within_class: float | None = None
    ssim_within_class_of_real_images: float | None = None
    feature_distance_within_class_of_real_images: float | None = None
    predicted_classes: tuple[int, ...] | None = None

    def numbers(self) -> dict[str, float]:
        """Every score that is one number, by name."""
        found = {name: score.mean for name, score in self.scores.items()}
        found |= {name: value for name, value in vars(self).items() if isinstance(value, float)}
        for name, score in self.scores.items():
            if isinstance(score.infinity, Extrapolation):
                found[f"{name}_infinity"] = score.infinity.distance
        if (copies := self.nearest_training_images.memorisation_l2) is not None:
            found["memorisation_l2"] = copies.z
        return found


@record
class GenerationResults(Record, Subject):
    """Scores of a net's images: `generation.json`.

    Attributes:
      fresh_chains: of the folder of samples.
      real_images: the control; None where the images evaluated are the reference, or too few.
      replay_buffer: None of a run without.
      classifier: whose features were compared; None where an Inception net's were.
    """

    MADE_BY = "python -m jeat_tf.evaluate --generation=samples --features=..."

    fresh_chains: ImageScores
    real_images: ImageScores | None = None
    replay_buffer: ImageScores | None = None
    classifier: SecondNet | None = None

    @property
    def sets(self) -> dict[str, ImageScores]:
        """The sets that there are, by name."""
        named = {"fresh_chains": self.fresh_chains, "real_images": self.real_images}
        return {name: one for name, one in (named | {"replay_buffer": self.replay_buffer}).items() if one is not None}
