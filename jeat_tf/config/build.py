"""Settings -> objects. The only place where a string picks an object, and where settings are checked."""

import dataclasses
import functools
import hashlib
from collections.abc import Callable

import keras
import numpy as np

from jeat_tf.attacks import surrogates
from jeat_tf.attacks.pgd import fgsm_beside_noise, pgd
from jeat_tf.config.fields import check_epsilon, leaves, nearest, numbers, replace
from jeat_tf.config.shared import STARTS, Data
from jeat_tf.config.train import Chain, Method, Net, Optimizer, TrainConfig
from jeat_tf.core import units
from jeat_tf.core.files import cache_file
from jeat_tf.core.norms import Ball, gaussian_start, l2, linf
from jeat_tf.core.types import Attack, Images, Start, Surrogate
from jeat_tf.data.datasets import ImageData, open_dataset
from jeat_tf.methods import recipes
from jeat_tf.methods.adjustments import Adjustments
from jeat_tf.methods.inner import Curriculum, Fresh, Negatives, Persistent, SplitPersistent
from jeat_tf.methods.objective import Objective, clean, perturbed
from jeat_tf.methods.optimizers import CoupledSGD
from jeat_tf.methods.schedules import Cyclic, Warmup
from jeat_tf.methods.updates import Free, Update, awp, descend, sam
from jeat_tf.models.cnn import small_cnn
from jeat_tf.models.files import load_net
from jeat_tf.models.flow import glow
from jeat_tf.models.pre_act import pre_act_resnet18
from jeat_tf.models.residual import wide_resnet
from jeat_tf.samplers.class_statistics import cached as cached_statistics
from jeat_tf.samplers.class_statistics import class_components, class_statistics
from jeat_tf.samplers.replay_buffer import ReplayBuffer
from jeat_tf.samplers.sgld import Steps, coupled, sgld, split_sgld
from jeat_tf.samplers.starts import class_gaussians, gaussian, mixture, uniform

ImagesAndLabels = tuple[np.ndarray, np.ndarray]

_METHODS: dict[str, Callable[..., Objective]] = {
    "standard": recipes.standard,
    "noise": recipes.noise,
    "pgd_at": recipes.pgd_at,
    "trades": recipes.trades,
    "weat": recipes.weat,
    "pre_jeat": recipes.pre_jeat,
    "jem": recipes.jem,
    "jeat": recipes.jeat,
    "robust_jem": recipes.robust_jem,
    "dat": recipes.dat,
    "igebm": recipes.igebm,
    "flow": recipes.flow,
}
_ATTACKING = ("pgd_at", "trades", "weat", "pre_jeat", "jeat", "robust_jem", "dat")
_CONSISTENT = ("trades", "weat")
_JOINT = ("jem", "jeat", "robust_jem")
_PERSISTENT = (*_JOINT, "igebm")
_GENERATIVE = (*_PERSISTENT, "dat")
_SURROGATES: dict[str, Surrogate] = {
    "joint": surrogates.joint_energy,
    "cross_entropy": surrogates.cross_entropy,
    "marginal": surrogates.marginal_energy,
}
_LITERAL_ALPHA = 1.0  # where --coupled_alpha does not say: Algorithm 1 leaves alpha open


def check(config: TrainConfig) -> None:
    """Raises ValueError for settings that cannot work, before anything is read or made."""
    method, stream, run = config.method, config.stream, config.run
    if method.method not in _METHODS:
        raise ValueError(f'unknown method "{method.method}"; {nearest(method.method, _METHODS)}')
    check_epsilon(method.epsilon, method.attack_norm)
    if method.literal and method.method != "jeat":
        raise ValueError(f"--literal is JEAT's Algorithm 1 to the letter; the method is {method.method}")
    at_least_one = {
        "--batch_size": stream.batch_size,
        "--epochs": run.epochs,
        "--chain_steps": config.chain.chain_steps,
        "--buffer_size": config.buffer.buffer_size,
        "--accumulate_steps": config.optimizer.accumulate_steps,
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
        "--weight_decay": config.optimizer.weight_decay,
        "--clip_norm": config.optimizer.clip_norm,
        "--warmup_steps": config.optimizer.warmup_steps,
        "--beta": method.beta,
        "--joint_weight": method.joint_weight,
        "--energy_l2": method.energy_l2,
        "--class_weight": method.class_weight,
        "--awp_gamma": config.update.awp_gamma,
        "--sam_rho": config.update.sam_rho,
        "--free_replays": config.update.free_replays,
        "--split_steps": config.buffer.split_steps,
        "--guard_recoveries": run.guard_recoveries,
        "--guard_energy_l2": run.guard_energy_l2,
    }
    for flag, number in at_least_zero.items():
        if not number >= 0:
            raise ValueError(f"expected {flag} >= 0, received {number:g}")
    if not 0 <= config.buffer.restart_probability <= 1:
        raise ValueError(f"expected --restart_probability in [0, 1], received {config.buffer.restart_probability:g}")
    if not 0 <= config.optimizer.ema_momentum < 1:
        raise ValueError(f"expected --ema_momentum in [0, 1), received {config.optimizer.ema_momentum:g}")
    if not 1 <= stream.labelled_percent <= 100:
        raise ValueError(f"expected --labelled_percent in 1..100, received {stream.labelled_percent}")
    if not 0 < stream.extra_share < 1:
        raise ValueError(f"expected --extra_share in (0, 1), received {stream.extra_share:g}")
    if stream.pseudo_labels and not has_unlabelled(config):
        raise ValueError(
            "--pseudo_labels needs images without labels: --labelled_percent below 100, or --extra_dataset"
        )
    if stream.pseudo_labels == "self" and method.method == "flow":
        raise ValueError(
            "--pseudo_labels=self trains a standard net of the same shape, and a flow is none; give the folder of a run"
        )
    _check_update(config)
    idle = [f"--{name}={leaves(config)[name][0]}, which is for {whose}" for name, whose in unused(config).items()]
    if idle:
        raise ValueError(f"expected settings that have an effect, received {' and '.join(idle)}; leave that out")
    if config.chain.chain_start not in STARTS:
        raise ValueError(f'unknown start "{config.chain.chain_start}"; {nearest(config.chain.chain_start, STARTS)}')
    if (config.net.net == "glow") != (method.method == "flow"):
        raise ValueError(
            f"--net=glow and --method=flow belong together, received --net={config.net.net} --method={method.method}"
        )
    if method.method in _PERSISTENT and stream.batch_size > config.buffer.buffer_size:
        raise ValueError(
            f"expected --buffer_size of at least the batch ({stream.batch_size}), received {config.buffer.buffer_size}"
        )
    if stream.separate_marginal and (method.method not in (*_JOINT, "dat") or _positive(method) is not clean):
        raise ValueError(
            "--separate_marginal needs a joint method whose positive phase is clean images: "
            "jem, robust_jem, dat, or jeat with --positive=clean"
        )
    if method.joint_weight and (stream.separate_marginal or not config.buffer.class_conditional):
        raise ValueError(
            "--joint_weight contrasts images of a class: it needs --class_conditional chains and no --separate_marginal"
        )


def unused(config: TrainConfig) -> dict[str, str]:
    """Settings that differ from their defaults although the others leave them unread: name -> what they are for."""
    method, net, defaults = config.method.method, config.net.net, leaves(TrainConfig)
    readers = {
        "input_noise_std energy_l2": (method in _GENERATIVE, f"methods with negatives ({', '.join(_GENERATIVE)})"),
        "energy_weight": (method in (*_JOINT, "dat"), f"--method={', '.join(_JOINT)} or dat"),
        "joint_weight": (method in _JOINT, f"--method={', '.join(_JOINT)}"),
        "positive": (method in (*_JOINT, "weat"), f"--method={', '.join(_JOINT)} or weat"),
        "noise_std": (method == "noise", "--method=noise"),
        "beta": (method in _CONSISTENT, f"--method={' or '.join(_CONSISTENT)}"),
        "pixel_values class_weight": (method == "flow", "--method=flow"),
        "chain_units chain_noise_std coupled_alpha chain_clip_gradient chain_clip_pixels split_steps": (
            method != "dat",
            "Langevin chains; dat's negatives climb by steps of --chain_step_size in pixels",
        ),
        "decay_epochs decay_factor": (config.optimizer.schedule == "step", "--schedule=step"),
        "awp_warmup_epochs": (config.update.awp_gamma > 0, "--awp_gamma"),
        "sam_adaptive": (config.update.sam_rho > 0, "--sam_rho"),
        "depth width": (net == "wide_resnet", "--net=wide_resnet"),
        "head": (net == "small_cnn", "--net=small_cnn"),
        "flow_levels flow_steps flow_width": (net == "glow", "--net=glow"),
        "norm activation dropout spectral_norm": (net != "glow", "nets other than glow"),
    }
    return {
        name: whose
        for names, (read, whose) in readers.items()
        for name in names.split()
        if not read and leaves(config)[name][0] != defaults[name][0]
    }


def teacher(config: TrainConfig, folder: str) -> TrainConfig:
    """The run that labels the images of one with --pseudo_labels=self: a standard net, trained on what has labels."""
    plain = {"awp_gamma": 0.0, "sam_rho": 0.0, "separate_marginal": False, "literal": False}
    config = replace(config, method="standard", pseudo_labels="", model_dir=folder, **plain)
    return replace(config, **{name: leaves(TrainConfig)[name][0] for name in unused(config)})


def settled(config: TrainConfig) -> TrainConfig:
    """The settings as they are meant: with --literal, whatever else a preset says, JEAT's Algorithm 1."""
    if not config.method.literal:
        return config
    return replace(
        config,
        input_noise_std=0.0,
        positive="perturbed",
        energy_weight=1.0,
        joint_weight=0.0,
        energy_l2=0.0,
        coupled_alpha=config.chain.coupled_alpha or _LITERAL_ALPHA,
        chain_clip_gradient=0.0,
        chain_clip_pixels=False,
        chain_start="uniform",
        class_conditional=False,
        split_steps=0,
        sampling_mode="inference",
    )


def has_unlabelled(config: TrainConfig) -> bool:
    """Whether there are training images whose labels are not known, or not used."""
    return config.stream.labelled_percent < 100 or bool(config.stream.extra_dataset)


def _check_update(config: TrainConfig) -> None:
    update = config.update
    chosen = [n for n in ("awp_gamma", "sam_rho", "free_replays") if getattr(update, n)]
    if len(chosen) > 1:
        raise ValueError(f"expected one way to move the weights, received --{' and --'.join(chosen)}")
    if update.free_replays and config.method.method != "standard":
        raise ValueError(
            f"--free_replays makes its own x_adv of --method=standard; the method is {config.method.method}"
        )
    if update.free_replays and has_unlabelled(config):
        raise ValueError("--free_replays does not serve images without labels")


def dataset(config: Data) -> ImageData:
    """The data set, open and prepared."""
    if not config.dataset:
        raise ValueError("expected a data set, received nothing; set --dataset")
    return open_dataset(config.dataset, config.data_dir or None, download=config.download)


def net(config: Net, image_shape: tuple[int, int, int], num_classes: int, precision: str) -> keras.Model:
    """A new net, its weights drawn from Keras' global seed, or those of `init_from`.

    Raises:
      ValueError: the net of `init_from` has other weights.
    """
    default = keras.config.dtype_policy()
    keras.config.set_dtype_policy(precision)
    try:
        new = _net(config, image_shape, num_classes)
    finally:
        keras.config.set_dtype_policy(default)
    if config.init_from:
        weights = load_net(config.init_from).get_weights()
        expected = [tuple(w.shape) for w in new.weights]
        if [w.shape for w in weights] != expected:
            raise ValueError(f"the net in --init_from={config.init_from} is not the one that the settings describe")
        new.set_weights(weights)
    return new


def _net(config: Net, image_shape: tuple[int, int, int], num_classes: int) -> keras.Model:
    if config.net == "glow":
        return glow(
            image_shape,
            num_classes,
            levels=config.flow_levels,
            depth=config.flow_steps,
            width=config.flow_width,
        )
    shared: dict = {
        "norm": config.norm,
        "activation": config.activation,
        "dropout": config.dropout,
        "spectral_norm": config.spectral_norm,
    }
    if config.net == "small_cnn":
        return small_cnn(image_shape, num_classes, head=config.head, **shared)
    if config.net == "pre_act_resnet18":
        return pre_act_resnet18(image_shape, num_classes, **shared)
    return wide_resnet(image_shape, num_classes, depth=config.depth, width=config.width, **shared)


def ball(config: Method) -> Ball:
    """The ball of the training attack, and of the attack that robust accuracy is followed with."""
    return (l2 if config.attack_norm == "l2" else linf)(config.epsilon)


def attack(config: Method) -> Attack:
    """The training attack: PGD; one step of epsilon from a random start is Fast training's attack."""
    bounds = (0.0, 1.0) if config.attack_clip_pixels else None
    around = ball(config)
    if config.literal:
        return functools.partial(fgsm_beside_noise, ball=around, bounds=None)
    start = config.attack_start
    if start == "method":
        start = "gaussian" if config.method in _CONSISTENT else "random"
    return functools.partial(
        pgd,
        ball=around,
        start={"random": around.random_start, "gaussian": gaussian_start, "image": None}[start],
        step_size=config.attack_step_size or config.epsilon / max(config.attack_steps, 1),
        num_steps=config.attack_steps,
        bounds=bounds,
    )


def pgd_attack(around: Ball, num_steps: int, *, step_size: float | None = None) -> Attack:
    """PGD for measuring: random start, steps of 2.5 epsilon / num_steps unless said."""
    return functools.partial(
        pgd,
        ball=around,
        start=around.random_start,
        step_size=2.5 * around.epsilon / num_steps if step_size is None else step_size,
        num_steps=num_steps,
    )


def chain_steps(config: Chain, *, literal: bool = False) -> Steps:
    """Step and noise of a training chain, in pixel units."""
    if literal or config.coupled_alpha:
        return coupled(config.coupled_alpha or _LITERAL_ALPHA)
    if config.chain_units == "symmetric":
        return Steps(
            units.gradient_step_from_symmetric(config.chain_step_size),
            units.length_from_symmetric(config.chain_noise_std),
        )
    return Steps(config.chain_step_size, config.chain_noise_std)


def chain(config: Chain, *, literal: bool = False) -> functools.partial[Images]:
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


def start(
    name: str, data: ImageData, training: Callable[[], ImagesAndLabels], *, rank: int = 0, retained: float = 0.99
) -> Start:
    """Where chains begin. `training` gives the images whose classes are described, read only if they are needed.

    Statistics of classes are computed once for the same images and kept in the cache folder.
    """
    if name == "uniform":
        return uniform(data.image_shape)
    if name == "gaussian":
        return gaussian(data.image_shape)
    images, labels = training()
    of_classes = (images, labels, data.num_classes)
    if name == "class_pca":
        compute, what = functools.partial(class_components, *of_classes, retained=retained), f"pca-{retained:g}"
    else:
        compute, what = functools.partial(class_statistics, *of_classes, rank=rank or None), f"gaussian-{rank}"
    digest = hashlib.sha256(np.ascontiguousarray(images).tobytes() + labels.astype(np.int64).tobytes()).hexdigest()
    statistics = cached_statistics(cache_file(f"{data.name}-{what}-{digest[:16]}.npz"), compute)
    return mixture(statistics) if name == "mixture" else class_gaussians(statistics)


def surrogate(name: str) -> Surrogate:
    """What generation lowers, by the name that --energy takes."""
    return _SURROGATES[name]


def objective(config: TrainConfig, data: ImageData, training: Callable[[], ImagesAndLabels]) -> Objective:
    """The method as an objective."""
    config = settled(config)
    method = config.method
    arguments: dict = {}
    if method.method == "noise":
        arguments["std"] = method.noise_std
    if method.method in _ATTACKING:
        arguments["attack"] = attack(method)
    if method.method in _CONSISTENT:
        arguments["beta"] = method.beta
    if method.method == "weat" and method.positive == "perturbed":
        arguments["classified"] = perturbed
    if method.method == "flow":
        arguments |= {"num_values": method.pixel_values, "class_weight": method.class_weight}
    if method.method in _GENERATIVE:
        arguments |= {
            "negatives": _negatives(config, data, training),
            "input_noise_std": method.input_noise_std,
            "energy_l2": method.energy_l2,
        }
    if method.method in _JOINT:
        arguments |= {"positive": _positive(method), "joint_weight": method.joint_weight}
    if method.method in (*_JOINT, "dat"):
        arguments["energy_weight"] = method.energy_weight
    made = _METHODS[method.method](**arguments)
    return dataclasses.replace(made, unlabelled=has_unlabelled(config) and not config.stream.pseudo_labels)


def update(config: TrainConfig, image_shape: tuple[int, int, int], steps_per_epoch: int) -> Update:
    """How the weights move."""
    if config.update.awp_gamma:
        warmup = config.update.awp_warmup_epochs * steps_per_epoch // config.optimizer.accumulate_steps
        return awp(config.update.awp_gamma, from_step=warmup)
    if config.update.sam_rho:
        return sam(config.update.sam_rho, adaptive=config.update.sam_adaptive)
    if config.update.free_replays:
        return Free(ball(config.method), batch_size=config.stream.batch_size, image_shape=image_shape)
    return descend


def optimizer(
    config: Optimizer, steps_per_epoch: int, epochs: int, adjustments: Adjustments
) -> keras.optimizers.Optimizer:
    """The Keras optimizer, its rate a schedule of the batches seen that a guard may scale."""
    total = steps_per_epoch * epochs
    rate: float | keras.optimizers.schedules.LearningRateSchedule = config.learning_rate
    boundaries = [round(epoch * steps_per_epoch) for epoch in numbers(config.decay_epochs)]
    if config.schedule == "cosine":
        rate = keras.optimizers.schedules.CosineDecay(rate, total)
    elif config.schedule == "cyclic":
        rate = Cyclic(rate, total)
    elif boundaries:
        rates = [rate * config.decay_factor**i for i in range(len(boundaries) + 1)]
        rate = keras.optimizers.schedules.PiecewiseConstantDecay(boundaries, rates)
    if config.warmup_steps:
        rate = Warmup(rate, config.warmup_steps)
    shared = {
        "global_clipnorm": config.clip_norm or None,
        "use_ema": config.ema_momentum > 0,
        "ema_momentum": config.ema_momentum or 0.99,
        "gradient_accumulation_steps": config.accumulate_steps if config.accumulate_steps > 1 else None,
    }
    scaled = adjustments.schedule(rate)
    if config.optimizer == "sgd":
        return CoupledSGD(scaled, momentum=config.momentum, coupled_decay=config.weight_decay, **shared)
    return keras.optimizers.Adam(scaled, beta_1=config.momentum, weight_decay=config.weight_decay or None, **shared)


def _positive(method: Method) -> Callable:
    if method.positive == "method":
        return perturbed if method.method == "jeat" else clean
    return perturbed if method.positive == "perturbed" else clean


def _negatives(config: TrainConfig, data: ImageData, training: Callable[[], ImagesAndLabels]) -> Negatives:
    view = surrogates.training if config.buffer.sampling_mode == "training" else surrogates.inference
    conditional = config.buffer.class_conditional or config.method.method == "igebm"
    surrogate = surrogates.joint_energy if conditional else surrogates.marginal_energy
    where = config.chain
    begin = start(where.chain_start, data, training, rank=where.start_rank, retained=where.start_retained)
    if config.method.method == "dat":
        climb = functools.partial(pgd, ball=l2(float("inf")), step_size=config.chain.chain_step_size)
        return Fresh(begin, climb, data.num_classes, Curriculum(config.chain.chain_steps), view, surrogate)
    buffer = ReplayBuffer(
        config.buffer.buffer_size,
        begin,
        image_shape=data.image_shape,
        num_classes=data.num_classes,
        seed=config.run.seed,
    )
    sampler = chain(config.chain, literal=config.method.literal)
    restart_probability, steps = config.buffer.restart_probability, config.buffer.split_steps
    if not steps:
        return Persistent(buffer, sampler, restart_probability, view, surrogate)
    in_parts = functools.partial(split_sgld, inner_steps=steps, **sampler.keywords)
    return SplitPersistent(buffer, in_parts, restart_probability, view, surrogate, config.buffer.split_layer or None)
