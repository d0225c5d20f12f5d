"""What goes wrong on shared machines: each fault that was once found, and others of its kind."""

import json
import os
import pathlib
import random
import re
import resource
import shutil
import subprocess
import sys
import tracemalloc
import warnings

import h5py
import numpy as np
import pytest

from components import manifest
from components.store import Lineage, Made
from components.types import Model
from jeat_tf.config.shared import Data
from jeat_tf.config.train import TrainConfig
from jeat_tf.core import generations
from jeat_tf.core.failures import STATED, sentence
from jeat_tf.core.files import KeptWarning
from jeat_tf.core.flat import replace
from jeat_tf.data.datasets import open_dataset
from jeat_tf.data.digits import Digits
from jeat_tf.methods.callbacks import Checkpoints
from jeat_tf.runs.trained import open_trained
from jeat_tf.samplers.replay_buffer import ReplayBuffer
from jeat_tf.samplers.starts import Uniform
from jeat_tf.train.run import train

ROOT = pathlib.Path(__file__).parents[1]

JEM = {
    **{"method": "jem", "epochs": 2, "batch_size": 300, "chain_steps": 1, "buffer_size": 300, "robust_every": 0},
    **{"images_every": 0, "energy_changes_every": 2, "checkpoint_steps": 3},
}


def jem(folder, **settings):
    return replace(TrainConfig(), **JEM | settings, model_dir=str(folder))


def killed_at(step, config):
    """Trains until the step, as far as files know: what follows its last state is lost."""

    def die(self, batch, logs=None):
        if self.model.steps_taken == step:
            raise MemoryError
        original(self, batch, logs)

    original = Checkpoints.on_train_batch_end
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Checkpoints, "on_train_batch_end", die)
        with pytest.raises(MemoryError):
            train(config)


@pytest.fixture(scope="module")
def whole(tmp_path_factory, data_dir):
    """A run of eight steps that nothing has disturbed."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    train(jem(folder))
    return folder


@pytest.fixture(scope="module")
def half(tmp_path_factory, data_dir):
    """The same run, killed at step seven: its states are those of steps six and four."""
    folder = tmp_path_factory.mktemp("half") / "run"
    killed_at(7, jem(folder))
    return folder


def arrays(folder):
    found = {}
    with h5py.File(pathlib.Path(folder) / "last.weights.h5") as file:
        file.visititems(lambda name, item: found.update({name: item[()]}) if isinstance(item, h5py.Dataset) else None)
    return found


def assert_same(a, b, *, but=()):
    """Weights, optimizer, buffer, history, records and result of two runs are equal to the bit."""
    left, right = arrays(a), arrays(b)
    assert left.keys() == right.keys()
    for name in left:
        np.testing.assert_array_equal(left[name], right[name], err_msg=name)
    for name in {"history.json", "energy_changes.npz"} - set(but):
        assert (pathlib.Path(a) / name).read_bytes() == (pathlib.Path(b) / name).read_bytes(), name
    results = [json.loads((pathlib.Path(folder) / "train.json").read_text()) for folder in (a, b)]
    assert results[0]["weights_sha256"] == results[1]["weights_sha256"]
    assert results[0]["logs"] == results[1]["logs"] or "history.json" in but


def flipped(path, where):
    """Flips one bit of a file."""
    content = bytearray(path.read_bytes())
    content[int(where * (len(content) - 1))] ^= 1
    path.write_bytes(content)


class TestCheckpointsThatAreDamaged:
    @pytest.mark.parametrize("name", ["last.weights.h5", "last.json"])
    @pytest.mark.parametrize(
        "damage",
        [
            *(lambda path, at=at: flipped(path, at) for at in (0.0, 0.31, 0.7, 0.9, 1.0)),
            lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
            lambda path: path.write_bytes(b""),
            lambda path: path.write_bytes(os.urandom(5000)),
            lambda path: path.write_text("[" * 100_000),
            lambda path: (path.unlink(), path.mkdir()),
        ],
        ids=["bit 0", "bit .31", "bit .7", "bit .9", "bit 1", "cut", "empty", "random", "deep", "folder"],
    )
    def test_the_state_before_is_found_and_the_loss_is_known(self, name, damage, half, tmp_path):
        folder = tmp_path / "run"
        shutil.copytree(half, folder)
        damage(folder / name)
        found = generations.newest(str(folder))
        assert (found.manifest.step, list(found.broken)) == (4, sorted(found.broken))
        assert str(folder / "last.weights.h5") in found.broken
        aside = generations.settle(str(folder), found)
        assert all("broken-1-" in path and os.path.lexists(path) for path in aside)
        again = generations.newest(str(folder))
        assert (again.path, again.manifest.step, again.broken) == (str(folder / "last.weights.h5"), 4, {})

    def test_training_goes_on_from_it_and_ends_in_the_same_bits(self, whole, half, tmp_path):
        folder = tmp_path / "run"
        shutil.copytree(half, folder)
        flipped(folder / "last.weights.h5", 0.7)
        with pytest.warns(KeptWarning, match=r"is damaged: .*arrays that differ: .*step 4; 2 steps are done again"):
            train(jem(folder))
        assert_same(whole, folder)
        assert (folder / "broken-1-last.weights.h5").exists()
        shutil.copytree(whole, tmp_path / "whole")
        # Later steps of a pipeline depend on this digest: they stay cached where a training was killed and resumed.
        digests = [
            manifest.write(str(each), Model, {}, producer={}, parameters={}, parents={}).digest
            for each in (folder, tmp_path / "whole")
        ]
        assert digests[0] == digests[1]

    def test_without_any_intact_state_nothing_is_changed(self, half, tmp_path):
        folder = tmp_path / "run"
        shutil.copytree(half, folder)
        for name in ("last", "previous"):
            flipped(folder / f"{name}.weights.h5", 0.5)
        before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
        with pytest.raises(ValueError, match="no intact state"):
            train(jem(folder))
        assert before == {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


class TestFilesThatOnlyHelp:
    @pytest.mark.parametrize("name", ["history.json", "energy_changes.npz", "guard.json", "guard-6.npz"])
    @pytest.mark.parametrize("content", [b"", b"null", b"[1]", b'[{"step": "x"}]', b"PK\3\4" + bytes(100), None])
    def test_never_end_a_run(self, name, content, half, tmp_path):
        from jeat_tf.methods.guard_files import read_events

        folder = tmp_path / "run"
        shutil.copytree(half, folder)
        path = folder / name
        path.unlink(missing_ok=True)
        path.mkdir() if content is None else path.write_bytes(content)
        if name == "guard.json" and content != b"":
            with pytest.warns(KeptWarning, match="kept as .*broken-1-guard.json"):
                assert read_events(str(path)) == []
        elif name == "energy_changes.npz":
            from jeat_tf.methods.energy_changes import _read

            with pytest.raises((OSError, ValueError)):
                _read(str(path))

    def test_a_run_without_any_of_them_ends_in_the_same_weights(self, whole, half, tmp_path):
        folder = tmp_path / "run"
        shutil.copytree(half, folder)
        for name in ("history.json", "energy_changes.npz"):
            (folder / name).write_bytes(b"[null")
        for path in folder.glob("guard-*.npz"):
            path.write_bytes(path.read_bytes()[:-7])
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            train(jem(folder))
        told = [str(each.message) for each in caught if each.category is KeptWarning]
        assert any("energy_changes.npz" in line for line in told)
        assert_same(whole, folder, but={"energy_changes.npz", "history.json"})
        # The history is in the manifest; of the energies the first epoch is lost.
        histories = [json.loads((each / "history.json").read_text()) for each in (whole, folder)]
        assert [{k: v for k, v in e.items() if "delta" not in k} for e in histories[0]] == [
            {k: v for k, v in e.items() if "delta" not in k} for e in histories[1]
        ]


def test_a_result_that_is_missing_is_written_when_the_run_is_complete(whole, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(whole, folder)
    before = json.loads((folder / "train.json").read_text())
    (folder / "train.json").unlink()
    (folder / "net.keras").unlink()
    train(jem(folder))
    after = json.loads((folder / "train.json").read_text())
    same = ("steps", "logs", "weights_sha256", "method", "seed")
    assert {name: before[name] for name in same} == {name: after[name] for name in same}
    assert after["seconds_per_step"] == after["seconds"] / 8 > 0


class TestCommitPoints:
    def test_a_kill_between_any_two_renames_leaves_an_intact_state(self, tmp_path, monkeypatch):
        """Each of the renames of a commit is the last thing that a process does; the next one finds a state."""

        def write(value):
            def into(path):
                with h5py.File(path, "w") as file:
                    file["a"] = np.full(8, value)

            return into

        state = {"metrics": [], "history": [], "seconds": 1.0, "files": {}}

        class Killed(BaseException):
            pass

        original = os.replace
        for point in range(12):
            folder = tmp_path / str(point)
            folder.mkdir()
            for step in (1, 2):
                generations.commit(str(folder), write(step), step=step, **state)
            calls = iter(range(100))

            def replace_or_die(source, target, calls=calls, point=point):
                number = next(calls)
                if number == point // 2:
                    if point % 2:
                        original(source, target)
                    raise Killed
                original(source, target)

            monkeypatch.setattr(os, "replace", replace_or_die)
            with pytest.raises(Killed) if point < 8 else warnings.catch_warnings():
                generations.commit(str(folder), write(3), step=3, **state)
            monkeypatch.setattr(os, "replace", original)
            found = generations.newest(str(folder))
            assert found.broken == {}, point
            assert found.manifest.step == (3 if point >= 7 else 2), point
            with h5py.File(found.path) as file:
                np.testing.assert_array_equal(file["a"][()], found.manifest.step)
            generations.settle(str(folder), found)
            generations.commit(str(folder), write(9), step=9, **state)
            assert generations.newest(str(folder)).manifest.step == 9


def test_two_states_are_written_and_verified_without_a_copy_of_either_in_memory(tmp_path):
    arrays = [np.random.default_rng(i).random(500_000) for i in range(8)]  # 4 MB each

    def write(path):
        with h5py.File(path, "w") as file:
            for i, array in enumerate(arrays):
                file[str(i)] = array

    tracemalloc.start()
    try:
        for step in (1, 2):
            generations.commit(str(tmp_path), write, step=step, metrics=[], history=[], seconds=0.0, files={})
        found = generations.newest(str(tmp_path))
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert found.manifest.step == 2
    assert (tmp_path / "previous.weights.h5").stat().st_size > 32e6
    assert most < 12e6


class TestLineage:
    @pytest.fixture
    def content(self, tmp_path):
        lineage = Lineage(str(tmp_path / "intact.sqlite"))
        for i in range(20):
            lineage.begin(f"node-{i}", "data_prep", f"key-{i}", {"dataset": "digits"})
            lineage.complete(f"key-{i}", [], [Made("a", "Examples", str(tmp_path / f"{i}"), f"d{i}", "s")], 1.0)
        lineage.close()
        return (tmp_path / "intact.sqlite").read_bytes()

    def test_a_damaged_one_is_named_with_what_to_do(self, content, tmp_path):
        path, refused = tmp_path / "lineage.sqlite", []
        draw = random.Random(0)
        for _ in range(30):
            damaged = bytearray(content)
            for at in (draw.randrange(100, len(damaged) - 1000) for _ in range(3)):
                damaged[at : at + 1000] = draw.randbytes(1000)
            path.write_bytes(damaged)
            try:
                lineage = Lineage(str(path))
                for i in range(20):
                    lineage.execution(f"key-{i}")
                for artifact in lineage.find("d"):
                    lineage.maker(artifact.id)
                lineage.mean_seconds()
                lineage.begin("node", "trainer", "key", {})
                lineage.complete("key", [], [Made("a", "Model", str(tmp_path / "model"), "d", "s")], 1.0)
                lineage.close()
            except ValueError as error:
                refused.append(str(error))
        assert len(refused) > 10
        assert all(str(path) in words and "choose another --pipeline_root" in words for words in refused)

    def test_a_random_file_is_refused(self, tmp_path):
        (tmp_path / "lineage.sqlite").write_bytes(os.urandom(5000))
        with pytest.raises(ValueError, match="file is not a database; it is damaged: move it away"):
            Lineage(str(tmp_path / "lineage.sqlite"))


def test_two_processes_that_prepare_one_data_set_both_have_it(tmp_path, monkeypatch):
    prepare = Digits.download_and_prepare

    def slower(self):
        monkeypatch.setattr(Digits, "download_and_prepare", prepare)
        Digits(data_dir=str(tmp_path)).download_and_prepare()
        raise FileExistsError(f"Cannot rename {self.data_path}. Destination {self.data_path} already exists.")

    monkeypatch.setattr(Digits, "download_and_prepare", slower)
    data = open_dataset("digits", str(tmp_path))
    assert (data.size("train"), len(data.arrays("test")[0])) == (1400, 397)


def test_a_net_that_its_run_did_not_write_is_refused(run, tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    for name in ("net.keras", "config.json", "train.json"):
        shutil.copy(os.path.join(run, name), folder)
    net = open_trained(str(folder), Data()).net
    net.weights[0].assign(net.weights[0] + 1e-3)
    net.save(folder / "net.keras")
    net.save(tmp_path / "net.keras")
    for model in (folder, folder / "net.keras"):
        with pytest.raises(ValueError, match=r"run/net.keras is not the net that the run in .* wrote.*copy the net"):
            open_trained(str(model), Data())
    assert open_trained(str(tmp_path / "net.keras"), Data(dataset="digits")).file == str(tmp_path / "net.keras")


def test_a_buffer_that_no_memory_holds_is_refused_before_it_is_made():
    with pytest.raises(
        ValueError, match=r"a replay buffer of 1,000,000,000,000 images to fit .* it takes 238,418\.6 GiB"
    ):
        ReplayBuffer(10**12, Uniform(), image_shape=(8, 8, 1), num_classes=10)


def test_a_full_disk_under_a_data_set_is_told_in_a_sentence(tmp_path, monkeypatch):
    def fill(self):
        raise RuntimeError("/a/digits-train.tfrecord-00000-of-00001; No space left on device")

    monkeypatch.setattr(Digits, "download_and_prepare", fill)
    with pytest.raises(OSError, match="No space left on device") as refused:
        open_dataset("digits", str(tmp_path))
    assert re.fullmatch(rf"{tmp_path}/digits/1.0.0: No space left on device; make room .*", sentence(refused.value))


@pytest.mark.slow
def test_a_full_disk_ends_a_verb_in_a_sentence_and_is_forgotten_when_there_is_room(run, data_dir, tmp_path):
    """A limit on the size of files stands for the full disk: the same system call fails in the middle of a file."""
    words = [
        "sample",
        f"--model={run}",
        "--num=20",
        "--stages=sgld:steps=2",
        "--readings=1",
        f"--output_dir={tmp_path}",
    ]

    def sampled(limit):
        def lower():
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

        command = [sys.executable, "-m", "jeat_tf", *words, f"--output_dir={tmp_path}"]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, preexec_fn=lower)

    open_dataset("digits", data_dir)
    failed = sampled(2000)
    assert failed.returncode == STATED
    assert re.search(rf"error: {tmp_path}/\S+: File too large; raise the limit on the size of files", failed.stderr)
    assert not list(tmp_path.glob(".partial-*"))
    assert sampled(resource.RLIM_INFINITY).returncode == 0
    assert (tmp_path / "samples.json").exists()
