"""How the benchmarks write their Markdown tables."""

from collections.abc import Iterable, Sequence

import numpy as np


def row(cells: Iterable[object]) -> str:
    """A line of a table."""
    return f"| {' | '.join(map(str, cells))} |"


def head(columns: Sequence[str]) -> str:
    """The first two lines of a table."""
    return f"{row(columns)}\n{row(['---'] * len(columns))}"


def spread(values: Sequence[float], digits: int = 1) -> str:
    """Mean and sample standard deviation over seeds; of one value, the value."""
    deviation = f" ± {np.std(values, ddof=1):.{digits}f}" if len(values) > 1 else ""
    return f"{np.mean(values):.{digits}f}{deviation}"
