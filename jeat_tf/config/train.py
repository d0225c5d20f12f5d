"""Settings of `python -m jeat_tf.train`."""

import dataclasses

from jeat_tf.config.fields import setting
from jeat_tf.config.shared import RANK_HELP, RETAINED_HELP, STARTS, Data
from jeat_tf.models.layers import ACTIVATIONS, NORMS


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
    literal: bool = setting(
        False,
        "jeat: Algorithm 1 to the letter, whatever else is set: coupled chain from uniform noise on E(x), gradient of "
        "the attack at x, pixels not clipped, x_adv as the positive phase, weight 1, no input noise",
    )
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
    input_noise_std: float = setting(
        0.0, "methods with negatives: Gaussian noise on all images, in pixels (JEM: 0.015)"
    )
    energy_weight: float = setting(1.0, "joint methods: w, the weight of -log p(x); dat: of the binary objective")
    joint_weight: float = setting(0.0, "joint methods: v, the weight of -log p(x, y)")
    energy_l2: float = setting(0.0, "methods with negatives: weight of the mean squared energies (IGEBM: 1)")
    pixel_values: int = setting(256, "flow: values that a pixel can have, for dequantisation; digits: 17")
    class_weight: float = setting(0.01, "flow: weight of the cross-entropy beside the likelihood")
    positive: str = setting(
        "method",
        "images whose E(x) is lowered (weat: that are classified); method: perturbed for jeat, else clean",
        choices=("method", "perturbed", "clean"),
    )


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
    start_rank: int = setting(0, RANK_HELP)
    start_retained: float = setting(0.99, RETAINED_HELP)


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
    weight_decay: float = setting(
        0.0, "sgd: this times the weight is added to its gradient, as PyTorch does it; adam: decoupled"
    )
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
    monitor: str = setting(
        "", "log whose highest value picks best.keras; empty: val_robust_accuracy, else val_accuracy"
    )
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
