"""Settings of `python -m jeat_tf.sample`."""

import dataclasses

from jeat_tf.config.fields import setting
from jeat_tf.config.shared import RANK_HELP, RETAINED_HELP, STARTS, Data


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
    start_rank: int = setting(0, RANK_HELP)
    start_retained: float = setting(0.99, RETAINED_HELP)
    start_images: str = setting("", "start=images: an .npz file with arrays images and labels")
    stages: str = setting(
        "",
        "what is done to them, in order, e.g. "
        '"targeted:epsilon=0.25,num_steps=15;contrast:factor=0.9;sgld:energy=joint,num_steps=50"; none: nothing',
    )
    num: int = setting(1000, "images")
    classes: str = setting(
        "",
        "balanced: the classes in turn; a list such as 3,5: these in turn; none: without classes, labelled by the net; "
        "empty: balanced where the start or a stage goes by classes, else none",
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
