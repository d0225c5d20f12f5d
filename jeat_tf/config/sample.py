"""Settings of `python -m jeat_tf.sample`."""

from jeat_tf.config.shared import JIT, JIT_HELP, Data
from jeat_tf.core.values import Value, setting, value
from jeat_tf.models.origin import BEHIND, Origin
from jeat_tf.samplers.starts import STARTS


@value
class SampleConfig(Value):
    """Settings of `python -m jeat_tf.sample`."""

    data: Data = setting(Data(dataset=""), "data")
    origin: Origin = setting(Origin(), "origin")
    model: str = setting("", "folder of a training run, a .keras file, or, with --trust, a SavedModel", identity=False)
    recipe: str = setting(
        "",
        "start and stages by name, as docs/sampling.md lists them; empty: as the paper of the run's method draws, or "
        "normalized for a net without a run; --start and --stages override either",
    )
    start: str = setting(
        "",
        "where images begin: " + ", ".join(STARTS) + ", buffer (the run's replay buffer), images (--start_images), "
        "flow (exact samples of a net that is a flow)",
    )
    start_rank: int | None = setting(
        None, "class_gaussian, mixture: rank of covariances, beside a diagonal; empty: full, or 256 beyond 1024 numbers"
    )
    start_retained: float | None = setting(
        None, "class_pca: share of a class's variance that its components hold; empty: 0.99"
    )
    start_temperature: float | None = setting(
        None, "flow: factor on the standard deviation of the latents; below 1, images vary less; empty: 1"
    )
    start_images: str = setting("", "start=images: an .npz file with arrays images and labels")
    stages: str = setting(
        "",
        "what is done to them, in order, e.g. "
        '"targeted:epsilon=0.25,steps=15;contrast:factor=0.9;sgld:energy=joint,steps=50"; none: nothing',
    )
    tune: int | None = setting(
        None,
        "settings of the chain to try on validation images, in place of --stages: step sizes, numbers of steps and "
        "energies; the best draws; tuning.json has all of them",
        at_least=1,
    )
    tune_features: str = setting(
        "", "with --tune: classifier whose features say what is near to real images" + BEHIND, identity=False
    )
    tune_split: str = setting(
        "", "with --tune: images to be near to, e.g. train[90%:]; empty: the run's validation images"
    )
    tune_images: int = setting(200, "with --tune: images that are drawn to try a setting", at_least=20)
    num: int = setting(1000, "images to draw", at_least=1)
    classes: str = setting(
        "",
        "balanced: the classes in turn; a list such as 3,5: these in turn; none: without classes, labelled by the net; "
        "empty: balanced where the start or a stage goes by classes, else none",
    )
    batch_size: int = setting(200, "chains that run together", at_least=1)
    seed: int = setting(0, "seed of starts and chains", at_least=0)
    readings: int = setting(10, "readings of each chain on its way; 0: only at its ends", at_least=0)
    format: str = setting(
        "npz",
        "of the files of images; npz: float32 as drawn; tfrecord: 8-bit PNG and label",
        choices=("npz", "tfrecord"),
    )
    shard_size: int = setting(
        1000, "images in a file, at least; an interrupted run resumes at the next file", at_least=1
    )
    shard: str = setting(
        "",
        "draw only the i-th, from 0, of m parts of these files, i/m, so that m machines draw them together; empty: all",
        identity=False,
    )
    judge: str = setting("", "independent classifier that grades the images" + BEHIND, identity=False)
    jit_compile: str = setting("auto", JIT_HELP, choices=JIT)
    resume: bool = setting(True, "resume with the files found in output_dir", identity=False)
    output_dir: str = setting("", "folder for the results; empty: <run>/samples", identity=False)
