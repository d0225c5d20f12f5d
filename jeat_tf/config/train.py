"""Settings of `python -m jeat_tf.train`."""

import dataclasses

from jeat_tf.config.shared import JIT, JIT_HELP, Data
from jeat_tf.core.balls import BALLS, Ball, Linf
from jeat_tf.core.units import numbers
from jeat_tf.core.values import Value, fields, setting, value
from jeat_tf.methods.base import Attacked, Contrastive, Method
from jeat_tf.methods.recipes import methods
from jeat_tf.methods.recipes.dat import DAT
from jeat_tf.methods.recipes.flow import Flow
from jeat_tf.methods.recipes.jeat import JEAT
from jeat_tf.methods.recipes.standard import Standard
from jeat_tf.methods.updates import UPDATES, Free, Update
from jeat_tf.models.nets import NETS, FlowNet, Net, SmallCNN
from jeat_tf.models.origin import BEHIND


@value
class Stream(Value):
    """How training images are served."""

    validation_percent: int = setting(10, "share of the training split held out for validation", at_least=0, at_most=90)
    batch_size: int = setting(64, "images in a training batch", at_least=1)
    augment: str = setting(
        "usual",
        "usual: crop and flip for CIFAR, crop for SVHN, else none; padding reflects, in zero_crop_flip it is zeros",
        choices=("usual", "none", "crop", "crop_flip", "zero_crop_flip"),
    )
    separate_marginal: bool = setting(False, "serve p(x) its own stream, of all images, labelled or not")
    augment_marginal: bool = setting(False, "augment that stream too, as JEM does and SADA-JEM does not")
    train_images: int = setting(0, "train on so many images, drawn by seed; 0: all", at_least=0)
    labelled_percent: int = setting(
        100, "share of the training images, drawn by seed, whose labels are used", at_least=1, at_most=100
    )
    extra_dataset: str = setting(
        "", "more training images: a TFDS name or folder, an .npz file, or a folder that `sample` has written"
    )
    extra_labels: bool = setting(False, "keep the labels of extra_dataset; else its images have none")
    extra_share: float = setting(
        0.5, "share of each batch that is drawn from these images or those without labels", above=0.0, below=1.0
    )
    pseudo_labels: str = setting(
        "",
        "net that labels those images (RST): a run's folder or a .keras file; self: a standard net trained first, in "
        "<model_dir>/teacher; empty: they stay unlabelled and serve p(x)" + BEHIND,
    )

    @property
    def has_unlabelled(self) -> bool:
        """Whether there are training images whose labels are not known, or not used."""
        return self.labelled_percent < 100 or bool(self.extra_dataset and not self.extra_labels)


@value
class Optimizer(Value):
    """How the optimizer moves the weights."""

    optimizer: str = setting("adam", "adam or sgd", choices=("adam", "sgd"))
    learning_rate: float = setting(1e-4, "learning rate after warm-up", at_least=0.0)
    momentum: float = setting(0.9, "sgd: momentum; adam: beta_1", at_least=0.0, below=1.0)
    weight_decay: float = setting(
        0.0, "sgd: this times the weight is added to its gradient, as in PyTorch; adam: decoupled", at_least=0.0
    )
    decay_kernels: bool = setting(
        False, "sgd: weight decay of convolution and dense kernels alone, not of biases and normalisation"
    )
    clip_norm: float = setting(0.0, "bound on the global gradient norm; 0: none", at_least=0.0)
    warmup_steps: int = setting(0, "steps of linear warm-up", at_least=0)
    schedule: str = setting(
        "step",
        "step: drops at decay_epochs; cosine: to 0 at the end; cyclic: from 0 up to half of the run, and down to 0",
        choices=("step", "cosine", "cyclic"),
    )
    decay_epochs: str = setting("", "step: epochs after which the rate drops, e.g. 160,180")
    decay_factor: float = setting(0.1, "step: what the rate is multiplied by at each of decay_epochs", above=0.0)
    ema_momentum: float = setting(
        0.0,
        "keep an average of the weights, e.g. 0.999, and evaluate and save it; 0: none",
        at_least=0.0,
        below=1.0,
    )
    accumulate_steps: int = setting(1, "batches whose gradients are averaged for one change of the weights", at_least=1)

    def _check(self) -> None:
        super()._check()
        numbers(self.decay_epochs)
        if self.decay_kernels and not (self.optimizer == "sgd" and self.weight_decay):
            raise ValueError("--decay_kernels needs --optimizer=sgd and a --weight_decay. Remove it, or set them")
        for field in fields(Optimizer):
            name, given = field.name, getattr(self, field.name)
            if name.startswith("decay_") and self.schedule != "step" and given != field.default:
                raise ValueError(
                    f"--{name}={given} has no effect with --schedule={self.schedule}; only step uses it. Remove it"
                )


@value
class Run(Value):
    """The run itself."""

    model_dir: str = setting("", "folder of the run: checkpoints, nets, TensorBoard events", identity=False)
    epochs: int = setting(30, "passes over the training images", at_least=1)
    max_steps: int = setting(0, "stop after so many training steps; 0: after the epochs", at_least=0)
    seed: int = setting(0, "seed of weights, order, augmentation, attacks and chains", at_least=0)
    init_from: str = setting(
        "",
        "net whose weights this one begins with: a run's folder or a .keras file; other classes give it a new head, "
        "and another architecture takes the place of --net" + BEHIND,
    )
    resume: bool = setting(True, "resume the run found in model_dir", identity=False)
    checkpoint_steps: int = setting(0, "also save every so many steps; 0: at epoch ends", at_least=0, identity=False)
    robust_every: int = setting(
        1, "epochs between PGD-10 measurements on validation images, if there are any; 0: never", at_least=0
    )
    monitor: str = setting(
        "", "log whose highest value picks best.keras; empty: val_robust_accuracy, else val_accuracy"
    )
    jit_compile: str = setting("auto", JIT_HELP, choices=JIT, identity=False)
    devices: str = setting(
        "1",
        "devices that share each batch: a number, or all GPUs; without a GPU, parts of the processor",
        identity=False,
    )
    workers: str = setting(
        "",
        "processes that share each batch: a JSON file like TensorFlow's TF_CONFIG, or TF_CONFIG for that variable; all "
        "of them must see model_dir",
        identity=False,
    )
    worker: int = setting(
        -1, "number of this process in --workers, from 0; -1: as the task there says", at_least=-1, identity=False
    )
    precision: str = setting("float32", "float32 or mixed_bfloat16", choices=("float32", "mixed_bfloat16"))
    images_every: int = setting(5, "epochs between image grids in TensorBoard; 0: never", at_least=0, identity=False)
    energy_changes_every: int = setting(
        0,
        "steps between records of how attack and update change energies (JEAT eq. 15), kept in energy_changes.npz; "
        "0: none",
        at_least=0,
        identity=False,
    )


@value
class Watch(Value):
    """What the guard does when a run diverges."""

    guard: str = setting(
        "recover",
        "recover: back to the last good weights, half the learning rate, twice the chain steps; stop; off: not watched",
        choices=("recover", "stop", "off"),
    )
    guard_recoveries: int = setting(5, "recoveries after which a run is stopped", at_least=0)
    overfitting_every: int = setting(
        0,
        "steps between looks for catastrophic overfitting, whose alarm the guard acts on; logs energy_alignment; "
        "0: none",
        at_least=0,
    )
    guard_energy_l2: float = setting(0.0, "L2 on energies that each recovery adds", at_least=0.0)
    max_gap: float = setting(1e3, "diverged when |E(x_pos) - E(x_neg)| exceeds this; 0: not looked at", at_least=0.0)
    max_gradient_norm: float = setting(
        1e5, "diverged when the gradient norm exceeds this; 0: not looked at", at_least=0.0
    )


@value
class TrainConfig(Value):
    """Settings of `python -m jeat_tf.train`."""

    data: Data = setting(Data(), "images")
    stream: Stream = setting(Stream(), "training images")
    net: Net = setting(SmallCNN(), "net", kinds=NETS)
    method: Method = setting(JEAT(), "training method", kinds=methods)
    threat: Ball = setting(
        Linf(), "ball that robustness is followed in, and the attack's own", kinds=BALLS, flag="attack_norm"
    )
    update: Update | None = setting(None, "what is wrapped around the descent", kinds=UPDATES)
    optimizer: Optimizer = setting(Optimizer(), "optimizer")
    run: Run = setting(Run(), "run")
    watch: Watch = setting(Watch(), "guard")

    def __post_init__(self) -> None:
        own = getattr(getattr(self.method, "attack", None), "ball", None)
        if isinstance(own, Ball):  # they share their flags
            object.__setattr__(self, "threat", own)
        super().__post_init__()

    @property
    def ball(self) -> Ball:
        """The ball of the training attack; without one, the ball in which robust accuracy is followed."""
        return self.threat

    @property
    def unlabelled(self) -> bool:
        """Whether the method sees images without labels."""
        return self.stream.has_unlabelled and not self.stream.pseudo_labels

    def teacher(self, folder: str) -> "TrainConfig":
        """The run that labels images for pseudo_labels=self: a standard net, trained on what has labels."""
        return dataclasses.replace(
            self,
            method=Standard(),
            threat=self.ball,
            update=None,
            stream=dataclasses.replace(self.stream, pseudo_labels="", separate_marginal=False),
            run=dataclasses.replace(self.run, model_dir=folder),
        )

    def _check(self) -> None:
        super()._check()
        stream, method = self.stream, self.method
        if isinstance(self.net, FlowNet) != isinstance(method, Flow):
            raise ValueError(
                "--method=flow and a net that is a flow, --net=glow or residual_flow, belong together, "
                f"received --net={self.net.word} --method={method.word}"
            )
        if stream.extra_labels and not stream.extra_dataset:
            raise ValueError("--extra_labels keeps the labels of --extra_dataset, which is not given. Give one")
        if stream.extra_labels and stream.has_unlabelled:
            raise ValueError(
                "--extra_labels and --labelled_percent below 100 mix images with and without labels in one stream; "
                "use one of them"
            )
        if stream.pseudo_labels and not stream.has_unlabelled:
            raise ValueError(
                "--pseudo_labels needs images without labels: --labelled_percent below 100, or --extra_dataset "
                "without --extra_labels"
            )
        if stream.pseudo_labels == "self" and isinstance(method, Flow):
            raise ValueError(
                "--pseudo_labels=self trains a standard net of the same shape and is not supported for --method=flow; "
                "give the folder of a run"
            )
        if self.watch.overfitting_every and not isinstance(method, Attacked):
            raise ValueError(
                f"--overfitting_every looks at the attack of an adversarial method, and --method={method.word} has "
                "none. Remove it"
            )
        if self.watch.overfitting_every and isinstance(method, Contrastive | DAT):
            raise ValueError(
                f"--overfitting_every fits the energies of a classifier, and --method={method.word} shapes them by "
                "negatives too, which sets off a false alarm. Remove it"
            )
        if isinstance(self.update, Free):
            if not isinstance(method, Standard):
                raise ValueError(f"--update=free makes its own x_adv of --method=standard; the method is {method.word}")
            if stream.has_unlabelled:
                raise ValueError("--update=free does not serve images without labels")
        if isinstance(method, Contrastive) and stream.batch_size > method.buffer_size:
            raise ValueError(
                f"expected --buffer_size of at least the batch ({stream.batch_size}), received {method.buffer_size}"
            )
        clean = isinstance(method, (Contrastive, DAT)) and getattr(method, "positive", "clean") == "clean"
        if stream.separate_marginal and not (clean and getattr(method, "energy_weight", False)):
            raise ValueError(
                "--separate_marginal needs a method of p(x) whose positive phase is clean images: jem, robust_jem, "
                "dat, or jeat with --positive=clean"
            )
        if stream.separate_marginal and getattr(method, "joint_weight", False):
            raise ValueError("--joint_weight contrasts images of a class, and --separate_marginal serves none; use one")
