"""What `evaluate` leaves on disk: `results.json` of its attacks, and a file for each other measure."""

import datetime
from typing import NamedTuple

from jeat_tf.attacks.gradient_masking import Finding, Masking
from jeat_tf.core.files import sha256
from jeat_tf.core.provenance import Provenance, provenance
from jeat_tf.core.records import Record, record
from jeat_tf.data.labelled import LabelledImages
from jeat_tf.metrics.fisher import FisherScore
from jeat_tf.metrics.ood import Detection
from jeat_tf.models.files import weights_sha256
from jeat_tf.models.foreign import Adapted
from jeat_tf.runs.second_nets import SecondNet

ATTACKS = "results.json"


@record
class Subject:
    """Which net and data a number is about, and how it came about.

    Attributes:
      model: file of the net.
      model_sha256: digest of that file, which holds a date.
      weights_sha256: digest of the net's weights.
      changes: what was done to the net to get it, one sentence each.
      dataset: name of the data.
      images: description of which of its images.
      data_sha256: digest of images and labels.
      seed: of random starts, searches and probes.
      checks: of the net's output on these images.
    """

    model: str
    model_sha256: str
    weights_sha256: str
    changes: tuple[str, ...] = ()
    dataset: str
    images: str
    data_sha256: str
    seed: int
    checks: tuple[Finding, ...] = ()
    date: str
    provenance: Provenance


def subject_of(read: Adapted, file: str, data: LabelledImages, seed: int, checks: tuple[Finding, ...] = ()) -> Subject:
    """What this process measures today: a net that was read from a file, on these images."""
    return Subject(
        model=file,
        model_sha256=sha256(file),
        weights_sha256=weights_sha256(read.net),
        changes=read.changes,
        dataset=data.name,
        images=data.origin,
        data_sha256=data.sha256(),
        seed=seed,
        checks=checks,
        date=datetime.date.today().isoformat(),
        provenance=provenance(),
    )


@record
class Accuracy:
    """Share of images that are classified correctly.

    Attributes:
      accuracy: the share.
      interval_95: its Wilson interval.
      correct: number of images that are classified correctly.
      images: number of images.
    """

    accuracy: float
    interval_95: tuple[float, float]
    correct: int
    images: int


@record
class AttackRow(Accuracy):
    """Accuracy on clean images, under one attack in one ball, or under all of them.

    The fields that have a default are None of rows that are no attack of their own.

    Attributes:
      attack: its name, "clean", "worst case" or, over several norms, "worst of all".
      epsilon: radius of the ball; None of an attack without bound.
      protocol: description of the attack.
      norm: of the ball, or of the distances of an attack without bound.
      epsilon_text: the radius as one writes it.
      in_ball: whether successes count inside the ball alone.
      broken_by: images by the run that broke them.
      largest_distance: largest distance of an adversarial image from its image, in the norm.
      median_distance: median distance of the adversarial images; None without any.
      forwards, gradients: passes through the net, of all images together.
      seconds: seconds of all processes together.
      per_class: accuracy of each class; None of a class without images.
      confusion: confusion[i][j] images of class i are classified as j after the attack; None with more than 20 classes.
      reached: reached[i][j] images of class i can be moved to class j, and reached[i][i] can be moved nowhere; of
        attacks that try all targets.
    """

    attack: str
    epsilon: float | None
    protocol: str
    norm: str | None = None
    epsilon_text: str | None = None
    in_ball: bool | None = None
    broken_by: dict[str, int] | None = None
    largest_distance: float | None = None
    median_distance: float | None = None
    forwards: int | None = None
    gradients: int | None = None
    seconds: float | None = None
    per_class: tuple[float | None, ...] | None = None
    confusion: tuple[tuple[int, ...], ...] | None = None
    reached: tuple[tuple[int, ...], ...] | None = None


class Curve(NamedTuple):
    """Accuracy over epsilon of one attack that looks for the nearest adversarial image.

    Attributes:
      attack: its name and norm.
      norm: of the radii.
      epsilons: radii, from 0.
      correct: images without an adversarial image inside each radius, of those classified correctly.
      images: number of images.
    """

    attack: str
    norm: str
    epsilons: tuple[float, ...]
    correct: tuple[int, ...]
    images: int


@record
class AttackSettings:
    """Settings that every row of an evaluation has in common, beside its subject.

    Attributes:
      batch_size: images in one call of the net.
      gradients: precision of the net whose gradients are taken.
      samples: passes of which gradients and verdicts are means.
      refine_steps: of the chain that refines an input before the net; its other settings are None without.
      bpda: layers whose backward pass was replaced, in the words of the flag.
    """

    batch_size: int
    gradients: str
    samples: int
    refine_steps: int
    refine_step_size: float | None = None
    refine_noise_std: float | None = None
    bpda: str | None = None


@record
class AttackResults(Record, AttackSettings, Subject):
    """Accuracy of a net, clean and under attacks: `results.json`.

    Attributes:
      norm: of the balls; several with commas.
      targets: class that attacks had to reach, "next", "random" or "all"; "none": any but the label.
      adaptive: whether the attacks take account of what hides gradients: BPDA, refinement, or a random net.
      expectation_over_transformation: description of what gradients and verdicts are means over, or "none".
      shards: parts that the images were attacked in.
      results: a row for each attack and ball.
      gradient_masking: the audit; None where none was made.
      transfer_net: the net whose attacks the audit transferred; None without.
      curves: of attacks without bound.
    """

    MADE_BY = "python -m jeat_tf.evaluate --attacks=..."

    norm: str
    adaptive: bool
    expectation_over_transformation: str
    shards: int
    results: tuple[AttackRow, ...]
    gradient_masking: Masking | None = None
    transfer_net: SecondNet | None = None
    targets: str = "none"
    curves: tuple[Curve, ...] = ()


@record
class AttackedShard:
    """What attacks on one shard of the images took; their verdicts are in `state/`.

    Attributes:
      shard: "i/m".
      images: the first of its images, and the one after the last.
      seconds: seconds of all processes together.
    """

    shard: str
    images: tuple[int, int]
    seconds: float


@record
class CalibrationBins:
    """A reliability diagram; an empty bin has no confidence and no accuracy.

    Attributes:
      edges: of confidence, one more than bins.
      bin_confidence: mean of each bin.
      bin_accuracy: of each bin.
      bin_count: images of each bin.
    """

    edges: tuple[float, ...]
    bin_confidence: tuple[float | None, ...]
    bin_accuracy: tuple[float | None, ...]
    bin_count: tuple[int, ...]


@record
class CalibrationResults(Record, Subject):
    """How far confidence and accuracy agree, as in `metrics.calibration`: `calibration.json`."""

    MADE_BY = "python -m jeat_tf.evaluate --calibration"

    accuracy: float
    nll: float
    brier: float
    ece: float
    adaptive_ece: float
    max_error: float
    bins: CalibrationBins
    protocol: str


@record
class OodResults(Record, Subject):
    """How well scores tell images of the data from others: `ood.json`.

    Attributes:
      detection: by set of other images and score.
      num_outside: images of each set.
      scores: description of each score, by name.
    """

    MADE_BY = "python -m jeat_tf.evaluate --ood=..."

    detection: dict[str, dict[str, Detection]]
    num_outside: dict[str, int]
    scores: dict[str, str]
    protocol: str


@record
class FisherUnits:
    """A Fisher score in either unit of a pixel."""

    pixels: FisherScore
    symmetric: FisherScore


@record
class FisherResults(Record, Subject):
    """Fisher scores of E(x, y) and of E(x): `fisher.json`.

    Attributes:
      joint, marginal: of E(x, y), and of E(x).
      num_images: number of images that they are means over.
      trace: description of how the trace was computed.
    """

    MADE_BY = "python -m jeat_tf.evaluate --fisher_images=..."

    joint: FisherUnits
    marginal: FisherUnits
    num_images: int
    trace: str
    protocol: str
