"""The settings of every verb: frozen dataclasses, the one typed truth.

Command-line flags are generated from the fields (`cli.py`), every run writes its resolved settings as JSON,
and `build.py` turns them into objects.
"""

import dataclasses
import difflib
import json
from typing import Any, TypeVar

from jeat_tf.models import ACTIVATIONS, NORMS
from jeat_tf.units import number

Config = TypeVar("Config")


def setting(default: Any, help: str, *, choices: tuple[str, ...] = (), identity: bool = True) -> Any:
    """A dataclass field that is also a flag.

    Args:
      default: its type is the flag's type; a float flag also reads fractions such as 8/255.
      help: one line; units where there are any.
      choices: allowed strings.
      identity: False for what does not change the numbers of a run (folders, logging), so that a resumed run
        may differ in it.
    """
    return dataclasses.field(default=default, metadata={"help": help, "choices": choices, "identity": identity})


@dataclasses.dataclass(frozen=True)
class Data:
    """Which images."""

    dataset: str = setting(
        "digits",
        "digits, any TFDS image classification name, a prepared TFDS folder; to evaluate on, also an .npz file",
    )
    data_dir: str = setting("", "TFDS data folder; empty: TFDS' default", identity=False)
    download: bool = setting(False, "fetch and prepare a data set that data_dir lacks", identity=False)


@dataclasses.dataclass(frozen=True)
class Stream:
    """How training images are served."""

    validation_percent: int = setting(10, "share of the training split held out for validation")
    batch_size: int = setting(64, "images in a training batch")
    augment: str = setting(
        "usual",
        "usual: crop and flip for CIFAR, crop for SVHN, else none",
        choices=("usual", "none", "crop", "crop_flip"),
    )
    separate_marginal: bool = setting(False, "serve p(x) its own stream of images, without augmentation")
    labelled_percent: int = setting(100, "share of the training images, drawn by seed, whose labels are used")
    extra_dataset: str = setting("", "more training images without labels: a TFDS name or folder, or an .npz file")
    extra_share: float = setting(0.5, "share of each batch that is drawn from images without labels, if there are any")
    pseudo_labels: str = setting(
        "",
        "net that labels those images (RST): a run's folder or a .keras file; self: a standard net trained first, in "
        "<model_dir>/teacher; empty: they stay unlabelled and serve p(x)",
    )


@dataclasses.dataclass(frozen=True)
class Net:
    """Which net."""

    net: str = setting(
        "small_cnn",
        "small_cnn, wide_resnet, pre_act_resnet18, or glow (a flow)",
        choices=("small_cnn", "wide_resnet", "pre_act_resnet18", "glow"),
    )
    depth: int = setting(28, "wide_resnet: depth, 6 n + 4")
    width: int = setting(10, "wide_resnet: widening factor")
    norm: str = setting("none", "normalisation layers", choices=NORMS)
    activation: str = setting("leaky_relu", "activation", choices=ACTIVATIONS)
    dropout: float = setting(0.0, "dropout rate: inside residual blocks; small_cnn: before the logits")
    spectral_norm: bool = setting(False, "kernels of spectral norm one (IGEBM)")
    head: str = setting("flatten", "small_cnn: flatten or average pooling", choices=("flatten", "average"))
    flow_levels: int = setting(2, "glow: levels; the image sides are multiples of 2^levels")
    flow_steps: int = setting(4, "glow: steps of flow in each level")
    flow_width: int = setting(64, "glow: channels inside the couplings")
    init_from: str = setting("", "net whose weights this one begins with: a run's folder or a .keras file")


@dataclasses.dataclass(frozen=True)
class Method:
    """Which objective, and its attack."""

    method: str = setting(
        "jeat", "standard, noise, pgd_at, trades, weat, pre_jeat, jem, jeat, robust_jem, dat, igebm or flow"
    )
    literal: bool = setting(False, "jeat: Algorithm 1 to the letter (coupled chain, gradient at x, pixels not clipped)")
    attack_norm: str = setting("linf", "ball of the training attack", choices=("linf", "l2"))
    epsilon: float = setting(8 / 255, "radius of the ball, in [0, 1] pixels")
    attack_start: str = setting(
        "method",
        "where the training attack begins; method: gaussian (N(0, 0.001^2) beside x) for trades and weat, else random",
        choices=("method", "random", "image", "gaussian"),
    )
    attack_steps: int = setting(1, "gradient steps of the training attack")
    attack_step_size: float = setting(0.0, "step of the training attack, in pixels; 0: epsilon / attack_steps")
    attack_clip_pixels: bool = setting(True, "keep x_adv inside [0, 1]")
    noise_std: float = setting(24 / 255, "noise: standard deviation, in pixels")
    beta: float = setting(6.0, "trades, weat: weight of the divergence between p(y | x) and p(y | x_adv)")
    input_noise_std: float = setting(0.0, "joint methods: Gaussian noise on all images, in pixels (JEM: 0.015)")
    energy_weight: float = setting(1.0, "joint methods: w, the weight of -log p(x); dat: of the binary objective")
    joint_weight: float = setting(0.0, "joint methods: v, the weight of -log p(x, y)")
    energy_l2: float = setting(0.0, "joint methods: weight of the mean squared energies (IGEBM: 1)")
    pixel_values: int = setting(256, "flow: values that a pixel can have, for dequantisation; digits: 17")
    class_weight: float = setting(0.01, "flow: weight of the cross-entropy beside the likelihood")
    positive: str = setting(
        "method",
        "images whose E(x) is lowered (weat: that are classified); method: perturbed for jeat, else clean",
        choices=("method", "perturbed", "clean"),
    )


STARTS = ("uniform", "gaussian", "class_gaussian", "mixture", "class_pca")
_RANK_HELP = "class_gaussian, mixture: rank of covariances, beside a diagonal; 0: full, or 256 beyond 1024 numbers"
_RETAINED_HELP = "class_pca: share of a class's variance that its components hold"


@dataclasses.dataclass(frozen=True)
class Chain:
    """A Langevin chain."""

    chain_steps: int = setting(20, "K, gradient steps of a chain; dat: what its curriculum grows to")
    chain_units: str = setting(
        "pixel",
        "unit of the two numbers below: pixel, [0, 1]; symmetric, [-1, 1] as JEM's are published",
        choices=("pixel", "symmetric"),
    )
    chain_step_size: float = setting(0.25, "factor of the energy gradient; dat: length of a step, in l2")
    chain_noise_std: float = setting(0.005, "standard deviation of each step's noise")
    coupled_alpha: float = setting(
        0.0,
        "above 0: a true Langevin chain in pixels, step alpha / 2 and noise sqrt(alpha), in place of the above",
    )
    chain_clip_gradient: float = setting(0.0, "bound on each gradient entry, in chain_units (JEM++: 1); 0: none")
    chain_clip_pixels: bool = setting(False, "keep chains inside [0, 1]")
    chain_start: str = setting(
        "uniform",
        "where chains begin: noise, the Gaussian of a class, the mixture of these, or principal components of a class",
        choices=STARTS,
    )
    start_rank: int = setting(0, _RANK_HELP)
    start_retained: float = setting(0.99, _RETAINED_HELP)


@dataclasses.dataclass(frozen=True)
class Buffer:
    """The replay buffer."""

    buffer_size: int = setting(10_000, "slots")
    restart_probability: float = setting(0.05, "rho, chance that a chain begins afresh")
    class_conditional: bool = setting(False, "chains on E(x, y), each for its slot's class, rather than on E(x)")
    split_steps: int = setting(
        0, "N, steps through the first layers alone for each of the K through the net (JEM++, YOPO); 0: no split"
    )
    split_layer: str = setting("", "last of these first layers, by its Keras name; empty: the first convolution")
    sampling_mode: str = setting(
        "inference",
        "how chains call the net; training uses (and moves) batch statistics, as JEM++ does",
        choices=("inference", "training"),
    )


@dataclasses.dataclass(frozen=True)
class Optimizer:
    """How weights move."""

    optimizer: str = setting("adam", "adam or sgd", choices=("adam", "sgd"))
    learning_rate: float = setting(1e-4, "after warm-up")
    momentum: float = setting(0.9, "sgd: momentum; adam: beta_1")
    weight_decay: float = setting(0.0, "decoupled weight decay")
    clip_norm: float = setting(0.0, "bound on the global gradient norm; 0: none")
    warmup_steps: int = setting(0, "steps of linear warm-up")
    schedule: str = setting(
        "step",
        "step: drops at decay_epochs; cosine: to 0 at the end; cyclic: from 0 up to half of the run, and down to 0",
        choices=("step", "cosine", "cyclic"),
    )
    decay_epochs: str = setting("", "step: epochs after which the rate drops, e.g. 160,180")
    decay_factor: float = setting(0.1, "step: what the rate is multiplied by at each of decay_epochs")
    ema_momentum: float = setting(0.0, "keep an average of the weights, e.g. 0.999, and evaluate and save it; 0: none")
    accumulate_steps: int = setting(1, "batches whose gradients are averaged for one change of the weights")


@dataclasses.dataclass(frozen=True)
class Update:
    """What is wrapped around the descent; at most one of the three."""

    awp_gamma: float = setting(0.0, "adversarial weight perturbation: relative size, e.g. 0.01; 0: none")
    awp_warmup_epochs: int = setting(0, "epochs before it begins")
    sam_rho: float = setting(0.0, "sharpness-aware minimisation: size (SADA-JEM: 2, adaptive); 0: none")
    sam_adaptive: bool = setting(False, "each weight's part of it in proportion to the weight")
    free_replays: int = setting(0, "Free adversarial training: times each batch is served (m = 8); 0: not Free")


@dataclasses.dataclass(frozen=True)
class Run:
    """The run itself."""

    model_dir: str = setting("", "folder of the run: checkpoints, nets, TensorBoard events", identity=False)
    epochs: int = setting(30, "passes over the training images")
    seed: int = setting(0, "of weights, order, augmentation, attacks and chains")
    resume: bool = setting(True, "go on with the run found in model_dir", identity=False)
    checkpoint_steps: int = setting(0, "also save every so many steps; 0: at epoch ends", identity=False)
    robust_every: int = setting(
        1, "epochs between PGD-10 measurements on validation images, if there are any; 0: never"
    )
    monitor: str = setting("", "log that picks best.keras; empty: val_robust_accuracy, else val_accuracy")
    jit_compile: str = setting("auto", "XLA; auto: on a GPU only", choices=("auto", "true", "false"), identity=False)
    precision: str = setting("float32", "float32 or mixed_bfloat16", choices=("float32", "mixed_bfloat16"))
    images_every: int = setting(5, "epochs between image grids in TensorBoard; 0: never", identity=False)
    energy_changes_every: int = setting(
        0,
        "steps between records of how attack and update change energies (JEAT eq. 15), kept in energy_changes.npz; "
        "0: none",
        identity=False,
    )
    guard: str = setting(
        "recover",
        "when a run diverges; recover: back to the last good weights, half the learning rate, twice the chain steps; "
        "stop; off: not watched",
        choices=("recover", "stop", "off"),
    )
    guard_recoveries: int = setting(5, "recoveries after which a run is stopped")
    guard_energy_l2: float = setting(0.0, "L2 on energies that each recovery adds")
    max_gap: float = setting(1e3, "diverged when |E(x_pos) - E(x_neg)| exceeds this; 0: not looked at")
    max_gradient_norm: float = setting(1e5, "diverged when the gradient norm exceeds this; 0: not looked at")


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """Settings of `python -m jeat_tf.train`."""

    data: Data = Data()
    stream: Stream = Stream()
    net: Net = Net()
    method: Method = Method()
    chain: Chain = Chain()
    buffer: Buffer = Buffer()
    optimizer: Optimizer = Optimizer()
    update: Update = Update()
    run: Run = Run()


@dataclasses.dataclass(frozen=True)
class PrepareConfig:
    """Settings of `python -m jeat_tf.prepare`."""

    data: Data = Data()
    output: str = setting("", "JSON file for the summary; empty: print only", identity=False)
    statistics: str = setting("", ".npz file for the Gaussians of the classes of train; empty: none", identity=False)


@dataclasses.dataclass(frozen=True)
class Audit:
    """Checks that the attacks mean what they seem to mean."""

    audit_images: int = setting(64, "images for the gradient-masking checks; 0: none")
    transfer_from: str = setting("", "another net for the same images, to transfer attacks from")
    eot_samples: int = setting(20, "passes that are averaged if the net's output is random")
    refine_steps: int = setting(0, "classify after so many steps down E(x), as JEM does, and attack through them")
    refine_step_size: float = setting(0.25, "factor of the energy gradient in these steps, in pixels")
    refine_noise_std: float = setting(0.005, "standard deviation of their noise, in pixels")


@dataclasses.dataclass(frozen=True)
class Density:
    """The net as a density, and its confidence."""

    calibration: bool = setting(False, "NLL, Brier score, calibration errors and a reliability diagram")
    ood: str = setting(
        "",
        "images to tell from the data's, comma-separated: uniform, gaussian, constant, interpolation, a TFDS name, "
        "an .npz file",
    )
    fisher_images: int = setting(0, "Fisher scores of E(x, y) and E(x) on so many images; 0: none")
    fisher_probes: int = setting(0, "Rademacher probes of their traces; 0: exact, a backward pass for each pixel")


@dataclasses.dataclass(frozen=True)
class Generation:
    """Generated images, measured."""

    generation: str = setting(
        "",
        "folder that `python -m jeat_tf.sample` wrote; samples: the run's own. The run's replay buffer, if it has one, "
        "is measured beside it",
    )
    features: str = setting(
        "",
        "net that scores look through: inception (of 2015-12-05, for IS, FID and KID as published), keras_inception, "
        "or a .keras classifier of the same images, whose scores are named so",
    )
    features_path: str = setting("", "inception: its graph or archive; keras_inception: its weights; empty: downloaded")
    features_sha256: str = setting("", "inception: digest that the file must have")
    reference_split: str = setting("train", "TFDS split of the real images")
    score_splits: int = setting(10, "parts whose inception scores are averaged")
    neighbours: int = setting(8, "generated images whose nearest training images are shown; 0: none")


@dataclasses.dataclass(frozen=True)
class EvaluateConfig:
    """Settings of `python -m jeat_tf.evaluate`."""

    data: Data = Data(dataset="")
    audit: Audit = Audit()
    density: Density = Density()
    generation: Generation = Generation()
    model: str = setting("", "folder of a training run, a .keras file, or a SavedModel")
    attacks: str = setting(
        "clean,fgsm,pgd20,pgd50,energy",
        "comma-separated: clean, noise, fgsm, fgsm_rs, pgdN, pgdNxR (R restarts), energyN (on E(x, y)), cw_linf, "
        "cw_l2, cw_l2_fixed, cw_linf_min, apgd-ce, apgd-dlr, apgd-t, fab, fab-t, square, autoattack, autoattack-fast, "
        "autoattack-plus, autoattack-rand; none: no attack",
    )
    norm: str = setting("linf", "ball of the attacks", choices=("linf", "l2"))
    epsilon: str = setting("", "radii of the ball in pixels, comma-separated, e.g. 8/255,4/255; empty: the run's own")
    split: str = setting("test", "TFDS split")
    num_images: int = setting(0, "evaluate the first so many images; 0: all")
    batch_size: int = setting(200, "images in a batch")
    seed: int = setting(0, "of random starts and searches")
    gradients: str = setting(
        "float32",
        "precision of the attacks' gradients; success is decided in float32 always",
        choices=("float32", "bfloat16"),
    )
    jit_compile: str = setting("auto", "XLA; auto: on a GPU only", choices=("auto", "true", "false"))
    shard: str = setting(
        "",
        "attack only the i-th, from 0, of m parts of the images, i/m, so that m machines do it together; empty: all, "
        "which puts together what parts have found in output_dir",
        identity=False,
    )
    save_adversarial: bool = setting(False, "also write the adversarial images", identity=False)
    resume: bool = setting(True, "go on with an evaluation that was interrupted", identity=False)
    output_dir: str = setting("", "folder for results.json; empty: <run>/evaluation", identity=False)


@dataclasses.dataclass(frozen=True)
class SampleConfig:
    """Settings of `python -m jeat_tf.sample`."""

    data: Data = Data(dataset="")
    model: str = setting("", "folder of a training run, or a .keras file", identity=False)
    preset: str = setting(
        "chain", "start and stages by name, as docs/sampling.md lists them; the flags below replace either of them"
    )
    start: str = setting(
        "",
        "where images begin: " + ", ".join(STARTS) + ", buffer (the run's replay buffer), images (--start_images), "
        "flow (exact samples of a net that is a flow)",
    )
    start_rank: int = setting(0, _RANK_HELP)
    start_retained: float = setting(0.99, _RETAINED_HELP)
    start_images: str = setting("", "start=images: an .npz file with arrays images and labels")
    stages: str = setting(
        "",
        "what is done to them, in order, e.g. "
        '"targeted:epsilon=0.25,num_steps=15;contrast:factor=0.9;sgld:energy=joint,num_steps=50"; none: nothing',
    )
    num: int = setting(1000, "images")
    classes: str = setting(
        "balanced",
        "balanced: the classes in turn; a list such as 3,5: these in turn; none: without classes, labelled by the net",
    )
    batch_size: int = setting(200, "chains run together")
    seed: int = setting(0, "of starts and chains")
    readings: int = setting(10, "times that each chain is looked at on its way; 0: only at its ends")
    format: str = setting(
        "npz",
        "of the files of images; npz: float32 as drawn; tfrecord: 8-bit PNG and label",
        choices=("npz", "tfrecord"),
    )
    shard_size: int = setting(1000, "images in a file, at least; a run that was interrupted goes on at the next file")
    shard: str = setting(
        "",
        "draw only the i-th, from 0, of m parts of these files, i/m, so that m machines draw them together; empty: all",
        identity=False,
    )
    judge: str = setting("", "independent .keras classifier that grades the images", identity=False)
    jit_compile: str = setting("auto", "XLA; auto: on a GPU only", choices=("auto", "true", "false"))
    resume: bool = setting(True, "go on with the files found in output_dir", identity=False)
    output_dir: str = setting("", "folder for the results; empty: <run>/samples", identity=False)


@dataclasses.dataclass(frozen=True)
class DrawConfig:
    """Settings of `python -m jeat_tf.draw`."""

    data: Data = Data(dataset="")
    models: str = setting(
        "", "nets, comma-separated: name=path, or a path, which is named by its folder; runs or .keras files"
    )
    figures: str = setting(
        "",
        "comma-separated: changes, curves, contours, neighbours, grids, equations, gradients; empty: all that can be "
        "drawn",
    )
    classes: str = setting("", "classes shown, e.g. 3,5; empty: the first ten")
    num_images: int = setting(10, "generated images of each class")
    split: str = setting("test", "contours: TFDS split of the image")
    image: int = setting(0, "contours: place of the image in the split, from 0")
    radius: float = setting(3.0, "contours: l2 distance in pixels from the image to the ends of both axes")
    points: int = setting(41, "contours: points on each axis, odd")
    chain_steps: int = setting(200, "equations, gradients: steps of the chains")
    start: str = setting("class_gaussian", "equations: where the chains begin", choices=STARTS)
    seed: int = setting(0, "of directions, starts and chains")
    output_dir: str = setting("", "folder for the figures", identity=False)


@dataclasses.dataclass(frozen=True)
class ReportConfig:
    """Settings of `python -m jeat_tf.report`."""

    runs: str = setting("", "folder of training runs, at any depth", identity=False)
    out: str = setting("", "the page, NAME.html; NAME.json, .md and .tex are written beside it", identity=False)


def to_json(config: Any) -> str:
    """The settings as indented JSON."""
    return json.dumps(dataclasses.asdict(config), indent=2) + "\n"


def from_json(kind: type[Config], text: str) -> Config:
    """The settings of that kind in a JSON text.

    Raises:
      ValueError: not JSON, or a field that this version does not know.
    """
    try:
        values = json.loads(text)
        return _from_dict(kind, values)
    except (json.JSONDecodeError, TypeError, AttributeError) as error:
        raise ValueError(f"not the settings of a {kind.__name__}: {error}") from error


def _from_dict(kind: Any, values: dict) -> Any:
    nested = {f.name: f.type for f in dataclasses.fields(kind) if dataclasses.is_dataclass(f.type)}
    return kind(
        **{name: _from_dict(nested[name], value) if name in nested else value for name, value in values.items()}
    )


def leaves(config: Any) -> dict[str, tuple[Any, dataclasses.Field]]:
    """All settings by flag name: value and field. `config` may be the class itself, for defaults."""
    found: dict[str, tuple[Any, dataclasses.Field]] = {}
    for field in dataclasses.fields(config):
        value = field.default if isinstance(config, type) else getattr(config, field.name)
        if dataclasses.is_dataclass(field.type):
            found |= leaves(value)
        else:
            found[field.name] = (value, field)
    return found


def replace(config: Config, **settings: Any) -> Config:
    """A copy with settings changed by flag name, wherever they sit.

    Raises:
      ValueError: no such setting, with the nearest names.
    """
    known = leaves(config)
    for name in settings:
        if name not in known:
            raise ValueError(f'unknown setting "{name}"; {nearest(name, known)}')
    return _replace(config, settings)


def _replace(config: Any, settings: dict[str, Any]) -> Any:
    changes = {}
    for field in dataclasses.fields(config):
        if dataclasses.is_dataclass(field.type):
            changes[field.name] = _replace(getattr(config, field.name), settings)
        elif field.name in settings:
            changes[field.name] = settings[field.name]
    return dataclasses.replace(config, **changes)


def differences(old: Any, new: Any) -> list[str]:
    """ "name: old -> new" for each setting that makes two runs different."""
    before, after = leaves(old), leaves(new)
    return [
        f"{name}: {before[name][0]!r} -> {value!r}"
        for name, (value, field) in after.items()
        if field.metadata["identity"] and before[name][0] != value
    ]


def nearest(name: str, known: Any) -> str:
    """ "did you mean ...?" or the list of what there is."""
    close = difflib.get_close_matches(name, list(known), n=3)
    return f"did you mean {' or '.join(close)}?" if close else f"expected one of {', '.join(known)}"


def numbers(text: str) -> tuple[float, ...]:
    """The numbers of a comma-separated list; empty for an empty text."""
    return tuple(number(part.strip()) for part in text.split(",") if part.strip())


def check_epsilon(epsilon: float, norm: str = "linf") -> None:
    """Raises ValueError unless epsilon is a pixel radius: in [0, 1] for linf, at least 0 for l2."""
    if not epsilon >= 0 or (norm == "linf" and epsilon > 1):
        raise ValueError(
            f"expected epsilon in [0, 1] pixel units, received {epsilon:g}"
            + (f", which looks like a 0-255 value; write --epsilon={epsilon:g}/255" if epsilon > 1 else "")
        )
