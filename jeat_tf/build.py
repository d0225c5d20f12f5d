"""Settings -> objects. The only place where a string picks an object, and where settings are checked."""

import functools
from collections.abc import Callable

import keras
import numpy as np

from jeat_tf import attacks, models, units
from jeat_tf.config import (
    Chain,
    Data,
    Method,
    Net,
    Optimizer,
    TrainConfig,
    check_epsilon,
    nearest,
    numbers,
)
from jeat_tf.data import ImageData, open_dataset
from jeat_tf.methods import recipes
from jeat_tf.methods.inner import Persistent
from jeat_tf.methods.objective import Objective, clean, perturbed
from jeat_tf.norms import linf
from jeat_tf.samplers import ReplayBuffer, Steps, class_gaussians, coupled, sgld, uniform
from jeat_tf.types import Attack, Sampler, Start, Surrogate

ImagesAndLabels = tuple[np.ndarray, np.ndarray]

_METHODS: dict[str, Callable[..., Objective]] = {
    "standard": recipes.standard,
    "noise": recipes.noise,
    "pgd_at": recipes.pgd_at,
    "pre_jeat": recipes.pre_jeat,
    "jem": recipes.jem,
    "jeat": recipes.jeat,
    "robust_jem": recipes.robust_jem,
}
_ATTACKING = ("pgd_at", "pre_jeat", "jeat", "robust_jem")
_JOINT = ("jem", "jeat", "robust_jem")
_SURROGATES: dict[str, Surrogate] = {
    "joint": attacks.joint_energy,
    "cross_entropy": attacks.cross_entropy,
    "marginal": attacks.marginal_energy,
}
_LITERAL_ALPHA = 1.0  # where --coupled_alpha does not say: Algorithm 1 leaves alpha open


def check(config: TrainConfig) -> None:
    """Raises ValueError for settings that cannot work, before anything is read or made."""
    method, stream, run = config.method, config.stream, config.run
    if method.method not in _METHODS:
        raise ValueError(f'unknown method "{method.method}"; {nearest(method.method, _METHODS)}')
    check_epsilon(method.epsilon)
    if method.literal and method.method != "jeat":
        raise ValueError(f"--literal is JEAT's Algorithm 1 to the letter; the method is {method.method}")
    at_least_one = {
        "--batch_size": stream.batch_size,
        "--epochs": run.epochs,
        "--chain_steps": config.chain.chain_steps,
        "--buffer_size": config.buffer.buffer_size,
    }
    for flag, value in at_least_one.items():
        if value < 1:
            raise ValueError(f"expected {flag} >= 1, received {value}")
    at_least_zero = {
        "--attack_steps": method.attack_steps,
        "--attack_step_size": method.attack_step_size,
        "--noise_std": method.noise_std,
        "--input_noise_std": method.input_noise_std,
        "--energy_weight": method.energy_weight,
        "--chain_noise_std": config.chain.chain_noise_std,
        "--coupled_alpha": config.chain.coupled_alpha,
        "--learning_rate": config.optimizer.learning_rate,
    }
    for flag, number in at_least_zero.items():
        if not number >= 0:
            raise ValueError(f"expected {flag} >= 0, received {number:g}")
    if not 0 <= config.buffer.restart_probability <= 1:
        raise ValueError(f"expected --restart_probability in [0, 1], received {config.buffer.restart_probability:g}")
    if method.method in _JOINT and stream.batch_size > config.buffer.buffer_size:
        raise ValueError(
            f"expected --buffer_size of at least the batch ({stream.batch_size}), received {config.buffer.buffer_size}"
        )
    if stream.separate_marginal and _positive(method) is not clean:
        raise ValueError(
            "--separate_marginal needs a joint method whose positive phase is clean images: "
            "jem, robust_jem, or jeat with --positive=clean"
        )


def dataset(config: Data) -> ImageData:
    """The data set, open and prepared."""
    if not config.dataset:
        raise ValueError("expected a data set, received nothing; set --dataset")
    return open_dataset(config.dataset, config.data_dir or None, download=config.download)


def net(config: Net, image_shape: tuple[int, int, int], num_classes: int, precision: str) -> keras.Model:
    """A new net, its weights drawn from Keras' global seed."""
    default = keras.config.dtype_policy()
    keras.config.set_dtype_policy(precision)
    try:
        if config.net == "small_cnn":
            return models.small_cnn(
                image_shape,
                num_classes,
                norm=config.norm,
                activation=config.activation,
                head=config.head,
            )
        return models.wide_resnet(
            image_shape,
            num_classes,
            depth=config.depth,
            width=config.width,
            norm=config.norm,
            activation=config.activation,
            dropout=config.dropout,
        )
    finally:
        keras.config.set_dtype_policy(default)


def attack(config: Method) -> Attack:
    """The training attack: PGD from a random start; one full step of epsilon is Fast training's attack."""
    bounds = (0.0, 1.0) if config.attack_clip_pixels else None
    ball = linf(config.epsilon)
    if config.literal:
        return functools.partial(attacks.fgsm_beside_noise, ball=ball, bounds=None)
    return functools.partial(
        attacks.pgd,
        ball=ball,
        start=ball.random_start,
        step_size=config.attack_step_size or config.epsilon / max(config.attack_steps, 1),
        num_steps=config.attack_steps,
        bounds=bounds,
    )


def pgd_attack(epsilon: float, num_steps: int, *, step_size: float | None = None) -> Attack:
    """PGD for measuring: random start, steps of 2.5 epsilon / num_steps unless said."""
    ball = linf(epsilon)
    return functools.partial(
        attacks.pgd,
        ball=ball,
        start=ball.random_start,
        step_size=2.5 * epsilon / num_steps if step_size is None else step_size,
        num_steps=num_steps,
    )


def chain_steps(config: Chain, *, literal: bool = False) -> Steps:
    """Step and noise of a chain, in pixel units."""
    if literal or config.coupled_alpha:
        return coupled(config.coupled_alpha or _LITERAL_ALPHA)
    if config.chain_units == "symmetric":
        return Steps(
            units.gradient_step_from_symmetric(config.chain_step_size),
            units.length_from_symmetric(config.chain_noise_std),
        )
    return Steps(config.chain_step_size, config.chain_noise_std)


def chain(config: Chain, *, literal: bool = False) -> Sampler:
    """The chain as a sampler."""
    steps = chain_steps(config, literal=literal)
    clip = config.chain_clip_gradient
    if config.chain_units == "symmetric":
        clip = units.gradient_bound_from_symmetric(clip)
    return functools.partial(
        sgld,
        step_size=steps.step_size,
        noise_std=steps.noise_std,
        num_steps=config.chain_steps,
        clip_gradient=clip or None,
        bounds=(0.0, 1.0) if config.chain_clip_pixels and not literal else None,
    )


def start(config: Chain, data: ImageData, training: Callable[[], ImagesAndLabels]) -> Start:
    """Where chains begin. `training` gives the images of class Gaussians, read only if they are needed."""
    if config.chain_start == "class_gaussian":
        return class_gaussians(*training(), data.num_classes)
    return uniform(data.image_shape)


def surrogate(name: str) -> Surrogate:
    """What generation lowers, by the name that --energy takes."""
    return _SURROGATES[name]


def objective(config: TrainConfig, data: ImageData, training: Callable[[], ImagesAndLabels]) -> Objective:
    """The method as an objective."""
    method = config.method
    arguments: dict = {}
    if method.method == "noise":
        arguments["std"] = method.noise_std
    if method.method in _ATTACKING:
        arguments["attack"] = attack(method)
    if method.method in _JOINT:
        arguments |= {
            "negatives": _negatives(config, data, training),
            "positive": _positive(method),
            "energy_weight": method.energy_weight,
            "input_noise_std": method.input_noise_std,
        }
    return _METHODS[method.method](**arguments)


def optimizer(config: Optimizer, steps_per_epoch: int) -> keras.optimizers.Optimizer:
    """The Keras optimizer with warm-up and step decay as a schedule of the step."""
    rate = config.learning_rate
    boundaries = [round(epoch * steps_per_epoch) for epoch in numbers(config.decay_epochs)]
    schedule: float | keras.optimizers.schedules.LearningRateSchedule = rate
    if boundaries:
        schedule = keras.optimizers.schedules.PiecewiseConstantDecay(
            boundaries, [rate * config.decay_factor**i for i in range(len(boundaries) + 1)]
        )
    if config.warmup_steps:
        schedule = _Warmup(schedule, config.warmup_steps)
    shared = {"global_clipnorm": config.clip_norm or None, "weight_decay": config.weight_decay or None}
    if config.optimizer == "sgd":
        return keras.optimizers.SGD(schedule, momentum=config.momentum, **shared)
    return keras.optimizers.Adam(schedule, **shared)


class _Warmup(keras.optimizers.schedules.LearningRateSchedule):
    """A schedule, or a constant rate, times min(1, (step + 1) / warmup_steps)."""

    def __init__(self, rate: float | keras.optimizers.schedules.LearningRateSchedule, warmup_steps: int):
        super().__init__()
        self.rate, self.warmup_steps = rate, warmup_steps

    def __call__(self, step: keras.KerasTensor) -> keras.KerasTensor:
        rate = self.rate(step) if callable(self.rate) else self.rate
        share = (keras.ops.cast(step, "float32") + 1.0) / self.warmup_steps
        return rate * keras.ops.minimum(1.0, share)

    def get_config(self) -> dict:
        return {"rate": self.rate, "warmup_steps": self.warmup_steps}


def _positive(method: Method) -> Callable | None:
    if method.method not in _JOINT:
        return None
    if method.positive == "method":
        return perturbed if method.method == "jeat" else clean
    return perturbed if method.positive == "perturbed" else clean


def _negatives(config: TrainConfig, data: ImageData, training: Callable[[], ImagesAndLabels]) -> Persistent:
    buffer = ReplayBuffer(
        config.buffer.buffer_size,
        start(config.chain, data, training),
        image_shape=data.image_shape,
        num_classes=data.num_classes,
        seed=config.run.seed,
    )
    view = attacks.training if config.buffer.sampling_mode == "training" else attacks.inference
    sampler = chain(config.chain, literal=config.method.literal)
    return Persistent(buffer, sampler, config.buffer.restart_probability, view)
