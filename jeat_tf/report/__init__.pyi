from .collect import Drawing, Run, read_runs
from .measures import Column, Value, measured
from .page import render
from .published import side_by_side
from .summary import Mean, Method, columns_of, summarise
from .tables import MARKER, as_data, latex, markdown

__all__ = [
    "Column",
    "Drawing",
    "MARKER",
    "Mean",
    "Method",
    "Run",
    "Value",
    "as_data",
    "columns_of",
    "latex",
    "markdown",
    "measured",
    "read_runs",
    "render",
    "side_by_side",
    "summarise",
]
