"""A net and its file: what is stored has to be what is loaded."""

import os
import random
import tempfile

import keras
import numpy as np

from jeat_tf.models.precision import random_images, same_outputs

_ROUNDING = {"float16": 1e-2, "bfloat16": 1e-1}  # of the largest logit, in nets that compute so
_ROUNDING_ELSE = 1e-5


def check_storable(net: keras.Model) -> None:
    """Raises ValueError unless the net, stored and loaded again, gives the same logits.

    A disk that is full or failing raises an OSError that names the folder. The random states of Python and NumPy are
    put back: a run's numbers do not depend on this check.
    """
    states = random.getstate(), np.random.get_state()  # noqa: NPY002  Keras draws seeds of initial weights from these
    try:
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "net.keras")
            try:
                net.save(path)
            except Exception as error:
                if isinstance(error, OSError) and error.errno is not None:
                    # Of the disk, which says nothing about the net.
                    raise OSError(error.errno, os.strerror(error.errno), folder) from error
                raise ValueError(f"expected a net that can be stored, received one that cannot: {error}") from error
            check_stored(net, path)
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002


def check_stored(net: keras.Model, path: str) -> None:
    """Raises ValueError unless the .keras file that a net was written to gives its logits, to rounding.

    A net whose output is random cannot be compared, and passes.
    """
    try:
        stored = keras.saving.load_model(path, compile=False, safe_mode=False)  # this process has just written it
    except Exception as error:
        raise ValueError(
            f"expected a net whose file can be loaded, received one whose file cannot: {error}; register its layers by "
            "keras.saving.register_keras_serializable and give them get_config"
        ) from error
    x = random_images(net)
    first, second = (np.asarray(net(x, training=False), np.float64) for _ in range(2))
    if not np.array_equal(first, second):
        return
    tolerance = max(_ROUNDING.get(layer.compute_dtype, _ROUNDING_ELSE) for layer in net._flatten_layers())
    hint = "a layer keeps something that is neither among its weights nor in its get_config"
    same_outputs(first, stored(x, training=False), tolerance, "the net loaded from its file", hint)
