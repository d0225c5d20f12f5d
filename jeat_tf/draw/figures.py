"""The papers' figures of a set of trained nets: what each needs, its numbers and its drawing."""

import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np

from jeat_tf import figures
from jeat_tf.core.balls import ball_of
from jeat_tf.core.files import read_arrays
from jeat_tf.core.records import stored
from jeat_tf.data.datasets import as_floats
from jeat_tf.draw.scene import Scene
from jeat_tf.figures.curves import training_quantities
from jeat_tf.methods.energy_changes import EnergyRecord
from jeat_tf.metrics.neighbours import nearest_l2, nearest_ssim_among
from jeat_tf.runs.results import ATTACKS, AttackResults, AttackRow
from jeat_tf.runs.trained import run_config
from jeat_tf.runs.training import read_history
from jeat_tf.samplers.values import SGLD

_NEIGHBOURS = 8  # training images beside a generated one
_CANDIDATES = 200  # nearest in l2, among which the nearest by SSIM are looked for
_READINGS = 20  # of a chain's gradients, at least


class Missing(ValueError):
    """What a figure would show does not exist."""


class Drawn(NamedTuple):
    """One figure.

    Attributes:
      name: of its files, without suffix.
      figure: the drawing, of a `figures.draw_...` function.
      arrays: its numbers.
      shows: what it shows, with its place in the paper.
      models: names of the nets in it.
      settings: what else its numbers depend on.
    """

    name: str
    figure: Any
    arrays: dict[str, np.ndarray]
    shows: str
    models: Iterable[str]
    settings: dict[str, Any]


def _changes(scene: Scene) -> Iterator[Drawn]:
    files = {name: scene.beside(name, "energy_changes.npz") for name in scene.nets}
    records = {name: _energy_record(path) for name, path in files.items() if os.path.isfile(path)}
    runs = {name: figures.changes_by_epoch(record) for name, record in records.items() if len(record.epoch)}
    if not runs:
        raise Missing("no run has recorded changes of energy; train with --energy_changes_every=10")
    arrays = {f"{name}_{field}": array for name, run in runs.items() for field, array in run._asdict().items()}
    images = {name: records[name].delta_x_joint_energy.shape[1] for name in runs}
    shows = "how attack and update change E(x, y) and E(x) during training (JEAT eq. 15; Fig. 3 and 9 to 11)"
    yield Drawn("energy_changes", figures.draw_energy_changes(runs), arrays, shows, runs, {"images": images})


def _curves(scene: Scene) -> Iterator[Drawn]:
    files = {name: scene.beside(name, "history.json") for name in scene.nets}
    histories = {name: read_history(os.path.dirname(path)) for name, path in files.items() if os.path.isfile(path)}
    runs = {name: entries for name, entries in histories.items() if entries}
    measured = {name: scene.beside(name, os.path.join("evaluation", ATTACKS)) for name in scene.nets}
    results = {name: stored(AttackResults, path) for name, path in measured.items()}
    curves = list(_robustness(scene, {name: found for name, found in results.items() if found}))
    if not runs and not curves:
        raise Missing("no run has a history.json, or an evaluation with one attack at several --epsilon")
    if runs:
        shown = training_quantities(runs)
        arrays = {f"{name}_epoch": np.array([entry["epoch"] for entry in entries]) for name, entries in runs.items()}
        for name, entries in runs.items():
            for quantity in shown:  # NaN in epochs that did not measure it
                arrays[f"{name}_{quantity}"] = np.array([entry.get(quantity, np.nan) for entry in entries])
        drawing = figures.draw_training_curves(runs, shown)
        yield Drawn("training_curves", drawing, arrays, "logs of training over epochs", runs, {"quantities": shown})
    yield from curves


def _robustness(scene: Scene, results: dict[str, AttackResults]) -> Iterator[Drawn]:
    """A figure for each attack that the evaluations have at several radii, of nets attacked alike."""
    attacks = dict.fromkeys(row.attack for found in results.values() for row in found.results)
    for attack in attacks:
        counts: dict[str, np.ndarray] = {}
        alike: dict[str, dict[str, Any]] = {}
        for name, found in results.items():
            if found.weights_sha256 != scene.identities[name].weights_sha256:
                continue  # an evaluation of earlier weights of this net
            if "," in found.norm:
                continue  # one radius for each of several norms
            rows = [row for row in found.results if row.attack == attack and row.in_ball]
            if len(rows) < 2:
                continue
            rows = sorted([row for row in found.results if row.attack == "clean"] + rows, key=_epsilon)
            counts[name] = np.array([row.correct for row in rows])
            alike[name] = {
                "norm": found.norm,
                "epsilons": [row.epsilon for row in rows],
                "num_images": rows[0].images,
                "images": found.images,
                "data_sha256": found.data_sha256,
                "refine_steps": found.refine_steps,
                "protocols": [row.protocol for row in rows],
            }
        if not counts:
            continue
        settings = next(iter(alike.values()))
        right = {name: count for name, count in counts.items() if alike[name] == settings}
        balls = [ball_of(settings["norm"], epsilon) for epsilon in settings["epsilons"]]
        known = [config.ball for name in right if (config := run_config(scene.paths[name])) is not None]
        drawing = figures.draw_robustness_curves(
            balls, right, num_images=settings["num_images"], attack=attack, trained=known
        )
        arrays = {f"{name}_right": count for name, count in right.items()}
        arrays |= {"epsilon": np.array(settings["epsilons"]), "num_images": np.array(settings["num_images"])}
        left_out = [name for name in counts if name not in right]
        settings = {"attack": attack} | settings | {"attacked_otherwise": left_out}
        shows = f"accuracy under {attack} over epsilon, with 95% Wilson intervals"
        yield Drawn(f"robustness_{attack.replace(' ', '_')}", drawing, arrays, shows, right, settings)


def _contours(scene: Scene) -> Iterator[Drawn]:
    config, data = scene.config, scene.data
    try:
        size = data.size(config.split)
    except ValueError as error:
        raise Missing(f"no image to draw around: {error}") from error
    if not 0 <= config.image < size:
        raise ValueError(f"expected --image in 0..{size - 1}, the images of {config.split}, received {config.image}")
    image, label = next(data.split(config.split).skip(config.image).take(1).as_numpy_iterator())
    image = as_floats(image)
    landscape = figures.energy_contours(
        scene.nets, image, int(label), radius=config.radius, num_points=config.points, seed=scene.seed(1)
    )
    settings = {name: getattr(config, name) for name in ("split", "image", "radius", "points")}
    class_name = data.class_names[label]
    settings |= {"label": int(label), "class": class_name}
    for quantity, symbol in (("joint_energy", "E(x, y)"), ("marginal_energy", "E(x)")):
        drawing = figures.draw_energy_contours(
            landscape,
            quantity,  # type: ignore[arg-type]
            image=image,
            name=f"class {class_name}",
        )
        shows = f"{symbol} on a plane through a test image, in two random directions (JEAT Fig. 2)"
        arrays = landscape._asdict() | {"image": image}
        yield Drawn(f"contours_{quantity}", drawing, arrays, shows, scene.nets, settings)


def _neighbours(scene: Scene) -> Iterator[Drawn]:
    training, _ = scene.training
    for name, (images, protocol) in scene.generated.items():
        firsts = images[:: scene.config.num_images]  # of each class; none is chosen for its looks
        candidates = nearest_l2(firsts, training, k=min(_CANDIDATES, len(training))).indices
        found = nearest_ssim_among(firsts, training, candidates, k=min(_NEIGHBOURS, len(training)))
        grid = figures.neighbours(firsts, training, **found._asdict())
        measure = f"1 - SSIM, among the {candidates.shape[1]} nearest in l2"
        drawing = figures.draw_neighbours(grid, measure=measure)
        settings = {"measure": measure, "training_split": "train", "classes": scene.classes, "generated": protocol}
        shows = "the first generated image of each class and the training images nearest to it (JEAT Fig. 7)"
        yield Drawn(f"neighbours_{name}", drawing, grid._asdict(), shows, [name], settings)


def _grids(scene: Scene) -> Iterator[Drawn]:
    titles = {
        name: f"{name} ({protocol['start']}, {protocol['steps']} steps)"
        for name, (_, protocol) in scene.generated.items()
    }
    grid = scene.grid({titles[name]: images for name, (images, _) in scene.generated.items()})
    settings = {name: protocol for name, (_, protocol) in scene.generated.items()}
    shows = "generated images of each class, the first drawn (JEAT Fig. 6 and 8)"
    yield Drawn("grids", figures.draw_class_grid(grid), grid._asdict(), shows, scene.nets, {"generated": settings})


def _equations(scene: Scene) -> Iterator[Drawn]:
    config = scene.config
    chain = SGLD(config.chain_steps)
    start = scene.start(config.start)
    settings = {"start": config.start} | {"chain": repr(chain)}
    shows = "images down E(x, y) - E(x), eq. 16, and down E(x, y), eq. 17, from the same starts (JEAT Fig. 4 and 5)"
    for name, net in scene.nets.items():
        images = figures.paired_samples(net, scene.labels, start=start, sampler=chain, seed=scene.seed(2))
        grid = scene.grid(images)
        yield Drawn(f"equations_{name}", figures.draw_class_grid(grid), grid._asdict(), shows, [name], settings)


def _gradients(scene: Scene) -> Iterator[Drawn]:
    chain = SGLD(scene.config.chain_steps)
    for begin in ("class_gaussian", "uniform"):
        norms = figures.gradient_norms(
            scene.nets,
            scene.labels,
            start=scene.start(begin),
            walk=chain.walk(),
            num_steps=chain.steps,
            every=_stride(chain.steps),
            seed=scene.seed(3),
        )
        shows = "norms of the gradients of E(x, y) and E(x) along chains down E(x, y) - E(x) (JEAT Fig. 12 and 13)"
        settings = {"start": begin, "chains": len(scene.labels)} | {"chain": repr(chain)}
        yield Drawn(
            f"gradients_{begin}", figures.draw_gradient_norms(norms), norms._asdict(), shows, scene.nets, settings
        )


# Kinds that need stored files come first: what is missing is reported before chains take their time.
FIGURES: dict[str, Callable[[Scene], Iterator[Drawn]]] = {
    "changes": _changes,
    "curves": _curves,
    "contours": _contours,
    "neighbours": _neighbours,
    "grids": _grids,
    "equations": _equations,
    "gradients": _gradients,
}


def _stride(num_steps: int) -> int:
    """Steps between readings: as many as leave enough of them and end with the chain."""
    return max(n for n in range(1, max(num_steps // _READINGS, 1) + 1) if num_steps % n == 0)


def _epsilon(row: AttackRow) -> float:
    return row.epsilon or 0.0


def _energy_record(path: str) -> EnergyRecord:
    try:
        return EnergyRecord(**read_arrays(path))
    except (OSError, ValueError, TypeError) as error:
        raise ValueError(f"cannot read the changes of energy in {path}: {error.__cause__ or error}") from error
