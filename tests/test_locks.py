"""One writer a folder: locks of processes, of shards, and what becomes of them when a process dies."""

import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from jeat_tf.core.failures import BUSY, status
from jeat_tf.core.files import remove_partial, whole_file, write_arrays, write_text
from jeat_tf.runs.locks import FolderInUse, held, is_ours
from jeat_tf.runs.samples import SampleFolder
from jeat_tf.runs.verdict_parts import begin_shard, forget
from tests.made import sample_identity

ROOT = pathlib.Path(__file__).parents[1]
HOLD = (
    "import sys, time; from jeat_tf.runs.locks import held\n"
    "with held(sys.argv[1], 'jeat_tf.train', shard=sys.argv[2]) as hold:\n"
    "    hold.begun(); print('held', flush=True); time.sleep(60)"
)


@pytest.fixture
def other(tmp_path):
    """Starts a process that holds the folder, or a shard of it, until it is killed."""
    started = []

    def start(shard=""):
        process = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(tmp_path), shard], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        started.append(process)
        assert process.stdout.readline() == "held\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


def test_a_second_process_is_told_who_is_at_work_and_gets_in_when_that_one_is_killed(other, tmp_path, capsys):
    first = other()
    message = rf"is in use by jeat_tf.train \(process {first.pid} of .* on .*, started 20.*choose another folder"
    with pytest.raises(FolderInUse, match=message) as refused, held(str(tmp_path), "jeat_tf.train"):
        pass
    assert status(refused.value) == BUSY
    first.kill()
    first.wait()
    with held(str(tmp_path), "jeat_tf.evaluate"):
        owner = json.loads((tmp_path / ".jeat_tf.owner").read_text())
        assert (owner["verb"], owner["pid"]) == ("jeat_tf.evaluate", os.getpid())
    assert f"process {first.pid}" in capsys.readouterr().err  # a stale lock is told from a live one
    assert sorted(os.listdir(tmp_path)) == [".jeat_tf.lock"]
    assert is_ours(str(tmp_path))


def test_shards_share_a_folder_that_nobody_else_gets(other, tmp_path):
    other("0/2")
    with held(str(tmp_path), "jeat_tf.sample", shard="1/2") as hold:
        assert hold.others
    with pytest.raises(FolderInUse), held(str(tmp_path), "jeat_tf.sample", shard="0/2"):
        pass
    with pytest.raises(FolderInUse), held(str(tmp_path), "jeat_tf.sample"):
        pass


def test_what_is_written_under_another_name_is_not_held_up(other, tmp_path):
    other()
    with held(str(tmp_path), "jeat_tf.report", name="report"):
        pass


def test_shards_of_other_samples_are_refused_before_any_file_is_there(tmp_path):
    SampleFolder(str(tmp_path)).begin(sample_identity(6, seed=0), resume=True, part=range(1))
    with pytest.raises(ValueError, match="seed: 0 -> 1"):
        SampleFolder(str(tmp_path)).begin(sample_identity(6, seed=1), resume=True, part=range(1, 2), others=True)
    SampleFolder(str(tmp_path)).begin(
        sample_identity(6, seed=1), resume=True
    )  # a folder without samples may become any


def test_shards_of_another_evaluation_are_refused(tmp_path):
    begin_shard(str(tmp_path), {"seed": 0}, others=False)
    with pytest.raises(ValueError, match="seed: 0 -> 1"):
        begin_shard(str(tmp_path), {"seed": 1}, others=True)
    begin_shard(str(tmp_path), {"seed": 1}, others=False)


class TestFilesOfOthers:
    def test_a_folder_with_the_name_of_ours_keeps_what_is_not_ours(self, tmp_path):
        state = tmp_path / "state"
        state.mkdir()
        ours = ["pgd20_linf_0.031373.npz", "pgd20_linf_0.031373-00000-of-00002.npz", "shard-00000-of-00002.json"]
        theirs = ["thesis.txt", "data.npz", "pgd20.npz", "results.json"]
        for name in ours + theirs:
            (state / name).write_text("x")
        (state / "deeper").mkdir()
        forget(str(state))
        assert sorted(os.listdir(state)) == sorted([*theirs, "deeper"])

    def test_a_folder_behind_a_link_is_left_alone(self, tmp_path):
        elsewhere = tmp_path / "elsewhere"
        elsewhere.mkdir()
        (elsewhere / "pgd20_linf_0.031373.npz").write_text("x")
        (tmp_path / "state").symlink_to(elsewhere)
        forget(str(tmp_path / "state"))
        assert os.listdir(elsewhere) == ["pgd20_linf_0.031373.npz"]

    def test_only_temporaries_of_the_dead_go(self, tmp_path):
        dead = subprocess.Popen(["true"])
        dead.wait()
        with whole_file(str(tmp_path / "a.txt")) as living:
            name = os.path.basename(living)
            left = name.replace(f"-{os.getpid()}-", f"-{dead.pid}-")
            foreign = name.replace("@", "@elsewhere.")
            strange = [".partial-thesis.doc", ".partial-", ".partial-x@y-1-2"]
            for other in (left, foreign, *strange):
                (tmp_path / other).write_text("x")
            (tmp_path / "sub").mkdir()
            (tmp_path / "sub" / left).write_text("x")
            (tmp_path / left.replace("@", "b@")).mkdir()
            remove_partial(str(tmp_path))
            assert not (tmp_path / left).exists()
            assert {name, foreign, "sub", left.replace("@", "b@"), *strange} == set(os.listdir(tmp_path))
            assert os.listdir(tmp_path / "sub") == [left]

    def test_a_link_is_replaced_and_not_followed(self, tmp_path):
        (tmp_path / "target").write_text("theirs")
        (tmp_path / "a.txt").symlink_to(tmp_path / "target")
        write_text(str(tmp_path / "a.txt"), "ours")
        assert (tmp_path / "target").read_text() == "theirs"
        assert (tmp_path / "a.txt").read_text() == "ours"

    def test_a_folder_in_the_place_of_a_file_is_named(self, tmp_path):
        (tmp_path / "a.json").mkdir()
        with pytest.raises(ValueError, match="expected a file at .*a.json, received a folder"):
            write_text(str(tmp_path / "a.json"), "")

    @pytest.mark.parametrize("mask", [0o077, 0o022, 0o002])
    def test_the_umask_is_kept(self, mask, tmp_path):
        before = os.umask(mask)
        try:
            write_text(str(tmp_path / "a.txt"), "")
        finally:
            os.umask(before)
        assert (tmp_path / "a.txt").stat().st_mode & 0o777 == 0o666 & ~mask

    def test_arrays_go_under_the_name_that_is_given(self, tmp_path):
        write_arrays(str(tmp_path / "classes"), a=np.ones(3))
        assert os.listdir(tmp_path) == ["classes"]
        assert (tmp_path / "classes").stat().st_size > 0


def test_a_file_and_its_folder_are_on_the_disk_before_and_after_the_rename(tmp_path, monkeypatch):
    calls = []
    sync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda file: (calls.append(os.readlink(f"/proc/self/fd/{file}")), sync(file)))
    monkeypatch.setattr(os, "replace", lambda a, b: (calls.append("rename"), replace(a, b)))
    write_text(str(tmp_path / "a.txt"), "x")
    assert calls[0].startswith(str(tmp_path / ".partial-a@"))
    assert calls[1:] == ["rename", str(tmp_path)]
