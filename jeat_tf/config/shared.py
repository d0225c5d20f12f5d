"""Settings that several verbs share."""

import dataclasses

from jeat_tf.config.fields import setting

STARTS = ("uniform", "gaussian", "class_gaussian", "mixture", "class_pca")
RANK_HELP = "class_gaussian, mixture: rank of covariances, beside a diagonal; 0: full, or 256 beyond 1024 numbers"
RETAINED_HELP = "class_pca: share of a class's variance that its components hold"


@dataclasses.dataclass(frozen=True)
class Data:
    """Which images."""

    dataset: str = setting(
        "digits",
        "digits, any TFDS image classification name, a prepared TFDS folder; to evaluate on, also an .npz file",
    )
    data_dir: str = setting("", "TFDS data folder; empty: TFDS' default", identity=False)
    download: bool = setting(False, "fetch and prepare a data set that data_dir lacks", identity=False)
