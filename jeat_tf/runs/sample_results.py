"""What `sample` leaves on disk beside images: `identity.json`, and `samples.json` about all of them."""

import os

from jeat_tf.core.provenance import Provenance
from jeat_tf.core.records import Record, record, write_record
from jeat_tf.metrics.chain_diagnostics import ChainDiagnosis
from jeat_tf.metrics.looks import Looks
from jeat_tf.runs.sampling import Tuning

FILE = "samples.json"
_MADE_BY = "python -m jeat_tf.sample"


@record
class Drawn:
    """What has to be known about samples before their scores can be compared with others.

    Attributes:
      samples: kind of the samples, e.g. "fresh chains".
      selection: which of the images drawn were kept; "none" is all of them.
      classes: requested classes as text; "none" without.
      recipe: its name; empty where a start or stages were given.
      rule: source of the way of drawing; empty where a start or stages were given.
      start: description of where chains began.
      start_images: file of the start's images; empty without.
      stages: what was done to the images, in order, in the words of the flag.
      steps: of all stages together.
      seed: of starts and chains.
      batch_size, format, shard_size, readings: as in the settings of `sample`.
    """

    samples: str = "fresh chains"
    selection: str = "none"
    classes: str
    recipe: str
    rule: str
    start: str
    start_images: str
    stages: tuple[str, ...]
    steps: int
    seed: int
    batch_size: int
    format: str
    shard_size: int
    readings: int


@record
class SampleIdentity(Record, Drawn):
    """What the samples of a folder are: `identity.json`. Others are not mixed in.

    Attributes:
      weights_sha256: digest of the weights of the net that drew them.
      changes: what was done to that net to get it, one sentence each.
      dataset: name of its data.
      num: number of samples once all are drawn.
    """

    MADE_BY = _MADE_BY

    weights_sha256: str
    changes: tuple[str, ...] = ()
    dataset: str
    num: int


@record
class Drawing:
    """Which net drew, how, and what it took.

    Attributes:
      model: file of the net.
      model_sha256: digest of that file, which holds a date.
      weights_sha256: digest of the net's weights.
      changes: what was done to the net to get it, one sentence each.
      dataset: name of the data.
      num: number of requested images.
      protocol: how they were drawn.
      seconds: wall-clock seconds of all files whose time is known.
      cpu_seconds: processor seconds of these files.
      seconds_per_image: wall-clock seconds; None where no time is known.
    """

    model: str
    model_sha256: str
    weights_sha256: str
    changes: tuple[str, ...] = ()
    dataset: str
    num: int
    protocol: Drawn
    seconds: float
    cpu_seconds: float
    seconds_per_image: float | None
    date: str
    provenance: Provenance


@record
class Diagnostics(ChainDiagnosis):
    """What chains did on their way, and whether the first images have collapsed.

    Attributes:
      finite: whether all of the first images are.
      share_classified_as_asked_by_the_net_itself: None without classes.
      looks: of the first images; None where there are too few.
      trace: means over chains at each reading, by name; "step" has the steps done.
      accepted: share of accepted proposals by stage, "stage_2"; only of chains that have proposals.
      buffer_age_mean, buffer_age_max: rounds since the slots were started afresh; None without a replay buffer.
    """

    finite: bool
    share_classified_as_asked_by_the_net_itself: float | None
    looks: Looks | None
    trace: dict[str, tuple[float, ...]]
    accepted: dict[str, float]
    buffer_age_mean: float | None = None
    buffer_age_max: int | None = None


@record
class Rating:
    """What an independent classifier says of one set of images.

    Attributes:
      agreement: share of images in which it sees the requested class.
      agreement_of_each_class: the same for each class; None for a class that was not requested.
      share_of_each_class: that it sees.
      frechet_classifier_distance: to the reference; None where an image is not finite.
      precision, recall: against the reference; None likewise, or of too few images.
      saturated, copies_of_each_other, copies_of_real: as in `metrics.looks.Looks`; None of too few images.
      images: description of the images, where they are not the samples.
    """

    agreement: float
    agreement_of_each_class: tuple[float | None, ...]
    share_of_each_class: tuple[float, ...]
    frechet_classifier_distance: float | None
    precision: float | None
    recall: float | None
    saturated: float | None
    copies_of_each_other: float | None
    copies_of_real: float | None
    images: str | None = None


@record
class Judgement(Rating):
    """A judge's rating of the samples, and of the controls.

    Attributes:
      net: file of the judge.
      weights_sha256: digest of its weights.
      changes: what was done to it, one sentence each.
      accuracy: share of real images that it classifies correctly; None where this was not measured.
      accuracy_images: number of these real images.
      reference: description of what the samples are compared with.
      start_alone: rating of where the chains began.
      real_images: rating of test images; None where there are none.
    """

    net: str
    weights_sha256: str
    changes: tuple[str, ...] = ()
    accuracy: float | None = None
    accuracy_images: int | None = None
    reference: str
    start_alone: Rating
    real_images: Rating | None = None


@record
class SampleResults(Record, Drawing):
    """About all samples of a folder: `samples.json`.

    Attributes:
      diagnostics: of their chains.
      tuning: None where the chain was not tuned.
      judge: None without.
      shards: that were merged; None of one run.
    """

    MADE_BY = _MADE_BY

    diagnostics: Diagnostics
    tuning: Tuning | None = None
    judge: Judgement | None = None
    shards: int | None = None

    def write(self, folder: str) -> None:
        """Writes samples.json."""
        write_record(os.path.join(folder, FILE), self)


@record
class SampledShard(Record, Drawing):
    """About the samples of one shard: `shard-*.json`.

    Attributes:
      shard: "i/m".
      files: the first of its files, and the one after the last.
      drawn: images that are there.
    """

    MADE_BY = _MADE_BY

    shard: str
    files: tuple[int, int]
    drawn: int
