"""The papers' figures of a set of trained nets: what each needs, its numbers and its drawing."""

import functools
import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from jeat_tf import figures
from jeat_tf.config import build
from jeat_tf.config.draw import DrawConfig
from jeat_tf.core import files
from jeat_tf.core.balls import ball_of
from jeat_tf.core.checks import all_at_once
from jeat_tf.core.files import read_arrays
from jeat_tf.core.records import plain, stored
from jeat_tf.core.seeds import fold_in
from jeat_tf.core.types import Draw, Images, ImagesAndLabels, Seed
from jeat_tf.data.datasets import as_floats
from jeat_tf.methods.energy_changes import EnergyRecord
from jeat_tf.metrics.neighbours import nearest_l2
from jeat_tf.models.files import net_file, weights_sha256
from jeat_tf.runs.results import ATTACKS, AttackResults, AttackRow
from jeat_tf.runs.samples import SampleFolder
from jeat_tf.runs.trained import check_fit, data_of_run, output_folder, run_config
from jeat_tf.samplers.generation import generate
from jeat_tf.samplers.stages import RECIPES
from jeat_tf.samplers.starts import STARTS
from jeat_tf.samplers.values import SGLD

_MOST_CLASSES = 10  # shown unless said: as many as the papers' data sets have
_NEIGHBOURS = 8  # training images beside a generated one
_READINGS = 20  # of a chain's gradients, at least
_RECIPE = "chain"  # of fresh chains, where a run has no stored samples
_QUANTITIES = (
    "accuracy",
    "adv_accuracy",
    "val_accuracy",
    "val_robust_accuracy",
    "cross_entropy",
    "gap",
    "energy_pos",
    "energy_neg",
    "gradient_norm",
    "saturation",
)


class Missing(ValueError):
    """What a figure shows is not there."""


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


class _Generated(NamedTuple):
    """Images of one net: float32[K * n, H, W, C], n for each class shown, class by class; how they were drawn."""

    images: np.ndarray
    protocol: dict[str, Any]


class Scene:
    """The nets, their data, and what several figures share."""

    def __init__(self, config: DrawConfig):
        self.config = config
        self.paths = _paths(config.models)
        all_at_once(*(functools.partial(net_file, path) for path in self.paths.values()))
        self.files = {name: net_file(path) for name, path in self.paths.items()}
        runs = {name: run_config(path) for name, path in self.paths.items()}
        wanted = {name: data_of_run(config.data, run) for name, run in runs.items()}
        sets = {data.dataset: data for data in wanted.values() if data.dataset}
        if len(sets) > 1:
            named = ", ".join(f"{data.dataset} of {name}" for name, data in wanted.items())
            raise ValueError(f"expected nets of one data set, received {named}; say which by --dataset")
        self.data = build.dataset(next(iter(sets.values()), config.data))
        read = {name: config.origin.read(path) for name, path in self.paths.items()}
        self.nets = {name: one.net for name, one in read.items()}
        for net in self.nets.values():
            check_fit(net, self.data.name, self.data.image_shape, self.data.num_classes)
        self.identities = {
            name: {
                "model": self.files[name],
                "weights_sha256": weights_sha256(one.net),
                "changes": list(one.changes),
            }
            for name, one in read.items()
        }
        self.classes = _classes(config.classes, self.data.num_classes)
        self.labels = np.repeat(self.classes, config.num_images)

    @functools.cached_property
    def training(self) -> ImagesAndLabels:
        """The whole training split: nets that held out different images of it are shown beside each other."""
        images, labels = self.data.arrays("train")
        return as_floats(images), labels

    @functools.cached_property
    def generated(self) -> dict[str, _Generated]:
        """Images of each net: its run's stored samples, or else fresh chains."""
        return {name: self._generated(name) for name in self.nets}

    @functools.cached_property
    def _begin(self) -> Images:
        """Where fresh chains begin, the same for all nets."""
        return self.start(RECIPES[_RECIPE].start.word)(tf.constant(self.labels), fold_in(self.seed(0), 0))

    def beside(self, name: str, file: str) -> str:
        """Where a file of that net's run would be."""
        return output_folder(self.paths[name], "", file)

    def start(self, name: str) -> Draw:
        layer = STARTS[name]().layer(self.data.image_shape, self.data.num_classes)  # type: ignore[attr-defined]
        if not layer.adapted:
            layer.adapt(*self.training)
        return layer

    def seed(self, purpose: int) -> Seed:
        """The same for all nets: they are compared from the same starts and by the same noise."""
        return fold_in(tf.constant([self.config.seed, 10]), purpose)

    def grid(self, images: dict[str, np.ndarray]) -> figures.ClassGrid:
        names = self.data.class_names
        count = self.config.num_images
        return figures.class_grid(images, self.labels, per_class=count, classes=self.classes, class_names=names)

    def _generated(self, name: str) -> _Generated:
        try:
            return self._stored(name)
        except ValueError as reason:  # none, of another net, or too few: the record says which
            recipe = RECIPES[_RECIPE]
            protocol = {
                "source": "fresh chains",
                "instead_of_stored_samples": str(reason),
                "recipe": _RECIPE,
                "start": recipe.start.word,
                "stages": [stage.words() for stage in recipe.stages],
                "steps": sum(stage.steps for stage in recipe.stages),
                "seed": self.config.seed,
            }
            labels, begin = tf.constant(self.labels), self._begin

            @tf.function(autograph=False)
            def run() -> Images:
                return generate(
                    self.nets[name], labels, seed=self.seed(0), start=lambda *_: begin, stages=recipe.stages
                )

            # Traced in so many words: TensorFlow warns of one function that is traced anew for each net.
            return _Generated(run.get_concrete_function()().numpy(), protocol)

    def _stored(self, name: str) -> _Generated:
        samples = SampleFolder(self.beside(name, "samples"))
        identity = samples.identity()
        if identity.weights_sha256 != self.identities[name]["weights_sha256"]:
            raise ValueError(f"{samples.path} holds samples of other weights")
        if identity.classes == "none":
            raise ValueError(f"{samples.path} holds samples that were drawn without classes")
        count = self.config.num_images
        found: dict[int, list[np.ndarray]] = {k: [] for k in self.classes}
        for shard in samples.shards():
            for k, of_class in found.items():
                of_class.extend(shard.images[shard.labels == k][: count - len(of_class)])
        few = {k: len(of_class) for k, of_class in found.items() if len(of_class) < count}
        if few:
            raise ValueError(f"{samples.path} holds fewer than {count} images of some classes: {few}")
        # Chains that are not clipped may leave [0, 1].
        images = np.clip(np.concatenate([np.stack(of_class) for of_class in found.values()]), 0, 1)
        return _Generated(images, {"source": "stored samples", "folder": samples.path, **plain(identity)})


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
    histories = {name: read_json(scene.beside(name, "history.json"), list) for name in scene.nets}
    runs = {name: entries for name, entries in histories.items() if entries}
    measured = {name: scene.beside(name, os.path.join("evaluation", ATTACKS)) for name in scene.nets}
    results = {name: stored(AttackResults, path) for name, path in measured.items()}
    curves = list(_robustness(scene, {name: found for name, found in results.items() if found}))
    if not runs and not curves:
        raise Missing("no run has a history.json, or an evaluation with one attack at several --epsilon")
    if runs:
        known = {key for entries in runs.values() for entry in entries for key in entry}
        shown = [quantity for quantity in _QUANTITIES if quantity in known]
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
            if found.weights_sha256 != scene.identities[name]["weights_sha256"]:
                continue  # of a net that was trained further, or anew
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
        drawing = figures.draw_robustness_curves(balls, right, num_images=settings["num_images"], attack=attack)
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
    settings |= {"label": int(label), "class": data.class_names[label]}
    for quantity, symbol in (("joint_energy", "E(x, y)"), ("marginal_energy", "E(x)")):
        drawing = figures.draw_energy_contours(landscape, quantity)  # type: ignore[arg-type]
        shows = f"{symbol} on a plane through a test image, in two random directions (JEAT Fig. 2)"
        arrays = landscape._asdict() | {"image": image}
        yield Drawn(f"contours_{quantity}", drawing, arrays, shows, scene.nets, settings)


def _neighbours(scene: Scene) -> Iterator[Drawn]:
    training, _ = scene.training
    for name, (images, protocol) in scene.generated.items():
        firsts = images[:: scene.config.num_images]  # of each class; none is chosen for its looks
        found = nearest_l2(firsts, training, k=min(_NEIGHBOURS, len(training)))
        grid = figures.neighbours(firsts, training, **found._asdict())
        measure = "l2 over pixels in [0, 1]"
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


# Those that need something stored first: what is missing is said before chains take their time.
FIGURES: dict[str, Callable[[Scene], Iterator[Drawn]]] = {
    "changes": _changes,
    "curves": _curves,
    "contours": _contours,
    "neighbours": _neighbours,
    "grids": _grids,
    "equations": _equations,
    "gradients": _gradients,
}


def _paths(models: str) -> dict[str, str]:
    """Where each net is, by name."""
    paths: dict[str, str] = {}
    for part in (part.strip() for part in models.split(",")):
        if not part:
            continue
        name, equals, path = part.partition("=")
        if not equals:
            folder = part if os.path.isdir(part) else os.path.dirname(os.path.abspath(part))
            name, path = os.path.basename(os.path.abspath(folder)), part
        if not name or os.path.basename(name) != name:
            raise ValueError(f"expected a name that a file can have in name=path, received {part}")
        if name in paths:
            raise ValueError(f'expected one net of each name, received "{name}" twice; write --models=name=path,...')
        paths[name] = path
    if not paths:
        raise ValueError("expected nets, received none; set --models=name=path,name=path")
    return paths


def _classes(text: str, num_classes: int) -> list[int]:
    if not text.strip():
        return list(range(min(num_classes, _MOST_CLASSES)))
    try:
        chosen = [int(part) for part in text.split(",")]
    except ValueError:
        raise ValueError(f"expected --classes such as 3,5, received {text}") from None
    if len(set(chosen)) < len(chosen) or not all(0 <= k < num_classes for k in chosen):
        raise ValueError(f"expected different --classes in 0..{num_classes - 1}, received {text}")
    return chosen


def _stride(num_steps: int) -> int:
    """Steps between readings: as many as leave enough of them and end with the chain."""
    return max(n for n in range(1, max(num_steps // _READINGS, 1) + 1) if num_steps % n == 0)


def _epsilon(row: AttackRow) -> float:
    return row.epsilon or 0.0


def read_json(path: str, kind: type) -> Any:
    """What a JSON file holds, None where there is no file."""
    if not os.path.isfile(path):
        return None
    return files.read_json(path, kind)


def _energy_record(path: str) -> EnergyRecord:
    try:
        return EnergyRecord(**read_arrays(path))
    except (OSError, ValueError, TypeError) as error:
        raise ValueError(f"cannot read the changes of energy in {path}: {error.__cause__ or error}") from error
