"""`python -m jeat_tf.convert`: a PyTorch checkpoint becomes a .keras file."""

import keras
import numpy as np

from jeat_tf.config.convert import ConvertConfig
from jeat_tf.convert.build import Converted, difference, to_keras, tolerance
from jeat_tf.convert.state import Check, Normalization, read_check, read_state
from jeat_tf.core.files import whole_file
from jeat_tf.core.units import numbers
from jeat_tf.models.files import load_net

_IMAGES = 4  # random ones, where none are stored


def convert(config: ConvertConfig) -> Converted:
    """Converts a checkpoint, and writes the net if the written file gives the right logits.

    Raises:
      FileNotFoundError: no checkpoint.
      ValueError: as `read_state` and `to_keras` say, an output that is no .keras file, or a mean without std.
    """
    if not config.output.endswith(".keras"):
        raise ValueError(f"expected a .keras file to write, received --output={config.output}")
    state = read_state(config.checkpoint)
    if config.check:
        state = state._replace(check=read_check(config.check))
    converted = to_keras(state, layout=config.layout, normalization=_normalization(config))
    check = state.check or _own_logits(converted.net)
    with whole_file(config.output) as temporary:
        converted.net.save(temporary)
        found = difference(load_net(temporary), check)
        if found > tolerance(check):
            raise ValueError(f"expected a file with the net's logits, received differences of up to {found:.2g}")
    return converted


def _own_logits(net: keras.Model) -> Check:
    images = np.random.default_rng(0).random((_IMAGES, *net.input_shape[1:]), np.float32)
    return Check(images, keras.ops.convert_to_numpy(net(images, training=False)))


def _normalization(config: ConvertConfig) -> Normalization | None:
    mean, std = numbers(config.mean), numbers(config.std)
    if bool(mean) != bool(std):
        raise ValueError(f"expected a mean and a std, received --mean={config.mean} and --std={config.std}")
    return (mean, std) if mean else None
