import dataclasses
import json
import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf

from jeat_tf.attacks.surrogates import marginal_energy
from jeat_tf.attacks.values import FGSMBesideNoise
from jeat_tf.config import build
from jeat_tf.config.convert import ConvertConfig
from jeat_tf.config.draw import DrawConfig
from jeat_tf.config.evaluate import EvaluateConfig
from jeat_tf.config.flags import parsed
from jeat_tf.config.prepare import PrepareConfig
from jeat_tf.config.report import ReportConfig
from jeat_tf.config.sample import SampleConfig
from jeat_tf.config.store import SCHEMA, from_json, read_settings, to_json
from jeat_tf.config.train import TrainConfig
from jeat_tf.core.balls import L2, Linf
from jeat_tf.core.flat import differences, flatten, owners, replace
from jeat_tf.methods.adjustments import Adjustments
from jeat_tf.methods.recipes import methods
from jeat_tf.methods.recipes.jeat import JEAT
from jeat_tf.methods.recipes.jem import JEM
from jeat_tf.methods.recipes.robust_jem import RobustJEM
from jeat_tf.methods.recipes.standard import Standard
from jeat_tf.samplers.starts import Uniform
from jeat_tf.samplers.values import SGLD, Sampler

CONFIGS = pathlib.Path(__file__).parents[1] / "configs"
FOLDERS = ("digits", "mnist", "cifar10", "cifar100")
PRESETS = sorted(path for folder in FOLDERS for path in CONFIGS.glob(f"{folder}/*.flags"))
KINDS = [TrainConfig, EvaluateConfig, SampleConfig, DrawConfig, PrepareConfig, ReportConfig, ConvertConfig]


@pytest.mark.parametrize("kind", KINDS)
class TestEveryKind:
    def test_readers_of_one_flag_agree_on_its_type_and_all_have_help(self, kind):
        for name, where in owners(kind).items():
            types = {getattr(owner.field.type, "type", owner.field.type) for owner in where}
            assert len(types) == 1 or all(issubclass(each, Sampler) for each in types), name
            assert all(owner.field.metadata["help"] for owner in where), name

    def test_no_flags_are_the_defaults_and_json_keeps_them(self, kind):
        config = parsed(kind)
        assert config == kind()
        assert from_json(kind, to_json(config)) == config


@pytest.mark.parametrize("preset", PRESETS, ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_every_preset_is_understood_and_sound(preset):
    config = parsed(TrainConfig, f"--flagfile={preset}")
    assert config != TrainConfig()
    assert from_json(TrainConfig, to_json(config)) == config
    assert parsed(TrainConfig, f"--preset={preset.parent.name}/{preset.stem}") == config


def test_presets_of_every_data_set_cover_all_methods():
    for folder in FOLDERS:
        assert {p.stem for p in PRESETS if p.parent.name == folder} >= set(methods())


def test_later_flags_win_over_the_flagfile():
    preset = next(p for p in PRESETS if p.stem == "jeat")
    assert parsed(TrainConfig, f"--flagfile={preset}", "--epochs=3").run.epochs == 3


def test_flags_win_over_the_config_of_a_run(tmp_path):
    config = replace(TrainConfig(), method="jem", chain_steps=3, epochs=7)
    (tmp_path / "config.json").write_text(to_json(config))
    found = parsed(TrainConfig, f"--config={tmp_path / 'config.json'}", "--epochs=3")
    assert found == replace(config, epochs=3)
    with pytest.raises(ValueError, match="cannot read"):
        parsed(TrainConfig, f"--config={tmp_path / 'none.json'}")


def test_fractions_are_read():
    assert parsed(TrainConfig, "--epsilon=8/255").ball == Linf(8 / 255)


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("--epsilon=eight", "epsilon.*eight"),
        ("--precision=float16", "precision.*float16"),
        ("--epochs=many", "epochs.*many"),
        ("--net=vgg", 'unknown net "vgg".*small_cnn'),
        ("--preset=digits/jaet", 'unknown preset "digits/jaet".*digits/jeat'),
        ("--optimizer=lion", "optimizer.*lion"),
        ("jeat", "jeat"),
    ],
)
def test_bad_values_are_refused_by_the_parser(argument, message):
    with pytest.raises(ValueError, match=message):
        parsed(TrainConfig, argument)


def test_an_unknown_flag_is_told_the_nearest():
    with pytest.raises(ValueError, match="epsilon"):
        parsed(TrainConfig, "--epsilom=0.1")


def test_replace_by_name_and_differences():
    config = replace(TrainConfig(), epochs=7, dropout=0.1, model_dir="elsewhere")
    assert (config.run.epochs, config.net.dropout, config.run.model_dir) == (7, 0.1, "elsewhere")
    assert differences(TrainConfig(), config) == ["dropout: 0.0 -> 0.1", "epochs: 30 -> 7"]
    assert "net: 'small_cnn' -> 'wide_resnet'" in differences(config, replace(config, net="wide_resnet"))
    with pytest.raises(ValueError, match="epochs"):
        replace(TrainConfig(), epoch=7)


class TestTheBall:
    """The attack's own is the one that robustness is followed in: they share their flags."""

    def test_is_the_attacks_however_the_config_is_made(self):
        assert TrainConfig(method=JEAT(epsilon=0.2)).threat == Linf(0.2)
        assert parsed(TrainConfig, "--method=dat").threat == L2(0.5)
        assert replace(TrainConfig(), attack_norm="l2", epsilon=0.5).method.ball == L2(0.5)
        assert replace(TrainConfig(), method="dat", epsilon=0.25).ball == L2(0.25)

    def test_of_another_radius_is_another_run(self):
        config = TrainConfig(method=JEAT(epsilon=0.2))
        assert differences(config, TrainConfig(method=JEAT(epsilon=0.1))) == ["epsilon: 0.2 -> 0.1"]

    def test_of_a_method_without_attack_is_the_threat(self):
        config = replace(TrainConfig(), method="jem", attack_norm="l2", epsilon=0.25)
        assert config.ball == config.threat == L2(0.25)
        assert flatten(config)["epsilon"] == 0.25


def stored(**changes):
    return json.dumps(json.loads(to_json(TrainConfig())) | changes)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "config.json is not JSON"),
        ("[]", "TrainConfig"),
        ('{"data": {"colour": 1}}', "TrainConfig"),
        ('{"unknown": 1}', "TrainConfig"),
        (stored(schema=SCHEMA + 1), f"schema {SCHEMA + 1}"),
        (stored(kind="SampleConfig"), "SampleConfig"),
        (stored(settings={"epochs": 1}), "no setting 'epochs'"),
        (stored(settings={"run": {"epoch": 1}}), "no setting 'epoch'; did you mean epochs"),
        (stored(settings={"run": {"epochs": "many"}}), "TrainConfig.*epochs"),
        (stored(settings={"method": {"kind": "jaet"}}), "did you mean jeat"),
        (stored(settings=3), "JSON object"),
    ],
)
def test_foreign_json_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        from_json(TrainConfig, text)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ValueError, match="cannot read .*none.json"):
        read_settings(TrainConfig, str(tmp_path / "none.json"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"method": "jaet"}, "did you mean jeat"),
        ({"net": "small_cn"}, "did you mean small_cnn"),
        ({"update": "sma"}, "did you mean sam"),
        ({"epsilon": 8.0}, "write 8/255"),
        ({"epsilon": -0.1}, "epsilon"),
        ({"batch_size": 0}, "batch_size"),
        ({"epochs": 0}, "epochs"),
        ({"restart_probability": 1.5}, "restart_probability"),
        ({"buffer_size": 10}, "buffer_size"),
        ({"separate_marginal": True}, "separate_marginal"),
        ({"awp_gamma": 0.01, "sam_rho": 0.1}, "awp_gamma.*--update=none; only awp"),
        ({"update": "awp", "sam_rho": 0.1}, "sam_rho.*--update=awp; only sam"),
        ({"update": "free"}, "--method=standard"),
        ({"update": "free", "method": "standard", "labelled_percent": 50}, "without labels"),
        ({"net": "glow"}, "belong together"),
        ({"pseudo_labels": "self"}, "labelled_percent"),
        ({"labelled_percent": 0}, "labelled_percent"),
        ({"joint_weight": 1.0}, "class_conditional"),
        ({"chain_start": "flow"}, 'unknown chain start "flow"'),
        ({"ema_momentum": 1.0}, "ema_momentum"),
        ({"learning_rate": float("nan")}, "learning_rate"),
        ({"clip_norm": -1.0}, "clip_norm"),
        ({"warmup_steps": -5}, "warmup_steps"),
        ({"weight_decay": -5.0}, "weight_decay"),
        (
            {"method": "flow", "net": "glow", "labelled_percent": 30, "pseudo_labels": "self"},
            "trains a standard net of the same shape",
        ),
    ],
)
def test_settings_that_cannot_work(settings, message):
    with pytest.raises(ValueError, match=message):
        replace(TrainConfig(), **settings)


@pytest.mark.parametrize(
    ("settings", "whose"),
    [
        ({"method": "pgd_at", "energy_l2": 0.1}, "--method=pgd_at; only dat, igebm, jeat, jem and robust_jem"),
        ({"method": "standard", "input_noise_std": 0.1}, "only dat, igebm, jeat, jem, jem_dsm and robust_jem"),
        ({"method": "standard", "chain_steps": 2}, "only dat, igebm, jeat, jem and robust_jem"),
        ({"method": "trades", "positive": "adversarial"}, "only jeat and robust_jem"),
        ({"method": "jem", "classified": "adversarial"}, "only weat"),
        ({"method": "igebm", "energy_weight": 0.5}, "only dat, jeat, jem, jem_dsm and robust_jem"),
        ({"method": "igebm", "joint_weight": 0.5}, "only jeat, jem and robust_jem"),
        ({"method": "dat", "chain_alpha": 0.1}, "only sgld and split_sgld|only igebm, jeat, jem and robust_jem"),
        ({"method": "dat", "chain_clip_gradient": 1.0}, "only"),
        ({"method": "jem", "noise_std": 0.1}, "only noise uses"),
        ({"method": "pgd_at", "beta": 1.0}, "only der, trades and weat use"),
        ({"method": "jem", "class_weight": 1.0}, "only flow"),
        ({"decay_epochs": "10", "schedule": "cosine"}, "--schedule=cosine; only step"),
        ({"decay_epochs": "10", "schedule": "cyclic"}, "--schedule=cyclic; only step"),
        ({"decay_factor": 0.5, "schedule": "cosine"}, "only step"),
        ({"depth": 10}, "--net=small_cnn; only wide_resnet"),
        ({"shortcut": "raw"}, "--net=small_cnn; only wide_resnet"),
        ({"head": "average", "net": "pre_act_resnet18"}, "--net=pre_act_resnet18; only small_cnn"),
        ({"flow_steps": 2}, "only glow"),
        ({"norm": "batch", "method": "flow", "net": "glow"}, "only small_cnn, wide_resnet and pre_act_resnet18"),
        ({"awp_from_step": 2}, "--update=none; only awp"),
        ({"sam_adaptive": True}, "--update=none; only sam"),
        ({"free_replays": 8}, "--update=none; only free"),
        ({"start_rank": 3}, "--chain_start=uniform; only class_gaussian and mixture"),
        ({"chain_decay": 0.5}, "--chain=sgld; only momentum"),
    ],
)
def test_settings_that_nothing_reads_are_refused(settings, whose):
    name = next(n for n in settings if n not in ("method", "net"))
    with pytest.raises(ValueError, match=f"--{name}=.* has no effect.*({whose})"):
        replace(TrainConfig(), **settings)


def test_a_teacher_is_standard_training_of_the_same_net_and_sound():
    config = replace(
        TrainConfig(), method="jeat", input_noise_std=0.1, positive="clean", labelled_percent=30, pseudo_labels="self",
        energy_l2=0.1, update="sam", sam_rho=0.1, sam_adaptive=True, norm="batch", epochs=3, epsilon=0.2,
    )  # fmt: skip
    teacher = config.teacher("there")
    assert (teacher.method, teacher.update, teacher.threat) == (Standard(), None, Linf(0.2))
    assert teacher.run == dataclasses.replace(config.run, model_dir="there")
    assert teacher.stream == dataclasses.replace(config.stream, pseudo_labels="")
    assert (teacher.data, teacher.net, teacher.optimizer) == (config.data, config.net, config.optimizer)
    changed = differences(config, teacher)
    assert {"pseudo_labels: 'self' -> ''", "method: 'jeat' -> 'standard'", "update: 'sam' -> 'none'"} <= set(changed)
    assert from_json(TrainConfig, to_json(teacher)) == teacher


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


def test_weight_decay_of_kernels_alone_leaves_biases():
    settings = {"optimizer": "sgd", "learning_rate": 0.1, "weight_decay": 0.5, "decay_kernels": True}
    optimizer = build.optimizer(replace(TrainConfig(), **settings).optimizer, 20, 4, Adjustments())
    kernel, bias = keras.Variable(np.ones([2, 2])), keras.Variable(np.ones([2]))
    optimizer.build([kernel, bias])
    optimizer.apply([keras.ops.zeros([2, 2]), keras.ops.zeros([2])], [kernel, bias])
    np.testing.assert_allclose(kernel, np.full([2, 2], 1 - 0.1 * 0.5))
    np.testing.assert_array_equal(bias, np.ones([2]))
    for wrong in ({"optimizer": "adam"}, {"weight_decay": 0.0}):
        with pytest.raises(ValueError, match="--decay_kernels needs --optimizer=sgd"):
            replace(TrainConfig(), **settings | wrong)


def test_the_rate_drops_at_the_first_step_of_its_epoch():
    settings = {"learning_rate": 0.1, "decay_epochs": "1,2.5", "optimizer": "sgd"}
    optimizer = build.optimizer(replace(TrainConfig(), **settings).optimizer, 10, 4, Adjustments())
    variable = keras.Variable([0.0])
    optimizer.build([variable])
    rates = []
    for _ in range(30):
        rates.append(float(optimizer.learning_rate))
        optimizer.apply([keras.ops.zeros([1])], [variable])
    np.testing.assert_allclose(rates, [0.1] * 10 + [0.01] * 15 + [0.001] * 5, rtol=1e-5)


def test_published_chains_are_converted_to_pixels():
    symmetric = SGLD.symmetric(step_size=1.0, noise_std=0.01)
    assert (symmetric.step_size, symmetric.noise_std) == (0.25, 0.005)
    assert SGLD.symmetric(clip_gradient=1.0).clip_gradient == 2.0


def test_literal_is_algorithm_1():
    literal = JEAT.literal(Linf(0.1))
    assert (literal.chain.step_size, literal.chain.noise_std) == (0.005, 0.1)
    assert literal.chain.bounds() is None
    assert literal.chain.clip_gradient is None
    assert literal.attack == FGSMBesideNoise(Linf(0.1))
    assert (literal.energy_weight, literal.positive, literal.start) == (1.0, "adversarial", Uniform())
    objective = literal.objective((8, 8, 1), 10, 0)
    assert objective.input_noise_std == 0
    assert objective.negatives.surrogate is marginal_energy
    ends = tf.ones([4, 8, 8, 1])
    assert np.max(literal.attack(lambda x: tf.reduce_sum(x, [1, 2, 3]), ends, seed=0)) > 1  # pixels are not clipped


def test_alpha_couples_step_and_noise():
    found = parsed(TrainConfig, "--chain_alpha=0.01").method.chain
    assert (found.step_size, found.noise_std) == (0.005, 0.1)
    assert JEAT.literal(alpha=0.01).chain == dataclasses.replace(found, clip_pixels=False)


def test_positive_phase_by_method():
    """Its images are those of `test_methods`; here is who chooses which."""
    assert RobustJEM().positive == "clean"
    assert JEAT().positive == "adversarial"
    assert replace(TrainConfig(), method="jeat", positive="clean").method.positive == "clean"
    assert not hasattr(JEM(), "positive")


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
