import numpy as np
import pytest

from jeat_tf.samplers.sgld import Steps
from jeat_tf.samplers.stages import (
    PRESETS,
    Contrast,
    Sgld,
    Targeted,
    named_preset,
    needs_classes,
    parse_stages,
    stage,
    steps_at,
)
from jeat_tf.samplers.walks import Chain
from tests.conftest import seed


def test_stages_are_read_in_order_with_their_settings_and_defaults():
    text = "targeted:epsilon=8/255,num_steps=3; contrast:factor=0.9 ;sgld:clip_pixels=false,energy=marginal"
    assert parse_stages(text) == [
        Targeted(epsilon=8 / 255, num_steps=3),
        Contrast(factor=0.9),
        Sgld(clip_pixels=False, energy="marginal"),
    ]
    assert parse_stages("none") == []
    assert parse_stages("sgld") == [Sgld()]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sgdl:num_steps=3", 'unknown stage "sgdl"; did you mean sgld'),
        ("sgld:steps=3", 'unknown setting "steps" of stage sgld; did you mean step_size or num_steps'),
        ("sgld:num_steps", "expected sgld:num_steps=value"),
        ("sgld:num_steps=2.5", "sgld:num_steps to be a whole number"),
        ("sgld:energy=free", "sgld:energy to be joint or cross_entropy or marginal"),
        ("sgld:clip_pixels=yes", "sgld:clip_pixels to be true or false"),
        ("sgld:step_size=big", "expected a number such as 0.03"),
        ("sgld:step_size=nan", "sgld:step_size to be a finite number, received nan"),
        ("sgld:noise_std=inf", "sgld:noise_std to be a finite number, received inf"),
        ("sgld:num_steps=nan", "sgld:num_steps to be a finite number, received nan"),
        ("contrast:factor=1e999", "contrast:factor to be a finite number, received 1e999"),
        ("", 'unknown stage ""'),
    ],
)
def test_what_cannot_be_read_is_named(text, message):
    with pytest.raises(ValueError, match=message):
        parse_stages(text)


@pytest.mark.parametrize(
    "text",
    [
        "sgld:num_steps=-1",
        "sgld:noise_std=-0.1",
        "momentum:decay=1",
        "annealed:step_size=0",
        "targeted:epsilon=8",
        "contrast:factor=-1",
    ],
)
def test_what_cannot_work_is_refused(text):
    with pytest.raises(ValueError, match="expected"):
        stage(parse_stages(text)[0])


def test_an_unknown_preset_gets_its_nearest():
    with pytest.raises(ValueError, match="did you mean robust_jem"):
        named_preset("robust_jme")


def test_symmetric_units_are_those_of_images_in_minus_one_to_one():
    assert Sgld(units="symmetric", step_size=1.0, noise_std=0.01).steps() == Steps(0.25, 0.005)
    assert Sgld(coupled_alpha=0.04).steps() == Steps(0.02, 0.2)


@pytest.mark.parametrize(
    ("text", "done", "expected"),
    [
        ("sgld:units=symmetric,step_size=1,noise_std=0.01", 7, (0.25, 0.005)),
        ("sgld:noise_std=0", 0, None),
        ("momentum:step_size=0.01,decay=0.9,noise_std=0.002", 3, (0.1, 0.002)),
        ("annealed:num_steps=5,step_size=1,last_step_size=0.01,noise_std=0.1,last_noise_std=0.1", 0, (1, 0.1)),
        ("annealed:num_steps=5,step_size=1,last_step_size=0.01,noise_std=0.1,last_noise_std=0.1", 2, (0.1, 0.1)),
        ("annealed:num_steps=5,step_size=1,last_step_size=0.01,noise_std=0.1,last_noise_std=0.1", 5, (0.01, 0.1)),
        ("mala:step_size=0.04,temperature=0.1", 1, (0.2, 0.2)),
        ("hmc", 0, None),
        ("targeted", 0, None),
        ("contrast", 0, None),
    ],
)
def test_step_and_noise_are_those_of_the_stage_at_that_step(text, done, expected):
    steps = steps_at(parse_stages(text)[0], done)
    assert steps is None if expected is None else steps == pytest.approx(expected)


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_can_be_run_and_keeps_images_in_range(name, trained_net):
    preset = named_preset(name)
    x = np.full((2, 8, 8, 1), 0.5, np.float32)
    for settings in parse_stages(preset.stages):
        surrogate, sampler = stage(settings)
        if isinstance(sampler, Chain):
            sampler = sampler._replace(num_steps=2)
        x = sampler(surrogate(trained_net, np.array([3, 4])), x, seed=seed())
    assert np.all(np.isfinite(x))
    assert np.min(x) >= 0
    assert np.max(x) <= 1


def test_only_stages_towards_a_class_need_one():
    needing = "targeted;sgld;sgld:energy=cross_entropy;momentum"
    free = "contrast;sgld:energy=marginal;mala:energy=marginal"
    assert all(map(needs_classes, parse_stages(needing)))
    assert not any(map(needs_classes, parse_stages(free)))
