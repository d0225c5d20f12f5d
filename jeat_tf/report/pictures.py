"""Pictures of runs as data URIs, each with an alternative text and a caption."""

import base64
import io
from collections.abc import Sequence
from typing import NamedTuple

from PIL import Image

from jeat_tf.report.charts import Chart
from jeat_tf.report.collect import Drawing
from jeat_tf.report.summary import Method
from jeat_tf.runs.sample_results import FILE, SampleResults

_WIDEST = 1100  # pixels of a picture on the page
_WIDE = 800  # from which on a picture has a row of its own
_GRID = 600  # pixels that a grid of images is enlarged to, at least
_LINES = ("changes", "curves", "gradients")  # kinds of drawings that hold lines and no images


class Picture(NamedTuple):
    """What an <img> needs, a caption, and the command that made it where its run does not record that.

    Attributes:
      dark: the same for a dark page; empty where there is none.
      lines: a drawing without images, whose colours a dark page may turn over.
    """

    uri: str
    width: int
    height: int
    alt: str
    caption: str
    origin: str = ""
    dark: str = ""
    lines: bool = False

    @property
    def wide(self) -> bool:
        """Whether it has a row of its own, over which a narrow screen can be moved."""
        return self.width > _WIDE


def sample_grid(method: Method) -> Picture | None:
    """The grid of the run that represents the method: of its folder `samples`, or else of the first that has one."""
    run = method.shown
    for file in run.pictures:
        folder, _, name = file.partition("/")
        report = run.reports.get(f"{folder}/{FILE}")
        if name == "grid.png" and isinstance(report, SampleResults):
            how = report.protocol
            caption = f"{folder}: {how.samples} from {how.start}, {how.steps} steps; {run.name}"
            alt = f"Generated images of {method.name}, a row for each class, {folder}"
            return _picture(run.path_of(file), alt, caption, at_least=_GRID)
    return None


def plots(method: Method) -> list[Picture]:
    """Reliability, scores of other images, neighbours: from `evaluation` of the run that represents the method."""
    run = method.shown
    return [
        _picture(run.path_of(file), f"{_words(file)} of {method.name}", f"{_words(file)}, {run.name}")._replace(
            lines="neighbours" not in file
        )
        for file in run.pictures
        if file.startswith("evaluation/")
    ]


def drawings_by_kind(drawings: Sequence[Drawing]) -> dict[str, list[Picture]]:
    """Figures of `draw`, those of one kind together.

    Raises:
      ValueError: a picture that cannot be read; it is named.
    """
    kinds: dict[str, list[Picture]] = {}
    for drawing in drawings:
        kinds.setdefault(drawing.record.kind, []).append(_drawing(drawing))
    return kinds


def _drawing(drawing: Drawing) -> Picture:
    record, models = drawing.record, ", ".join(drawing.record.models)
    made = f"date {record.date}, seed {record.seed}, {record.provenance.command}"
    alt = f"{drawing.name.replace('_', ' ')}: {record.shows}; {models}"
    picture = _picture(drawing.path, alt, f"{record.shows}: {models}")
    return picture._replace(origin=made, lines=record.kind in _LINES)


def _words(file: str) -> str:
    return file.rpartition("/")[2].removesuffix(".png").replace("_", " ")


def of_chart(chart: Chart) -> Picture:
    """A chart as it was drawn."""
    width, height = Image.open(io.BytesIO(chart.png)).size
    return Picture(_uri(chart.png), width, height, chart.caption, chart.caption, dark=_uri(chart.dark))


def _picture(path: str, alt: str, caption: str, *, at_least: int = 0) -> Picture:
    try:
        image: Image.Image = Image.open(path)
        image.load()
    except (OSError, ValueError, SyntaxError) as error:
        raise ValueError(f"cannot read the picture {path}: {error}; make it again, or remove it") from error
    if image.width < at_least:
        scale = -(-at_least // image.width)
        image = image.resize((image.width * scale, image.height * scale), Image.Resampling.NEAREST)
    if image.width > _WIDEST:
        image = image.convert("RGB").resize((_WIDEST, max(1, round(image.height * _WIDEST / image.width))))
    file = io.BytesIO()
    image.save(file, "PNG", optimize=True)
    return Picture(_uri(file.getvalue()), image.width, image.height, alt, caption)


def _uri(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"
