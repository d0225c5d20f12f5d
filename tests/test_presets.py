"""Every preset can be built: its method, its update and, where it is small, its net."""

import pathlib

import keras
import pytest

from jeat_tf.config.flags import parsed
from jeat_tf.config.train import TrainConfig
from jeat_tf.core.flat import flatten, replace
from jeat_tf.methods.classifier import EnergyClassifier
from jeat_tf.methods.presets import presets

SHAPES = {"mnist": ((28, 28, 1), 10), "cifar10": ((32, 32, 3), 10), "cifar100": ((32, 32, 3), 100)}
LARGE = sorted(name for name in presets() if name.startswith("cifar"))


def small(name):
    """The settings of a preset with a small buffer, full in a moment."""
    config = parsed(TrainConfig, f"--preset={name}")
    return replace(config, buffer_size=256, batch_size=64) if "buffer_size" in flatten(config) else config


@pytest.mark.parametrize("name", sorted(name for name in presets() if name.startswith("mnist/")))
def test_presets_of_mnist_are_built_with_their_nets(name):
    config = small(name)
    assert config.data.dataset == "mnist"
    assert config.ball.epsilon == 0.2
    image_shape, num_classes = SHAPES["mnist"]
    net = config.net.build(image_shape, num_classes)
    model = EnergyClassifier(net, config.method, config.update)
    model.compile(keras.optimizers.SGD(0.1))
    assert model.num_classes == 10


@pytest.mark.parametrize("name", LARGE)
def test_methods_of_cifar_presets_are_built(name):
    config, folder = small(name), name.partition("/")[0]
    assert config.data.dataset == folder
    assert config.method.objective(*SHAPES[folder], config.run.seed).terms
    assert config.update is None or callable(config.update.step(SHAPES[folder][0]))


@pytest.mark.parametrize("name", [name for name in LARGE if "cifar100/" in name])
def test_cifar_100_has_the_settings_of_cifar_10(name):
    of_ten = parsed(TrainConfig, f"--preset={name.replace('cifar100', 'cifar10')}")
    assert replace(of_ten, dataset="cifar100") == parsed(TrainConfig, f"--preset={name}")


def test_the_single_robust_classifier_has_the_attack_and_the_net_of_robust_jem():
    robust_jem, single = (parsed(TrainConfig, f"--preset=cifar10/{n}") for n in ("robust_jem", "single_robust"))
    assert single.method.attack == robust_jem.method.attack
    assert (single.net.depth, single.net.width) == (robust_jem.net.depth, robust_jem.net.width)
    assert single.optimizer == robust_jem.optimizer


def test_the_settings_of_jeats_table_4():
    for name in ("trades", "fast", "free"):
        config = parsed(TrainConfig, f"--preset=cifar10/{name}_table4")
        assert (config.net.word, config.net.depth, config.net.width) == ("wide_resnet", 28, 10)
        assert config.ball.epsilon == 8 / 255
    assert parsed(TrainConfig, "--preset=cifar10/trades_table4").optimizer.decay_epochs == "75,90,100"


@pytest.mark.parametrize("folder", ["digits", "mnist", "cifar10", "cifar100"])
def test_headers_say_what_was_measured_and_how_to_run(folder):
    root = pathlib.Path(next(iter(presets().values()))).parents[1]
    for path in (root / folder).glob("*.flags"):
        head = [line for line in path.read_text().splitlines() if line.startswith("#")]
        assert any(f"--flagfile=configs/{folder}/{path.name}" in line for line in head), path
        assert any("Measured" in line for line in head), path
