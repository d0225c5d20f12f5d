"""The settings of `python -m components.run`."""

import dataclasses

from jeat_tf.config import setting


@dataclasses.dataclass(frozen=True)
class PipelineConfig:
    """Which graph, and which of it to run."""

    pipeline_root: str = setting("runs/pipeline", "folder of artifacts and their lineage")
    dataset: str = setting("digits", "data set, as in jeat_tf.prepare")
    data_dir: str = setting("", "TFDS data folder; empty: TFDS' default")
    download: bool = setting(False, "fetch a data set that data_dir lacks")
    presets: str = setting("configs/digits", "folder of the methods' flagfiles")
    methods: str = setting("standard,pgd_at", "presets to train, comma-separated")
    seeds: str = setting("0,1", "seeds of each, as 0,1 or 0..4")
    train_flags: str = setting("", "flags of jeat_tf.train that replace those of the presets, separated by blanks")
    judge: str = setting("judge", "preset of the classifier whose features grade the images; empty: none")
    judge_flags: str = setting("", "flags of jeat_tf.train for the judge alone")
    sample_flags: str = setting("--num=500", "flags of jeat_tf.sample")
    evaluate_flags: str = setting("--attacks=clean,fgsm,pgd20", "flags of jeat_tf.evaluate")
    force: str = setting("", "components to run though their results are there, comma-separated; all: every one")
    start_from: str = setting("", "component from which on steps are run though their results are there; also --from")
    only: str = setting("", "components to run, comma-separated; the results of the others must be there")
