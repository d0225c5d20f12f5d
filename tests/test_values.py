"""Settings as values: how they print, what they refuse, what JSON keeps of them."""

import dataclasses
import json
import sys

import numpy as np
import pytest

from jeat_tf.attacks.values import ATTACKS, PGD
from jeat_tf.config.store import from_json, to_json
from jeat_tf.config.train import TrainConfig
from jeat_tf.core.balls import BALLS, L2, Linf
from jeat_tf.core.flat import differences, flatten, replace
from jeat_tf.core.values import default_of, fields, from_dict, kinds_of, setting, to_dict, value
from jeat_tf.methods.base import Method
from jeat_tf.methods.recipes import methods
from jeat_tf.methods.recipes.jeat import JEAT
from jeat_tf.methods.recipes.jem import JEM
from jeat_tf.methods.recipes.noise import Noise
from jeat_tf.methods.recipes.pgd_at import PGDAT
from jeat_tf.methods.recipes.standard import Standard
from jeat_tf.methods.recipes.trades import TRADES
from jeat_tf.methods.updates import UPDATES, Free
from jeat_tf.models.nets import NETS
from jeat_tf.samplers.stages import RECIPES, Stage
from jeat_tf.samplers.starts import STARTS, ClassGaussians, Gaussian
from jeat_tf.samplers.values import SAMPLERS, SGLD, NormalizedDescent

FAMILIES = [BALLS, ATTACKS, SAMPLERS, STARTS, methods(), UPDATES, NETS]
KINDS = [kind for family in FAMILIES for kind in family.values()]
NAMES = {kind.__name__: kind for kind in [*KINDS, Stage]}


@value
class Halved(Method):
    """A method that the package does not know."""

    share: float = setting(0.5, "share of something", at_least=0.0)

    def objective(self, image_shape, num_classes, seed):
        return Standard().objective(image_shape, num_classes, seed)


def changed(kind):
    """The default, and values with one setting changed, as far as it can be changed alone."""
    yield kind()
    for field in fields(kind):
        here, annotation = default_of(field), str(field.type)
        if kinds_of(field):
            others = [each() for each in kinds_of(field).values()]
        elif field.metadata["choices"]:
            others = field.metadata["choices"]
        elif "bool" in annotation:
            others = [not here]
        elif "float" in annotation:
            others = [0.123456789, 0.25, 5 / 255]
        else:
            others = [17] if "int" in annotation else ["conv2d"]
        for other in others:
            try:
                yield kind(**{field.name: other})
            except ValueError:
                continue  # a weight that needs chains of classes


VALUES = [each for kind in KINDS for each in changed(kind)]
VALUES += [stage for recipe in RECIPES.values() for stage in recipe.stages]
VALUES += [JEAT.literal(L2(0.5), alpha=0.01), JEAT(epsilon=0.2), SGLD.symmetric(10, clip_gradient=1.0), SGLD(alpha=0.3)]


def test_there_are_many():
    assert len(VALUES) > 300


def test_what_prints_evaluates_to_the_same_value():
    for each in VALUES:
        assert eval(repr(each), dict(NAMES)) == each


def test_json_keeps_every_value():
    for each in VALUES:
        kinds = {each.word: type(each)} if each.word else None
        assert from_dict(type(each), json.loads(json.dumps(to_dict(each))), kinds) == each


@pytest.mark.parametrize(
    ("shown", "made"),
    [
        ("Linf(8/255)", Linf(8 / 255)),
        ("L2(0.5)", L2()),
        ("Linf(0.1)", Linf(0.1)),
        ("PGD(Linf(8/255), steps=20)", PGD(Linf(8 / 255), steps=20)),
        ("JEAT(chain=SGLD(steps=10))", JEAT(chain=SGLD(10))),
        ("Noise(std=8/255)", Noise(8 / 255)),
        ("Standard()", Standard()),
    ],
)
def test_they_print_as_one_types_them(shown, made):
    assert repr(made) == shown


def test_values_are_frozen_equal_and_hashable():
    assert PGD(Linf(0.1)) == PGD(Linf(0.1)) != PGD(L2(0.1))
    assert len({JEAT(), JEAT(), JEM()}) == 2
    with pytest.raises(dataclasses.FrozenInstanceError):
        Linf(0.1).epsilon = 0.2


def test_replace_keeps_the_ball_and_the_chain():
    method = JEAT(epsilon=0.2, chain=SGLD(alpha=0.02))
    other = dataclasses.replace(method, buffer_size=50)
    assert (other.ball, other.chain, other.buffer_size) == (Linf(0.2), method.chain, 50)
    assert dataclasses.replace(method.chain, steps=3).step_size == 0.01
    assert dataclasses.replace(method, epsilon=0.1).ball == Linf(0.1)
    assert PGDAT(epsilon=0.2) == PGDAT(PGD(Linf(0.2), steps=10))
    assert TRADES(attack=PGD(L2()), epsilon=0.25).ball == L2(0.25)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Linf("8/255"), ["epsilon", "float", "str", "write 8/255 without quotes"]),
        (lambda: L2(np.float32(0.5)), ["epsilon", "float", "float32", "float(...)"]),
        (lambda: PGD(steps=2.5), ["steps", "int", "float"]),
        (lambda: PGD(steps=True), ["steps", "int", "bool"]),
        (lambda: PGD(0.1), ["ball", "Linf, L2", "0.1"]),
        (lambda: PGD(Linf), ["ball", "Linf, L2"]),
        (lambda: PGD(ball=SGLD()), ["ball", "Linf, L2", "SGLD"]),
        (lambda: JEAT(PGD()), ["chain", "SGLD", "PGD"]),
        (lambda: JEM(start="uniform"), ["start", "Uniform", "'uniform'"]),
        (lambda: SGLD(clip_pixels=1), ["clip_pixels", "bool", "int"]),
        (lambda: TrainConfig(method=SGLD()), ["method", "JEAT", "SGLD"]),
        (lambda: TrainConfig(update="awp"), ["update", "AWP", "'awp'"]),
        (lambda: JEAT(beta=1), ["beta"]),
    ],
)
def test_another_type_is_named_with_what_was_expected_and_received(make, words):
    with pytest.raises(TypeError) as caught:
        make()
    assert all(word in str(caught.value) for word in words), caught.value


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Linf(8), ["write 8/255"]),
        (lambda: PGD(Linf(8)), ["write 8/255"]),
        (lambda: PGD(L2(float("inf"))), ["finite radius", "inf", "step_size"]),
        (lambda: Linf(-0.1), ["epsilon", "at least 0", "-0.1"]),
        (lambda: L2(float("nan")), ["epsilon", "nan"]),
        (lambda: PGD(steps=-1), ["steps", "at least 0", "-1"]),
        (lambda: PGD(start="beside"), ["start", "random, gaussian, image", "'beside'"]),
        (lambda: SGLD(clip_gradient=0.0), ["clip_gradient", "above 0", "0"]),
        (lambda: SGLD(alpha=-1.0), ["alpha", "above 0", "-1"]),
        (lambda: ClassGaussians(rank=0), ["rank", "at least 1", "0"]),
        (lambda: Gaussian(std=-1.0), ["std", "at least 0", "-1"]),
        (lambda: JEM(restart_probability=1.5), ["restart_probability", "at most 1", "1.5"]),
        (lambda: JEM(joint_weight=1.0), ["joint_weight", "class_conditional=True"]),
        (lambda: JEAT(positive="perturbed"), ["positive", "clean, adversarial", "'perturbed'"]),
        (lambda: Free(replays=0), ["replays", "at least 1", "0"]),
        (lambda: Stage(energy="total"), ["energy", "joint, cross_entropy, marginal", "'total'"]),
    ],
)
def test_what_is_out_of_bounds_is_named_with_what_was_expected_and_received(make, words):
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        make()
    assert all(word in str(caught.value) for word in words), caught.value


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"method": "jaet"}, 'unknown method "jaet"; did you mean jeat'),
        ({"net": "glw"}, 'unknown net "glw"; did you mean glow'),
        ({"update": "fre"}, 'unknown update "fre"; did you mean free'),
        ({"chain": "langevin"}, 'unknown chain "langevin"; expected one of sgld'),
        ({"beta": 3.0, "method": "jem"}, "--beta=3.0 .*--method=jem; only der, trades and weat use it"),
        ({"method": "jem", "start_rank": 3}, "--chain_start=uniform; only class_gaussian and mixture use it"),
        (
            {"attack": "fgsm_beside_noise", "attack_steps": 3},
            "--attack=fgsm_beside_noise; only pgd, fgsm and msd use it",
        ),
    ],
)
def test_words_and_settings_without_effect_are_named_with_their_neighbours(settings, message):
    with pytest.raises(ValueError, match=message):
        replace(TrainConfig(), **settings)


class TestAClassFromElsewhere:
    WORD = f"{__name__}:Halved"

    def test_is_chosen_by_its_import_path(self):
        config = replace(TrainConfig(), method=self.WORD)
        assert config.method == Halved()
        assert flatten(config)["method"] == self.WORD
        assert f"method: 'jeat' -> '{self.WORD}'" in differences(TrainConfig(), config)

    def test_is_read_back_with_its_settings(self):
        config = TrainConfig(method=Halved(0.25))
        assert from_json(TrainConfig, to_json(config)) == config
        # A sampler of the package that the flag --chain does not offer.
        config = TrainConfig(method=JEM(chain=NormalizedDescent(3)))
        assert from_json(TrainConfig, to_json(config)) == config

    @pytest.mark.parametrize(
        ("word", "message"),
        [
            (f"{__name__}:Halve", f"cannot import {__name__}:Halve for --method"),
            ("no_such_package:Halved", "cannot import no_such_package:Halved"),
            ("json:dumps", "expected a class of settings for --method"),
        ],
    )
    def test_that_is_not_there_is_named(self, word, message):
        with pytest.raises(ValueError, match=message):
            replace(TrainConfig(), method=word)

    def test_a_function_serves_but_cannot_be_written_down(self):
        attack = sys.intern
        with pytest.raises(TypeError, match="frozen dataclass"):
            to_json(TrainConfig(method=PGDAT(attack=attack)))
