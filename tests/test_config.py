import dataclasses
import pathlib

import pytest

from jeat_tf import build
from jeat_tf.cli import parsed
from jeat_tf.config import (
    DrawConfig,
    EvaluateConfig,
    PrepareConfig,
    ReportConfig,
    SampleConfig,
    TrainConfig,
    differences,
    from_json,
    leaves,
    replace,
    to_json,
)
from jeat_tf.methods.adjustments import Adjustments
from jeat_tf.methods.objective import clean

CONFIGS = pathlib.Path(__file__).parents[1] / "configs"
PRESETS = sorted([*CONFIGS.glob("digits/*.flags"), *CONFIGS.glob("cifar10/*.flags")])
KINDS = [TrainConfig, EvaluateConfig, SampleConfig, DrawConfig, PrepareConfig, ReportConfig]


@pytest.mark.parametrize("kind", KINDS)
class TestEveryKind:
    def test_flag_names_are_unique_and_have_help(self, kind):
        fields = [f for f in dataclasses.fields(kind) if dataclasses.is_dataclass(f.type)]
        names = [f.name for f in dataclasses.fields(kind) if f not in fields]
        names += [g.name for f in fields for g in dataclasses.fields(f.type)]
        assert len(names) == len(set(names))
        assert all(field.metadata["help"] for _, field in leaves(kind).values())

    def test_no_flags_are_the_defaults_and_json_keeps_them(self, kind):
        config = parsed(kind)
        assert config == kind()
        assert from_json(kind, to_json(config)) == config


@pytest.mark.parametrize("preset", PRESETS, ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_every_preset_is_understood_and_sound(preset):
    config = parsed(TrainConfig, f"--flagfile={preset}")
    assert config != TrainConfig()
    build.check(config)


def test_presets_of_both_data_sets_cover_all_methods():
    for folder in ("digits", "cifar10"):
        assert {p.stem for p in PRESETS if p.parent.name == folder} >= set(build._METHODS)


def test_later_flags_win_over_the_flagfile():
    preset = next(p for p in PRESETS if p.stem == "jeat")
    assert parsed(TrainConfig, f"--flagfile={preset}", "--epochs=3").run.epochs == 3


def test_fractions_are_read():
    assert parsed(TrainConfig, "--epsilon=8/255").method.epsilon == 8 / 255


@pytest.mark.parametrize("argument", ["--epsilon=eight", "--precision=float16", "--epochs=many", "--net=vgg"])
def test_bad_values_are_refused_by_the_parser(argument):
    with pytest.raises(ValueError, match="TrainConfig: "):
        parsed(TrainConfig, argument)


def test_an_unknown_flag_is_told_the_nearest():
    with pytest.raises(ValueError, match="epsilon"):
        parsed(TrainConfig, "--epsilom=0.1")


def test_replace_by_name_and_differences():
    config = replace(TrainConfig(), epochs=7, net="wide_resnet", model_dir="elsewhere")
    assert (config.run.epochs, config.net.net, config.run.model_dir) == (7, "wide_resnet", "elsewhere")
    assert differences(TrainConfig(), config) == ["net: 'small_cnn' -> 'wide_resnet'", "epochs: 30 -> 7"]
    with pytest.raises(ValueError, match="epochs"):
        replace(TrainConfig(), epoch=7)


@pytest.mark.parametrize("text", ["", "[]", '{"data": {"colour": 1}}', '{"unknown": 1}'])
def test_foreign_json_is_refused(text):
    with pytest.raises(ValueError, match="TrainConfig"):
        from_json(TrainConfig, text)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"method": "jaet"}, "did you mean jeat"),
        ({"epsilon": 8.0}, "write --epsilon=8/255"),
        ({"epsilon": -0.1}, "epsilon"),
        ({"batch_size": 0}, "batch_size"),
        ({"epochs": 0}, "epochs"),
        ({"restart_probability": 1.5}, "restart_probability"),
        ({"buffer_size": 10}, "buffer_size"),
        ({"literal": True, "method": "jem"}, "literal"),
        ({"separate_marginal": True}, "separate_marginal"),
        ({"awp_gamma": 0.01, "sam_rho": 0.1}, "awp_gamma and --sam_rho"),
        ({"free_replays": 8}, "--method=standard"),
        ({"net": "glow"}, "belong together"),
        ({"pseudo_labels": "self"}, "labelled_percent"),
        ({"labelled_percent": 0}, "labelled_percent"),
        ({"joint_weight": 1.0}, "class_conditional"),
        ({"chain_start": "flow"}, 'unknown start "flow"'),
        ({"ema_momentum": 1.0}, "ema_momentum"),
        ({"learning_rate": float("nan")}, "learning_rate"),
    ],
)
def test_settings_that_cannot_work(settings, message):
    with pytest.raises(ValueError, match=message):
        build.check(replace(TrainConfig(), **settings))


def test_chain_units():
    symmetric = replace(TrainConfig(), chain_units="symmetric", chain_step_size=1.0, chain_noise_std=0.01).chain
    assert build.chain_steps(symmetric) == (0.25, 0.005)
    proximal = replace(TrainConfig(), chain_units="symmetric", chain_clip_gradient=1.0).chain
    assert build.chain(proximal).keywords["clip_gradient"] == 2.0


def test_literal_is_algorithm_1():
    config = replace(TrainConfig(), literal=True, chain_clip_pixels=True)
    assert build.chain_steps(config.chain, literal=True) == (0.5, 1.0)
    assert build.chain(config.chain, literal=True).keywords["bounds"] is None
    attack = build.attack(config.method)
    assert attack.func.__name__ == "fgsm_beside_noise"
    assert attack.keywords["bounds"] is None


def test_positive_phase_by_method():
    assert build._positive(replace(TrainConfig(), method="robust_jem").method) is clean
    assert build._positive(replace(TrainConfig(), method="jeat").method) is not clean
    assert build._positive(replace(TrainConfig(), method="jeat", positive="clean").method) is clean


def test_the_schedule_warms_up_and_decays():
    config = replace(TrainConfig(), learning_rate=0.1, warmup_steps=10, decay_epochs="2,3", decay_factor=0.1).optimizer
    assert rates(config, (0, 4, 9, 39, 41, 61)) == pytest.approx([0.01, 0.05, 0.1, 0.1, 0.01, 0.001])


def test_cosine_and_cyclic_schedules_span_the_run():
    config = replace(TrainConfig(), learning_rate=0.1).optimizer
    cosine = rates(dataclasses.replace(config, schedule="cosine"), (0, 40, 80))
    assert cosine == pytest.approx([0.1, 0.05, 0.0], abs=1e-6)
    cyclic = rates(dataclasses.replace(config, schedule="cyclic"), (0, 20, 40, 79))
    assert cyclic == pytest.approx([0.1 / 80, 0.05 + 0.1 / 80, 0.1, 0.1 / 80], rel=0.03)


def rates(config, steps):
    """Learning rates at optimizer steps of a run of four epochs of twenty batches."""
    adjustments = Adjustments()
    optimizer = build.optimizer(config, 20, 4, adjustments)
    found = []
    for step in steps:
        optimizer.iterations.assign(step)
        found.append(float(optimizer.learning_rate))
    return found
