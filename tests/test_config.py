import dataclasses
import pathlib

import keras
import numpy as np
import pytest

from jeat_tf.attacks.surrogates import marginal_energy
from jeat_tf.config import (
    DrawConfig,
    EvaluateConfig,
    PrepareConfig,
    ReportConfig,
    SampleConfig,
    TrainConfig,
    build,
    differences,
    from_json,
    leaves,
    replace,
    to_json,
)
from jeat_tf.config.cli import parsed
from jeat_tf.convert.settings import ConvertConfig
from jeat_tf.methods.adjustments import Adjustments
from jeat_tf.methods.objective import clean, perturbed

CONFIGS = pathlib.Path(__file__).parents[1] / "configs"
PRESETS = sorted([*CONFIGS.glob("digits/*.flags"), *CONFIGS.glob("cifar10/*.flags")])
KINDS = [TrainConfig, EvaluateConfig, SampleConfig, DrawConfig, PrepareConfig, ReportConfig, ConvertConfig]


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
        ({"clip_norm": -1.0}, "clip_norm"),
        ({"warmup_steps": -5}, "warmup_steps"),
        ({"weight_decay": -5.0}, "weight_decay"),
        (
            {"method": "flow", "net": "glow", "labelled_percent": 30, "pseudo_labels": "self"},
            "trains a standard net of the same shape, and a flow is none",
        ),
    ],
)
def test_settings_that_cannot_work(settings, message):
    with pytest.raises(ValueError, match=message):
        build.check(replace(TrainConfig(), **settings))


@pytest.mark.parametrize(
    ("settings", "whose"),
    [
        ({"method": "pgd_at", "energy_l2": 0.1}, "methods with negatives"),
        ({"method": "standard", "input_noise_std": 0.1}, "methods with negatives"),
        ({"method": "trades", "positive": "perturbed"}, "jem, jeat, robust_jem or weat"),
        ({"method": "igebm", "energy_weight": 0.5}, "robust_jem or dat"),
        ({"method": "igebm", "joint_weight": 0.5}, "jem, jeat, robust_jem"),
        ({"method": "dat", "chain_units": "symmetric"}, "Langevin chains"),
        ({"method": "dat", "coupled_alpha": 0.1}, "Langevin chains"),
        ({"method": "dat", "chain_clip_gradient": 1.0}, "Langevin chains"),
        ({"method": "jem", "noise_std": 0.1}, "--method=noise"),
        ({"method": "pgd_at", "beta": 1.0}, "--method=trades or weat"),
        ({"method": "jem", "class_weight": 1.0}, "--method=flow"),
        ({"decay_epochs": "10", "schedule": "cosine"}, "--schedule=step"),
        ({"decay_epochs": "10", "schedule": "cyclic"}, "--schedule=step"),
        ({"depth": 10}, "--net=wide_resnet"),
        ({"head": "average", "net": "pre_act_resnet18"}, "--net=small_cnn"),
        ({"flow_steps": 2}, "--net=glow"),
        ({"method": "flow", "net": "glow", "norm": "batch"}, "nets other than glow"),
        ({"awp_warmup_epochs": 2}, "--awp_gamma"),
        ({"sam_adaptive": True}, "--sam_rho"),
    ],
)
def test_settings_that_nothing_reads_are_refused(settings, whose):
    with pytest.raises(ValueError, match=f"--{next(n for n in settings if n not in ('method', 'net'))}.*for .*{whose}"):
        build.check(replace(TrainConfig(), **settings))


def test_a_teacher_is_standard_training_of_the_same_net_and_sound():
    config = replace(
        TrainConfig(), method="jeat", input_noise_std=0.1, positive="clean", labelled_percent=30, pseudo_labels="self",
        energy_l2=0.1, sam_rho=0.1, sam_adaptive=True, norm="batch", epochs=3,
    )  # fmt: skip
    build.check(config)
    teacher = build.teacher(config, "there")
    build.check(teacher)
    assert differences(replace(config, model_dir="there"), teacher) == [
        "pseudo_labels: 'self' -> ''", "method: 'jeat' -> 'standard'", "input_noise_std: 0.1 -> 0.0",
        "energy_l2: 0.1 -> 0.0", "positive: 'clean' -> 'method'", "sam_rho: 0.1 -> 0.0", "sam_adaptive: True -> False",
    ]  # fmt: skip


def test_decay_of_sgd_is_pytorchs():
    """v <- m v + (g + decay w), w <- w - rate v, g clipped before; Adam's stays Keras' own."""
    settings = {"optimizer": "sgd", "learning_rate": 0.1, "momentum": 0.9, "weight_decay": 0.5, "clip_norm": 1.0}
    optimizer = build.optimizer(replace(TrainConfig(), **settings).optimizer, 20, 4, Adjustments())
    variable = keras.Variable([2.0, -1.0])
    optimizer.build([variable])
    weight, velocity = np.array([2.0, -1.0]), 0.0
    for gradient in np.array([[0.3, 0.1], [30.0, -40.0], [0.0, 0.0], [-0.2, 0.5]]):
        optimizer.apply([keras.ops.convert_to_tensor(gradient, "float32")], [variable])
        clipped = gradient / max(1.0, np.linalg.norm(gradient))
        velocity = 0.9 * velocity + clipped + 0.5 * weight
        weight = weight - 0.1 * velocity
        np.testing.assert_allclose(variable.numpy(), weight, rtol=1e-5)
    adam = build.optimizer(replace(TrainConfig(), weight_decay=0.5).optimizer, 20, 4, Adjustments())
    assert adam.weight_decay == 0.5


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


@pytest.mark.parametrize("folder", ["digits", "cifar10"])
def test_literal_is_algorithm_1_whatever_the_preset_says(folder, digits):
    given = ("--energy_weight=0.5", "--positive=clean", "--class_conditional", "--chain_clip_gradient=1", "--literal")
    config = parsed(TrainConfig, f"--flagfile={CONFIGS / folder / 'jeat.flags'}", *given)
    build.check(config)
    objective = build.objective(config, digits, None)  # no images: chains do not begin at statistics of classes
    assert objective.input_noise_std == 0
    assert objective.negatives.surrogate is marginal_energy
    sampler = objective.negatives.sampler.keywords
    assert (sampler["step_size"], sampler["noise_std"]) == (0.5, 1.0)
    assert sampler["bounds"] is sampler["clip_gradient"] is None
    settled = build.settled(config)
    assert build.settled(settled) == settled
    assert (settled.method.energy_weight, build._positive(settled.method)) == (1.0, perturbed)
    assert settled.chain.chain_start == "uniform"


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
