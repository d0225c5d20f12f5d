"""A state_dict as a Keras net, checked against the logits that PyTorch gives."""

from collections.abc import Mapping
from typing import NamedTuple

import keras
import numpy as np

from jeat_tf.convert.layouts import LAYOUTS, NORMALIZATIONS, Layout
from jeat_tf.convert.parts import Parts
from jeat_tf.convert.recognise import fitting
from jeat_tf.convert.state import Check, Normalization, State
from jeat_tf.core.checks import check_images

_ABSOLUTE = 1e-4
_RELATIVE = 1e-5  # to the largest logit; energies can be in the hundreds, where float32 rounds to 1e-5
_NONE = NORMALIZATIONS["none"]
_BATCH = 50  # images


class Converted(NamedTuple):
    """A net that came from PyTorch.

    Attributes:
      net: images [0, 1] float32[B, H, W, C] -> logits float32[B, K], of Keras' own layers.
      layout: its name.
      normalization: mean and std that are inside the net.
      ignored: names of arrays that the logits do not depend on.
      difference: largest difference from the stored logits, None without any.
    """

    net: keras.Model
    layout: str
    normalization: Normalization
    ignored: list[str]
    difference: float | None


def to_keras(state: State, *, layout: str = "", normalization: Normalization | None = None) -> Converted:
    """The Keras net of a state_dict.

    Some arrays fit several layouts, and some layouts are published with several normalisations. Where neither the
    arguments nor the file decide, the stored logits do.

    Args:
      state: weights, and images with logits if there are some.
      layout: name in `LAYOUTS`; empty: recognised.
      normalization: mean and std of pixels in [0, 1]; None: the file's, or the layout's.

    Raises:
      ValueError: no layout fits; the choice is open and no logits decide it; or the net misses the stored logits.
    """
    fits = fitting(state.arrays, layout)
    choices = {name: _choices(LAYOUTS[name], normalization or state.normalization) for name in fits}
    if state.check is not None and sum(map(len, choices.values())) > 1:
        name, chosen = _nearest(choices, state.arrays, state.check)
    else:
        name, chosen = _the_only(choices)
    net = keras_net(state.arrays, LAYOUTS[name], chosen)
    if state.check is None:
        return Converted(net, name, chosen, fits[name].ignored, None)
    found = difference(net, state.check)
    if found > tolerance(state.check):
        raise ValueError(
            f"expected a net within {tolerance(state.check):.1e} of the stored logits, received a difference of "
            f"{found:.2g} as {name} with mean {chosen[0]} and std {chosen[1]}. Store logits that the net gives on a "
            "CPU in eval mode, and images in [0, 1], from before its normalisation; give its layout, mean and std"
        )
    return Converted(net, name, chosen, fits[name].ignored, found)


def keras_net(arrays: Mapping[str, np.ndarray], layout: Layout, normalization: Normalization) -> keras.Model:
    """The net of a layout that fits the arrays, with the normalisation as its first layer if it does anything.

    Raises:
      ValueError: a normalisation of another number of channels, or a std that is not positive.
    """
    mean, std = normalization
    channels = layout.image_shape[-1]
    if {len(mean), len(std)} - {1, channels} or min(std) <= 0:
        raise ValueError(
            f"expected a mean and a positive std for all channels or for each of {channels}, received mean {mean} and "
            f"std {std}"
        )
    inputs = keras.Input(layout.image_shape, name="images")
    x = inputs
    if any(mean) or any(each != 1 for each in std):
        means, variances = np.broadcast_to(mean, channels), np.square(np.broadcast_to(std, channels))
        x = keras.layers.Normalization(mean=means.tolist(), variance=variances.tolist(), name="normalization")(x)
    return keras.Model(inputs, layout.forward(Parts(arrays), x))


def difference(net: keras.Model, check: Check, normalization: Normalization = _NONE) -> float:
    """Largest difference between the stored logits and the net's for the stored images, normalised if so asked.

    Raises:
      ValueError: images that are not in [0, 1] or do not fit the net, or logits that do not fit either.
    """
    shape = net.input_shape[1:]
    images = check.images
    if images.ndim == 4 and images.shape[1:] != shape:
        images = images.transpose(0, 2, 3, 1)
    if images.shape[1:] != shape or not len(images):
        raise ValueError(
            f"expected stored images of shape [B, {shape[2]}, {shape[0]}, {shape[1]}], received "
            f"{list(check.images.shape)}"
        )
    check_images(images)
    if check.logits.shape != (len(images), net.output_shape[-1]):
        raise ValueError(
            f"expected stored logits of shape {[len(images), net.output_shape[-1]]}, one row for each stored image, "
            f"received {list(check.logits.shape)}"
        )
    mean, std = (np.asarray(each, np.float32) for each in normalization)
    batches = [(images[i : i + _BATCH] - mean) / std for i in range(0, len(images), _BATCH)]
    logits = np.concatenate([keras.ops.convert_to_numpy(net(batch, training=False)) for batch in batches])
    return float(np.nan_to_num(np.abs(logits - check.logits).max(), nan=np.inf))


def tolerance(check: Check) -> float:
    """Largest difference from the stored logits that is rounding."""
    return max(_ABSOLUTE, _RELATIVE * float(np.abs(check.logits).max()))


def _choices(layout: Layout, given: Normalization | None) -> dict[str, Normalization]:
    """Normalisations that the net may have, by name."""
    if given is not None:
        return {f"mean {given[0]} and std {given[1]}": given}
    if layout.normalization:
        return {layout.normalization: NORMALIZATIONS[layout.normalization]}
    return NORMALIZATIONS


def _nearest(
    choices: Mapping[str, Mapping[str, Normalization]], arrays: Mapping[str, np.ndarray], check: Check
) -> tuple[str, Normalization]:
    """The layout and the normalisation that come nearest to the stored logits."""
    differences = {}
    for name, normalizations in choices.items():
        bare = keras_net(arrays, LAYOUTS[name], _NONE)
        for title, each in normalizations.items():
            differences[name, title] = difference(bare, check, each)
    name, title = min(differences, key=lambda key: differences[key])
    return name, choices[name][title]


def _the_only(choices: Mapping[str, Mapping[str, Normalization]]) -> tuple[str, Normalization]:
    """The layout and the normalisation, where there is one of each."""
    names = list(choices)
    if len(names) > 1:
        raise ValueError(
            f"expected arrays that say which net they are of, received some that fit {' and '.join(names)}, whose "
            "logits differ; name the layout, or store images and logits, which tell"
        )
    normalizations = list(choices[names[0]].values())
    if len(normalizations) > 1:
        raise ValueError(
            f"expected a file that says how its net normalises images, received none of mu, sigma, mean and std; nets "
            f"of the layout {names[0]} are published with several. Give mean and std (0 and 1: none), or store images "
            "and logits, which tell"
        )
    return names[0], normalizations[0]
