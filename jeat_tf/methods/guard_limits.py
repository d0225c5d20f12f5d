"""Limits that a guard sets by what it has seen: running medians, and falls of accuracy."""

import math
import statistics
from collections import deque

_FEWEST = 20  # values from which on a median counts
DROP_MEAN, DROP_WITHIN, DROP_ERRORS = 10, 50, 5.0


def relative(window: deque[float], factor: float, floor: float) -> float:
    """The limit that a running median sets; 0 means no limit."""
    if not factor or len(window) < _FEWEST:
        return 0.0
    return max(floor, factor * statistics.median(window))


def lowest(*limits: float) -> float:
    """The lowest limit of those that are set; 0 means no limit."""
    return min((limit for limit in limits if limit), default=0.0)


def drop(accuracies: list[float]) -> tuple[float, float]:
    """How far the mean of the last ten steps lies below that of the first, and the standard error of that number.

    The error is taken from the steps before the last ten, so that a fall does not hide in its own spread.
    """
    drop = statistics.fmean(accuracies[:DROP_MEAN]) - statistics.fmean(accuracies[-DROP_MEAN:])
    before = accuracies[:DROP_WITHIN]
    mean = statistics.fmean(before)
    variance = sum((value - mean) ** 2 for value in before) / (DROP_WITHIN - 1)
    return drop, math.sqrt(2 * variance / DROP_MEAN)
