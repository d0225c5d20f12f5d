"""The nets that figures are of, their data, and what several figures share."""

import functools
import os
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from jeat_tf import figures
from jeat_tf.config import build
from jeat_tf.config.draw import DrawConfig
from jeat_tf.core.checks import all_at_once
from jeat_tf.core.records import plain
from jeat_tf.core.seeds import fold_in
from jeat_tf.core.types import Draw, Images, ImagesAndLabels, Seed
from jeat_tf.data.datasets import as_floats
from jeat_tf.models.files import net_file, weights_sha256
from jeat_tf.models.flow import flow_samples
from jeat_tf.runs.drawings import DrawnNet
from jeat_tf.runs.fit import check_fit
from jeat_tf.runs.samples import SampleFolder
from jeat_tf.runs.trained import data_of_run, output_folder, run_config
from jeat_tf.samplers.generation import generate
from jeat_tf.samplers.stages import named_recipe
from jeat_tf.samplers.starts import STARTS, Exact, Start

_MOST_CLASSES = 10  # shown by default: as many as the papers' data sets have
_RECIPE = "normalized"  # of a net whose method is not known


class Generated(NamedTuple):
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
        self._recipes = {
            name: named_recipe(_RECIPE) if run is None else run.method.drawing() for name, run in runs.items()
        }
        read = {name: config.origin.read(path) for name, path in self.paths.items()}
        self.nets = {name: one.net for name, one in read.items()}
        for net in self.nets.values():
            check_fit(net, self.data.name, self.data.image_shape, self.data.num_classes)
        self.identities = {
            name: DrawnNet(model=self.files[name], weights_sha256=weights_sha256(one.net), changes=tuple(one.changes))
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
    def generated(self) -> dict[str, Generated]:
        """Images of each net: its run's stored samples, or else images drawn as its method's paper draws."""
        return {name: self._generated(name) for name in self.nets}

    def beside(self, name: str, file: str) -> str:
        """Where a file of that net's run would be."""
        return output_folder(self.paths[name], "", file)

    def start(self, start: Start | str) -> Draw:
        """(labels, seed) -> first images of a start, or of a name; of the training split where it depends on data."""
        if isinstance(start, str):
            start = STARTS[start]()  # type: ignore[assignment]
        layer = start.layer(self.data.image_shape, self.data.num_classes)  # type: ignore[union-attr]
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

    def _generated(self, name: str) -> Generated:
        try:
            return self._stored(name)
        except ValueError as reason:  # none, of another net, or too few: the record says which
            recipe = self._recipes[name]
            protocol = {
                "source": "drawn for this figure",
                "instead_of_stored_samples": str(reason),
                "rule": recipe.source,
                "start": repr(recipe.start),
                "stages": [stage.words() for stage in recipe.stages],
                "steps": sum(stage.steps for stage in recipe.stages),
                "seed": self.config.seed,
            }
            labels, net = tf.constant(self.labels), self.nets[name]
            # Only a flow's recipe has exact samples as its start.
            first = flow_samples(net, recipe.start.temperature) if isinstance(recipe.start, Exact) else None
            begin = (first or self.start(recipe.start))(labels, fold_in(self.seed(0), 0))

            @tf.function(autograph=False)
            def run() -> Images:
                return generate(net, labels, seed=self.seed(0), start=lambda *_: begin, stages=recipe.stages)

            # Traced explicitly: TensorFlow warns of one function that is traced again for each net.
            return Generated(_visible(run.get_concrete_function()().numpy()), protocol)

    def _stored(self, name: str) -> Generated:
        samples = SampleFolder(self.beside(name, "samples"))
        identity = samples.identity()
        if identity.weights_sha256 != self.identities[name].weights_sha256:
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
        images = np.concatenate([np.stack(of_class) for of_class in found.values()])
        return Generated(_visible(images), {"source": "stored samples", "folder": samples.path, **plain(identity)})


def _visible(images: np.ndarray) -> np.ndarray:
    """In [0, 1], which chains that are not clipped may leave."""
    return np.clip(images, 0, 1)


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
