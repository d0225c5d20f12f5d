"""What an attack does to each class: accuracy of each, and which class is taken for which."""

from typing import Any

import numpy as np

_MOST = 20  # classes whose table is small enough for a record; verdicts.npz has the predictions of any number


def by_class(labels: np.ndarray, correct: np.ndarray, predicted: np.ndarray, num_classes: int) -> dict[str, Any]:
    """The fields `per_class` and `confusion` of a row.

    `per_class` holds the accuracy of each class, None where there is no image of it. `confusion[i][j]` counts images of
    class i that are classified as j; it is left out with more than 20 classes.

    Args:
      labels: int[N].
      correct: bool[N], classified as their label.
      predicted: int[N], classes after the attack.
      num_classes: K.
    """
    fields: dict[str, Any] = {"per_class": per_class(labels, correct, num_classes)}
    if num_classes <= _MOST:
        counts = np.zeros((num_classes, num_classes), int)
        np.add.at(counts, (labels, predicted), 1)
        fields["confusion"] = tuple(map(tuple, counts.tolist()))
    return fields


def per_class(labels: np.ndarray, correct: np.ndarray, num_classes: int) -> tuple[float | None, ...]:
    """The accuracy of each class, None where there is no image of it."""
    counts = np.bincount(labels, minlength=num_classes)
    right = np.bincount(labels[correct], minlength=num_classes)
    return tuple(float(some / all_) if all_ else None for some, all_ in zip(right, counts, strict=True))


def over_targets(
    labels: np.ndarray, reached: list[np.ndarray], correct: np.ndarray, num_classes: int
) -> dict[str, Any]:
    """The fields `per_class` and `reached` of an attack that tried all targets.

    `reached[i][j]` counts images of class i that were moved to class j, and for i = j those that were moved nowhere.
    It is left out with more than 20 classes.

    Args:
      labels: int[N].
      reached: K - 1 of bool[N], images moved to the class (label + 1 + i) mod K by the i-th.
      correct: bool[N], moved nowhere and classified as their label.
      num_classes: K.
    """
    fields: dict[str, Any] = {"per_class": per_class(labels, correct, num_classes)}
    if num_classes <= _MOST:
        counts = np.diag(np.bincount(labels[correct], minlength=num_classes))
        for shift, moved in enumerate(reached, 1):
            np.add.at(counts, (labels[moved], (labels[moved] + shift) % num_classes), 1)
        fields["reached"] = tuple(map(tuple, counts.tolist()))
    return fields
