"""What `evaluate --corruptions` leaves on disk: `corruptions.json`."""

from collections.abc import Sequence
from typing import NamedTuple

from jeat_tf.core.records import Record, record
from jeat_tf.runs.results import Subject

CORRUPTED = "corruptions.json"


class CorruptedCell(NamedTuple):
    """A net on images of one corruption and severity; severity 0 is the images as they are.

    Attributes:
      accuracy: share of images that are classified correctly.
      nll: mean of -log p(label | x).
      ece: expected calibration error over 15 bins.
      images: number of images.
    """

    corruption: str
    severity: int
    accuracy: float
    nll: float
    ece: float
    images: int


@record
class CorruptionResults(Record, Subject):
    """Accuracy and calibration of a net under common corruptions: `corruptions.json`.

    Attributes:
      source: where the images are from, as on the command line.
      corrupted_sha256: digest of all corrupted images and labels.
      clean: the images as they are.
      cells: a cell for each corruption and severity.
      mean_accuracy: over corruptions and severities.
      mean_ece: likewise.
      worst: the corruption of the lowest accuracy, over severities.
      mce: mean over corruptions of the net's error over the baseline's, each summed over severities (Hendrycks &
        Dietterich, 2019); None without a baseline.
      baseline: its name; None without.
    """

    MADE_BY = "python -m jeat_tf.evaluate --corruptions=..."

    source: str
    corrupted_sha256: str
    clean: CorruptedCell
    cells: tuple[CorruptedCell, ...]
    mean_accuracy: float
    mean_ece: float
    worst: str
    protocol: str
    mce: float | None = None
    baseline: str | None = None


def errors_of(cells: Sequence[CorruptedCell]) -> dict[str, float]:
    """Error of each corruption, the mean over severities."""
    of: dict[str, list[float]] = {}
    for cell in cells:
        of.setdefault(cell.corruption, []).append(1 - cell.accuracy)
    return {name: sum(errors) / len(errors) for name, errors in of.items()}
