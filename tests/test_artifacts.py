import os
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest

from jeat_tf.core.files import read_arrays, remove_partial, whole_file, writable_folder, write_arrays
from jeat_tf.models.files import load_net, weights_sha256
from tests.conftest import tiny_cnn

ROOT = pathlib.Path(__file__).parents[1]


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")

    def write():
        with whole_file(str(path)) as temporary, open(temporary, "w") as f:
            f.write("ne")
            raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        write()
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_what_a_killed_process_left_is_removed(tmp_path):
    (tmp_path / "run").mkdir()
    write_arrays(str(tmp_path / "run" / "a.npz"), values=np.zeros(1))
    program = (
        "import os, sys; from jeat_tf.core.files import whole_file\n"
        "with whole_file(sys.argv[1]) as path: open(path, 'w').write('half'); os.kill(os.getpid(), 9)"
    )
    killed = subprocess.run([sys.executable, "-c", program, str(tmp_path / "run" / "a.npz")], cwd=ROOT, check=False)
    assert killed.returncode == -9
    assert len(os.listdir(tmp_path / "run")) == 2
    remove_partial(str(tmp_path / "run"))
    assert os.listdir(tmp_path / "run") == ["a.npz"]


def test_arrays_are_read_back(tmp_path):
    values = np.arange(6).reshape(2, 3)
    write_arrays(str(tmp_path / "a.npz"), values=values)
    archive = read_arrays(str(tmp_path / "a.npz"))
    assert list(archive) == ["values"]
    np.testing.assert_array_equal(archive["values"], values)


def test_arrays_that_cannot_be_read_are_one_kind_of_error(tmp_path):
    path = tmp_path / "a.npz"
    with pytest.raises(FileNotFoundError):
        read_arrays(str(path))
    write_arrays(str(path), values=np.random.default_rng(0).normal(size=100))
    whole = path.read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    for damaged in (b"", b"no archive", whole[:-40], whole[: len(whole) // 2], bytes(flipped)):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"cannot read .*a\.npz: .*; expected an .npz file of arrays, whole"):
            read_arrays(str(path))
    with open(path, "wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(ValueError, match="cannot read"):
        read_arrays(str(path))
    np.savez(path, values=np.array([{}], object))
    with pytest.raises(ValueError, match="cannot read .*allow_pickle"):
        read_arrays(str(path))


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="cannot write in --model_dir="):
        writable_folder(str(tmp_path / "file" / "below"), "model_dir")
    with pytest.raises(ValueError, match="set --model_dir"):
        writable_folder("", "model_dir")


class TestLoadNet:
    def test_from_a_file_or_the_folder_of_a_run(self, tmp_path):
        net = tiny_cnn()
        net.save(tmp_path / "net.keras")
        for path in (tmp_path, tmp_path / "net.keras"):
            assert weights_sha256(load_net(str(path))) == weights_sha256(net)

    def test_nothing_there(self, tmp_path):
        with pytest.raises(ValueError, match="no net at"):
            load_net(str(tmp_path))
        with pytest.raises(ValueError, match="set --model"):
            load_net("")

    def test_a_truncated_file(self, tmp_path):
        path = tmp_path / "net.keras"
        tiny_cnn().save(path)
        path.write_bytes(path.read_bytes()[:1000])
        with pytest.raises(ValueError, match=r"cannot read the net in .* \(1000 bytes\)"):
            load_net(str(path))

    def test_code_in_a_file_is_not_run(self, tmp_path):
        inputs = keras.Input((8, 8, 1))
        x = keras.layers.Flatten()(keras.layers.Lambda(lambda x: x * 2)(inputs))
        keras.Model(inputs, keras.layers.Dense(10)(x)).save(tmp_path / "net.keras")
        with pytest.raises(ValueError, match="Lambda"):
            load_net(str(tmp_path))

    def test_a_net_that_is_no_classifier(self, tmp_path):
        inputs = keras.Input((8, 8, 1))
        keras.Model(inputs, keras.layers.Conv2D(2, 3)(inputs)).save(tmp_path / "net.keras")
        with pytest.raises(ValueError, match=r"images -> logits \[B, K\]"):
            load_net(str(tmp_path))


def test_the_digest_is_of_weights_not_of_files(tmp_path):
    net = tiny_cnn()
    same = keras.models.clone_model(net)
    same.set_weights(net.get_weights())
    assert weights_sha256(net) == weights_sha256(same)
    same.set_weights([w + 1e-6 for w in net.get_weights()])
    assert weights_sha256(net) != weights_sha256(same)
