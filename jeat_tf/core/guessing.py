"""Accuracies that say no more than a guess."""

import numpy as np

_LEAST = 20  # images: an accuracy on fewer says nothing


def accuracy_of_guessing(labels: np.ndarray) -> float:
    """The accuracy of always naming the most frequent class of labels int[N]."""
    return float(np.unique(labels, return_counts=True)[1].max() / len(labels))


def is_guessing(accuracy: float, labels: np.ndarray) -> bool:
    """Whether an accuracy on images with labels int[N] is no better than a guess.

    True within a tenth of the way from guessing to 1, or within two standard errors of guessing. Fewer than 20 images,
    or images of one class, prove nothing: the answer is False.
    """
    guess = accuracy_of_guessing(labels)
    if len(labels) < _LEAST or guess == 1:
        return False
    return accuracy < guess + max(0.1 * (1 - guess), 2 * (guess * (1 - guess) / len(labels)) ** 0.5)
