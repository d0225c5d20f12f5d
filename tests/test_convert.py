"""PyTorch checkpoints as Keras nets: logits, recognition, and what is refused."""

import importlib
import pathlib
import pickle
import re
import textwrap
import zipfile

import keras
import numpy as np
import pytest
import safetensors.numpy

from jeat_tf.config.convert import ConvertConfig
from jeat_tf.convert import LAYOUTS, Check, State, convert, parsed_state, read_state, to_keras
from jeat_tf.convert.layouts import NORMALIZATIONS
from jeat_tf.convert.recognise import fitting
from jeat_tf.convert.state import EXPORT
from tests import numpy_nn
from tests.published_nets import NETS, random_state

ROOT = pathlib.Path(__file__).parents[1]
BUFFERS = "mu", "sigma", "mean", "std"


def numpy_logits(net, images):
    return np.asarray(net(images.view(numpy_nn.Tensor)), np.float32)


def torch_logits(net, images):
    torch = importlib.import_module("torch")
    with torch.no_grad():
        return net.eval()(torch.tensor(images)).numpy()


def stored(name, backend="numpy"):
    """A file's arrays: a seeded state_dict of the net, images of different contrasts, and their logits."""
    published = NETS[name]
    if backend == "numpy":
        nn, functions, logits, convert_array = numpy_nn, numpy_nn.F, numpy_logits, np.asarray
    else:
        nn = importlib.import_module("torch.nn")
        nn.tensor = convert_array = importlib.import_module("torch").tensor
        functions, logits = nn.functional, torch_logits
    net = published.make(nn, functions)
    state = {key: np.asarray(array) for key, array in net.state_dict().items()}
    drawn = {k: a.shape for k, a in state.items() if a.shape and k.rpartition(".")[2] not in BUFFERS}
    state |= random_state(drawn)
    net.load_state_dict({key: convert_array(array) for key, array in state.items()})
    rng = np.random.default_rng(1)
    images = rng.random((3, *published.shape), np.float32) * rng.random((3, published.shape[0], 1, 1), np.float32)
    mean, std = (np.reshape(np.float32(each), (-1, 1, 1)) for each in (published.mean, published.std))
    return {**state, "images": images, "logits": logits(net, (images - mean) / std)}


def normalization_of(name):
    """What layout and file leave open, or None."""
    published = NETS[name]
    inside = {"rice 34-20", "gowal", "rebuffi r18"}
    return None if LAYOUTS[published.layout].normalization or name in inside else (published.mean, published.std)


@pytest.mark.parametrize("backend", ["numpy", "torch"])
@pytest.mark.parametrize("name", NETS)
def test_logits_are_those_of_pytorch(name, backend):
    if backend == "torch":
        pytest.importorskip("torch")
    arrays = stored(name, backend)
    converted = to_keras(parsed_state(arrays), layout=NETS[name].layout, normalization=normalization_of(name))
    spread = np.ptp(arrays["logits"], axis=0).max()
    assert converted.difference < 1e-5 * max(1, np.abs(arrays["logits"]).max())
    assert spread > 0.02  # logits that depend on the images


@pytest.mark.parametrize("name", NETS)
def test_arrays_alone_tell_the_layout(name):
    net = NETS[name].make(numpy_nn, numpy_nn.F)
    state = parsed_state({key: np.asarray(array) for key, array in net.state_dict().items()})
    twins = {"pre_act_resnet", "pre_act_resnet_v2"}, {"torchvision_resnet_cifar", "torchvision_resnet_cifar_pool"}
    expected = next((pair for pair in twins if NETS[name].layout in pair), {NETS[name].layout})
    assert fitting(state.arrays).keys() == expected


def test_every_layout_is_tested_and_documented():
    assert {published.layout for published in NETS.values()} == set(LAYOUTS)
    page = (ROOT / "docs" / "convert.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \|", page, flags=re.M)
    assert rows == list(LAYOUTS)


def test_stored_logits_choose_among_layouts_and_normalisations():
    arrays = stored("rice r18")
    converted = to_keras(parsed_state(arrays))
    assert converted.layout == "pre_act_resnet_v2"
    assert converted.normalization == NORMALIZATIONS["CIFAR-10"]


def test_what_the_file_leaves_open_is_asked_for():
    state = parsed_state(stored("wong"))._replace(check=None)
    with pytest.raises(ValueError, match="fit pre_act_resnet and pre_act_resnet_v2, whose logits differ"):
        to_keras(state)
    with pytest.raises(ValueError, match=r"none of mu, sigma, mean and std; .* Give mean and std"):
        to_keras(state, layout="pre_act_resnet")
    assert to_keras(state, layout="pre_act_resnet", normalization=((0.5,), (0.5,))).difference is None


def test_a_normalisation_in_the_file_is_inside_the_net():
    arrays = stored("rice 34-20")
    converted = to_keras(parsed_state(arrays))
    assert converted.normalization == NORMALIZATIONS["CIFAR-10"]
    assert isinstance(converted.net.layers[1], keras.layers.Normalization)
    assert not any(isinstance(each, keras.layers.Normalization) for each in to_keras_of("trades mnist").net.layers)


def to_keras_of(name):
    return to_keras(parsed_state(stored(name)))


def test_wrappers_before_the_names_and_counters_do_not_matter():
    arrays = stored("akamaster")
    weights = {k: a for k, a in arrays.items() if k not in ("images", "logits")}
    wrapped = {f"module.model.{k}": a for k, a in weights.items()} | {
        "module.model.bn1.num_batches_tracked": np.array(3)
    }
    assert parsed_state(wrapped).arrays.keys() == weights.keys()
    inside = {f"1.{k}": a for k, a in weights.items()} | {"0.mean": np.zeros(3), "0.std": np.ones(3)}
    state = parsed_state(inside)
    assert state.arrays.keys() == weights.keys()
    assert state.normalization == ((0.0,) * 3, (1.0,) * 3)


def test_arrays_that_the_logits_do_not_depend_on_are_named():
    ignored = to_keras_of("jem").ignored
    assert set(ignored) == {f"{layer}.{kind}" for layer in ("f.linear", "energy_output") for kind in ("weight", "bias")}


class TestFiles:
    def test_both_kinds_of_files_hold_the_same(self, tmp_path):
        arrays = stored("rice 34-20")
        np.savez(tmp_path / "net.npz", **arrays)
        safetensors.numpy.save_file(arrays, tmp_path / "net.safetensors")
        one, other = (read_state(str(tmp_path / name)) for name in ("net.npz", "net.safetensors"))
        assert one.normalization == other.normalization
        for name, array in one.arrays.items():
            np.testing.assert_array_equal(array, other.arrays[name])
        np.testing.assert_array_equal(one.check.logits, other.check.logits)

    def test_a_written_net_needs_keras_alone(self, tmp_path):
        arrays = stored("akamaster")
        path = str(tmp_path / "net.npz")
        np.savez(path, **arrays)
        output = str(tmp_path / "net.keras")
        converted = convert(ConvertConfig(checkpoint=path, output=output))
        assert converted.difference < 1e-4
        with zipfile.ZipFile(output) as archive:
            modules = re.findall(r'"module": "([\w.]+)"', archive.read("config.json").decode())
        assert {each.partition(".")[0] for each in modules} == {"keras"}
        net = keras.saving.load_model(output, safe_mode=True)
        images = arrays["images"].transpose(0, 2, 3, 1)
        np.testing.assert_allclose(net.predict(images, verbose=0), arrays["logits"], atol=1e-4)

    def test_logits_may_lie_in_a_file_of_their_own(self, tmp_path):
        arrays = stored("fast mnist")
        np.savez(tmp_path / "check.npz", images=arrays.pop("images"), logits=arrays.pop("logits"))
        np.savez(tmp_path / "net.npz", **arrays)
        config = ConvertConfig(checkpoint=str(tmp_path / "net.npz"), output=str(tmp_path / "net.keras"))
        assert convert(config).difference is None
        checked = ConvertConfig(config.checkpoint, config.output, check=str(tmp_path / "check.npz"))
        assert convert(checked).difference < 1e-4
        with pytest.raises(ValueError, match="expected arrays images and logits in"):
            convert(ConvertConfig(config.checkpoint, config.output, check=config.checkpoint))

    def test_a_net_that_misses_its_logits_is_not_written(self, tmp_path):
        arrays = stored("fast mnist")
        arrays["logits"][1, 3] += 0.01
        np.savez(tmp_path / "net.npz", **arrays)
        with pytest.raises(ValueError, match=r"within 1\..e-04 of the stored logits, received a difference of 0.01"):
            convert(ConvertConfig(checkpoint=str(tmp_path / "net.npz"), output=str(tmp_path / "net.keras")))
        assert [each.name for each in tmp_path.iterdir()] == ["net.npz"]

    @pytest.mark.parametrize("name", ["net.pt", "net.pth", "pytorch_model.bin", "net.npz"])
    def test_a_pickle_is_refused_with_the_lines_that_export_it(self, tmp_path, name):
        (tmp_path / name).write_bytes(pickle.dumps({"fc.weight": 1}))
        with pytest.raises(ValueError, match="is a pickle, which can run any code") as refused:
            read_state(str(tmp_path / name))
        lines = str(refused.value).split("\n\n")[1].splitlines()
        assert len(lines) == 5
        compile("\n".join(lines), "export", "exec")

    def test_a_checkpoint_of_pytorch_is_a_pickle_under_any_name(self, tmp_path):
        with zipfile.ZipFile(tmp_path / "net.npz", "w") as archive:
            archive.writestr("net/data.pkl", b"")
        with pytest.raises(ValueError, match="is a pickle"):
            read_state(str(tmp_path / "net.npz"))

    def test_the_five_lines_export_what_pytorch_saved(self, tmp_path):
        torch = pytest.importorskip("torch")
        arrays = stored("fast mnist", "torch")
        state = {key: torch.tensor(a) for key, a in arrays.items()}
        torch.save({"model_state_dict": state, "epoch": 3}, tmp_path / "net.pt")
        exec(EXPORT.format(path=tmp_path / "net.pt", stem=tmp_path / "net"), {})
        assert to_keras(read_state(str(tmp_path / "net.npz"))).difference < 1e-4

    def test_the_page_shows_the_five_lines(self):
        page = (ROOT / "docs" / "convert.md").read_text()
        assert textwrap.indent(EXPORT.format(path="net.pt", stem="net"), "    ") in page

    @pytest.mark.parametrize("name", ["net.npz", "net.safetensors"])
    def test_a_damaged_file_is_named(self, tmp_path, name):
        (tmp_path / name).write_bytes(b"\x10\0\0\0\0\0\0\0nonsense")
        with pytest.raises(ValueError, match=rf"cannot read .*{name}"):
            read_state(str(tmp_path / name))

    def test_other_files_are_refused(self, tmp_path):
        (tmp_path / "net.h5").write_bytes(b"HDF")
        with pytest.raises(ValueError, match=r"expected a .safetensors or .npz file"):
            read_state(str(tmp_path / "net.h5"))
        with pytest.raises(FileNotFoundError, match="no checkpoint at"):
            read_state(str(tmp_path / "none.npz"))
        with pytest.raises(ValueError, match=r"expected a .keras file to write"):
            convert(ConvertConfig(checkpoint=str(tmp_path / "net.h5"), output=str(tmp_path / "net.h5")))


class TestRefused:
    def test_an_unknown_net_names_the_nearest_layout_and_what_does_not_fit(self):
        arrays = dict(parsed_state(stored("akamaster")).arrays)
        del arrays["layer2.1.bn2.running_var"]
        arrays["layer1.0.conv2.weight"] = np.zeros((4, 4, 5, 5), np.float32)
        arrays["head.weight"] = np.zeros((10, 2), np.float32)
        with pytest.raises(ValueError, match="The nearest is resnet_option_a") as refused:
            to_keras(State(arrays))
        assert str(refused.value).splitlines()[1:4] == [
            "  layer1.0.conv2.weight has shape [4, 4, 5, 5], expected [4, 4, 3, 3]",
            "  head.weight [10, 2] has no place",
            "  layer2.1.bn2.running_var [8] is missing",
        ]

    def test_a_layout_that_was_asked_for_says_what_does_not_fit(self):
        state = parsed_state(stored("trades mnist"))
        with pytest.raises(
            ValueError, match=r"the layout fast_mnist_cnn.*\n  feature_extractor.conv1.weight"
        ) as refused:
            to_keras(state, layout="fast_mnist_cnn")
        assert "\n  and 6 more\n  0.weight [16, 1, 4, 4] is missing" in str(refused.value)
        with pytest.raises(ValueError, match='unknown layout "wide_resnets"; did you mean wide_resnet'):
            to_keras(state, layout="wide_resnets")

    def test_weights_that_are_not_finite(self):
        arrays = stored("fast mnist")
        arrays["2.bias"][0] = np.nan
        with pytest.raises(ValueError, match="NaN or infinity in 2.bias"):
            parsed_state(arrays)

    def test_images_without_logits(self):
        arrays = stored("fast mnist")
        del arrays["logits"]
        with pytest.raises(ValueError, match="expected images and logits"):
            parsed_state(arrays)

    def test_images_that_are_normalised_already(self):
        state = parsed_state(stored("fast mnist"))
        with pytest.raises(ValueError, match=r"expected images in \[0, 1\]"):
            to_keras(state._replace(check=Check(state.check.images * 2 - 1, state.check.logits)))

    def test_a_normalisation_of_another_number_of_channels(self):
        with pytest.raises(ValueError, match="for each of 1, received mean"):
            to_keras(parsed_state(stored("fast mnist")), normalization=NORMALIZATIONS["CIFAR-10"])


def test_a_mean_without_a_deviation_is_refused():
    with pytest.raises(ValueError, match="expected mean and std together, received mean alone"):
        parsed_state({"conv.weight": np.zeros((1, 1, 3, 3), np.float32), "mean": np.zeros(1, np.float32)})
