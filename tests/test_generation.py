import dataclasses

import numpy as np
import pytest

from jeat_tf import methods
from jeat_tf.core.balls import L2, Linf
from jeat_tf.models.glow import glow
from jeat_tf.samplers.generation import generate
from jeat_tf.samplers.stages import RECIPES, Stage, named_recipe, parse_stages
from jeat_tf.samplers.starts import ClassGaussians, Exact, Uniform
from jeat_tf.samplers.values import (
    SAMPLERS,
    SGLD,
    Annealed,
    Chain,
    Contrast,
    Momentum,
    NormalizedDescent,
    Steps,
    Targeted,
)
from tests.conftest import seed


def test_stages_are_read_in_order_with_their_settings_and_defaults():
    text = "targeted:epsilon=8/255,steps=3; contrast:factor=0.9 ;sgld:clip_pixels=false,energy=marginal"
    assert parse_stages(text) == (
        Stage(Targeted(Linf(8 / 255), steps=3), "cross_entropy"),
        Stage(Contrast(0.9)),
        Stage(SGLD(clip_pixels=False), "marginal"),
    )
    assert parse_stages("none") == ()
    assert parse_stages("sgld") == (Stage(SGLD()),)
    assert parse_stages("sgld:alpha=0.04") == (Stage(SGLD(alpha=0.04)),)
    assert parse_stages("targeted:norm=l2,epsilon=30") == (Stage(Targeted(L2(30.0)), "cross_entropy"),)


@pytest.mark.parametrize(
    "stage",
    [
        *(Stage(kind(), "marginal") for kind in SAMPLERS.values()),
        *(stage for recipe in RECIPES.values() for stage in recipe.stages),
        Stage(SGLD(7, step_size=1 / 3, clip_gradient=2.0, clip_pixels=False)),
        Stage(Targeted(L2(0.7), step_size=8 / 255), "joint"),
    ],
    ids=repr,
)
def test_a_stage_is_what_its_words_say(stage):
    assert parse_stages(stage.words()) == (stage,)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sgdl:steps=3", 'unknown stage "sgdl"; did you mean sgld'),
        ("sgld:num_steps=3", 'unknown setting "num_steps" of stage sgld; did you mean .*steps'),
        ("sgld:steps", "expected sgld:steps=value"),
        ("sgld:steps=2.5", "sgld:steps to be a whole number"),
        ("sgld:energy=free", "energy to be one of joint, cross_entropy, marginal"),
        ("sgld:clip_pixels=yes", "sgld:clip_pixels to be true or false"),
        ("sgld:step_size=big", "expected a number such as 0.03"),
        ("sgld:step_size=nan", "sgld:step_size to be a finite number, received nan"),
        ("sgld:noise_std=inf", "sgld:noise_std to be a finite number, received inf"),
        ("sgld:steps=nan", "sgld:steps to be a finite number, received nan"),
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
        "sgld:steps=-1",
        "sgld:noise_std=-0.1",
        "momentum:decay=1",
        "annealed:step_size=0",
        "targeted:epsilon=8",
        "contrast:factor=-1",
    ],
)
def test_what_cannot_work_is_refused(text):
    with pytest.raises(ValueError, match="expected"):
        parse_stages(text)


def test_an_unknown_recipe_gets_its_nearest():
    with pytest.raises(ValueError, match="did you mean robust_jem"):
        named_recipe("robust_jme")


def test_symmetric_units_are_those_of_images_in_minus_one_to_one():
    chain = SGLD.symmetric(5, step_size=1.0, noise_std=0.01, clip_gradient=1.0)
    assert chain == SGLD(5, step_size=0.25, noise_std=0.005, clip_gradient=2.0)
    assert chain.steps_at(0) == Steps(0.25, 0.005)


@pytest.mark.parametrize(
    ("sampler", "done", "expected"),
    [
        (SGLD.symmetric(step_size=1.0, noise_std=0.01), 7, (0.25, 0.005)),
        (SGLD(alpha=0.04), 0, (0.02, 0.2)),
        (SGLD(noise_std=0.0), 0, None),
        (Momentum(step_size=0.01, decay=0.9, noise_std=0.002), 3, (0.1, 0.002)),
        (Annealed(5, 1.0, 0.01, 0.1, 0.1), 0, (1, 0.1)),
        (Annealed(5, 1.0, 0.01, 0.1, 0.1), 2, (0.1, 0.1)),
        (Annealed(5, 1.0, 0.01, 0.1, 0.1), 5, (0.01, 0.1)),
        (SAMPLERS["mala"](step_size=0.04, temperature=0.1), 1, (0.2, 0.2)),
        (SAMPLERS["hmc"](), 0, None),
        (Targeted(), 0, None),
        (Contrast(), 0, None),
    ],
    ids=repr,
)
def test_step_and_noise_are_those_of_the_stage_at_that_step(sampler, done, expected):
    steps = Stage(sampler).steps_at(done)
    assert steps is None if expected is None else steps == pytest.approx(expected)


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_can_be_run_and_keeps_images_in_range(name, trained_net):
    x = np.full((2, 8, 8, 1), 0.5, np.float32)
    for stage in named_recipe(name).stages:
        sampler = stage.sampler
        if isinstance(sampler, Chain):
            sampler = dataclasses.replace(sampler, steps=2)
        x = sampler(stage.surrogate()(trained_net, np.array([3, 4])), x, seed=seed())
    assert np.all(np.isfinite(x))
    if name != "robust_jem":  # whose paper has contrast in place of a clamp
        assert np.min(x) >= 0
        assert np.max(x) <= 1


def drawn(method):
    recipe = method.drawing()
    return recipe.start, [(stage.sampler, stage.energy) for stage in recipe.stages]


@pytest.mark.parametrize(
    ("method", "energy"),
    [
        (methods.Standard(), "cross_entropy"),
        (methods.Noise(), "cross_entropy"),
        (methods.PGDAT(), "cross_entropy"),
        (methods.TRADES(), "cross_entropy"),
        (methods.PreJEAT(), "joint"),
        (methods.JEAT(), "joint"),
        (methods.JEM(), "joint"),
    ],
    ids=lambda x: x if isinstance(x, str) else x.word,
)
def test_a_method_is_drawn_down_the_energy_of_its_paper_from_uniform_noise(method, energy):
    start, stages = drawn(method)
    assert start == Uniform()
    assert [(type(sampler), sampler.steps, of) for sampler, of in stages] == [(SGLD, 200, energy)]


def test_dat_climbs_its_class_by_33_steps_twice_as_long_as_those_of_training():
    assert drawn(methods.DAT()) == (Uniform(), [(NormalizedDescent(33, 0.2), "joint")])
    longer = methods.DAT(chain=NormalizedDescent(40, 0.5))
    assert drawn(longer) == (Uniform(), [(NormalizedDescent(33, 1.0), "joint")])


def test_a_flow_is_drawn_exactly_and_robust_jem_in_its_three_ways():
    assert drawn(methods.Flow()) == (Exact(), [])
    start, stages = drawn(methods.RobustJEM())
    assert start == ClassGaussians()
    assert [type(sampler) for sampler, _ in stages] == [Targeted, Contrast, SGLD]
    assert not stages[-1][0].clip_pixels
    unconditional = RECIPES["robust_jem_unconditional"].stages
    assert [(stage.sampler.steps, stage.energy) for stage in unconditional] == [(300, "marginal")]
    assert [stage.energy for stage in RECIPES["robust_jem_energy"].stages] == ["joint"]


def test_eq_16_for_a_flow_is_refused_with_the_rule_to_take():
    net = glow((8, 8, 1), 10, depth=1, width=4)
    start = Uniform().layer((8, 8, 1), 10)
    with pytest.raises(ValueError, match="eq. 16.*take --recipe=exact"):
        generate(net, [3], start=start, stages=[Stage(Targeted(), "cross_entropy")])
    assert generate(net, [3], start=start, stages=[Stage(SGLD(1))]).shape == (1, 8, 8, 1)
    with pytest.raises(ValueError, match="without a net"):
        Exact().layer((8, 8, 1), 10)
