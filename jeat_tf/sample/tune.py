"""`sample --tune`: the step, the number of steps and the energy that draw a net best, on validation images."""

import itertools
import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from jeat_tf.attacks.surrogates import inference
from jeat_tf.config.sample import SampleConfig
from jeat_tf.core.seeds import fold_in
from jeat_tf.core.types import Draw
from jeat_tf.data.datasets import as_floats, split_names
from jeat_tf.metrics.features import classifier_features
from jeat_tf.metrics.frechet import frechet_distance
from jeat_tf.models.files import weights_sha256
from jeat_tf.runs.sampling import Trial, Tuning, read_tuning
from jeat_tf.runs.second_nets import Opened, open_second_of
from jeat_tf.runs.trained import Trained
from jeat_tf.sample.plan import Plan
from jeat_tf.samplers import walks
from jeat_tf.samplers.generation import is_flow
from jeat_tf.samplers.stages import Stage
from jeat_tf.samplers.values import PIXELS, SGLD, NormalizedDescent

STEPS = (10, 25, 50, 100, 200)
ENERGIES = ("joint", "cross_entropy")
_NOISE = SGLD().noise_std
_SIZES = (0.25, 0.05, 0.01, 1.0, 0.002)  # of gradients, JEM's first
_LENGTHS = (0.0125, 0.025, 0.00625, 0.05, 0.003)  # root-mean-square change of a pixel; DAT's 0.1 on 8x8 digits first
_LEAST = 20  # real images, below which a distance says nothing


class Setting(NamedTuple):
    """What one chain is tried with: whether its steps have one length, the step size, and the energy."""

    normalized: bool
    step_size: float
    energy: str

    def stage(self, steps: int) -> Stage:
        """The stage of that many steps."""
        chain = NormalizedDescent if self.normalized else SGLD
        return Stage(chain(steps, self.step_size), self.energy)


def settings(image_shape: Sequence[int], energies: Sequence[str] = ENERGIES) -> Iterator[Setting]:
    """Every chain that a budget may be spent on, the likeliest first, for images (H, W, C)."""
    scale = float(np.prod(image_shape)) ** 0.5
    for length, size in zip(_LENGTHS, _SIZES, strict=True):
        for (normalized, step_size), energy in itertools.product(
            ((True, round(length * scale, 4)), (False, size)), energies
        ):
            yield Setting(normalized, step_size, energy)


def check_tuning(config: SampleConfig, plan: Plan) -> None:
    """Refuses settings of tuning that cannot mean anything.

    Raises:
      ValueError: settings that belong together and are not, tuning on test images, or of exact samples.
    """
    if config.tune is None:
        for name in ("tune_features", "tune_split"):
            if getattr(config, name):
                raise ValueError(f"--{name} has no effect without --tune. Remove it")
        return
    if config.stages:
        raise ValueError("--tune chooses what is done to the images, and --stages says it: remove one of the two")
    if plan.name == "flow":
        raise ValueError("--tune has no effect on exact samples of a flow: nothing is left to choose. Remove it")
    if not config.tune_features:
        raise ValueError(
            "expected --tune_features with --tune, a .keras classifier whose features say what is near to real "
            "images; take another one than --judge, which would otherwise rate what was chosen to please it"
        )
    if re.search(r"\btest\b", config.tune_split):
        raise ValueError(
            f"expected --tune_split without test images, received {config.tune_split}: what was tuned on them cannot "
            "be measured on them; leave it out for the run's validation images, or say e.g. train[90%:]"
        )


def check_images(config: SampleConfig, trained: Trained) -> None:
    """Refuses a feature net or a split that cannot be tuned by, as `tune` does."""
    _real_images(config, trained)
    _judge(config, trained)


def to_be_tuned(plan: Plan) -> Plan:
    """The plan with a stage of classes in the place of what tuning will choose."""
    return plan._replace(stages=(Stage(NormalizedDescent()),))


def tune(config: SampleConfig, trained: Trained, start: Draw, began: str, labels: np.ndarray, folder: str) -> Tuning:
    """Tries settings of the chain, as many as the budget allows.

    The same chain is looked at after each number of `STEPS`: a trial is an energy, a step size and a number of steps.
    Its score is the Frechet classifier distance of `--tune_images` images to the validation images. A folder that
    already has a tuning with the same settings gives its result.

    Args:
      config: settings of the verb.
      trained: the net and its data.
      start: (labels, seed) -> first images.
      began: description of the start.
      labels: the requested classes, of which the first are tried.
      folder: of the samples.

    Raises:
      ValueError: no validation images, or a feature net that does not fit or is the net itself.
    """
    assert config.tune is not None  # the caller looked
    split, real = _real_images(config, trained)
    judge, known = _judge(config, trained)
    labels = np.resize(labels, config.tune_images)
    asked = Tuning(
        budget=config.tune,
        images=len(labels),
        seed=config.seed,
        start=began,
        split=split,
        real_images=len(real),
        features=known.model,
        features_sha256=known.weights_sha256,
        features_accuracy=known.accuracy,
        features_changes=known.changes,
        weights_sha256=weights_sha256(trained.net),
        start_distance=0.0,
        trials=(),
    )
    stored = read_tuning(folder) if config.resume else None
    if stored is not None and stored.same(asked):
        return stored
    reference = classifier_features(judge, real)
    seed = fold_in(tf.constant([config.seed, 12]), 0)
    first = start(tf.constant(labels), fold_in(seed, 0))
    trials: list[Trial] = []
    energies = ENERGIES[:1] if is_flow(trained.net) else ENERGIES
    chains = _Chains(trained.net, tf.constant(labels))
    with tqdm(total=config.tune, desc="tuning", unit="trial", disable=None) as bar:
        for setting in settings(trained.data.image_shape, energies):
            reached = zip(STEPS, chains.run(setting, first, seed), strict=True)
            for steps, images in itertools.islice(reached, config.tune - len(trials)):
                trials.append(Trial(stage=setting.stage(steps).words(), distance=_distance(judge, images, reference)))
                bar.update()
            if len(trials) == config.tune:
                break
    beginning = _distance(judge, np.asarray(first), reference)
    return Tuning(**{**vars(asked), "trials": tuple(trials), "start_distance": beginning})


class _Chains:
    """Chains of a net, compiled once for each walk and energy, whatever their step size."""

    def __init__(self, net: keras.Model, labels: tf.Tensor):
        self._net, self._labels = net, labels
        self._compiled: dict[tuple[bool, str], Any] = {}

    def run(self, setting: Setting, x: tf.Tensor, seed: tf.Tensor) -> Iterator[np.ndarray]:
        """The images after each number of `STEPS`."""
        key = setting.normalized, setting.energy
        if key not in self._compiled:
            self._compiled[key] = self._compile(*key)
        advance = self._compiled[key]
        done = 0
        for stop in STEPS:
            x = advance(x, seed, tf.constant(setting.step_size), tf.constant(done), tf.constant(stop))
            yield x.numpy()
            done = stop

    def _compile(self, normalized: bool, energy: str) -> Any:
        surrogate = Stage(SGLD(), energy).surrogate()

        @tf.function(autograph=False)
        def advance(x: tf.Tensor, seed: tf.Tensor, size: tf.Tensor, start: tf.Tensor, stop: tf.Tensor) -> tf.Tensor:
            walk = (
                walks.normalized(step_size=size, bounds=PIXELS)
                if normalized
                else walks.langevin(step_size=size, noise_std=_NOISE, bounds=PIXELS)
            )
            energy_fn = surrogate(inference(self._net), self._labels)
            return walk.advance(energy_fn, x, (), seed=seed, start=start, stop=stop)[0]

        return advance


def _distance(judge: keras.Model, images: np.ndarray, reference: np.ndarray) -> float | None:
    if not np.isfinite(images).all():
        return None
    return float(frechet_distance(classifier_features(judge, images), reference))


def _judge(config: SampleConfig, trained: Trained) -> Opened:
    judge = open_second_of(config.tune_features, "tune_features", trained.data)
    if judge.found.weights_sha256 == weights_sha256(trained.net):
        raise ValueError(
            f"expected --tune_features of another net, received the net itself, {config.tune_features}, whose features "
            "its own chains fool; train one with another seed"
        )
    return judge


def _real_images(config: SampleConfig, trained: Trained) -> tuple[str, np.ndarray]:
    """Name of the split that is tuned on, and its images."""
    split, run = config.tune_split, trained.config
    if not split:
        percent = run.stream.validation_percent if run else 0
        held_out = split_names(trained.data, percent, run.run.seed if run else 0)[1]
        if held_out is None:
            raise ValueError(
                "expected a run that held out validation images to tune on, received none; train with "
                "--validation_percent=10, or say which images by --tune_split, e.g. train[90%:]"
            )
        split = held_out
    images = as_floats(trained.data.arrays(split)[0])
    if len(images) < _LEAST:
        raise ValueError(f"expected at least {_LEAST} images to tune on in {split}, received {len(images)}")
    return split, images
