"""Whether generated images are copies: their nearest training images, and a test against held-out ones."""

import dataclasses

import numpy as np

from jeat_tf import figures
from jeat_tf.config.evaluate import EvaluateConfig
from jeat_tf.data.labelled import Pixels
from jeat_tf.evaluate.image_sets import Generated
from jeat_tf.metrics import neighbours, through
from jeat_tf.runs.generation_results import Nearest, NearestTrainingImages

_MEMORISED = 1_000  # generated images whose nearest training images are looked for
_CANDIDATES = 200  # nearest in l2, among which the nearest by SSIM is looked for where there are many images
_MEASURES = {"l2": "l2 over pixels in [0, 1]", "ssim": "1 - SSIM", "features": "l2 over features"}


def nearest_training_images(
    config: EvaluateConfig, seen: through.Seen, reference: through.Seen, compared: Generated, figure: str
) -> NearestTrainingImages:
    """Whether samples are nearer to training images than held-out images are; and Fig. 7 of JEAT for a few."""
    real, held_out = compared.real, compared.held_out
    generated = seen.images[:_MEMORISED]
    found = NearestTrainingImages(generated=len(generated), training=len(real))
    if held_out is not None:
        chosen = np.random.default_rng(config.seed).permutation(len(held_out))[:_MEMORISED]
        copies = _memorisation(generated, real, held_out[chosen])
        found = dataclasses.replace(found, held_out=len(chosen), memorisation_l2=copies)
    shown = generated[: config.generation.neighbours]
    if not len(shown):
        return found
    known = len(reference.features)
    in_features = neighbours.nearest_l2(seen.features[: len(shown)], reference.features, k=5)
    by = {
        "l2": _nearest_l2(shown, real, k=5),
        "ssim": _nearest_ssim(shown, real),
        "features": in_features._replace(indices=reference.places[in_features.indices]),
    }
    among = {
        "l2": "all",
        "ssim": f"the {_CANDIDATES} nearest in l2" if len(real) > through.KEPT else "all",
        "features": f"{known} at random" if known < len(real) else "all",
    }
    nearest: dict[str, Nearest] = {}
    for measure, near in by.items():
        used, places = np.unique(near.indices, return_inverse=True)
        places = places.reshape(near.indices.shape)
        pairs = figures.neighbours(shown, real[used], indices=places, distances=near.distances)
        pairs = pairs._replace(indices=near.indices)
        drawn = figures.draw_neighbours(pairs, measure=_MEASURES[measure])
        figures.save_figure(f"{figure}_{measure}", drawn, **pairs._asdict())
        distances = tuple(near.distances[:, 0].tolist())
        nearest[measure] = Nearest(among=among[measure], distances=distances)
    return dataclasses.replace(
        found, nearest_l2=nearest["l2"], nearest_ssim=nearest["ssim"], nearest_features=nearest["features"]
    )


def _memorisation(generated: np.ndarray, real: Pixels, held_out: np.ndarray) -> neighbours.Memorisation:
    """`neighbours.memorisation` of real images that are not all floats at once."""
    near = [_nearest_l2(queries, real, k=1).indices for queries in (generated, held_out)]
    # The nearest image of each is among these; two more, because it may be the same one for all.
    used = np.union1d(np.concatenate(near), [0, 1])
    return neighbours.memorisation(generated, real[used], held_out)


def _nearest_l2(queries: np.ndarray, real: Pixels, *, k: int) -> neighbours.Neighbours:
    """`neighbours.nearest_l2` of real images that are floats block by block."""
    parts = []
    for i in range(0, len(real), through.KEPT):
        block = real[i : i + through.KEPT]
        part = neighbours.nearest_l2(queries, block, k=min(k, len(block)))
        parts.append(part._replace(indices=part.indices + i))
    indices, distances = (np.concatenate(of_all, axis=1) for of_all in zip(*parts, strict=True))
    order = np.argsort(distances, axis=1, kind="stable")[:, :k]
    return neighbours.Neighbours(
        np.take_along_axis(indices, order, axis=1), np.take_along_axis(distances, order, axis=1)
    )


def _nearest_ssim(shown: np.ndarray, real: Pixels) -> neighbours.Neighbours:
    if len(real) <= through.KEPT:
        return neighbours.nearest_ssim(shown, real[:], k=5)
    candidates = _nearest_l2(shown, real, k=_CANDIDATES).indices
    return neighbours.nearest_ssim_among(shown, real, candidates, k=5)
