"""Help texts and error messages read as the documents do: short sentences, the field's words."""

import ast
import pathlib
import re

import pytest

from components.settings import BeamEvaluateConfig, BeamSampleConfig, KubeflowConfig, PipelineConfig
from jeat_tf.config.convert import ConvertConfig
from jeat_tf.config.draw import DrawConfig
from jeat_tf.config.evaluate import EvaluateConfig
from jeat_tf.config.export import ExportConfig
from jeat_tf.config.prepare import PrepareConfig
from jeat_tf.config.report import ReportConfig
from jeat_tf.config.sample import SampleConfig
from jeat_tf.config.train import TrainConfig
from jeat_tf.core.flat import owners
from jeat_tf.reproduce.rows import ReproduceConfig
from tests.test_prose import MAX_WORDS, ROOT, UNCLEAR

FILES = sorted(path for folder in ("jeat_tf", "components") for path in (ROOT / folder).rglob("*.py"))
VERBS = (ConvertConfig, DrawConfig, EvaluateConfig, ExportConfig, PrepareConfig, ReportConfig, SampleConfig)
KINDS = (*VERBS, TrainConfig, ReproduceConfig, PipelineConfig, KubeflowConfig, BeamSampleConfig, BeamEvaluateConfig)


def faults(text: str) -> list[str]:
    """What makes a text hard to read."""
    sentences = re.split(r"(?<=[.!?])\s+(?=[A-Z])|[:;]\s|\n", text)
    long = [f"{len(s.split())} words: {s}" for s in sentences if len(s.split()) > MAX_WORDS]
    return long + [f"{m[0]!r}: write {better!r}" for bad, better in UNCLEAR.items() for m in re.finditer(bad, text)]


def words_of(node: ast.expr) -> str:
    """A message's text, with X for what is put into it; empty where it is no text."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else ""
    if isinstance(node, ast.JoinedStr):
        return "".join(words_of(part) if isinstance(part, ast.Constant) else "X" for part in node.values)
    return words_of(node.left) + words_of(node.right) if isinstance(node, ast.BinOp) else ""


def messages(path: pathlib.Path) -> dict[int, str]:
    """The text of each `raise Error("...")` of a file, by its line."""
    raised = [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Raise)]
    calls = [(node.lineno, node.exc) for node in raised if isinstance(node.exc, ast.Call) and node.exc.args]
    return {line: text for line, call in calls if (text := words_of(call.args[0]))}


def test_the_check_finds_what_is_hard_to_read():
    assert faults("expected a net; give one") == []
    assert faults("word " * (MAX_WORDS + 1))[0].startswith("31 words")
    assert faults("give the same settings to go on with it") == ["'go on with': write 'resume'"]
    assert words_of(ast.parse('f"expected {a}, " + "received b"', mode="eval").body) == "expected X, received b"


def test_error_messages_are_plain():
    found = {path.relative_to(ROOT): messages(path) for path in FILES}
    assert sum(map(len, found.values())) > 400
    bad = [
        f"{path}:{line}: {fault}" for path, texts in found.items() for line, t in texts.items() for fault in faults(t)
    ]
    assert not bad, "\n".join(bad)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_help_texts_are_plain(kind):
    texts = {name: {place.field.metadata["help"] for place in places} for name, places in owners(kind).items()}
    assert texts
    bad = [f"--{name}: {fault}" for name, helps in texts.items() for text in helps for fault in faults(text)]
    assert not bad, "\n".join(bad)
