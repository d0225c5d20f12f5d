"""Edits real digits with one net: fills in, cleans, enlarges, translates; a minute on two cores, most of it training.

python examples/editing.py [--output editing.png]
python examples/editing.py --dataset mnist --model mnist-jeat

The model is a .keras file or the name of a net that comes with the package. MNIST is read from where TFDS keeps it.
"""

import argparse
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

import jeat_tf as jt
from jeat_tf.attacks import PGD
from jeat_tf.samplers import SGLD, ClassGaussians, counterfactual, denoise, inpaint, super_resolve, translate
from jeat_tf.samplers.editing import shrink


def train(images: np.ndarray, labels: np.ndarray, epochs: int) -> keras.Model:
    """A JEAT net, by the settings of configs/digits/jeat.flags."""
    net = jt.models.small_cnn(images.shape[1:], num_classes=10)
    model = jt.EnergyClassifier.from_preset("digits/jeat", net)
    model.compile(keras.optimizers.Adam(1e-3), metrics=["accuracy"])
    model.fit(images, labels, batch_size=64, epochs=epochs)
    return net


def edits(
    net: keras.Model, images: np.ndarray, labels: np.ndarray, start: Callable[..., tf.Tensor]
) -> dict[str, dict[str, np.ndarray]]:
    """Rows of pictures by what was done: what was given, what came of it and, where there is one, the truth."""
    size = images.shape[1]
    step = 0.05 * (size / 8) ** 2  # of chains: a larger image lies further from its neighbours
    attack = PGD(jt.L2(0.3 * size), steps=20, step_size=0.04 * size, start="image")
    known = np.broadcast_to(np.arange(size)[:, None] < size // 2, images.shape)  # the left half
    first = start(labels, 5)  # for the right half
    noise = 0.25 * np.random.default_rng(0).normal(size=images.shape)
    noisy = np.clip(images + noise, 0, 1).astype(np.float32)
    small = shrink(images, 2)
    asked = (labels + 3) % 10

    @tf.function(autograph=False)  # one graph for all: loops run faster than in eager mode
    def results() -> list[tf.Tensor]:
        return [
            inpaint(net, images, known, labels, seed=0, chain=SGLD(100, step_size=step), start=first),
            denoise(net, noisy, seed=1, chain=SGLD(100, step, noise_std=0.0), fidelity=0.3),
            super_resolve(net, small, 2, labels, seed=2, chain=SGLD(50, step, noise_std=0.0)),
            translate(net, images, asked, attack=attack),
        ]

    filled, clean, large, translated = results()
    found = counterfactual(net, images, asked, seed=4, chain=SGLD(60, step, noise_std=0.0), confidence=0.9)
    print(f"left alone, noise is off by {_rms(noisy, images):.3f}, denoised {_rms(clean, images):.3f} (RMS)")
    bicubic = np.clip(tf.image.resize(small, [size, size], "bicubic"), 0, 1)
    print(f"bicubic enlargement is off by {_rms(bicubic, images):.3f}, ours {_rms(large, images):.3f}")
    print(f"counterfactuals: steps to the class {found.first_step.numpy()}, l2 {np.round(found.distance, 1)}")
    return {
        "inpainting": {"given": np.where(known, images, 0.5), "result": filled, "truth": images},
        "denoising": {"given": noisy, "result": clean, "truth": images},
        "super-resolution": {"given": small, "result": large, "truth": images},
        "translation": {"given": images, "result": translated},
        "counterfactual": {"given": images, "result": found.images},
    }


def draw(rows: dict[str, dict[str, np.ndarray]], asked: np.ndarray, output: str) -> None:
    """Writes all rows as one picture, the classes asked for under those that have them."""
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    count = len(asked)
    figure = plt.figure(figsize=(0.62 * count + 1.4, 10.4), dpi=80)
    parts = figure.subfigures(len(rows), 1, height_ratios=[len(lines) + 0.5 for lines in rows.values()])
    for part, (title, lines) in zip(parts, rows.items(), strict=True):
        part.suptitle(title, fontsize=9, y=0.99)
        part.subplots_adjust(left=0.1, right=0.99, bottom=0.03, top=0.86, wspace=0.08, hspace=0.08)
        grid = part.subplots(len(lines), count)
        for line, (name, images) in zip(grid, lines.items(), strict=True):
            line[0].set_ylabel(name, fontsize=8, rotation=0, ha="right", va="center")
            for i, (axis, image) in enumerate(zip(line, np.asarray(images), strict=True)):
                axis.imshow(image[..., 0], cmap="gray", vmin=0, vmax=1)
                axis.set(xticks=[], yticks=[])
                if name == "result" and len(lines) == 2:
                    axis.text(0.04, 0.94, asked[i], fontsize=7, color="orange", va="top", transform=axis.transAxes)
    figure.savefig(output)
    plt.close(figure)


def main(
    model: str = "", dataset: str = "digits", output: str = "editing.png", epochs: int = 6
) -> dict[str, dict[str, np.ndarray]]:
    data = jt.data.open_dataset(dataset)
    images, labels = data.arrays("train")
    images = jt.data.as_floats(images)
    start = ClassGaussians().layer(data.image_shape, num_classes=10)
    start.adapt(images, labels)
    if not model:
        net = train(images, labels, epochs)
    elif model.endswith(".keras"):
        net = keras.models.load_model(model, compile=False)
    else:
        net = jt.load_pretrained(model)
    images, labels = data.arrays("test")  # none of which the net has seen
    first = [np.flatnonzero(labels == k)[0] for k in range(10)]  # the first of each class: not selected by result
    rows = edits(net, jt.data.as_floats(images[first]), labels[first], start)
    draw(rows, (labels[first] + 3) % 10, output)
    return rows


def _rms(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(np.asarray(a) - b))))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", default="")
    parser.add_argument("--dataset", default="digits")
    parser.add_argument("--output", default="editing.png")
    main(**vars(parser.parse_args()))
