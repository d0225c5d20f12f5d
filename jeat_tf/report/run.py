"""`python -m jeat_tf.report`: one page about a folder of runs, and its numbers as JSON, Markdown and LaTeX."""

import datetime
import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

from jeat_tf.config.report import ReportConfig
from jeat_tf.core.files import writable_folder, write_text
from jeat_tf.core.provenance import provenance
from jeat_tf.core.records import plain
from jeat_tf.report.collect import Drawing, Run, read_runs
from jeat_tf.report.entries import read_entries
from jeat_tf.report.hparams import results, write_results
from jeat_tf.report.page import render
from jeat_tf.report.summary import columns_of, summarise
from jeat_tf.report.tables import MARKER, as_data, latex, markdown
from jeat_tf.runs.locks import held

_HEAD = 4096  # characters of a file that contain its marker


def report(config: ReportConfig) -> dict[str, Any]:
    """Reads the runs and writes the page and, beside it, its numbers as .json, .md and .tex, and rows for TensorBoard.

    Returns:
      report: what the .json holds: columns with their protocols, methods with means, sample standard deviations and
        numbers by seed, remarks, date and provenance.

    Raises:
      ValueError: no runs, an unreadable file, or something at `--out` that is no report.
    """
    files = _files(config.out)
    entries = read_entries(config.entries) if config.entries else []
    board = writable_folder(config.tensorboard, "tensorboard") if config.tensorboard else ""
    with held(os.path.dirname(os.path.abspath(config.out)), "jeat_tf.report", name="report"):
        runs, drawings = read_runs(config.runs)
        if board:
            for run in runs:
                write_results(os.path.join(board, run.name), run.config, results(run))
        return _write(files, runs, drawings, {}, entries)


def report_of(
    runs: Sequence[Run], drawings: Sequence[Drawing], *, out: str, missing: Mapping[str, str]
) -> dict[str, Any]:
    """The same page and files, about runs that were read from any place.

    Args:
      runs: at least one.
      drawings: figures of `draw`.
      out: path of the page, NAME.html.
      missing: for each expected run that is missing, the reason, which the page shows.

    Raises:
      ValueError: an unreadable file, or something at `out` that is no report.
    """
    files = _files(out)
    with held(os.path.dirname(os.path.abspath(out)), "jeat_tf.report", name="report"):
        return _write(files, runs, drawings, missing)


def _write(
    files: dict[str, str],
    runs: Sequence[Run],
    drawings: Sequence[Drawing],
    missing: Mapping[str, str],
    entries: Sequence[dict[str, Any]] = (),
) -> dict[str, Any]:
    methods, remarks = summarise(runs)
    remarks += [f"{name} is not here: {why}" for name, why in missing.items()]
    columns = columns_of(methods)
    made, today = provenance(), datetime.date.today().isoformat()
    found = {"marker": MARKER, "date": today, "provenance": plain(made), "remarks": remarks, **as_data(methods)}
    title = f"{MARKER}, {today}: mean and sample standard deviation over seeds"
    name = os.path.basename(files["html"])
    page = render(methods, drawings, remarks=remarks, made=made, date=today, name=name, entries=entries)
    write_text(files["json"], json.dumps(found, indent=1, allow_nan=False) + "\n")
    write_text(files["md"], f"<!-- {title} -->\n\n{markdown(methods, columns)}")
    write_text(files["tex"], f"% {title}\n{latex(methods, columns)}")
    write_text(files["html"], page)
    return found


def _files(out: str) -> dict[str, str]:
    """Paths by suffix; a file there that is no report is an error."""
    if not out.endswith(".html"):
        raise ValueError(f"expected --out=NAME.html, received {out or 'nothing'}")
    files = {suffix: f"{out.removesuffix('html')}{suffix}" for suffix in ("html", "json", "md", "tex")}
    for path in files.values():
        if os.path.exists(path) and not _is_ours(path):
            raise ValueError(f"{path} exists and is no report; choose another --out, or remove it")
    writable_folder(os.path.dirname(os.path.abspath(out)), "out")
    return files


def _is_ours(path: str) -> bool:
    if not os.path.isfile(path):
        return False
    with open(path, encoding="utf-8", errors="replace") as f:
        return MARKER in f.read(_HEAD)
