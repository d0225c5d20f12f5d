"""How programs end: one sentence, with the file and the remedy, and a documented status."""

import errno
import os
import pathlib
import signal
import sqlite3
import subprocess
import sys
import time

import pytest
import tensorflow as tf

from jeat_tf.config.flags import parsed
from jeat_tf.config.train import TrainConfig
from jeat_tf.core.failures import BUSY, FAULT, STATED, STATUSES, STOPPED, sentence, status
from jeat_tf.core.files import whole_file
from jeat_tf.runs.locks import FolderInUse

ROOT = pathlib.Path(__file__).parents[1]


def deep():
    return deep()


def raised(act):
    with pytest.raises(Exception) as caught:  # noqa: PT011 of any kind
        act()
    return caught.value


@pytest.mark.parametrize(
    ("error", "number", "words"),
    [
        (ValueError("expected x, received y"), STATED, "expected x, received y"),
        (OSError(errno.ENOSPC, "No space left on device", "/a/b"), STATED, "/a/b: No space left on device; make room"),
        (PermissionError(errno.EACCES, "Permission denied", "/a"), STATED, "/a: Permission denied; choose a place"),
        (tf.errors.ResourceExhaustedError(None, None, "OOM when allocating"), STATED, "smaller batches or a smaller"),
        (tf.errors.DataLossError(None, None, "corrupted record at 0"), STATED, "a file is damaged (corrupted record"),
        (MemoryError(), STATED, "not enough memory; take smaller batches"),
        (sqlite3.DatabaseError("database disk image is malformed"), STATED, "a database cannot be used (database disk"),
        (
            ModuleNotFoundError("No module named 'a'", name="a"),
            STATED,
            "cannot import a: No module",
        ),
        (raised(deep), STATED, "nested too deeply at test_failures.py:"),
        (UnicodeDecodeError("utf-8", b"\xd0", 0, 1, "invalid"), STATED, "can't decode byte 0xd0"),
        (ZeroDivisionError("integer division or modulo by zero"), STATED, "integer division"),
        (TypeError("expected a method, received 3"), STATED, "expected a method"),
        (TypeError("unsupported operand"), FAULT, "a fault of jeat_tf: TypeError: unsupported operand at an unknown"),
        (KeyError("seconds"), FAULT, "a fault of jeat_tf: KeyError: 'seconds'"),
        (FolderInUse("/a is in use"), BUSY, "/a is in use"),
        (KeyboardInterrupt(), STOPPED, "KeyboardInterrupt"),
        (ValueError("a\x1b[31mb\x00"), STATED, "a\\x1b[31mb\\x00"),
    ],
)
def test_every_kind_of_failure_is_one_sentence_and_a_status(error, number, words):
    assert status(error) == number
    assert number in STATUSES
    assert words in sentence(error)


def test_a_message_without_end_is_cut():
    assert len(sentence(ValueError("x" * 100_000))) < 2000


def test_a_full_disk_is_said_with_the_file(tmp_path):
    def write():
        with whole_file(str(tmp_path / "a.npz")):
            raise OSError(errno.ENOSPC, "No space left on device")

    error = raised(write)
    assert sentence(error).startswith(f"{tmp_path}/a.npz: No space left on device; make room")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"--epochs=3\nepochs=5\n", "line 2, received 'epochs=5'"),
        ("\u2013epochs=5\n".encode(), "line 1, received"),
        (b"root:x:0:0\n", "expected a flag --name=value"),
        (b"--epohcs=3\n", "unknown flag --epohcs in the flagfile .*line 1; did you mean epochs"),
        (b"--epochs=abc\n", r"flag --epochs=abc: .*\(.*, line 1\)"),
        (b"--epochs=3\n--method=je\n", r'unknown method "je".*line 2'),
        (b"--method=jem\n--buffer_size=3\n", r"expected --buffer_size of at least the batch .*line 2"),
        (b"--method=jem\n--buffer_size=0\n", r"expected buffer_size at least 1.*line 2"),
        (b"\xd0\xd1\xff", "which is text, received"),
        (b"--" + b"a" * 20_000 + b"=1", "unknown flag --a"),
        (b"--flagfile=SELF\n", "names itself"),
        (b"#" * (2**20 + 1), "at most 1,048,576 bytes"),
        (None, "cannot read the flagfile"),
    ],
)
def test_a_flagfile_with_a_fault_is_named_with_its_line(content, message, tmp_path):
    path = tmp_path / "some.flags"
    if content is not None:
        path.write_bytes(content.replace(b"SELF", str(path).encode()))
    with pytest.raises(ValueError, match=message) as refused:
        parsed(TrainConfig, f"--flagfile={path}")
    assert str(path) in str(refused.value)


def test_a_flag_of_the_command_line_is_not_said_to_be_of_a_flagfile(tmp_path):
    (tmp_path / "some.flags").write_text("--method=jem\n--buffer_size=300\n")
    with pytest.raises(ValueError, match="expected --buffer_size") as refused:
        parsed(TrainConfig, f"--flagfile={tmp_path}/some.flags", "--buffer_size=3")
    assert "line" not in str(refused.value)


@pytest.mark.parametrize("word", ["epochs=5", "\u2013epochs=5", "train", "/etc/passwd"])
def test_words_without_dashes_are_refused(word):
    with pytest.raises(ValueError, match="expected flags only, received"):
        parsed(TrainConfig, word)


def verb(*arguments, cwd=ROOT):
    return subprocess.run(
        [sys.executable, "-m", *arguments], capture_output=True, text=True, cwd=cwd, check=False, timeout=120
    )


def test_a_flag_without_dashes_ends_a_verb_with_one_line():
    done = verb("jeat_tf.train", "epochs=5")
    assert done.returncode == STATED
    assert done.stderr == "error: expected flags only, received epochs=5; write --epochs=5\n"


def test_the_traceback_of_a_failure_is_shown_on_demand_with_the_same_status(tmp_path):
    quiet, verbose = (
        verb("jeat_tf.report", f"--runs={tmp_path}", f"--out={tmp_path}/a.html", *more) for more in ([], ["--verbose"])
    )
    assert quiet.returncode == verbose.returncode == STATED
    assert "Traceback" not in quiet.stderr
    assert "Traceback" in verbose.stderr
    assert quiet.stderr.strip() in verbose.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("after", [0.4, 2.0])
def test_a_stop_while_the_program_loads_ends_it_without_a_traceback(number, after, tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-m", "jeat_tf.train", f"--model_dir={tmp_path}/run", "--epochs=1000"],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    time.sleep(after)
    process.send_signal(number)
    _, told = process.communicate(timeout=120)
    assert process.returncode == STOPPED, told
    assert "Traceback" not in told
    assert "stopped" in told


def test_a_stop_within_code_that_is_executed_from_text_ends_with_the_status(tmp_path):
    pathlib.Path(tmp_path, "stops.py").write_text(
        "import os, signal\n"
        "from jeat_tf.config.cli import stated_failures\n"
        "with stated_failures():\n"
        "    exec('os.kill(os.getpid(), signal.SIGINT)\\nfor _ in range(1000): pass')\n",
        encoding="utf-8",
    )
    environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}"}
    done = subprocess.run([sys.executable, "-m", "stops"], capture_output=True, text=True, env=environment, timeout=120)
    assert done.returncode == STOPPED, done.stderr
