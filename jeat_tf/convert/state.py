"""A PyTorch net's state_dict on disk, without pickle."""

import os
import zipfile
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import safetensors.numpy

from jeat_tf.core.files import read_arrays

Normalization = tuple[tuple[float, ...], tuple[float, ...]]
"""(mean, std) of the pixels in [0, 1], one number a channel or one for all."""

_PICKLES = (".pt", ".pth", ".th", ".bin", ".ckpt", ".pkl", ".pickle", ".tar")
_MEANS, _STDS = ("mean", "mu"), ("std", "sigma")

EXPORT = """\
import numpy, torch
state = torch.load("{path}", map_location="cpu", weights_only=True)
state = state.get("state_dict", state.get("model_state_dict", state))
state = {{name: array.numpy() for name, array in state.items() if hasattr(array, "numpy")}}
numpy.savez("{stem}.npz", **state)"""


class Check(NamedTuple):
    """Logits that the converted net must give.

    Attributes:
      images: float32[B, C, H, W] or [B, H, W, C] in [0, 1], before any normalisation.
      logits: float32[B, K] that PyTorch gives for them in eval mode.
    """

    images: np.ndarray
    logits: np.ndarray


class State(NamedTuple):
    """What a file holds.

    Attributes:
      arrays: float32 weights and statistics by name, without what wrappers put before the names.
      normalization: mean and std that the net keeps as buffers, None without.
      check: stored images and logits, None without.
    """

    arrays: dict[str, np.ndarray]
    normalization: Normalization | None = None
    check: Check | None = None


def read_state(path: str) -> State:
    """The state_dict in a .safetensors or .npz file, with the images and logits that may lie beside it.

    Raises:
      FileNotFoundError: there is none.
      ValueError: a pickle, a damaged file, another kind of file, or weights that are not finite.
    """
    if not os.path.isfile(path):
        raise FileNotFoundError(f"no checkpoint at {path or 'an empty path'}; expected a .safetensors or .npz file")
    if _is_pickle(path):
        lines = EXPORT.format(path=path, stem=os.path.splitext(path)[0])
        raise ValueError(
            f"{path} is a pickle, which can run any code when it is read, and is not read here; export it where "
            f"PyTorch is, with these five lines, and convert what they write:\n\n{lines}\n"
        )
    return parsed_state(_named_arrays(path))


def _is_pickle(path: str) -> bool:
    if path.lower().endswith(_PICKLES):
        return True
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith(".pkl") for name in archive.namelist())
    with open(path, "rb") as f:
        return f.read(1) == b"\x80"  # the first operation of every pickle since protocol 2


def _named_arrays(path: str) -> dict[str, np.ndarray]:
    if path.lower().endswith(".npz"):
        return read_arrays(path)
    if not path.lower().endswith(".safetensors"):
        raise ValueError(f"expected a .safetensors or .npz file of named arrays, received {path}")
    try:
        return safetensors.numpy.load_file(path)
    except Exception as error:  # of the header, the offsets or a type that NumPy lacks
        raise ValueError(f"cannot read {path}: {error}; expected a .safetensors file of arrays, whole") from error


def read_check(path: str) -> Check:
    """The arrays images and logits of an .npz file.

    Raises:
      ValueError: unreadable, or one of them is missing.
    """
    check = _check(read_arrays(path))
    if check is None:
        raise ValueError(f"expected arrays images and logits in {path}, received neither")
    return check


def _check(arrays: Mapping[str, np.ndarray]) -> Check | None:
    found = [np.asarray(arrays[name], np.float32) for name in Check._fields if name in arrays]
    if len(found) == 1:
        raise ValueError("expected images and logits to check the net with, received one of them alone")
    return Check(*found) if found else None


def parsed_state(arrays: Mapping[str, np.ndarray]) -> State:
    """Sorts named arrays into weights, normalisation, images and logits, and removes wrappers' prefixes.

    Counters of batches are left out. A prefix that all weights share, as of DataParallel's `module.`, is removed.

    Raises:
      ValueError: no weights, weights that are not finite, or images without logits.
    """
    weights, normalizers = {}, {}
    for name, array in arrays.items():
        last = name.rpartition(".")[2]
        if last in _MEANS + _STDS:
            # str: the shortest decimals that mean this float32, 0.4914 and not 0.49140000343322754
            normalizers["mean" if last in _MEANS else "std"] = tuple(
                float(str(each)) for each in np.ravel(array).astype(np.float32)
            )
        elif name not in Check._fields and last != "num_batches_tracked":
            weights[name] = np.asarray(array, np.float32)
    if not weights:
        raise ValueError(f"expected the weights of a net, received {len(arrays)} arrays and no weights among them")
    broken = [name for name, array in weights.items() if not np.isfinite(array).all()]
    if broken:
        raise ValueError(f"expected finite weights, received NaN or infinity in {', '.join(broken[:5])}")
    while (prefix := _shared_prefix(weights)) is not None:
        weights = {name.removeprefix(prefix): array for name, array in weights.items()}
    if len(normalizers) == 1:
        (alone,) = normalizers
        raise ValueError(f"expected mean and std together, received {alone} alone; store both, or neither")
    normalization = (normalizers["mean"], normalizers["std"]) if len(normalizers) == 2 else None
    return State(weights, normalization, _check(arrays))


def _shared_prefix(weights: Mapping[str, np.ndarray]) -> str | None:
    firsts = {name.partition(".")[0] for name in weights if name.count(".") > 1}
    if len(firsts) != 1 or any(name.count(".") < 2 for name in weights):
        return None
    return f"{firsts.pop()}."
