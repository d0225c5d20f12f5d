"""Records on disk: what is written is read back, and what does not fit is refused with its file and field."""

import json
import math
import re
from typing import Literal, NamedTuple

import pytest

from jeat_tf.core.records import Record, plain, read_record, record, stored, typed, write_record
from jeat_tf.methods.guard_files import GuardEvents
from jeat_tf.runs.generation_results import GenerationResults
from jeat_tf.runs.results import AttackResults, CalibrationResults, FisherResults, OodResults
from jeat_tf.runs.sample_results import SampledShard, SampleIdentity, SampleResults
from jeat_tf.runs.sampling import Tuning
from jeat_tf.runs.training import Training


class Point(NamedTuple):
    x: float
    name: str = "here"


@record
class Row:
    attack: str
    accuracy: float
    interval: tuple[float, float] = (0.0, 1.0)
    epsilon: float | None = None


@record
class Table(Record):
    MADE_BY = "python -m tables"

    rows: tuple[Row, ...]
    points: dict[str, Point]
    mode: Literal["off", "on"] = "off"
    either: str | float = 0.0
    best: Row | None = None


TABLE = Table(
    rows=(Row(attack="clean", accuracy=1.0), Row(attack="pgd", accuracy=0.1, epsilon=0.3)),
    points={"a": Point(0.1), "b": Point(math.inf, "there")},
    either="text",
)


def test_what_is_written_is_read_back(tmp_path):
    path = str(tmp_path / "table.json")
    assert stored(Table, path) is None
    write_record(path, TABLE)
    assert read_record(Table, path) == stored(Table, path) == TABLE
    found = json.loads((tmp_path / "table.json").read_text(), parse_constant=pytest.fail)
    assert (found["schema"], found["kind"]) == (1, "Table")
    assert found["rows"][0] == {"attack": "clean", "accuracy": 1.0, "interval": [0.0, 1.0]}
    assert "best" not in found


@pytest.mark.parametrize("number", [0.1, 1 / 3, 5e-324, -0.0, 1e308, math.inf, -math.inf])
def test_numbers_are_the_same_bit_for_bit(number):
    assert typed(float, json.loads(json.dumps(plain(number)))).hex() == number.hex()
    assert math.isnan(typed(float, json.loads(json.dumps(plain(math.nan)))))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rows": [{"attack": "clean", "accuracy": "1"}]}, r"rows\[0\].accuracy to be a number, received \"1\""),
        ({"rows": [{"attack": "clean", "accuracy": True}]}, r"rows\[0\].accuracy to be a number, received true"),
        ({"rows": [{"attack": "clean"}]}, r"expected a field accuracy in rows\[0\], received attack"),
        ({"rows": [{"attack": 1, "accuracy": 1}]}, r"rows\[0\].attack to be a text, received 1"),
        ({"rows": [{"attack": "a", "accuracy": 1, "interval": [1]}]}, r"rows\[0\].interval to be a list of 2"),
        ({"rows": [{"attack": "a", "accuracy": 1, "epsilon": []}]}, r"rows\[0\].epsilon to be a number"),
        ({"rows": [{"attack": "a", "acuracy": 1}]}, r"unknown field acuracy in rows\[0\]; did you mean accuracy"),
        ({"rows": {}}, "expected rows to be a list, received {}"),
        ({"rows": [[]]}, r"expected rows\[0\] to be an object, received \[\]"),
        ({"points": []}, r"expected points to be an object, received \[\]"),
        ({"points": {"a": {"x": None}}}, "expected points.a.x to be a number, received null"),
        ({"mode": "of"}, "expected mode to be 'off' or 'on', received \"of\""),
        ({"either": []}, r"expected either to be a text or a number, received \[\]"),
        ({"more": 1}, "unknown field more; "),
        ({"schema": 2}, "expected Table of schema 1 in .*table.json, received schema 2; "),
        ({"kind": "Chair"}, 'expected Table of schema 1 in .*table.json, received "Chair"; '),
    ],
)
def test_what_does_not_fit_is_refused_with_its_file_and_field(tmp_path, change, message):
    path = tmp_path / "table.json"
    write_record(str(path), TABLE)
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ValueError, match=message) as error:
        read_record(Table, str(path))
    assert str(path) in str(error.value)
    assert str(error.value).endswith("make it again with `python -m tables`")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["", "{", "[]", "1", "null", '{"rows": []}', "[" * 100_000, "\ud800"])
def test_what_is_no_record_is_refused(tmp_path, text):
    path = tmp_path / "table.json"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(ValueError, match="table.json.*; make it again with `python -m tables`$"):
        read_record(Table, str(path))
    with pytest.raises(ValueError, match="cannot read .*none.json: No such file"):
        read_record(Table, str(tmp_path / "none.json"))


RECORDS = [
    AttackResults, CalibrationResults, OodResults, FisherResults, GenerationResults, SampleResults, SampledShard,
    SampleIdentity, Tuning, Training, GuardEvents,
]  # fmt: skip


@pytest.mark.parametrize("kind", RECORDS)
@pytest.mark.parametrize(
    ("text", "received"),
    [
        ('{"results": []}', "received a file without schema"),
        ('{"kind": "KIND", "schema": 0}', "received schema 0; read it with the version of jeat_tf that wrote it, or"),
        ('{"kind": "Chair", "schema": 1}', 'received "Chair"; make'),
        ('{"kind": "KIND", "schema": 1}', "expected a field .*, received none; make"),
        ('{"kind": "KI', "cannot read .*json: Unterminated string"),
    ],
)
def test_another_version_or_a_damaged_file_is_refused_with_the_command_that_makes_it_again(
    kind, text, received, tmp_path
):
    path = tmp_path / "it.json"
    path.write_text(text.replace("KIND", kind.__name__))
    with pytest.raises(ValueError, match=received) as error:
        stored(kind, str(path))
    assert str(path) in str(error.value)
    assert re.search(r"make it again with `python -m jeat_tf\.[^`]+`$", str(error.value))


def test_what_json_cannot_hold_is_not_written():
    with pytest.raises(TypeError, match="expected what a record can hold"):
        plain({"x": object()})
