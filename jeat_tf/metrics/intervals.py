"""How sure a measured share is."""

import math
from typing import Any

import numpy as np


def wilson_interval(successes: int, count: int) -> tuple[float, float]:
    """95% confidence interval of a proportion (Wilson, 1927)."""
    z = 1.959963984540054
    share = successes / count
    center = (share + z**2 / (2 * count)) / (1 + z**2 / count)
    half = z * math.sqrt(share * (1 - share) / count + z**2 / (4 * count**2)) / (1 + z**2 / count)
    return max(0.0, center - half), min(1.0, center + half)


def accuracy_of(correct: np.ndarray) -> dict[str, Any]:
    """Accuracy, its 95% Wilson interval and the counts, of bool[N]."""
    return {
        "accuracy": float(np.mean(correct)),
        "interval_95": wilson_interval(int(correct.sum()), len(correct)),
        "correct": int(correct.sum()),
        "images": len(correct),
    }
