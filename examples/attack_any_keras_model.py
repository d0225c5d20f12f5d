"""Attacks an ordinary Keras model with AutoAttack: python examples/attack_any_keras_model.py model.keras images.npz"""

import sys

import keras
import numpy as np

import jeat_tf as jt


def main(model: str, data: str, epsilon: float = 8 / 255) -> jt.attacks.Robustness:
    net = keras.models.load_model(model)  # images in [0, 1] -> logits: normalisation inside, no softmax at the end
    with np.load(data, allow_pickle=False) as arrays:
        images, labels = jt.data.as_floats(arrays["images"]), arrays["labels"]  # bytes, or floats in [0, 1]
    result = jt.attacks.AutoAttack(jt.Linf(epsilon))(net, images, labels)
    print(result)
    for attack in np.unique(result.broken_by):
        print(f"{attack or 'unbroken':10} {np.mean(result.broken_by == attack):.1%}")
    return result


if __name__ == "__main__":
    main(*sys.argv[1:3])
