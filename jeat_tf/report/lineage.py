"""Lineage as a drawing: which data trained which net, and which nets and images each measurement is of."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from jeat_tf.report.collect import Measurement, Run
from jeat_tf.report.summary import Method
from jeat_tf.runs.generation_results import GenerationResults
from jeat_tf.runs.results import AttackResults
from jeat_tf.runs.sample_results import SampleResults

_OF_NETS = ("images", "measurements")
_PAGE = "page"
_COLUMNS = ("data", "nets", *_OF_NETS, _PAGE)
_WIDTH, _HEIGHT, _GAP = 190, 44, 12  # of a box, and between two, in pixels
_ACROSS = 52  # between columns
_LETTERS = 24  # that a box is wide
_DIGEST = 8  # characters of a SHA-256


class Box(NamedTuple):
    """What was read or made.

    Attributes:
      x, y: its upper left corner, in pixels.
      name: first line.
      note: second line.
      full: all that is known of it, for a pointer that rests on it.
    """

    x: int
    y: int
    name: str
    note: str
    full: str


class Lineage(NamedTuple):
    """Boxes, and arrows as SVG paths; `text` describes the drawing."""

    boxes: list[Box]
    arrows: list[str]
    width: int
    height: int
    box_width: int
    box_height: int
    text: str


class _Drawing:
    """Boxes by key, with column, name, note and all that is known, and arrows between keys; nothing has a place yet."""

    def __init__(self) -> None:
        self.boxes: dict[str, tuple[str, str, str, str]] = {}
        self.arrows: dict[tuple[str, str], None] = {}

    def add(self, column: str, key: str, name: str, note: str, full: str, of: Sequence[str] = ()) -> str:
        """A box with arrows from those that it was made of; a key that is known keeps its first box."""
        self.boxes.setdefault(key, (column, name, note, full))
        self.arrows |= {(parent, key): None for parent in of}
        return key

    def placed(self, text: str) -> Lineage:
        # Images and measurements share their rows, so that an arrow that passes by one of them meets no other.
        rows: dict[str, list[str]] = {}
        for key, (column, *_) in self.boxes.items():
            rows.setdefault("of nets" if column in _OF_NETS else column, []).append(key)
        used = [column for column in _COLUMNS if column in {box[0] for box in self.boxes.values()}]
        height = max(map(len, rows.values())) * (_HEIGHT + _GAP) + _GAP
        places: dict[str, Box] = {}
        for beside in rows.values():
            for row, key in enumerate(beside):
                column, name, note, full = self.boxes[key]
                x = _GAP + used.index(column) * (_WIDTH + _ACROSS)
                y = round((row + 0.5) * height / len(beside) - _HEIGHT / 2)
                places[key] = Box(x, y, _short(name), _short(note), full)
        arrows = [_path(places[a], places[b], late=b == _PAGE) for a, b in self.arrows]
        width = len(used) * (_WIDTH + _ACROSS) - _ACROSS + 2 * _GAP
        return Lineage(list(places.values()), arrows, width, height, _WIDTH, _HEIGHT, text)


def lineage(methods: Sequence[Method], page: str) -> Lineage:
    """What the page was made from, back to the data, of all runs.

    Args:
      methods: what `summarise` returns.
      page: name of the page's file.
    """
    drawing = _Drawing()
    runs = [run for method in methods for run in method.runs + method.unfinished]
    nets: dict[str, str] = {}  # keys by digest of the weights, so that a judge that was trained here is found
    for run in runs:
        data = _data(drawing, run)
        digest = run.training.weights_sha256 if run.training else ""
        key = drawing.add("nets", f"net {run.name}", run.name, _digest(digest) or "did not finish", digest, [data])
        if digest:
            nets.setdefault(digest, key)
    shown = [key for run in runs for key in _measured(drawing, run, nets)]
    drawing.add(_PAGE, _PAGE, page, "this page", "", shown or [f"net {run.name}" for run in runs])
    return drawing.placed(f"{len(runs)} nets, from their data to {len(shown)} folders of measurements and this page")


def _data(drawing: _Drawing, run: Run) -> str:
    digest = run.training.data_sha256 if run.training else ""
    name = run.training.dataset if run.training else run.config.data.dataset
    return drawing.add("data", f"data {name} {digest}", name, _digest(digest) or "digest not recorded", digest)


def _measured(drawing: _Drawing, run: Run, nets: dict[str, str]) -> Iterator[str]:
    """Keys of the folders of the run that hold images or measurements."""
    folders: dict[str, list[Measurement]] = {}
    for file, report in run.reports.items():
        folders.setdefault(file.rpartition("/")[0], []).append(report)
    # Images first: scores of images are made of them.
    for folder, reports in sorted(folders.items(), key=lambda one: not _has(one[1], SampleResults)):
        of = [f"net {run.name}"]
        of += [_other(drawing, *other, nets) for report in reports for other in _others(report)]
        if _has(reports, GenerationResults) and f"{run.name}/samples" in drawing.boxes:
            of.append(f"{run.name}/samples")
        column = "images" if _has(reports, SampleResults) else "measurements"
        what = ", ".join(dict.fromkeys(_what(report) for report in reports))
        yield drawing.add(column, f"{run.name}/{folder}", f"{folder} of {run.name}", what, reports[0].date, of)


def _what(report: Measurement) -> str:
    if isinstance(report, SampleResults):
        return f"{report.num} images"
    return type(report).__name__.removesuffix("Results").lower()


def _has(reports: Sequence[Measurement], kind: type) -> bool:
    return any(isinstance(report, kind) for report in reports)


def _others(report: Measurement) -> Iterator[tuple[str, str]]:
    """(file, digest of weights) of the other nets that a measurement was made with."""
    if isinstance(report, SampleResults) and report.judge:
        yield report.judge.net, report.judge.weights_sha256
    if isinstance(report, AttackResults) and report.transfer_net:
        yield report.transfer_net.model, report.transfer_net.weights_sha256
    if isinstance(report, GenerationResults) and report.classifier:
        yield report.classifier.model, report.classifier.weights_sha256


def _other(drawing: _Drawing, file: str, digest: str, nets: dict[str, str]) -> str:
    name = "/".join(file.split("/")[-2:])
    return nets.get(digest) or drawing.add("nets", f"net {digest}", name, _digest(digest), f"{file} {digest}")


def _digest(sha256: str) -> str:
    return f"SHA-256 {sha256[:_DIGEST]}" if sha256 else ""


def _short(text: str) -> str:
    return text if len(text) <= _LETTERS else f"{text[: _LETTERS - 1]}\N{HORIZONTAL ELLIPSIS}"


def _path(a: Box, b: Box, *, late: bool) -> str:
    """From the right side of one box to the left side of another: a bend in the first gap, or the last, and a line."""
    x, y, end, last = a.x + _WIDTH, a.y + _HEIGHT // 2, b.x, b.y + _HEIGHT // 2
    start = end - _ACROSS if late else x
    stop, half = start + _ACROSS, _ACROSS // 2
    return f"M{x},{y} H{start} C{start + half},{y} {stop - half},{last} {stop},{last} H{end}"
