import functools
import importlib.util
import pathlib

import numpy as np
import pytest
import tensorflow as tf
from scipy.stats import truncnorm

from jeat_tf.attacks.surrogates import joint_energy
from jeat_tf.attacks.values import PGD
from jeat_tf.core.balls import L2, Linf
from jeat_tf.core.energy import cross_entropy, energy
from jeat_tf.samplers.editing import counterfactual, denoise, inpaint, shrink, super_resolve, translate
from jeat_tf.samplers.values import HMC, MALA, SGLD
from tests.conftest import seed


def wandering(steps):
    return SGLD(steps, step_size=0.05)


def striding(steps):
    return SGLD(steps, step_size=0.2, noise_std=0.0)


def descending(steps):
    return SGLD(steps, step_size=0.05, noise_std=0.0)


def free(steps, step_size, noise_std=0.0):
    """A chain that may leave [0, 1]."""
    return SGLD(steps, step_size=step_size, noise_std=noise_std, clip_pixels=False)


CHESS = np.tile(np.indices((8, 8)).sum(0)[None, ..., None] % 2, (20, 1, 1, 1))
WEIGHTS = np.random.default_rng(0).normal(size=(64, 10)).astype(np.float32)


def linear(x, training=False):
    """Logits whose energies have a constant gradient: E(x, y) = -x . w_y."""
    return tf.matmul(tf.reshape(x, [-1, 64]), WEIGHTS)


def slopes(labels):
    return WEIGHTS.T[labels].reshape(-1, 8, 8, 1)


@pytest.fixture(scope="module")
def few(digit_arrays):
    images, labels = digit_arrays
    return images[:20], labels[:20]


class TestInpaint:
    def test_patience_goes_by_the_energy_of_images_with_their_known_pixels(self):
        def net(x, training=False):
            """Of two pixels the first, which is known, would fall a long way; a step takes the second too far."""
            fall, bowl = 0.3 * x[:, 0, 0, 0] ** 2, 1.2 * (x[:, 0, 1, 0] - 0.5) ** 2
            return tf.stack([-fall - bowl, tf.zeros_like(bowl)], axis=1)

        images = np.array([1.0, 0.6], np.float32).reshape(1, 1, 2, 1)
        known = np.array([True, False]).reshape(1, 1, 2, 1)
        chain = SGLD(3, step_size=1.0, noise_std=0.0, patience=1)
        found = inpaint(net, images, known, [0], seed=seed(), chain=chain, start=tf.constant(images))
        np.testing.assert_allclose(found, images)  # no step lowered it

    KNOWN = np.arange(8)[None, :, None, None] < np.full([20, 1, 8, 1], 4)  # the upper half

    def test_known_pixels_stay_bit_for_bit_and_the_others_move(self, trained_net, few):
        images, labels = few
        x = inpaint(trained_net, images, self.KNOWN, labels, seed=seed(), chain=wandering(5)).numpy()
        np.testing.assert_array_equal(x[:, :4], images[:, :4])
        assert np.abs(x[:, 4:] - images[:, 4:]).max() > 0.1

    def test_it_lowers_the_energy_that_it_was_asked_to(self, trained_net, few):
        images, labels = few
        start = tf.fill(images.shape, 0.5)
        before = tf.where(self.KNOWN, images, start)
        for given in (labels, None):
            x = inpaint(trained_net, images, self.KNOWN, given, seed=seed(), chain=descending(5), start=start)
            assert np.all(energy(trained_net(x), given) < energy(trained_net(before), given))

    def test_what_stands_at_unknown_pixels_does_not_count(self, trained_net, few):
        images, labels = few
        run = functools.partial(inpaint, seed=seed(), chain=wandering(3))
        erased = np.where(self.KNOWN, images, 0.3)
        np.testing.assert_array_equal(
            run(trained_net, images, self.KNOWN, labels), run(trained_net, erased, self.KNOWN, labels)
        )

    def test_unknown_pixels_may_be_nan_and_known_ones_not(self, trained_net, few):
        images, labels = few
        run = functools.partial(inpaint, seed=seed(), chain=wandering(3))
        erased = np.where(self.KNOWN, images, np.nan)
        np.testing.assert_array_equal(
            run(trained_net, erased, self.KNOWN, labels), run(trained_net, images, self.KNOWN, labels)
        )
        with pytest.raises(ValueError, match="finite"):
            run(trained_net, erased, ~self.KNOWN, labels)

    def test_a_start_of_another_size_is_refused(self, trained_net, few):
        images, labels = few
        run = functools.partial(inpaint, trained_net, images, self.KNOWN, labels, seed=seed(), chain=wandering(1))
        for start in (images[:3], images[:, :4]):
            with pytest.raises(ValueError, match=r"start of shape \[20, 8, 8, 1\], received"):
                run(start=start)

    def test_a_start_fills_the_unknown_pixels(self, trained_net, few):
        images, labels = few
        start = np.full_like(images, 0.25)
        x = inpaint(trained_net, images, self.KNOWN, labels, seed=seed(), chain=wandering(0), start=start)
        np.testing.assert_array_equal(x, np.where(self.KNOWN, images, start))

    def test_masks_of_one_channel_of_all_channels_and_of_floats_are_the_same(self, few):
        images = np.repeat(few[0][:3], 3, axis=-1)
        known = self.KNOWN[:3]

        def net(x, training=False):
            return linear(x[..., :1])

        run = functools.partial(inpaint, net, images, labels=few[1][:3], seed=seed(), chain=wandering(2))
        first = run(known)
        for mask in (known.astype(np.float32), np.repeat(known, 3, axis=-1)):
            np.testing.assert_array_equal(run(mask), first)

    def test_with_all_pixels_known_it_is_the_image(self, trained_net, few):
        images, labels = few
        known = np.ones([20, 8, 8, 1], bool)
        x = inpaint(trained_net, images, known, labels, seed=seed(), chain=wandering(3))
        np.testing.assert_array_equal(x, images)

    def test_masks_that_do_not_fit_are_refused(self, trained_net, few):
        run = functools.partial(inpaint, trained_net, few[0], labels=few[1], seed=seed(), chain=wandering(1))
        with pytest.raises(ValueError, match="mask of shape"):
            run(self.KNOWN[:, :4])
        with pytest.raises(ValueError, match="True and False"):
            run(0.5 * self.KNOWN)


class TestDenoise:
    def test_it_ends_where_energy_and_fidelity_balance(self, few):
        """grad E = -w_y is constant: the minimum is the image given + w_y / fidelity."""
        images, labels = few
        x = denoise(linear, images, labels, seed=seed(), chain=free(30, 0.5 / 10), fidelity=10.0)
        np.testing.assert_allclose(x, images + slopes(labels) / 10, atol=1e-5)

    def test_infinite_fidelity_is_the_image_given(self, few):
        images, labels = few
        for fidelity in (1e3, 1e5):
            x = denoise(linear, images, labels, seed=seed(), chain=free(10, 1 / fidelity), fidelity=fidelity)
            assert np.abs(x - images).max() == pytest.approx(np.abs(slopes(labels)).max() / fidelity, rel=1e-2)

    def test_no_fidelity_is_the_chain_on_the_energy_alone(self, few):
        images, labels = few
        x = denoise(linear, images, labels, seed=seed(), chain=descending(1), fidelity=0.0)
        np.testing.assert_allclose(x, np.clip(images + 0.05 * slopes(labels), 0, 1), atol=1e-6)

    def test_a_metropolis_walk_draws_from_the_posterior(self):
        """A flat energy leaves the Gaussian about the image given, of variance 1 / fidelity, inside the pixel range."""
        images = np.full([2000, 2, 2, 1], 0.5, np.float32)
        chain = MALA(15, step_size=0.1, temperature=1.0)

        def flat(x, training=False):
            return tf.zeros([1, 3]) * x[:, 0, 0]

        draw = tf.function(lambda x: denoise(flat, x, seed=seed(), chain=chain, fidelity=10.0), autograph=False)
        x = draw(tf.constant(images))
        assert np.mean(x) == pytest.approx(0.5, abs=0.02)
        std = 0.1**0.5
        assert np.var(x) == pytest.approx(truncnorm(-0.5 / std, 0.5 / std, scale=std).var(), rel=0.07)

    def test_a_negative_fidelity_is_refused(self, few):
        with pytest.raises(ValueError, match="fidelity"):
            denoise(linear, few[0], seed=seed(), chain=wandering(1), fidelity=-1.0)


class TestSuperResolve:
    def test_the_result_shrinks_to_the_small_image(self, trained_net, few):
        images, labels = few
        small = shrink(images, 2)
        x = super_resolve(trained_net, small, 2, labels, seed=seed(), chain=wandering(5))
        assert x.shape == images.shape
        np.testing.assert_allclose(shrink(x, 2), small, atol=1e-6)
        assert np.min(x) >= 0
        assert np.max(x) <= 1

    def test_that_holds_however_wild_the_walk(self, few):
        small = shrink(few[0], 4)
        x = super_resolve(linear, small, 4, few[1], seed=seed(), chain=free(3, 1.0, 3.0))
        np.testing.assert_allclose(shrink(x, 4), small, atol=1e-6)
        assert np.min(x) >= 0
        assert np.max(x) <= 1

    def test_black_and_white_blocks_have_one_solution(self):
        small = np.zeros([1, 4, 4, 1], np.float32)
        small[0, :2] = 1
        x = super_resolve(linear, small, 2, np.array([3]), seed=seed(), chain=free(2, 1.0, 1.0))
        np.testing.assert_allclose(x, np.repeat(np.repeat(small, 2, 1), 2, 2), atol=1e-6)

    def test_away_from_black_and_white_a_step_is_projected_gradient_descent(self):
        """What the projection takes from a gradient is its mean over each block."""
        small = np.full([1, 4, 4, 1], 0.5, np.float32)
        x = super_resolve(linear, small, 2, np.array([3]), seed=seed(), chain=free(1, 0.01))
        means = np.repeat(np.repeat(shrink(slopes([3]), 2), 2, 1), 2, 2)
        np.testing.assert_allclose(x, 0.5 + 0.01 * (slopes([3]) - means), atol=1e-6)

    def test_it_lowers_the_energy(self, trained_net, few):
        images, labels = few
        run = functools.partial(super_resolve, trained_net, shrink(images, 2), 2, labels, seed=seed())
        before, after = (energy(trained_net(run(chain=descending(steps))), labels) for steps in (0, 10))
        assert np.mean(after) < np.mean(before)

    def test_factors_that_do_not_fit_are_refused(self, few):
        with pytest.raises(ValueError, match="divides images of 8 x 8"):
            shrink(few[0], 3)
        for factor in (1, 2.0):
            with pytest.raises(ValueError, match="integer of 2"):
                super_resolve(linear, few[0], factor, seed=seed(), chain=wandering(1))


class TestTranslate:
    @pytest.mark.parametrize("ball", [Linf(0.3), L2(2.0)], ids=lambda ball: ball.norm)
    def test_images_become_the_class_asked_for_inside_the_ball(self, trained_net, few, ball):
        images, labels = few
        asked = (labels + 1) % 10
        attack = PGD(ball, steps=20, step_size=ball.epsilon / 5, start="image")
        x = translate(trained_net, images, asked, attack=attack, seed=seed())
        assert np.max(ball.distance(x, images)) <= ball.epsilon + 1e-6
        assert np.min(x) >= 0
        assert np.max(x) <= 1
        assert np.mean(np.argmax(trained_net(x), -1) == asked) > 0.9

    def test_on_the_joint_energy_it_reaches_the_corner_of_the_class(self, few):
        images, labels = few
        attack = PGD(Linf(0.1), steps=3, step_size=0.1, start="image")
        x = translate(linear, images, labels, attack=attack, seed=seed(), surrogate=joint_energy)
        np.testing.assert_allclose(x, np.clip(images + 0.1 * np.sign(slopes(labels)), 0, 1), atol=1e-6)


class TestCounterfactual:
    def test_a_class_already_certain_needs_no_way(self, trained_net, few):
        images, labels = few
        certain = np.exp(-cross_entropy(trained_net(images), labels)) >= 0.6
        assert certain.sum() > 5
        found = counterfactual(
            trained_net, images[certain], labels[certain], seed=seed(), chain=wandering(3), confidence=0.6
        )
        np.testing.assert_array_equal(found.images, images[certain])
        np.testing.assert_array_equal(found.path_length, np.zeros(certain.sum()))
        np.testing.assert_array_equal(found.first_step, np.zeros(certain.sum()))
        assert not np.any(found.changed)
        np.testing.assert_array_equal(found.before, found.after)

    def test_images_reach_the_class_and_stop(self, trained_net, few):
        images, labels = few
        asked = (labels + 1) % 10
        found, longer, further = (
            counterfactual(trained_net, images, asked, seed=seed(), chain=striding(steps), confidence=confidence)
            for steps, confidence in ((12, 0.6), (14, 0.6), (14, 0.9))
        )
        assert np.all(found.after >= 0.6)
        np.testing.assert_array_equal(longer.images, found.images)
        np.testing.assert_array_equal(longer.path_length, found.path_length)
        np.testing.assert_array_equal(np.argmax(trained_net(found.images), -1), asked)
        assert np.all(found.first_step.numpy()[found.before < 0.1] > 0)
        assert np.all(further.path_length >= found.path_length)
        assert np.mean(further.path_length > found.path_length) > 0.5

    def test_a_straight_way_is_as_long_as_its_distance(self, few):
        images, labels = few[0] * 0.5 + 0.25, few[1]
        found = counterfactual(
            linear, images, labels, seed=seed(), chain=free(4, 1e-3), confidence=1.0, surrogate=joint_energy,
        )  # fmt: skip
        expected = 4e-3 * np.sqrt(np.square(slopes(labels)).sum(axis=(1, 2, 3)))
        np.testing.assert_allclose(found.path_length, expected, rtol=1e-3)
        np.testing.assert_allclose(found.distance, expected, rtol=1e-3)

    def test_no_way_is_shorter_than_its_distance(self, trained_net, few):
        images, labels = few
        found = counterfactual(
            trained_net, images, (labels + 1) % 10, seed=seed(), chain=wandering(10), confidence=0.99
        )
        assert np.all(found.path_length > found.distance)

    def test_changed_pixels_are_those_beyond_the_threshold(self, trained_net, few):
        images, labels = few
        found = counterfactual(
            trained_net, images, (labels + 1) % 10, seed=seed(), chain=descending(10), threshold=0.05
        )
        change = np.abs(found.images - images)
        np.testing.assert_array_equal(found.changed, change > 0.05)
        assert 0 < np.mean(found.changed) < 1

    def test_a_way_that_is_too_short_never_predicts_the_class(self, trained_net, few):
        images, labels = few
        found = counterfactual(trained_net, images, (labels + 1) % 10, seed=seed(), chain=descending(0))
        assert np.all(found.first_step[np.argmax(trained_net(images), -1) == labels] == -1)

    def test_a_held_walk_stays_near(self, trained_net, few):
        images, labels = few
        found = counterfactual(trained_net, images, (labels + 1) % 10, seed=seed(), chain=striding(8), within=L2(0.5))
        assert np.max(found.distance) <= 0.5 + 1e-5

    def test_a_confidence_that_is_no_probability_is_refused(self, few):
        for confidence in (0.0, 1.5):
            with pytest.raises(ValueError, match="confidence"):
                counterfactual(linear, *few, seed=seed(), chain=wandering(1), confidence=confidence)


EDITS = {
    "inpaint": lambda net, x, y, seed=(0, 0): inpaint(net, x, CHESS, y, seed=seed, chain=wandering(2)),
    "denoise": lambda net, x, y, seed=(0, 0): denoise(net, x, y, seed=seed, chain=wandering(2), fidelity=1.0),
    "super_resolve": lambda net, x, y, seed=(0, 0): super_resolve(
        net, x[:, :4, :4], 2, y, seed=seed, chain=wandering(2)
    ),
    "translate": lambda net, x, y, seed=(0, 0): translate(net, x, y, attack=PGD(Linf(0.1), 2), seed=seed),
    "counterfactual": lambda net, x, y, seed=(0, 0): counterfactual(net, x, y, seed=seed, chain=wandering(2)).images,
}


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
class TestEveryEdit:
    def test_is_the_same_inside_a_graph(self, edit, trained_net, few):
        images, labels = tf.constant(few[0]), tf.constant(few[1])
        graph = tf.function(functools.partial(edit, trained_net), autograph=False)
        np.testing.assert_allclose(graph(images, labels), edit(trained_net, images, labels), atol=1e-5)

    def test_a_whole_number_is_a_seed(self, edit, trained_net, few):
        first, same, other = (edit(trained_net, *few, seed=s) for s in (1, tf.constant([0, 1]), 2))
        np.testing.assert_array_equal(first, same)
        assert np.any(first != other)

    def test_refuses_what_are_no_images(self, edit, few):
        images, labels = few
        with pytest.raises(ValueError, match="finite"):
            edit(linear, tf.constant(images) * float("nan"), labels)
        with pytest.raises(ValueError, match=r"in \[0, 1\]"):
            edit(linear, tf.constant(images) * 2, labels)

    def test_refuses_no_images_at_all(self, edit, few):
        with pytest.raises(ValueError, match="expected at least 1 image, received none|expected a mask of shape"):
            edit(linear, few[0][:0], few[1][:0])

    def test_refuses_labels_that_are_no_classes(self, edit, few):
        images, labels = tf.constant(few[0]), few[1]
        with pytest.raises(ValueError, match="labels in 0..9"):
            edit(linear, images, labels + 5)
        with pytest.raises(ValueError, match="a label for each of 20 images"):
            edit(linear, images, labels[:3])


@pytest.mark.parametrize("chain", [MALA(1), HMC(1, leapfrog_steps=2)], ids=repr)
def test_a_chain_that_goes_by_its_memory_cannot_be_held(chain, few):
    images, labels = few
    with pytest.raises(ValueError, match="Metropolis"):
        inpaint(linear, images, CHESS, labels, seed=seed(), chain=chain)
    with pytest.raises(ValueError, match="Metropolis"):
        super_resolve(linear, images[:, :4, :4], 2, labels, seed=seed(), chain=chain)
    with pytest.raises(ValueError, match="Metropolis"):
        counterfactual(linear, images, labels, seed=seed(), chain=chain, within=L2(1.0))


@pytest.mark.slow
def test_the_example_draws_every_edit(trained_net, tmp_path):
    pytest.importorskip("matplotlib")
    path = pathlib.Path(__file__).parents[1] / "examples" / "editing.py"
    spec = importlib.util.spec_from_file_location("editing", path)
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    trained_net.save(tmp_path / "net.keras")
    rows = example.main(str(tmp_path / "net.keras"), output=str(tmp_path / "editing.png"))
    assert set(rows) == {"inpainting", "denoising", "super-resolution", "translation", "counterfactual"}
    np.testing.assert_array_equal(rows["inpainting"]["result"][:, :, :4], rows["inpainting"]["truth"][:, :, :4])
    assert (tmp_path / "editing.png").stat().st_size > 1000
