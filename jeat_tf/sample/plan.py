"""What is drawn: where images begin, what is done to them, for which classes, and how that is written down."""

import dataclasses
import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from jeat_tf.config.sample import SampleConfig
from jeat_tf.config.train import TrainConfig
from jeat_tf.core.checks import all_at_once
from jeat_tf.core.files import check_exists
from jeat_tf.core.flat import chosen
from jeat_tf.core.types import Draw, ImagesAndLabels
from jeat_tf.core.values import by_word, nearest
from jeat_tf.data.datasets import as_floats, split_names
from jeat_tf.data.labelled import open_labelled
from jeat_tf.models.files import net_file
from jeat_tf.models.flow import flow_samples
from jeat_tf.models.origin import named_net
from jeat_tf.runs.fit import check_fit
from jeat_tf.runs.sample_results import Drawn
from jeat_tf.runs.samples import Shard
from jeat_tf.runs.trained import Trained, conditional_buffer, data_of_run, run_config, stored_buffer
from jeat_tf.samplers.stages import Recipe, Stage, named_recipe, parse_stages
from jeat_tf.samplers.start_layer import Given
from jeat_tf.samplers.starts import STARTS, Exact, Start

DEFAULT = "normalized"
"""The recipe of a net whose method is not known: steps of one length suit any net."""


class Plan(NamedTuple):
    """What is drawn.

    Attributes:
      start: the start as a value; None where images are given by name.
      name: what the command line calls it.
      stages: what is done to the images, in order.
      rule: source of the way of drawing; empty where the user gave a start or stages.
    """

    start: Start | None
    name: str
    stages: tuple[Stage, ...]
    rule: str

    @property
    def start_words(self) -> str:
        """Description of the start."""
        return self.name if self.start is None else repr(self.start)


def check_given(config: SampleConfig) -> None:
    """Raises one ValueError about all flags that are missing and all files that do not exist."""
    run = run_config(config.model) if config.model else None

    def named_data() -> None:
        if not data_of_run(config.data, run).dataset:
            raise ValueError("expected a data set, received nothing; set --dataset")

    def second(flag: str) -> None:
        check_exists(flag, named_net(getattr(config, flag)).path)

    checks: list[Callable[[], object]] = [functools.partial(second, flag) for flag in ("judge", "tune_features")]
    checks.append(lambda: check_exists("start_images", config.start_images))
    all_at_once(lambda: net_file(config.model), named_data, *checks)


def plan_of(config: SampleConfig, run: TrainConfig | None) -> Plan:
    """The requested recipe, or else that of the run's method, with the requested start and stages.

    Raises:
      ValueError: no such recipe, start or stage, or settings that do not belong together.
    """
    recipe, rule = _recipe(config, run)
    stages = parse_stages(config.stages) if config.stages else recipe.stages
    name = config.start or recipe.start.word
    kinds = STARTS | by_word(Exact)
    known = (*kinds, "buffer", "images")
    if name not in known:
        raise ValueError(f'unknown start "{name}"; {nearest(name, known)}')
    if (name == "images") != bool(config.start_images):
        raise ValueError("--start=images and --start_images belong together")
    start = chosen(name, "start", kinds, recipe.start) if name in kinds else None
    given = {
        "rank": config.start_rank,
        "retained": config.start_retained,
        "temperature": config.start_temperature,
    }
    given = {field: value for field, value in given.items() if value is not None}
    for field in given:
        if not hasattr(start, field):
            raise ValueError(f"--start_{field} has no effect with --start={name}. Remove it")
    if start is not None and given:
        start = dataclasses.replace(start, **given)
    return Plan(start, name, stages, "" if config.start or config.stages else rule)


def _recipe(config: SampleConfig, run: TrainConfig | None) -> tuple[Recipe, str]:
    """The recipe, and where it is from."""
    if config.recipe or run is None:
        recipe = named_recipe(config.recipe or DEFAULT)
        return recipe, recipe.source
    recipe = run.method.drawing()
    return recipe, f"of the method {run.method.word}: {recipe.source}"


def classes_of(config: SampleConfig, plan: Plan, trained: Trained) -> str:
    """What --classes comes to: balanced, none or a list.

    Raises:
      ValueError: classes where neither start nor stages go by them, or none where one does.
    """
    towards = [stage.sampler.word for stage in plan.stages if stage.of_classes]
    bound = plan.start is not None and plan.start.of_classes
    able = bound or plan.name == "images" or (plan.name == "buffer" and conditional_buffer(trained.config))
    if config.classes == "none" and (towards or bound):
        what = " and ".join(towards) or f"the start {plan.name}"
        raise ValueError(
            f"--classes=none draws without classes, and {what} needs them; use --recipe=unconditional, or "
            "energy=marginal and a start without classes"
        )
    if config.classes not in ("", "none") and not (towards or able):
        raise ValueError(
            f"--classes={config.classes} asks for classes, and neither the start {plan.name} nor a stage goes by "
            "them; leave --classes out, or use a start or an energy of classes"
        )
    return config.classes or ("balanced" if towards or able else "none")


def labels_of(config: SampleConfig, num_classes: int) -> np.ndarray:
    """int64[num], the requested class of each image; zeros, which nothing reads, without classes.

    Raises:
      ValueError: no list of classes, or classes that the net has not.
    """
    if config.classes == "none":
        return np.zeros(config.num, np.int64)
    if config.classes == "balanced":
        return np.arange(config.num) % num_classes
    try:
        chosen = [int(part) for part in config.classes.split(",")]
    except ValueError:
        raise ValueError(
            f"expected --classes=balanced, none or a list such as 3,5, received {config.classes}"
        ) from None
    outside = [k for k in chosen if not 0 <= k < num_classes]
    if outside:
        raise ValueError(f"expected classes in 0..{num_classes - 1}, those of the net, received {outside}")
    return np.resize(chosen, config.num)


def training_of(trained: Trained) -> Callable[[], ImagesAndLabels]:
    """() -> the images and labels that the run was trained on, read once."""
    run = trained.config
    validation_percent, seed = (run.stream.validation_percent, run.run.seed) if run else (0, 0)

    @functools.cache
    def training() -> ImagesAndLabels:
        images, labels = trained.data.arrays(split_names(trained.data, validation_percent, seed)[0])
        return as_floats(images), labels

    return training


def test_images(trained: Trained) -> Shard | None:
    """The test split, which no net was trained on; None where the data set has none."""
    try:
        images, labels = trained.data.arrays("test")
    except ValueError:
        return None
    return Shard(as_floats(images), labels)


def start_of(
    config: SampleConfig,
    plan: Plan,
    trained: Trained,
    training: Callable[[], ImagesAndLabels],
    labels: np.ndarray,
) -> Draw:
    """(labels, seed) -> first images.

    Raises:
      ValueError: a start that the net, the run or the file of images cannot give.
    """
    if isinstance(plan.start, Exact):
        return flow_samples(trained.net, plan.start.temperature)
    if plan.name == "buffer":
        return _buffer_start(config, trained)
    if plan.name == "images":
        images = open_labelled(config.start_images, "")
        check_fit(trained.net, config.start_images, images.image_shape, None)
        missing = sorted(set(labels.tolist()) - set(images.labels.tolist()))
        if missing and config.classes != "none":
            raise ValueError(
                f"expected images of every requested class in {config.start_images}, received none of {missing}"
            )
        return Given(images.images[:], images.labels if config.classes != "none" else None)
    assert plan.start is not None  # every other name was dealt with above
    layer = plan.start.layer(trained.data.image_shape, trained.data.num_classes)
    if not layer.adapted:
        layer.adapt(*training())
    return layer


def _buffer_start(config: SampleConfig, trained: Trained) -> Draw:
    buffer = stored_buffer(config.model)
    if buffer is None or trained.config is None:
        raise ValueError(f"expected a run with a replay buffer to start from, received {config.model} without one")
    classes = np.arange(len(buffer.images)) % trained.data.num_classes
    return Given(buffer.images, classes if conditional_buffer(trained.config) and config.classes != "none" else None)


def protocol_of(config: SampleConfig, plan: Plan) -> Drawn:
    """How the samples are drawn."""
    return Drawn(
        classes=config.classes,
        recipe=config.recipe if not (config.start or config.stages) else "",
        rule=plan.rule,
        start=plan.start_words,
        start_images=config.start_images,
        stages=tuple(stage.words() for stage in plan.stages),
        steps=sum(stage.steps for stage in plan.stages),
        seed=config.seed,
        batch_size=config.batch_size,
        format=config.format,
        shard_size=config.shard_size,
        readings=config.readings,
    )
