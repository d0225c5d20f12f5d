"""The settings of `python -m components.run`, and of what sends the same steps elsewhere."""

from jeat_tf.config.evaluate import EvaluateConfig
from jeat_tf.config.sample import SampleConfig
from jeat_tf.core.values import Value, setting, value


@value
class PipelineConfig(Value):
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
    sample_shards: int = setting(1, "steps that draw the images of a net together; at most the files of images")
    evaluate_shards: int = setting(1, "steps that attack a net together, each on a part of the images")
    evaluate_flags: str = setting("--attacks=clean,fgsm,pgd20", "flags of jeat_tf.evaluate")
    draw_flags: str = setting("", "flags of jeat_tf.draw, for figures in the report; empty: none")
    force: str = setting("", "components to run though their results are there, comma-separated; all: every one")
    start_from: str = setting("", "component from which on steps are run though their results are there; also --from")
    only: str = setting("", "components to run, comma-separated; the results of the others must be there")


@value
class KubeflowConfig(Value):
    """Which graph, in which image, and what its steps ask of the cluster.

    What differs between components is written "8" for all, "trainer=8,evaluator=4", or "4,trainer=8" for both.
    """

    pipeline: PipelineConfig = setting(PipelineConfig(), "pipeline")
    image: str = setting(
        "", "container image of the steps, with a tag or a digest; its Dockerfile is in the repository"
    )
    output: str = setting("pipeline.yaml", "file to write")
    pipeline_name: str = setting("jeat-tf", "name of the pipeline on the cluster: lower case, digits and hyphens")
    cpu: str = setting("", "processors that steps request, e.g. 2,trainer=8")
    memory: str = setting("", "memory that steps request, e.g. 4G,trainer=16G")
    accelerator: str = setting("nvidia.com/gpu", "accelerator of the steps that ask for one, as the cluster calls it")
    accelerator_count: str = setting("", "accelerators of a step, e.g. trainer=1,sample_export=1; empty: none")


@value
class Workers(Value):
    """Which workers do the shards."""

    shards: int = setting(0, "parts that workers do, each by one; 0: of samples, as many as there are files")
    beam_runner: str = setting("DirectRunner", "runner of Apache Beam, e.g. DirectRunner, FlinkRunner, DataflowRunner")
    beam_options: str = setting("", "options of the runner, separated by blanks, e.g. --flink_master=host:8081")


@value
class BeamSampleConfig(Value):
    """Which images to draw, and where."""

    sample: SampleConfig = setting(SampleConfig(), "sample")
    workers: Workers = setting(Workers(), "workers")


@value
class BeamEvaluateConfig(Value):
    """Which net to attack, and where."""

    evaluate: EvaluateConfig = setting(EvaluateConfig(), "evaluate")
    workers: Workers = setting(Workers(), "workers")
