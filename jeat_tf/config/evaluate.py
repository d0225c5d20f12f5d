"""Settings of `python -m jeat_tf.evaluate`."""

from jeat_tf.config.shared import JIT, JIT_HELP, Data
from jeat_tf.core.balls import BALLS
from jeat_tf.core.values import Value, setting, value
from jeat_tf.models.origin import BEHIND, Origin


@value
class Audit(Value):
    """Checks that the attacks mean what they seem to mean."""

    audit_images: int = setting(64, "images for the gradient-masking checks; 0: none", at_least=0)
    transfer_from: str = setting("", "another net for the same images, to transfer attacks from" + BEHIND)
    bpda: str = setting(
        "",
        "layers whose gradient is replaced by another function's, layer:function, comma-separated, e.g. "
        "quantise:identity; functions: identity, relu, sigmoid, tanh",
    )
    eot_samples: int = setting(20, "passes that are averaged if the net's output is random", at_least=1)
    refine_steps: int = setting(
        0, "classify after so many steps down E(x), as JEM does, and attack through them", at_least=0
    )
    refine_step_size: float = setting(0.25, "factor of the energy gradient in these steps, in pixels")
    refine_noise_std: float = setting(0.005, "standard deviation of their noise, in pixels")


@value
class Density(Value):
    """The net as a density, and its confidence."""

    calibration: bool = setting(False, "NLL, Brier score, calibration errors and a reliability diagram")
    ood: str = setting(
        "",
        "images to tell from the data's, comma-separated: uniform, gaussian, constant, interpolation, a TFDS name, "
        "an .npz file",
    )
    corruptions: str = setting(
        "",
        "accuracy and calibration under corruptions of: common, made of the images here; imagecorruptions, made of "
        "them by that package; a folder of CIFAR-10-C or ImageNet-C; a TFDS name such as cifar10_corrupted",
    )
    corruption_names: str = setting("", "corruptions, comma-separated, e.g. gaussian_noise,contrast; empty: all")
    corruption_baseline: str = setting(
        "", "baseline of the mCE: the corruptions.json of another net, or alexnet for ImageNet-C; empty: no mCE"
    )
    fisher_images: int = setting(0, "Fisher scores of E(x, y) and E(x) on so many images; 0: none")
    fisher_probes: int = setting(0, "Rademacher probes of their traces; 0: exact, a backward pass for each pixel")

    @property
    def ood_names(self) -> tuple[str, ...]:
        """What `ood` names."""
        return tuple(name.strip() for name in self.ood.split(",") if name.strip())


@value
class Generation(Value):
    """Generated images, measured."""

    generation: str = setting(
        "",
        "folder that `python -m jeat_tf.sample` wrote; samples: the run's own. The run's replay buffer, if it has one, "
        "is measured beside it",
    )
    features: str = setting(
        "",
        "net that scores look through: inception (of 2015-12-05, for IS, FID and KID as published), keras_inception, "
        "or a .keras classifier of the same images, whose scores are named so" + BEHIND,
    )
    features_path: str = setting("", "inception: its graph or archive; keras_inception: its weights; empty: downloaded")
    features_sha256: str = setting("", "inception: digest that the file must have")
    reference_split: str = setting("train", "TFDS split of the real images")
    score_splits: int = setting(10, "parts whose inception scores are averaged")
    neighbours: int = setting(8, "generated images whose nearest training images are shown; 0: none", at_least=0)


@value
class EvaluateConfig(Value):
    """Settings of `python -m jeat_tf.evaluate`."""

    data: Data = setting(Data(dataset=""), "data")
    origin: Origin = setting(Origin(), "origin")
    audit: Audit = setting(Audit(), "audit")
    density: Density = setting(Density(), "density")
    generation: Generation = setting(Generation(), "generation")
    model: str = setting("", "folder of a training run, a .keras file, or, with --trust, a SavedModel")
    attacks: str = setting(
        "clean,fgsm,pgd20,pgd50,energy",
        "comma-separated: clean, noise, fgsm, fgsm_rs, pgdN, pgdNxR (R restarts), energyN (on E(x, y)), cw_linf, "
        "cw_l2, cw_l2_fixed, cw_linf_min, fab_min, apgd-ce, apgd-dlr, apgd-t, fab, fab-t, square, autoattack, "
        "autoattack-fast, autoattack-plus, autoattack-rand; none: no attack",
    )
    targets: str = setting(
        "none",
        "class that attacks have to reach: next, the one after the label; random, one drawn for each image; all, each "
        "in turn; none: any class but the label is a success",
        choices=("none", "next", "random", "all"),
    )
    norm: str = setting(
        "linf",
        "ball of the attacks: linf, l2, l1, or several with commas, each then with one radius, for the worst case",
    )
    epsilon: str = setting("", "radii of the ball in pixels, comma-separated, e.g. 8/255,4/255; empty: the run's own")
    split: str = setting("test", "TFDS split")
    num_images: int = setting(0, "evaluate the first so many images; 0: all", at_least=0)
    batch_size: int = setting(200, "images in a batch", at_least=1)
    seed: int = setting(0, "seed of random starts and searches", at_least=0)
    gradients: str = setting(
        "float32",
        "precision of the attacks' gradients; success is decided in float32 always",
        choices=("float32", "bfloat16"),
    )
    jit_compile: str = setting("auto", JIT_HELP, choices=JIT)
    shard: str = setting(
        "",
        "attack only the i-th, from 0, of m parts of the images, i/m, so that m machines do it together; empty: all, "
        "which puts together what parts have found in output_dir",
        identity=False,
    )
    save_adversarial: bool = setting(False, "also write the adversarial images", identity=False)
    resume: bool = setting(True, "resume an evaluation that was interrupted", identity=False)
    output_dir: str = setting("", "folder for results.json; empty: <run>/evaluation", identity=False)

    @property
    def norms(self) -> tuple[str, ...]:
        """The norms of the balls."""
        return tuple(word.strip() for word in self.norm.split(","))

    def _check(self) -> None:
        super()._check()
        for word in self.norms:
            if word not in BALLS or self.norms.count(word) > 1:
                raise ValueError(
                    f"expected --norm={', '.join(BALLS)}, or several of them with commas, received {self.norm}"
                )
