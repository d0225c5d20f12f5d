"""What docs/security.md says is executed and what not."""

import pathlib
import pickle
import re
import zipfile

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf

from jeat_tf.config.flags import parsed
from jeat_tf.config.train import TrainConfig
from jeat_tf.core.archives import check_unpacked
from jeat_tf.core.failures import STATUSES
from jeat_tf.core.files import read_arrays
from jeat_tf.data.labelled import open_labelled
from jeat_tf.metrics.features import inception_2015
from jeat_tf.models.files import load_net
from jeat_tf.runs.samples import _read
from tests.conftest import linear_net

ROOT = pathlib.Path(__file__).parents[1]


class Evil:
    """Unpickled, it writes a file."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return pathlib.Path.touch, (pathlib.Path(self.mark),)


@pytest.fixture
def mark(tmp_path):
    """A file that is there only if something was executed."""
    path = tmp_path / "executed"
    yield path
    assert not path.exists()


@pytest.mark.parametrize("suffix", ["keras", "h5"])
def test_a_lambda_in_a_net_is_not_run(suffix, mark, tmp_path):
    path = str(mark)
    inputs = keras.Input((8, 8, 1))
    x = keras.layers.Lambda(lambda t: (open(path, "w").close(), t)[1], output_shape=(8, 8, 1))(inputs)
    net = keras.Model(inputs, keras.layers.Dense(10)(keras.layers.Flatten()(x)))
    mark.unlink(missing_ok=True)  # tracing wrote it
    file = tmp_path / f"net.{suffix}"
    net.save(file)
    with pytest.raises(ValueError, match=rf"cannot read the net in .*net.{suffix}"):
        load_net(str(file))


def test_a_saved_model_is_loaded_only_when_it_is_trusted(mark, tmp_path):
    class Acting(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None, 8, 8, 1])])
        def serve(self, x):
            tf.io.write_file(str(mark), "x")
            return {"logits": tf.zeros([tf.shape(x)[0], 10])}

    net = Acting()
    tf.saved_model.save(net, str(tmp_path / "saved"), signatures={"serving_default": net.serve})
    with pytest.raises(ValueError, match="a SavedModel, which is a program.*--trust"):
        load_net(str(tmp_path / "saved"))


def test_pickled_arrays_are_refused(mark, tmp_path):
    path = tmp_path / "images.npz"
    np.savez(path, images=np.array([Evil(str(mark))], object), labels=np.zeros(1, int))
    for read in (read_arrays, lambda file: open_labelled(file, ""), _read):
        with pytest.raises(ValueError, match="images.npz"):
            read(str(path))
    path.write_bytes(pickle.dumps(Evil(str(mark))))
    with pytest.raises(ValueError, match="images.npz"):
        read_arrays(str(path))


@pytest.mark.parametrize("content", [b"", b"x" * 100, b"\x00" * 64, b"\x80\x04."])
def test_records_that_are_none_are_refused(content, tmp_path):
    path = tmp_path / "samples-00000-of-00001.tfrecord"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="cannot read the samples in"):
        _read(str(path))


def bomb(path, member, header=b""):
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open(member, "w", force_zip64=True) as file,
    ):
        file.write(header)
        for _ in range(300):
            file.write(bytes(2**20))


def test_archives_that_unpack_to_far_more_are_refused_unread(tmp_path):
    for name, member, read in (("a.npz", "images.npy", read_arrays), ("net.keras", "model.weights.h5", load_net)):
        bomb(tmp_path / name, member)
        with pytest.raises(ValueError, match=rf"{name}.* unpacks to 314,572,8\d\d"):
            read(str(tmp_path / name))
    with h5py.File(tmp_path / "net.h5", "w") as file:
        file.create_dataset("a", (2**40,), "f4", chunks=(2**20,), compression="gzip")
    with pytest.raises(ValueError, match="unpacks to 4,398,046,511,104"):
        load_net(str(tmp_path / "net.h5"))


def test_a_header_that_promises_more_than_there_is_is_refused(tmp_path):
    header = b"\x93NUMPY\x01\x00" + (118).to_bytes(2, "little")
    text = b"{'descr': '<f4', 'fortran_order': False, 'shape': (10000000000, 1000), }"
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("images.npy", header + text.ljust(117) + b"\n" + bytes(400))
    with pytest.raises(ValueError, match="has 528 bytes, and its header says 40,000,000,000,128"):
        check_unpacked(str(tmp_path / "a.npz"))


def test_honest_files_pass(tmp_path):
    linear_net().save(tmp_path / "net.keras")
    np.savez_compressed(tmp_path / "a.npz", a=np.zeros((1000, 1000)), b=np.array("words"), c=np.array(1))
    check_unpacked(str(tmp_path / "net.keras"))
    check_unpacked(str(tmp_path / "a.npz"))
    assert set(read_arrays(str(tmp_path / "a.npz"))) == {"a", "b", "c"}


def test_a_graph_that_acts_is_refused(mark, tmp_path):
    graph = tf.Graph()
    with graph.as_default():
        for name in ("Mul", "pool_3"):
            tf.compat.v1.placeholder(tf.float32, name=name)
        tf.raw_ops.WriteFile(filename=str(mark), contents="x")
    (tmp_path / "graph.pb").write_bytes(graph.as_graph_def().SerializeToString())
    with pytest.raises(ValueError, match="computes alone, received .* with operations WriteFile"):
        inception_2015(str(tmp_path / "graph.pb"))


@pytest.mark.parametrize("line", ["import os", "$(touch x)", "; rm -rf /", "{{ 7 * 7 }}"])
def test_a_flagfile_holds_flags_alone(line, tmp_path):
    (tmp_path / "a.flags").write_text(line)
    with pytest.raises(ValueError, match="expected a flag"):
        parsed(TrainConfig, f"--flagfile={tmp_path}/a.flags")


def test_every_package_is_pinned_by_digest_and_none_other():
    def pins(name):
        return set(re.findall(r"^([\w.-]+==[\w.+-]+)", (ROOT / name).read_text(), re.M | re.I))

    hashed = (ROOT / "constraints-hashed.txt").read_text()
    assert {p.lower().replace("_", "-") for p in pins("constraints-hashed.txt")} == {
        p.lower().replace("_", "-") for p in pins("constraints.txt")
    }
    assert all("--hash=sha256:" in block for block in re.split(r"\n(?=\w)", hashed.strip()))


def test_the_page_lists_every_exit_status():
    page = (ROOT / "docs" / "security.md").read_text()
    listed = {int(number) for number in re.findall(r"^\| (\d+) \|", page, re.M)}
    assert listed == set(STATUSES)
