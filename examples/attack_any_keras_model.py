"""Attacks an ordinary Keras model with AutoAttack: python examples/attack_any_keras_model.py model.keras images.npz"""

import sys

import keras
import numpy as np

import jeat_tf as jt


def main(model: str, data: str, epsilon: float = 8 / 255) -> jt.AutoAttackResult:
    net = keras.models.load_model(
        model
    )  # images in [0, 1] -> logits; its normalisation is inside, no softmax at the end
    with np.load(data, allow_pickle=False) as arrays:
        images, labels = arrays["images"].astype("float32") / 255, arrays["labels"]
    result = jt.autoattack(jt.inference(net), images, labels, seed=[0, 0], ball=jt.Linf(epsilon))
    print(f"clean {np.mean(result.broken_by != 'clean'):.1%}, robust {1 - result.broken.mean():.1%}")
    for attack in np.unique(result.broken_by):
        print(f"{attack or 'standing':10} {np.mean(result.broken_by == attack):.1%}")
    return result


if __name__ == "__main__":
    main(*sys.argv[1:3])
