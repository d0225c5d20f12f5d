"""Shared by all tests: quiet TensorFlow, the digits prepared once, and nets small enough for any machine."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import pytest
import tensorflow as tf

from jeat_tf.config.train import TrainConfig
from jeat_tf.core.flat import replace
from jeat_tf.data.datasets import as_floats, open_dataset
from jeat_tf.data.image_data import ImageData
from jeat_tf.train.run import train

# Two logical devices, for the test under tf.distribute; they must be named before TensorFlow starts.
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)


@pytest.fixture(scope="session", autouse=True)
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> str:
    """TFDS' data folder of the whole test run, and Keras' home with our cache in it, in a temporary place."""
    folder = str(tmp_path_factory.mktemp("tfds"))
    os.environ["TFDS_DATA_DIR"] = folder
    os.environ["KERAS_HOME"] = str(tmp_path_factory.mktemp("keras"))
    return folder


@pytest.fixture(scope="session")
def digits(data_dir: str) -> ImageData:
    return open_dataset("digits", data_dir)


@pytest.fixture(scope="session")
def digit_arrays(digits: ImageData) -> tuple[np.ndarray, np.ndarray]:
    """Training images float32 in [0, 1] and labels."""
    images, labels = digits.arrays("train")
    return as_floats(images), labels


@pytest.fixture(scope="session")
def trained_net(digit_arrays: tuple[np.ndarray, np.ndarray]) -> keras.Model:
    """A dense net of 650 weights with about 95% accuracy on its training digits."""
    keras.utils.set_random_seed(0)
    net = linear_net()
    net.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    net.optimizer.learning_rate = 0.02
    net.fit(*digit_arrays, epochs=8, batch_size=64, verbose=0)
    return net


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory, data_dir: str) -> str:
    """Folder of a finished run: adversarial training on digits, long enough to be robust to something."""
    folder = str(tmp_path_factory.mktemp("runs") / "run")
    settings = {"method": "pgd_at", "attack_steps": 1, "epsilon": 0.1, "epochs": 4, "learning_rate": 1e-2}
    train(replace(TrainConfig(), model_dir=folder, robust_every=0, **settings))
    return folder


@pytest.fixture(scope="session")
def energy_run(tmp_path_factory: pytest.TempPathFactory, data_dir: str) -> str:
    """Folder of a finished JEM run of two epochs, with a replay buffer of 100 images."""
    folder = str(tmp_path_factory.mktemp("runs") / "jem")
    settings = {"method": "jem", "epochs": 2, "chain_steps": 2, "buffer_size": 100, "batch_size": 50, "robust_every": 0}
    train(replace(TrainConfig(), model_dir=folder, images_every=0, **settings))
    return folder


def linear_net(image_shape: tuple = (8, 8, 1), num_classes: int = 10) -> keras.Model:
    return keras.Sequential(
        [keras.Input(image_shape), keras.layers.Flatten(), keras.layers.Dense(num_classes, name="logits")]
    )


def tiny_cnn(norm: bool = False, num_classes: int = 10) -> keras.Model:
    inputs = keras.Input((8, 8, 1))
    x = keras.layers.Conv2D(4, 3, strides=2, padding="same")(keras.layers.Rescaling(2.0, -1.0)(inputs))
    x = keras.layers.BatchNormalization()(x) if norm else x
    x = keras.layers.Flatten()(keras.layers.LeakyReLU(0.2)(x))
    return keras.Model(inputs, keras.layers.Dense(num_classes)(x))


def seed(value: int = 0) -> tf.Tensor:
    return tf.constant([value, 0])
