"""Checks what an evaluation needs and names, before anything is read or measured."""

from jeat_tf.config.evaluate import EvaluateConfig
from jeat_tf.core.checks import all_at_once
from jeat_tf.core.files import check_exists
from jeat_tf.evaluate.robustness import attack_names
from jeat_tf.evaluate.threats import balls_of
from jeat_tf.models.files import net_file
from jeat_tf.models.origin import named_net
from jeat_tf.runs.trained import data_of_run, run_config

_INCEPTIONS = ("inception", "keras_inception")


def check_given(config: EvaluateConfig) -> None:
    """Raises one ValueError about all flags that are missing, all files that do not exist, and unknown attacks."""
    run = run_config(config.model) if config.model else None

    def named_data() -> None:
        if not data_of_run(config.data, run).dataset:
            raise ValueError("expected --dataset, received nothing: a TFDS name, a folder of images, or an .npz file")

    features = config.generation.features
    attacks = [lambda: attack_names(config), lambda: balls_of(config, run)] if config.attacks != "none" else []
    all_at_once(
        lambda: net_file(config.model),
        named_data,
        *attacks,
        lambda: check_exists("transfer_from", named_net(config.audit.transfer_from).path),
        lambda: check_exists("features", "" if features in _INCEPTIONS else named_net(features).path),
        lambda: check_exists("features_path", config.generation.features_path),
        *(
            lambda name=name: check_exists("ood", name)
            for name in config.density.ood_names
            if name.endswith((".npz", ".npy"))
        ),
    )
