"""What does an independent CIFAR-10 classifier say of generated images? This turns a published one into a judge.

    python benchmarks/resnet56_judge.py --arrays=resnet56_cifar10.npz --output=judge.keras [--data_dir=...]

Reads named float32 arrays of akamaster/pytorch_resnet_cifar10's ResNet-56 (PyTorch layout: conv1, bn1,
layer{1,2,3}.{0..8}.{conv1,bn1,conv2,bn2}, linear; published test error 6.61%), writes a plain Keras model of images in
[0, 1] -> logits, and measures its error on the test split if it is there.
"""

import keras
import numpy as np
from absl import app, flags

from jeat_tf.core.files import whole_file
from jeat_tf.data.datasets import as_floats, open_dataset

_ARRAYS = flags.DEFINE_string("arrays", None, ".npz file of the weights", required=True)
_OUTPUT = flags.DEFINE_string("output", "judge.keras", "file of the Keras model")
_DATA_DIR = flags.DEFINE_string("data_dir", "", "TFDS folder with cifar10; empty: do not measure")
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def main(_: list[str]) -> None:
    with np.load(_ARRAYS.value, allow_pickle=False) as arrays:
        net = resnet56(dict(arrays))
    with whole_file(_OUTPUT.value) as temporary:
        net.save(temporary)
    print(f"written: {_OUTPUT.value}")
    if _DATA_DIR.value:
        images, labels = open_dataset("cifar10", _DATA_DIR.value).arrays("test")
        batches = range(0, len(labels), 500)
        predicted = [net(as_floats(images[i : i + 500]), training=False).numpy().argmax(-1) for i in batches]
        print(f"test error {np.mean(np.concatenate(predicted) != labels):.2%} of {len(labels)} images")


def resnet56(arrays: dict[str, np.ndarray]) -> keras.Model:
    """The net with these weights."""
    weights: dict[str, list[np.ndarray]] = {}

    def convolved(x: keras.KerasTensor, name: str, channels: int, stride: int = 1) -> keras.KerasTensor:
        weights[name] = [arrays[f"{name}.weight"].transpose(2, 3, 1, 0)]
        # PyTorch pads both sides by one; Keras' "same" pads an even side with stride two on one side only.
        x = keras.layers.ZeroPadding2D(1)(x)
        return keras.layers.Conv2D(channels, 3, stride, use_bias=False, name=name)(x)

    def normalised(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
        weights[name] = [arrays[f"{name}.{part}"] for part in ("weight", "bias", "running_mean", "running_var")]
        return keras.layers.BatchNormalization(epsilon=1e-5, name=name)(x)

    inputs = keras.Input((32, 32, 3))
    x = keras.layers.Normalization(mean=_MEAN, variance=np.square(_STD))(inputs)
    x = keras.layers.ReLU()(normalised(convolved(x, "conv1", 16), "bn1"))
    for i, channels in enumerate((16, 32, 64), start=1):
        for j in range(9):
            block, stride = f"layer{i}.{j}", 2 if i > 1 and j == 0 else 1
            y = keras.layers.ReLU()(normalised(convolved(x, f"{block}.conv1", channels, stride), f"{block}.bn1"))
            y = normalised(convolved(y, f"{block}.conv2", channels), f"{block}.bn2")
            if stride == 2:  # every other pixel, and zeros for the new channels: a fixed 1x1 convolution
                before = x.shape[-1]
                fixed = np.zeros((1, 1, before, channels), np.float32)
                fixed[0, 0, np.arange(before), np.arange(before) + (channels - before) // 2] = 1
                weights[f"{block}.shortcut"] = [fixed]
                x = keras.layers.Conv2D(channels, 1, 2, use_bias=False, name=f"{block}.shortcut")(x)
            x = keras.layers.ReLU()(keras.layers.Add()([x, y]))
    x = keras.layers.GlobalAveragePooling2D()(x)
    weights["linear"] = [arrays["linear.weight"].T, arrays["linear.bias"]]
    net = keras.Model(inputs, keras.layers.Dense(10, name="linear")(x), name="resnet56")
    for name, values in weights.items():
        net.get_layer(name).set_weights(values)
    return net


if __name__ == "__main__":
    app.run(main)
