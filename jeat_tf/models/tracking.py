"""Weights that a net computes with and Keras does not know of."""

from typing import Any

import keras
import tensorflow as tf


def check_tracked(net: keras.Model, images: Any) -> None:
    """Raises ValueError where a net computes with weights that are not among `net.weights`.

    Such weights would neither be trained nor saved. Keras tracks its own variables and layers, and no `tf.Variable`.
    """
    with tf.GradientTape() as tape:
        net(images, training=False)
    # Under several replicas the tape lists each variable's copies.
    known = {id(copy) for weight in net.weights for copy in getattr(weight.value, "values", (weight.value,))}
    unknown = [variable for variable in tape.watched_variables() if id(variable) not in known]
    if unknown:
        names = ", ".join(f"{variable.name} {list(variable.shape)}" for variable in unknown[:3])
        raise ValueError(
            f"expected a net whose weights Keras tracks, received one that also computes with {names}, which would be "
            "neither trained nor saved; make them by add_weight, or put their layers in attributes"
        )
