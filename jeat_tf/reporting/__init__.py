"""Runs on disk become tables, and one page: what was measured, of what, how, and what was not."""

from jeat_tf.reporting.collect import Drawing, Run, read_runs
from jeat_tf.reporting.measures import Column, Value, measured
from jeat_tf.reporting.page import render
from jeat_tf.reporting.published import side_by_side
from jeat_tf.reporting.summary import Mean, Method, columns_of, summarise
from jeat_tf.reporting.tables import MARKER, as_data, latex, markdown

__all__ = [
    "MARKER",
    "Column",
    "Drawing",
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
