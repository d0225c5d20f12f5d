"""How the benchmarks write their Markdown tables."""

import pathlib
from collections.abc import Iterable, Sequence

import numpy as np

from jeat_tf.core.files import write_text


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


def put(path: str, text: str, mark: str) -> None:
    """Puts tables between the marks `<!-- mark -->` and `<!-- end of mark -->` of a file.

    Raises:
      ValueError: the file has no such marks.
    """
    begin, end = f"<!-- {mark} -->", f"<!-- end of {mark} -->"
    whole = pathlib.Path(path).read_text(encoding="utf-8")
    if begin not in whole or end not in whole:
        raise ValueError(f"expected the marks {begin} and {end} in {path}, received none")
    head, tail = whole.split(begin)[0], whole.split(end)[1]
    write_text(path, f"{head}{begin}\n{text}{end}{tail}")
