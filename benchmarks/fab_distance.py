"""How soon does FAB-T know whether it will end inside the ball?

    python benchmarks/fab_distance.py --model=net.keras --dataset=cifar10 --data_dir=data --num_images=150 [--norm=l2]

Runs FAB-T for 10, 20, 50 and 100 steps without stopping early, towards the classes of several ranks, and reports how
many times the distance after 100 steps that after fewer steps is, at most over images and ranks. `fab` gives up images
by it.
"""

import functools

import numpy as np
from absl import app, flags

from jeat_tf.attacks.fab import fab
from jeat_tf.attacks.oracle import Oracle
from jeat_tf.attacks.search import predictions
from jeat_tf.attacks.surrogates import inference
from jeat_tf.core.balls import L2, Linf
from jeat_tf.data.labelled import open_labelled
from jeat_tf.models.files import load_net

_MODEL = flags.DEFINE_string("model", "", "a .keras file, or the folder of a run")
_DATASET = flags.DEFINE_string("dataset", "digits", "TFDS name, folder or .npz file")
_DATA_DIR = flags.DEFINE_string("data_dir", None, "TFDS data folder")
_IMAGES = flags.DEFINE_integer("num_images", 150, "the first so many test images")
_NORM = flags.DEFINE_enum("norm", "linf", ["linf", "l2"], "norm")
_RANKS = (1, 2, 4, 7, 9)


def main(_: list[str]) -> None:
    oracle = Oracle(inference(load_net(_MODEL.value)))
    data = open_labelled(_DATASET.value, "test", count=_IMAGES.value, data_dir=_DATA_DIR.value)
    logits = predictions(oracle, data.images[:])
    correct = logits.argmax(-1) == data.labels
    x, labels = data.images[correct], data.labels[correct]
    ranked = np.argsort(-logits[correct], axis=-1)
    ball = Linf(0.0) if _NORM.value == "linf" else L2(0.0)
    search = functools.partial(fab, oracle, x, labels, seed=[0, 0], ball=ball, verdict_only=False)

    def distances(steps: int) -> np.ndarray:
        found = [search(num_steps=steps, targets=ranked[:, rank]) for rank in _RANKS]
        return np.stack([np.where(f.broken, ball.distance(f.x_adv, x), np.inf) for f in found])

    final = distances(100)
    reached = np.isfinite(final)
    for steps in (10, 20, 50):
        ratio = (distances(steps)[reached] / final[reached]).max()
        print(f"after {steps} steps at most {ratio:.2f} times the distance after 100 ({len(x)} images)", flush=True)


if __name__ == "__main__":
    app.run(main)
